"""What somebody else changes in a signed request is not accepted, unless it means the same.

Requests are signed by botocore, written as bytes, changed, and read by a connection. What a
request *means* is what an operation is given of it: the operation, its labels and query, the
body, and the signed headers with white space as SigV4 counts it. Accepted may also be what
no operation takes. ``python -m bench.tamper`` is the long run.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.fuzzed import EXAMPLES, fuzzed
from tests.signed import INVOKE, authenticator, receive, signed

from lambent.api.authenticate import SignatureAuthenticator
from lambent.api.codec import Codec
from lambent.api.request import Request
from lambent.api.routes import match
from lambent.model import names
from lambent.model.errors import ServiceError
from lambent.model.invocations import Caller

CODEC = Codec()
FUNCTIONS = "/2015-03-31/functions"
ARN = quote("arn:aws:lambda:us-east-1:123456789012:function:hello", safe="")


@dataclass(frozen=True)
class Parts:
    """A request, taken to pieces.

    Attributes:
        headers: lines by name and value, ``Authorization`` among them.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    signed: frozenset[str] = field(default=frozenset())

    def render(self) -> bytes:
        target = self.path + (f"?{self.query}" if self.query else "")
        lines = [f"{name}: {value}" for name, value in self.headers]
        # The framing is the connection's business; a length that is signed stays.
        if not any(name.lower() == "content-length" for name, _ in self.headers):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([f"{self.method} {target} HTTP/1.1", *lines, "", ""])
        return head.encode("latin-1", "replace") + self.body


def parts_of(request: Request) -> Parts:
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers.items())
    values = [value for name, value in headers if name == "authorization"]
    text = (
        values[0].partition("SignedHeaders=")[2]
        if values
        else parse_qs(request.query.decode())["X-Amz-SignedHeaders"][0]
    )
    return Parts(
        request.method.decode(),
        request.path.decode(),
        request.query.decode(),
        headers,
        request.body,
        frozenset(text.partition(",")[0].split(";")),
    )


def _requests() -> list[Parts]:
    made: list[dict[str, Any]] = [
        {"headers": {"X-Amz-Invocation-Type": "Event", "X-Amz-Log-Type": "None"}, "body": b'{"a": 1}'},
        {"target": f"{FUNCTIONS}/{ARN}/invocations?Qualifier=%24LATEST", "body": b"{}"},
        {"headers": {"X-Amz-Content-SHA256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},
        {"method": "GET", "target": f"{FUNCTIONS}/hello?Qualifier=1"},
        {"method": "DELETE", "target": f"{FUNCTIONS}/hello"},
        {"method": "GET", "target": f"{FUNCTIONS}/policy"},
        {"method": "GET", "target": f"{FUNCTIONS}?Marker=a%2Bb&MaxItems=5&FunctionVersion=ALL"},
        {"method": "DELETE", "target": f"/2017-03-31/tags/{ARN}?tagKeys=b&tagKeys=a"},
        {"target": f"{INVOKE}?Qualifier=b&Qualifier=a", "body": b"1"},
        {"method": "PUT", "target": "/2017-10-31/functions/hello/concurrency", "body": b'{"ReservedConcurrentExecutions": 1}'},
    ]  # fmt: skip
    keys: list[dict[str, Any]] = [
        {},
        {"key_id": "ASIDEXAMPLE"},
        {"expires_s": 60},
        {"expires_s": 60, "key_id": "ASIDEXAMPLE"},
    ]
    return [parts_of(signed(**one, **key)) for one in made for key in keys]


REQUESTS = _requests()
SOME = st.text(st.sampled_from(string.printable[:95]), min_size=1, max_size=3) | st.sampled_from(
    ["/", "//", "/./", "/../", "%", "%25", "%2F", "+", "%20", "&", "=", ";", ",", " ", "hello", "%00", "é"]
)


@st.composite
def _text(draw: st.DrawFn, text: str) -> str:
    """Draw a text with something changed."""
    place = draw(st.integers(0, len(text)))
    end = min(len(text), place + draw(st.integers(1, 4)))
    change = draw(
        st.sampled_from(
            ["put", "drop", "replace", "double", "case", "encode", "decode", "encode all", "other"]
        )
    )
    if change == "put":
        return text[:place] + draw(SOME) + text[place:]
    if change == "drop":
        return text[:place] + text[end:]
    if change == "replace":
        return text[:place] + draw(SOME) + text[end:]
    if change == "double":
        return text[:end] + text[place:]
    if change == "case":
        return text[:place] + text[place:end].swapcase() + text[end:]
    if change == "encode":
        return text[:place] + "".join(f"%{ord(each):02X}" for each in text[place:end]) + text[end:]
    if change == "decode":
        return unquote(text, "latin-1")
    if change == "encode all":
        return quote(text, safe="/=&")
    return draw(SOME)


@st.composite
def _tampered(draw: st.DrawFn, parts: Parts) -> Parts:
    change = draw(
        st.sampled_from(
            ["method", "path", "query", "pairs", "value", "value", "authorization", "line", "body"]
        )
    )
    headers = list(parts.headers)
    index = draw(st.integers(0, len(headers) - 1))
    name, value = headers[index]
    if change == "method":
        return replace(parts, method=draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])))
    if change == "path":
        return replace(parts, path="/" + draw(_text(parts.path))[1:])
    if change == "query":
        return replace(parts, query=draw(_text(parts.query)))
    if change == "pairs":
        pairs = parts.query.split("&") if parts.query else []
        more = draw(
            st.sampled_from(
                [
                    *pairs,
                    "Qualifier=a",
                    "Qualifier=9",
                    "Qualifier=",
                    "q",
                    "List=ALL",
                    "X-Amz-Expires=9",
                    "X-Amz-Date=20261120T193908Z",
                ]
            )
        )
        pairs = draw(st.permutations([*pairs, *draw(st.sampled_from([[], [more], [more]]))]))
        return replace(parts, query="&".join(pairs[draw(st.integers(0, 1)) :]))
    if change == "body":
        return replace(parts, body=draw(st.binary(max_size=9)) + parts.body[draw(st.integers(0, 9)) :])
    if change == "authorization":
        index = next((place for place, header in enumerate(headers) if header[0] == "authorization"), index)
        name, value = headers[index]
    if change == "line":
        line = (
            draw(st.sampled_from([name, name.upper(), name.title(), "x-amz-invocation-type"])),
            draw(_text(value)),
        )
        kind = draw(st.sampled_from(["before", "behind", "drop", "end"]))
        if kind == "drop":
            del headers[index]
        else:
            headers.insert({"before": index, "behind": index + 1, "end": len(headers)}[kind], line)
    else:
        headers[index] = (name, draw(_text(value)))
    return replace(parts, headers=tuple(headers))


