"""Against botocore: what it signs is verified, and what we sign are the same bytes."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.fuzzed import fuzzed
from tests.signed import CREDENTIALS, HOST, TIMESTAMP, authenticator, signed

from lambent.api.codec import Codec
from lambent.api.request import Request
from lambent.api.routes import match
from lambent.api.service_model import load_service_model
from lambent.model.errors import ServiceError
from lambent.wire.sigv4 import Keys, Scope, hash_body, presign, read_target, sign

# A name as a label: everything but unreserved characters is percent-encoded, slashes too.
LABELS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: text not in {".", ".."}
)
ENCODED = st.builds(functools.partial(quote, safe="-_.~"), LABELS)
PATHS = st.one_of(
    st.lists(ENCODED, max_size=5).map(lambda labels: "/" + "/".join(labels)),
    # As they stand on the request line, encoded or not.
    st.text(st.sampled_from("azAZ09-._~:$@!*'(),;=+%2F"), max_size=20)
    .filter(lambda text: text not in {".", ".."})
    .map(lambda text: f"/x{text}/invocations"),
    st.sampled_from(["/", "/2015-03-31/functions//invocations", "/a/b/"]),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
PAIRS = st.lists(st.tuples(st.sampled_from("abAB") | TEXTS, TEXTS), max_size=5)
QUERIES = st.one_of(
    PAIRS.map(
        lambda pairs: "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs
        )
    ),
    # What botocore would not write, and signs as it is given.
    st.text(st.sampled_from("ab&&==%2f41+$~;:@/?"), max_size=20),
)
VALUES = st.text(st.sampled_from('ab 01\t=;,"'), max_size=12).map(str.strip)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Amz-Invocation-Type", "x-amz-log-type", "Content-Type", "X-A%b", "Accept"]), VALUES
)
BODIES = st.binary(max_size=40)
KEY_IDS = st.sampled_from(["AKIDEXAMPLE", "AKIDOTHER", "ASIDEXAMPLE"])
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", ""])


def requests(expires_s: st.SearchStrategy[int | None]) -> st.SearchStrategy[Request]:
    targets = st.builds(lambda path, query: f"{path}?{query}" if query else path, PATHS, QUERIES)
    return st.builds(
        signed,
        st.sampled_from(["POST", "GET", "PUT", "DELETE"]),
        targets,
        HEADERS,
        BODIES,
        key_id=KEY_IDS,
        region=REGIONS,
        expires_s=expires_s,
    )


@fuzzed(500)
@given(requests(st.none() | st.integers(1, 604_800)))
def test_what_botocore_signs_is_verified(request_: Request) -> None:
    caller = authenticator().identify(request_)
    assert caller is not None
    assert caller.credential is CREDENTIALS[caller.access_key_id or ""]


def _signing(request: Request) -> dict[str, Any]:
    text = (
        request.headers.get(b"authorization", b"").decode() or dict(request.query_pairs())["X-Amz-Credential"]
    )
    key_id, _, region, *_ = text.partition("Credential=")[2].split("/") if " " in text else text.split("/")
    credential = CREDENTIALS[key_id]
    keys = Keys(key_id, credential.secret, credential.session_token)
    return {"keys": keys, "scope": Scope(TIMESTAMP[:8], region), "timestamp": TIMESTAMP}


@fuzzed(300)
@given(requests(st.none()))
def test_the_same_bytes_are_signed(request_: Request) -> None:
    names = (b"x-amz-date", b"x-amz-security-token", b"authorization")
    theirs = {name: request_.headers[name] for name in names if name in request_.headers}
    given = {name: value for name, value in request_.headers.items() if name not in names}
    ours = sign(request_.method, request_.target, given, hash_body(request_.body), **_signing(request_))
    assert ours == theirs


@fuzzed(300)
@given(
    st.builds(
        signed,
        st.just("POST"),
        PATHS,
        HEADERS,
        BODIES,
        key_id=KEY_IDS,
        region=REGIONS,
        expires_s=st.integers(1, 604_800),
    )
)
def test_the_same_targets_are_presigned(request_: Request) -> None:
    expires_s = int(dict(request_.query_pairs())["X-Amz-Expires"])
    ours = presign(
        request_.method,
        request_.path,
        {b"host": HOST.encode(), **request_.headers},
        hash_body(request_.body),
        expires_s=expires_s,
        **_signing(request_),
    )
    assert ours == request_.target


def test_a_path_that_may_be_signed_without_its_empty_name_is_always_refused_later() -> None:
    codec = Codec()

    def parse(method: str, path: bytes) -> None:
        route = match(method, path, [])
        codec.parse(route.operation, route.labels, [], {}, b"")

    checked = 0
    for operation in load_service_model()["operations"].values():
        start, name, rest = operation["http"]["requestUri"].partition("?")[0].partition("{FunctionName}/")
        if name and start.endswith("/functions/"):
            checked += 1
            path = f"{start}/{rest.replace('{', '').replace('}', '')}".encode()
            assert len(read_target(path, b"").forms) == 2
            with pytest.raises(ServiceError):
                parse(operation["http"]["method"], path)
    assert checked > 20
