"""The codec against the model: whatever comes is input or a 4xx, and botocore understands both directions."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.api.codec import Codec
from lambent.api.constraints import compile_pattern
from lambent.api.overrides import OVERRIDES
from lambent.api.routes import match
from lambent.api.service_model import load_service_model
from lambent.api.shapes import ShapeFactory
from lambent.model.errors import ServiceError

MODEL = load_service_model()
OPERATIONS = sorted(MODEL["operations"])
FACTORY = ShapeFactory(MODEL)
CODEC = Codec()

# Texts whose pattern and least length hardly meet by chance.
EXAMPLES = {
    "FunctionRuntimeArn": "arn:aws:lambda:us-east-1:123456789012:runtime/python3.13-mine",
    "EventSourceMappingArn": "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:"
    "12345678-1234-1234-1234-123456789012",
    "RuntimeVersionArn": "arn:aws:lambda:us-east-1::runtime:" + 64 * "a",
    "PrincipalOrgID": "o-a1b2c3d4e5",
}
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
INSTANTS = st.integers(0, 2**32).map(lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def described(operation: str, direction: str) -> Mapping[str, Any]:
    """Give the structure of an operation's input or output."""
    shape = MODEL["operations"][operation].get(direction, {}).get("shape")
    return MODEL["shapes"][shape] | {"name": shape} if shape else {"name": "", "members": {}}


@functools.cache
def values(shape: str, structure: str = "", member: str = "") -> st.SearchStrategy[Any]:
    """Draw values that keep a shape's constraints, in botocore's types."""
    facts = FACTORY.facts(shape)
    for row in OVERRIDES:
        if row.target == f"{structure}.{member}":
            facts |= row.facts
    low, high = facts.get("min"), facts.get("max")
    match facts["type"]:
        case "string":
            return texts(shape, facts, int(low or 0), int(high or 300))
        case "integer" | "long":
            return st.integers(
                -(2**31) if low is None else int(low), 2**31 - 1 if high is None else int(high)
            )
        case "double":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "blob":
            return st.binary(max_size=64)
        case "timestamp":
            return INSTANTS
        case "list":
            return st.lists(
                values(facts["member"]["shape"]), min_size=int(low or 0), max_size=min(high or 3, 3)
            )
        case "map":
            keys, items = values(facts["key"]["shape"]), values(facts["value"]["shape"])
            return st.dictionaries(keys, items, min_size=int(low or 0), max_size=min(high or 3, 3))
    return st.deferred(lambda: structures(shape))


def texts(shape: str, facts: Mapping[str, Any], low: int, high: int) -> st.SearchStrategy[str]:
    if shape in EXAMPLES:
        return st.just(EXAMPLES[shape])
    if facts.get("enum"):
        return st.sampled_from(facts["enum"])
    pattern = facts.get("pattern")
    if pattern is None or pattern in (".*", r"[\s\S]*"):
        return st.text(st.characters(codec="utf-8"), min_size=low, max_size=min(high, low + 30)).filter(
            lambda text: pattern != ".*" or "\n" not in text
        )
    drawn = st.from_regex(compile_pattern(pattern), fullmatch=True, alphabet=st.characters(codec="utf-8"))
    return drawn.filter(lambda text: low <= len(text) <= high)


