"""What is signed of a request, and what the signature looks like."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from tests.golden_requests import BOTO3, KEYS
from tests.signed import receive

from lambent.wire.sigv4 import (
    Keys,
    Scope,
    SignedHeaders,
    UnverifiableTarget,
    hash_body,
    normalize_path,
    presign,
    read_target,
    sign,
    signing_key,
)

SCOPE = Scope("20261120", "us-east-1")


def test_signing_gives_the_headers_that_boto3_sends() -> None:
    request = receive(BOTO3)
    assert request is not None
    signed = {name: request.headers[name] for name in (b"host", b"x-amz-invocation-type")}
    added = sign(
        b"POST",
        request.target,
        signed,
        hash_body(request.body),
        keys=KEYS,
        scope=SCOPE,
        timestamp="20261120T193907Z",
    )
    assert added == {name: request.headers[name] for name in (b"x-amz-date", b"authorization")}


def test_a_session_token_is_signed_too() -> None:
    keys = Keys("ASIDEXAMPLE", "secret", "to/ken")
    signing: dict[str, Any] = {"keys": keys, "scope": SCOPE, "timestamp": "20261120T193907Z"}
    added = sign(b"GET", b"/", {b"host": b"h"}, hash_body(b""), **signing)
    assert added[b"x-amz-security-token"] == b"to/ken"
    assert b"SignedHeaders=host;x-amz-date;x-amz-security-token," in added[b"authorization"]
    target = presign(b"GET", b"/", {b"host": b"h"}, hash_body(b""), expires_s=60, **signing)
    assert b"&X-Amz-Security-Token=to%2Fken&X-Amz-Signature=" in target


def test_the_key_is_derived_as_documented() -> None:
    # The example of AWS's documentation of SigV4, "Deriving a signing key".
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    key = bytes.fromhex("f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d")
    found = signing_key(secret, Scope("20120215", "us-east-1", "iam"))
    assert found.digest() == hmac.digest(key, b"", "sha256")


@pytest.mark.parametrize(
    ("path", "query", "forms"),
    [
        (b"/a", b"", [(b"/a", b"")]),
        (b"/a%3Ab", b"", [(b"/a%253Ab", b""), (b"/a%3Ab", b"")]),
        (b"/~a-b_c.d", b"", [(b"/~a-b_c.d", b"")]),
        (b"/", b"b=2&a=1", [(b"/", b"a=1&b=2")]),
        (b"/", b"a=2&a=1&a", [(b"/", b"a=&a=1&a=2")]),
        (b"/", b"Qualifier=%24LATEST", [(b"/", b"Qualifier=%24LATEST")]),
        (b"/", b"q=$L", [(b"/", b"q=%24L"), (b"/", b"q=$L")]),
        (b"/", b"q=a+b", [(b"/", b"q=a%20b"), (b"/", b"q=a+b")]),
        (b"/", b"q=%c3%a9", [(b"/", b"q=%C3%A9"), (b"/", b"q=%c3%a9")]),
        (b"/", b"a=1&X-Amz-Signature=0", [(b"/", b"a=1")]),
        (
            b"/1/functions//invocations",
            b"",
            [(b"/1/functions//invocations", b""), (b"/1/functions/invocations", b"")],
        ),
        (b"/1/functions/./policy", b"", [(b"/1/functions/./policy", b"")]),
        # Elsewhere another path than the signed one would be acted upon.
        (b"/1/functions/f//policy", b"", [(b"/1/functions/f//policy", b"")]),
    ],
)
def test_targets_are_signed_in_these_forms(
    path: bytes, query: bytes, forms: list[tuple[bytes, bytes]]
) -> None:
    assert list(read_target(path, query).forms) == forms


@pytest.mark.parametrize(("path", "query"), [(b"/" * 65_537, b""), (b"/", b"a=1&" * 1000)])
def test_targets_beyond_every_clients_are_not_read(path: bytes, query: bytes) -> None:
    with pytest.raises(UnverifiableTarget):
        read_target(path, query)


@pytest.mark.parametrize(
    ("path", "normal"),
    [(b"/", b"/"), (b"//", b"/"), (b"/a//b/", b"/a/b/"), (b"/a/./b/../c", b"/a/c"), (b"/../a/..", b"/")],
)
def test_empty_and_dot_segments_are_removed(path: bytes, normal: bytes) -> None:
    assert normalize_path(path) == normal


@pytest.mark.parametrize("names", [b"", b"b;a", b"a;a", b"A", b"a;", b";"])
def test_signed_headers_are_in_order(names: bytes) -> None:
    if not names:
        assert b"" in SignedHeaders(names)
        return
    with pytest.raises(ValueError, match="in order"):
        SignedHeaders(names)


def test_values_of_headers_are_trimmed() -> None:
    headers = SignedHeaders(b"a%b;host")
    canonical = headers.canonical_request(b"GET", b"/", b"", {b"a%b": b"  x   y\t z", b"host": b"h"}, b"0")
    assert canonical == b"GET\n/\n\na%b:x y z\nhost:h\n\na%b;host\n0"
    with pytest.raises(KeyError):
        headers.canonical_request(b"GET", b"/", b"", {b"host": b"h"}, b"0")
