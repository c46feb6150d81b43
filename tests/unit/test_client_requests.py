"""What callers give, and the bytes it becomes; nothing wrong is sent."""

from __future__ import annotations

import dataclasses
import json
import pickle
from base64 import b64decode
from pathlib import Path
from typing import Any

import pydantic
import pytest
from tests.client_steps import World, answer, core

from lambent.client import (
    UNSET,
    Credentials,
    HttpRequest,
    InvocationType,
    InvokeRequest,
    LogType,
    ValidationError,
)


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Model(pydantic.BaseModel):
    name: str
    at: Any


def sent(payload: object = UNSET, **options: Any) -> Any:
    world = World(core(), answer())
    world.invoke(payload=payload, **options)
    return world.sent[0]


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (UNSET, b""),
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"[1]"), b"[1]"),
        (memoryview(b"[1]"), b"[1]"),
        (None, b"null"),
        ("x", b'"x"'),
        ("{}", b'"{}"'),
        ({"a": [1, 2.5, True]}, b'{"a":[1,2.5,true]}'),
        ("é😀", '"é😀"'.encode()),
        (Point(1, 2), b'{"x":1,"y":2}'),
        ([Point(1, 2)], b'[{"x":1,"y":2}]'),
        (Model(name="n", at=None), b'{"name":"n","at":null}'),
        ((1, 2), b"[1,2]"),
        (0, b"0"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_payloads(payload: object, body: bytes) -> None:
    exchange = sent(payload)
    assert exchange.body == body
    assert exchange.headers["content-length"] == str(len(body))


def test_a_path_sends_its_file(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(b"{ }")
    assert sent(file).body == b"{ }"
    with pytest.raises(ValidationError, match="missing"):
        sent(tmp_path / "missing")


@pytest.mark.parametrize(
    "payload",
    [object(), float("nan"), {1, 2}, b"x".decode, "\ud800", {(1, 2): 3}],
    ids=lambda each: type(each).__name__,
)
def test_what_is_no_json_is_refused_before_anything_is_sent(payload: object) -> None:
    world = World(core())
    with pytest.raises(ValidationError) as caught:
        world.invoke(payload=payload)
    assert (world.sent, caught.value.attempts, caught.value.may_have_run) == ([], 0, False)


def test_members_are_headers_and_the_query() -> None:
    exchange = sent(
        b"",
        qualifier="$LATEST",
        invocation_type=InvocationType.EVENT,
        log_type="Tail",
        client_context={"custom": {"k": "v"}},
        tenant_id="t",
        durable_execution_name="d",
    )
    assert exchange.target == "/2015-03-31/functions/hello/invocations?Qualifier=%24LATEST"
    headers = {name: value for name, value in exchange.headers.items() if name.startswith("x-amz-")}
    assert json.loads(b64decode(headers.pop("x-amz-client-context"))) == {"custom": {"k": "v"}}
    del headers["x-amz-date"]
    assert headers == {
        "x-amz-invocation-type": "Event",
        "x-amz-log-type": "Tail",
        "x-amz-tenant-id": "t",
        "x-amz-durable-execution-name": "d",
    }


def test_none_is_not_sent_and_an_empty_text_is_sent_empty() -> None:
    assert not [name for name in sent().headers if name.startswith("x-amz-") and name != "x-amz-date"]
    exchange = sent(qualifier="", tenant_id="", client_context="", invocation_type="", log_type="")
    assert exchange.target.endswith("?Qualifier=")
    names = ("tenant-id", "client-context", "invocation-type", "log-type")
    assert [exchange.headers[f"x-amz-{name}"] for name in names] == [""] * 4


def test_any_text_is_a_type() -> None:
    assert sent(invocation_type="Later").headers["x-amz-invocation-type"] == "Later"


def test_log_tail_is_short_for_the_type_of_log() -> None:
    assert sent(log_tail=True).headers["x-amz-log-type"] == "Tail"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("hello", "hello"),
        ("arn:aws:lambda:us-east-1:123456789012:function:hello:prod",
         "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello%3Aprod"),
        ("a/b c", "a%2Fb%20c"),
        ("ü", "%C3%BC"),
        ("a-_.~", "a-_.~"),
    ],
)  # fmt: skip
def test_names_are_percent_encoded(name: str, label: str) -> None:
    world = World(core(), answer())
    world.invoke(name)
    assert world.sent[0].target == f"/2015-03-31/functions/{label}/invocations"


@pytest.mark.parametrize("function", ["", None, 5, ".", "..", "\ud800", InvokeRequest()])
def test_without_a_name_nothing_is_sent(function: Any) -> None:
    world = World(core())
    with pytest.raises(ValidationError):
        world.invoke(function)
    assert world.sent == []


@pytest.mark.parametrize(
    "options",
    [
        {"tenant_id": "a\r\nx-evil: 1"},
        {"tenant_id": "é"},
        {"tenant_id": 5},
        {"qualifier": 1},
        {"client_context": 5},
        {"client_context": "x" * 3584},
        {"client_context": {"custom": "x" * 3000}},
        {"client_context": {"custom": object()}},
        {"log_type": "\x00"},
    ],
)
def test_members_that_cannot_be_sent_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        World(core()).invoke(**options)


