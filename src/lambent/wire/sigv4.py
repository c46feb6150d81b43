"""AWS Signature Version 4: what is signed, and the signature over it. No I/O.

A signature says that who holds a secret meant this request::

    canonical request   method, path, query, signed headers, SHA-256 of the body
    string to sign      algorithm, time, scope (date/region/service), SHA-256 of the above
    signature           HMAC-SHA256 with a key derived from the secret and the scope

It stands in the ``Authorization`` header or, of a presigned URL, in the query. Bytes are
those of the wire: targets percent-encoded, names of headers in lower case.

Source: docs/aws-behaviour.md, versions-permissions 5.5 and clients 1.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = b"AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
SIGNATURE = b"X-Amz-Signature"
"""The query parameter that is not signed itself."""

# No operation has a dozen pairs.
MAX_PAIRS = 1000
# Each path and query is put into several forms.
MAX_TARGET_BYTES = 65_536

_ENCODED_IN_PATHS = re.compile(rb"[^A-Za-z0-9/._~-]")
_UNRESERVED = "-._~"
# The segment for a function's name is empty.
_UNNAMED = re.compile(rb"/[0-9-]+/functions//.*", re.DOTALL)


class Keys(NamedTuple):
    """What somebody signs with; ``token`` belongs to a session's keys."""

    access_key_id: str
    secret: str
    token: str | None = None


class Scope(NamedTuple):
    """What a signature is good for; ``date`` is the day of its time, ``20261120``."""

    date: str
    region: str
    service: str = "lambda"

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


class UnverifiableTarget(ValueError):
    """A target is longer, or has more pairs in its query, than any that a client signs."""


class SignedTarget(NamedTuple):
    """What of a target can have been signed.

    Attributes:
        forms: (path, query) in the ways in which clients write them, the usual one first.
        pairs: of the query, percent-decoded.
        query: as operations are to read it: what was signed, so neither the order in which
            equal names were sent nor anything else that a signature leaves open counts.
    """

    forms: tuple[tuple[bytes, bytes], ...]
    pairs: list[tuple[bytes, bytes]]
    query: bytes


class SignedHeaders:
    """The headers that a signature covers.

    Args:
        names: as they stand in ``SignedHeaders``: in lower case, in order, each once, joined by ``;``.

    Raises:
        ValueError: they do not stand so.
    """

    __slots__ = ("_names", "_pick", "_template", "text")

    def __init__(self, names: bytes) -> None:
        self.text = names
        self._names = names.split(b";")
        if self._names != sorted(set(self._names)) or names != names.lower():
            raise ValueError("names of signed headers are in lower case, in order, each once")
        self._pick = itemgetter(*self._names)
        lines = [name.replace(b"%", b"%%") + b":%b\n" for name in self._names]
        # Behind method, path and query, before the body's hash.
        self._template = b"%b\n%b\n%b\n" + b"".join(lines) + b"\n" + names.replace(b"%", b"%%") + b"\n%b"

    def __contains__(self, name: bytes) -> bool:
        return name in self._names

    def canonical_request(
        self, method: bytes, path: bytes, query: bytes, headers: Mapping[bytes, bytes], body_hash: bytes
    ) -> bytes:
        """Return the canonical request.

        Path and query are in their canonical forms, names of headers in lower case.

        Raises:
            KeyError: a signed header is missing.
        """
        picked = self._pick(headers)
        values = picked if len(self._names) > 1 else (picked,)
        return self._template % (
            method,
            path,
            query,
            *[b" ".join(value.split()) for value in values],
            body_hash,
        )


def hash_body(body: bytes) -> bytes:
    """Return a body's SHA-256, in hexadecimal."""
    return sha256(body).hexdigest().encode()


@lru_cache(256)
def signing_key(secret: str, scope: Scope) -> hmac.HMAC:
    """Return what all signatures of a scope begin with: the key, taken in; 256 are remembered."""
    key = f"AWS4{secret}".encode()
    for part in (*scope, TERMINATOR):
        key = hmac.digest(key, part.encode("latin-1", "replace"), "sha256")
    return hmac.new(key, digestmod="sha256")


def sign_canonical(key: hmac.HMAC, timestamp: bytes, scope: bytes, canonical_request: bytes) -> bytes:
    """Return the signature, in hexadecimal.

    The key is that of the scope, the time as in ``X-Amz-Date`` (``20261120T193907Z``), the
    scope as in ``Credential``, without the access key id.
    """
    digest = sha256(canonical_request).hexdigest().encode()
    signature = key.copy()
    signature.update(b"%b\n%b\n%b\n%b" % (ALGORITHM, timestamp, scope, digest))
    return signature.hexdigest().encode()