def structures(shape: str, *, output: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Draw structures with all required members and some of the others."""
    facts = MODEL["shapes"][shape]
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, member in facts["members"].items():
        kind = MODEL["shapes"][member["shape"]]["type"]
        place = member.get("location")
        drawn = values(member["shape"], shape, name)
        if place == "header" and kind == "string" and not MODEL["shapes"][member["shape"]].get("enum"):
            drawn = drawn.filter(
                lambda text: text.isascii() and text.isprintable() and text.strip() == text != ""
            )
        if place == "header" and name == "ClientContext":
            drawn = VISIBLE
        if place == "uri" and kind == "string":
            drawn = drawn.filter(bool)
        if place == "querystring" and kind == "list":
            drawn = drawn.filter(bool)
        if place == "statusCode" or MODEL["shapes"][member["shape"]].get("eventstream"):
            continue
        (required if name in facts.get("required", ()) and not output else optional)[name] = drawn
    return st.fixed_dictionaries(required, optional=optional)


def as_ours(value: Any) -> Any:
    """Turn botocore's values into the codec's: instants into seconds."""
    match value:
        case dt.datetime():
            return value.timestamp()
        case dict():
            return {key: as_ours(item) for key, item in value.items()}
        case list():
            return [as_ours(item) for item in value]
    return value


class Wire:
    """A client of botocore whose requests end here and whose answers are made here."""

    def __init__(self) -> None:
        self.request: AWSPreparedRequest | None = None
        self.answer: tuple[int, list[tuple[str, str]], bytes] = (200, [], b"{}")
        session = botocore.session.Session()
        self.client = session.create_client(
            "lambda",
            "us-east-1",
            endpoint_url="http://localhost:9",
            config=Config(signature_version=UNSIGNED),
        )
        self.client.meta.events.register("before-send.lambda", self._send)
        self._methods = {
            name: getattr(self.client, method)
            for method, name in self.client.meta.method_to_api_mapping.items()
        }

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._methods[operation](**params)
        return answer

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.request = request
        status, headers, body = self.answer
        named = {"content-type": "application/json"} | {name.lower(): value for name, value in headers}
        return AWSResponse(request.url, status, named, _Raw(body))


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, *_: Any, **__: Any) -> bytes:
        body, self._body = self._body, b""
        return body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


@pytest.fixture(scope="module")
def wire() -> Wire:
    return Wire()


def parse_request(request: AWSPreparedRequest) -> tuple[str, dict[str, Any]]:
    """Route and parse what a client put on the wire."""
    parts = urlsplit(request.url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
    }
    body = request.body or b""
    route = match(request.method, parts.path.encode(), query)
    data = body if isinstance(body, bytes) else body.read() if hasattr(body, "read") else body.encode()
    return route.operation, CODEC.parse(route.operation, route.labels, query, headers, data)


def members_of(data: st.DataObject, operation: str, direction: str) -> dict[str, Any]:
    name = described(operation, direction)["name"]
    return data.draw(structures(name, output=direction == "output")) if name else {}


relaxed = settings(
    deadline=None,
    max_examples=5,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)


@pytest.mark.parametrize("operation", OPERATIONS)
@relaxed
@given(data=st.data())
def test_what_botocore_writes_is_read_as_it_was_meant(
    operation: str, wire: Wire, data: st.DataObject
) -> None:
    params = members_of(data, operation, "input")
    status = MODEL["operations"][operation]["http"]["responseCode"]
    wire.answer = (status, [], b"" if status == 204 else b"{}")
    wire.call(operation, params)
    assert wire.request is not None
    routed, parsed = parse_request(wire.request)
    assert routed == operation
    for name, member in described(operation, "input")["members"].items():
        if member.get("idempotencyToken") and name not in params:
            assert parsed.pop(name)
    payload = described(operation, "input").get("payload")
    if payload:
        # On the wire an absent payload is an empty one.
        shape = described(operation, "input")["members"][payload]["shape"]
        params.setdefault(payload, {} if MODEL["shapes"][shape]["type"] == "structure" else b"")
    assert parsed == as_ours(params)


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "InvokeWithResponseStream"])
@relaxed
@given(data=st.data())
def test_what_is_rendered_is_read_by_botocore(operation: str, wire: Wire, data: st.DataObject) -> None:
    output = members_of(data, operation, "output")
    wire.answer = CODEC.render(operation, as_ours(output))
    params = data.draw(structures(described(operation, "input")["name"])) if operation else {}
    parsed = wire.call(operation, params)
    parsed.pop("ResponseMetadata")
    for name, member in described(operation, "output")["members"].items():
        if member.get("location") == "statusCode":
            assert parsed.pop(name) == wire.answer[0]
    payload = described(operation, "output").get("payload")
    if payload:
        assert parsed.pop(payload).read() == output.pop(payload, b"")
    if wire.answer[0] == 204:
        assert (parsed, wire.answer[2]) == ({}, b"")
    else:
        assert as_ours(parsed) == as_ours(output)


@pytest.mark.parametrize("operation", OPERATIONS)
@relaxed
@given(data=st.data())
def test_any_request_is_input_or_a_refusal(operation: str, data: st.DataObject) -> None:
    members = described(operation, "input")["members"]
    text = st.text(max_size=40) | st.sampled_from(
        ["", "1", "-1", "true", "2024-01-01T00:00:00Z", "nan", "1e999"]
    )
    labels = {name: data.draw(text) for name, member in members.items() if member.get("location") == "uri"}
    names = [member.get("locationName", name) for name, member in members.items()]
    query = data.draw(st.lists(st.tuples(st.sampled_from([*names, "other"]), text), max_size=4))
    headers = {name.lower(): data.draw(text) for name in names if name.startswith("X-")}
    whole = st.fixed_dictionaries({}, optional=dict.fromkeys(names, ANY_JSON))
    nearly = structures(described(operation, "input")["name"]).map(broken_json) if names else whole
    body = data.draw(st.binary(max_size=30) | (whole | ANY_JSON).map(to_bytes) | nearly.map(to_bytes))
    try:
        parsed = CODEC.parse(operation, labels, query, headers, body)
    except ServiceError as error:
        assert 400 <= error.status < 500  # noqa: PT017  # either outcome is right
        json.dumps(error.body(), ensure_ascii=False).encode()
    else:
        assert set(parsed) <= set(members)
        CODEC.render("GetFunction", {"Tags": {"a": repr(parsed)}})


def broken_json(params: dict[str, Any]) -> Any:
    """Turn valid members into JSON of nearly the right types: blobs and instants become texts."""
    return json.loads(json.dumps(params, default=str))


def to_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", ""])
@given(
    path=st.binary(max_size=80)
    | st.from_regex(rb"(/2015-03-31/functions|/%2[Ff]|//?[a-z{}%.]*)*", fullmatch=True)
)
def test_any_path_is_an_operation_or_a_refusal(method: str, path: bytes) -> None:
    try:
        route = match(method, path, [])
    except ServiceError as error:
        assert error.status in (404, 405)  # noqa: PT017  # either outcome is right
    else:
        assert route.operation in MODEL["operations"]