def meaning(request: Request, signed_headers: frozenset[str]) -> Any:
    """Return what a request means; None for what no operation takes."""
    try:
        query = request.query_pairs()
        route = match(request.method.decode(), request.path, query)
        members = CODEC.parse(route.operation, route.labels, query, request.text_headers(), request.body)
        if "FunctionName" in route.labels:
            reference = names.parse_function_reference(members["FunctionName"])
            assert reference is not None
            names.derive_qualifier(reference, members.get("Qualifier"))
    except ServiceError:
        return None
    given = {name: request.headers.get(name.encode(), b"").split() for name in signed_headers}
    kept = {
        name: value
        for name, value in members.items()
        if name in {"Qualifier", "TagKeys", "Marker", "MaxItems", "FunctionVersion"}
    }
    return route, kept, request.body, given


def _identify(checks: SignatureAuthenticator, request: Request) -> Caller | None:
    """Return who sent a request; None if it is refused."""
    query = request.query
    try:
        return checks.identify(request)
    except ServiceError as error:
        refused = (error.status, error.message_key, error.fault)
    assert refused == (403, "message", None)
    assert request.query == query
    return None


def check(parts: Parts, changed: Parts) -> bool:
    """Check that a change is refused or means the same; return whether it was accepted."""
    received = receive(changed.render())
    if received is None:
        return False
    checks = authenticator()
    original = receive(parts.render())
    assert original is not None
    caller = checks.identify(original)
    # What is remembered of the genuine request must not help the other one.
    callers = {_identify(checks, received), _identify(authenticator(), received)}
    if callers == {None}:
        return False
    assert callers == {caller}
    meant = meaning(received, parts.signed)
    assert meant is None or meant == meaning(original, parts.signed)
    return True


@pytest.mark.parametrize("parts", REQUESTS)
def test_genuine_requests_are_accepted(parts: Parts) -> None:
    assert check(parts, parts)
    assert meaning(signed(), frozenset()) is not None


@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_changed_requests_are_refused_or_mean_the_same() -> None:
    accepted = 0

    @fuzzed(1500)
    @given(st.data())
    def tamper(data: st.DataObject) -> None:
        nonlocal accepted
        parts = data.draw(st.sampled_from(REQUESTS))
        changed = data.draw(_tampered(parts))
        accepted += check(parts, changed)

    tamper()
    assert accepted > 0