def read_target(path: bytes, query: bytes) -> SignedTarget:
    """Return what can have been signed of a target.

    Paths are signed as they are sent, encoded once more (``%3A`` becomes ``%253A``). Some
    clients do not encode them again. That lets nobody call another function: what decodes
    to a ``%`` is no name. Some remove empty and dot segments before; that is followed only
    where the function's name is empty, which no operation takes, because anywhere else
    another path than the signed one would be acted upon.

    Queries are signed as they are sent, sorted, or sorted with every byte encoded that must be.

    Raises:
        UnverifiableTarget: it is too long, or has too many pairs.
    """
    if len(path) + len(query) > MAX_TARGET_BYTES or query.count(b"&") >= MAX_PAIRS:
        raise UnverifiableTarget
    again = _encode_again(path)
    paths = [again]
    if again != path:
        paths.append(path)
    if _UNNAMED.fullmatch(path):
        paths.append(_encode_again(normalize_path(path)))
    if not query:
        return SignedTarget(tuple((each, b"") for each in paths), [], b"")
    parts = [part.partition(b"=")[::2] for part in query.split(b"&")]
    pairs = [(_decode(name), _decode(value)) for name, value in parts]
    known = [(_encode(name), _encode(value)) for name, value in pairs]
    encoded = _join_sorted(pair for pair in known if pair[0] != SIGNATURE)
    # What is between two ampersands counts, even if that is nothing.
    as_sent = _join_sorted(part for part, pair in zip(parts, pairs, strict=True) if pair[0] != SIGNATURE)
    queries = (encoded,) if encoded == as_sent else (encoded, as_sent)
    return SignedTarget(
        tuple((each, query) for each in paths for query in queries), pairs, _join_sorted(known)
    )


def normalize_path(path: bytes) -> bytes:
    """Return a path without empty and dot segments."""
    segments: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del segments[-1:]
        elif segment not in {b"", b"."}:
            segments.append(segment)
    return b"/" + b"/".join(segments) + (b"/" if segments and path.endswith(b"/") else b"")


def sign(
    method: bytes,
    target: bytes,
    headers: Mapping[bytes, bytes],
    body_hash: bytes,
    *,
    keys: Keys,
    scope: Scope,
    timestamp: str,
) -> dict[bytes, bytes]:
    """Return the headers that a signature adds to a request.

    All headers given are signed, ``host`` must be among them; their names are in lower
    case. The target is percent-encoded; ``body_hash`` is what :func:`hash_body` returns;
    ``timestamp`` (``20261120T193907Z``) lies on the scope's date.
    """
    scope_text, beginning = _authorization(keys.access_key_id, scope)
    at = timestamp.encode()
    added = {b"x-amz-date": at}
    if keys.token is not None:
        added[b"x-amz-security-token"] = keys.token.encode()
    every = {**headers, **added}
    signed = _signed_headers(b";".join(sorted(every)))
    canonical = _canonical_request(method, target, every, body_hash, signed)
    signature = sign_canonical(signing_key(keys.secret, scope), at, scope_text, canonical)
    added[b"authorization"] = b"%b%b, Signature=%b" % (beginning, signed.text, signature)
    return added


def presign(
    method: bytes,
    target: bytes,
    headers: Mapping[bytes, bytes],
    body_hash: bytes,
    *,
    keys: Keys,
    scope: Scope,
    timestamp: str,
    expires_s: int,
) -> bytes:
    """Return a target that carries its signature in the query; arguments as for :func:`sign`."""
    signed = SignedHeaders(b";".join(sorted(headers)))
    members = {
        "X-Amz-Algorithm": ALGORITHM.decode(),
        "X-Amz-Credential": f"{keys.access_key_id}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": signed.text.decode("latin-1"),
    }
    if keys.token is not None:
        members["X-Amz-Security-Token"] = keys.token
    query = "&".join(f"{name}={quote(value, safe=_UNRESERVED)}" for name, value in members.items())
    target += (b"&" if b"?" in target else b"?") + query.encode()
    canonical = _canonical_request(method, target, headers, body_hash, signed)
    signature = sign_canonical(
        signing_key(keys.secret, scope), timestamp.encode(), str(scope).encode(), canonical
    )
    return b"%b&%b=%b" % (target, SIGNATURE, signature)


def _canonical_request(
    method: bytes, target: bytes, headers: Mapping[bytes, bytes], body_hash: bytes, signed: SignedHeaders
) -> bytes:
    path, _, query = target.partition(b"?")
    if query:
        query = _join_sorted([part.partition(b"=")[::2] for part in query.split(b"&")])
    return signed.canonical_request(method, _canonical_path(path), query, headers, body_hash)


@lru_cache(256)
def _authorization(access_key_id: str, scope: Scope) -> tuple[bytes, bytes]:
    """Return the text of a scope, and what an ``Authorization`` header begins with."""
    text = str(scope).encode()
    return text, b"%b Credential=%b/%b, SignedHeaders=" % (ALGORITHM, access_key_id.encode(), text)


# Who signs calls a few operations of a few functions again and again.
_signed_headers = lru_cache(256)(SignedHeaders)


@lru_cache(256)
def _canonical_path(path: bytes) -> bytes:
    return _encode_again(normalize_path(path))


def _join_sorted(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"&".join([b"%b=%b" % pair for pair in sorted(pairs)])


def _encode_again(path: bytes) -> bytes:
    return _ENCODED_IN_PATHS.sub(lambda found: b"%%%02X" % ord(found[0]), path)


def _encode(text: bytes) -> bytes:
    return quote(text, safe=_UNRESERVED).encode()


def _decode(text: bytes) -> bytes:
    """Decode as operations do: a plus sign is a space."""
    return unquote_to_bytes(text.replace(b"+", b" "))