def test_an_option_that_no_call_has_is_an_error_of_the_program() -> None:
    with pytest.raises(TypeError, match="qualifer"):
        World(core()).invoke(qualifer="1")


def test_a_request_is_a_value() -> None:
    request = InvokeRequest(function="hello", payload={"a": 1}, client_context={"custom": {}}, log_tail=True)
    assert request == InvokeRequest(
        function="hello", payload={"a": 1}, client_context={"custom": {}}, log_type=LogType.TAIL
    )
    assert hash(request) == hash(dataclasses.replace(request))
    assert pickle.loads(pickle.dumps(request)) == request
    assert pickle.loads(pickle.dumps(InvokeRequest())).payload is UNSET
    assert dataclasses.replace(InvokeRequest(), function="f").function == "f"
    assert dataclasses.replace(request, log_type=None).log_type is None


def test_a_request_does_not_show_its_payload() -> None:
    shown = repr(InvokeRequest(function="hello", payload=b'{"secret": "x"}xx'))
    assert shown == "InvokeRequest(function='hello', payload=<17 bytes>)"
    assert "<object>" in repr(InvokeRequest(payload=object()))


def test_a_request_has_boto3s_shape() -> None:
    members = {
        "FunctionName": "hello",
        "InvocationType": "Event",
        "LogType": "Tail",
        "ClientContext": "e30=",
        "Payload": b"{}",
        "Qualifier": "1",
        "TenantId": "t",
        "DurableExecutionName": "d",
    }
    request = InvokeRequest.from_dict(members)
    assert request.to_dict() == members
    assert InvokeRequest().to_dict() == {}
    assert InvokeRequest(payload=None).to_dict() == {"Payload": b"null"}
    with pytest.raises(ValidationError, match="Functionname"):
        InvokeRequest.from_dict({"Functionname": "hello"})


def test_arguments_win_over_the_members_of_a_request() -> None:
    request = InvokeRequest(function="hello", payload=b"1", qualifier="1", log_type="Tail")
    world = World(core(), answer(), answer())
    world.invoke(request, UNSET)
    world.invoke(request, b"2", qualifier="2")
    assert [each.body for each in world.sent] == [b"1", b"2"]
    assert [each.target[-1] for each in world.sent] == ["1", "2"]
    assert {each.headers["x-amz-log-type"] for each in world.sent} == {"Tail"}


def test_keys_are_not_shown() -> None:
    shown = repr(Credentials("AKID", "secret", "token"))
    assert shown == "Credentials(access_key_id='AKID')"


def test_hooks_see_each_attempt_before_it_is_signed_and_after_it_is_answered() -> None:
    seen: list[tuple[str, int, str | None, bool]] = []
    answered: list[tuple[int, int]] = []

    def before_sign(request: HttpRequest) -> HttpRequest:
        seen.append((request.operation, request.attempt, request.region, "authorization" in request.headers))
        request.headers["X-Amz-Extra"] = "1"
        request.body += b"!"
        return request

    made = core(
        before_sign=before_sign,
        after_response=lambda request, response: answered.append((request.attempt, response.status_code)),
    )
    world = World(made, answer(429, b"{}"), answer())
    world.invoke(payload=b"x")

    assert seen == [("Invoke", 1, "us-east-1", False), ("Invoke", 2, "us-east-1", False)]
    assert answered == [(1, 429), (2, 200)]
    assert "x-amz-extra" in world.sent[1].headers["authorization"]
    assert (world.sent[1].body, world.sent[1].headers["content-length"]) == (b"x!", "2")


def test_a_hook_may_send_a_request_elsewhere() -> None:
    def before_sign(request: HttpRequest) -> HttpRequest:
        return dataclasses.replace(request, url="https://other.example/p?q=1")

    world = World(core(before_sign=before_sign), answer())
    world.invoke()
    exchange = world.sent[0]
    assert (exchange.endpoint.url, exchange.target) == ("https://other.example", "/p?q=1")
    assert exchange.headers["host"] == "other.example"


def test_record_lists_requests_as_they_were_signed() -> None:
    made = core()
    with made.record() as outer, made.record() as inner:
        World(made, answer()).invoke(payload=b"1")
    World(made, answer()).invoke()
    assert len(outer) == len(inner) == 1
    assert outer[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/")
    assert outer[0].url == "http://127.0.0.1:3001/2015-03-31/functions/hello/invocations"
    assert (outer[0].method, outer[0].body) == ("POST", b"1")


def test_the_chain_of_calls_is_passed_on_inside_a_function() -> None:
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "caller", "_X_AMZN_TRACE_ID": "Root=1-2-3;Lineage=a:1 é"}
    world = World(core(environ=environ), answer())
    world.invoke()
    assert world.sent[0].headers["x-amzn-trace-id"] == "Root=1-2-3;Lineage=a:1%20%C3%A9"
    assert "x-amzn-trace-id" not in world.sent[0].headers["authorization"]
    for missing in environ:
        world = World(core(environ={name: environ[name] for name in environ if name != missing}), answer())
        world.invoke()
        assert "x-amzn-trace-id" not in world.sent[0].headers
