"""Answers of the service: results, errors, and what is none; and what boto3 makes of the same bytes."""

from __future__ import annotations

import base64
import gzip
import io
import pickle
import re
import zlib
from dataclasses import dataclass
from http.client import parse_headers
from typing import Any, Literal, NotRequired, TypedDict

import botocore.parsers
import botocore.session
import pydantic
import pytest
from botocore.awsrequest import HeadersDict
from tests.client_steps import REQUEST_ID, World, answer, core

from lambent.client import (
    DecodingError,
    FunctionError,
    HttpResponse,
    InvokeResult,
    LambentError,
    ResourceNotFoundException,
    ServiceError,
    TooManyRequestsException,
    TransportError,
    errors,
)
from lambent.client.messages import Headers

MODEL = botocore.session.get_session().get_service_model("lambda")
PARSER = botocore.parsers.create_parser("rest-json")

# As clients of every kind were seen to take them. Source: docs/aws-behaviour.md, clients 1.
SUCCESS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n"
    b"x-amzn-RequestId: 11111111-2222-3333-4444-555555555555\r\nDate: Fri, 20 Nov 2026 19:39:07 GMT\r\n"
    b'X-Amz-Executed-Version: $LATEST\r\nX-Amz-Log-Result: U1RBUlQK\r\n\r\n{"a":1}'
)
FAILURE = SUCCESS.replace(b"\r\n\r\n", b"\r\nX-Amz-Function-Error: Unhandled\r\n\r\n").replace(
    b'{"a":1}', b'{"errorMessage":"boom","errorType":"ValueError","stackTrace":[]}'
).replace(b"Content-Length: 7", b"Content-Length: 64")  # fmt: skip
EVENT = (
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n"
    b"x-amzn-RequestId: 11111111-2222-3333-4444-555555555555\r\n\r\n"
)
DRY_RUN = b"HTTP/1.1 204 No Content\r\nx-amzn-RequestId: 11111111-2222-3333-4444-555555555555\r\n\r\n"
NOT_FOUND = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 59\r\n"
    b"x-amzn-RequestId: 11111111-2222-3333-4444-555555555555\r\n"
    b"x-amzn-ErrorType: ResourceNotFoundException\r\n\r\n"
    b'{"Type": "User", "Message": "Function not found: notfound"}'
)
THROTTLE = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 108\r\n"
    b"x-amzn-RequestId: 11111111-2222-3333-4444-555555555555\r\n"
    b"x-amzn-ErrorType: TooManyRequestsException\r\nx-amz-retry-after: 1000\r\nRetry-After: 1\r\n\r\n"
    b'{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."}'
)
HTML = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 19\r\n\r\n<html>sorry</html>\n"
GOLDEN = {
    "success": SUCCESS,
    "failure": FAILURE,
    "event": EVENT,
    "dry run": DRY_RUN,
    "not found": NOT_FOUND,
    "throttle": THROTTLE,
    "a proxy's page": HTML,
    "namespace": NOT_FOUND.replace(b"ResourceNotFound", b"com.amazonaws.lambda#ResourceNotFound"),
    "link": NOT_FOUND.replace(b"Exception\r\n", b"Exception:http://internal.amazon.com/x/\r\n"),
    "unknown code": NOT_FOUND.replace(b"ResourceNotFound", b"NobodyKnows"),
    "code in the body": NOT_FOUND.replace(b"x-amzn-ErrorType: ResourceNotFoundException\r\n", b"").replace(
        b'"Type": "User"', b'"__type": "a.b#ResourceNotFoundException"'
    ),
}  # fmt: skip


def response(wire: bytes) -> HttpResponse:
    head, _, body = wire.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    _, status, reason = line.split(b" ", 2)
    headers = parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    return HttpResponse(int(status), Headers(headers.items()), body, reason.decode())


def by_boto3(received: HttpResponse) -> dict[str, Any]:
    headers = HeadersDict(received.headers.items())
    members: dict[str, Any] = PARSER.parse(
        {
            "status_code": received.status_code,
            "headers": headers,
            "body": received.body if received.status_code >= 300 else io.BytesIO(received.body),
        },
        MODEL.operation_model("Invoke").output_shape,
    )
    return members


def ours(received: HttpResponse, **options: Any) -> Any:
    try:
        return World(core(retries=1), received).invoke(**options)
    except LambentError as error:
        return error


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_answers_mean_what_they_mean_to_boto3(name: str) -> None:
    received = response(GOLDEN[name])
    expected = by_boto3(received)
    found = ours(received)

    if "Error" in expected:
        assert isinstance(found, ServiceError)
        assert found.code == expected["Error"]["Code"]
        # boto3 takes the reason from a table of its own.
        if name != "a proxy's page":
            assert found.message == expected["Error"]["Message"]
        assert found.status_code == expected["ResponseMetadata"]["HTTPStatusCode"]
        assert found.request_id == expected["ResponseMetadata"].get("RequestId")
    else:
        expected["Payload"] = expected["Payload"].read()
        told = expected.pop("ResponseMetadata")
        assert found.to_dict() == expected
        assert found.request_id == told["RequestId"]


def test_success() -> None:
    result = ours(response(SUCCESS))
    assert result.value() == {"a": 1}
    assert (result.logs, result.executed_version, result.attempts) == ("START\n", "$LATEST", 1)
    assert result.headers["CONTENT-type"] == "application/json"
    assert len(result.timings) == 1


def test_a_function_error_is_a_result_until_its_value_is_asked_for() -> None:
    result = ours(response(FAILURE))
    assert result.function_error == "Unhandled"
    with pytest.raises(FunctionError, match="ValueError: boom") as caught:
        result.value()
    error = caught.value
    assert (error.type, error.message, error.stack_trace, error.logs) == ("ValueError", "boom", (), "START\n")
    assert (error.result, error.may_have_run, error.attempts) == (result, True, 1)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"errorMessage":"m","errorType":"t","stackTrace":["a","b"]}', ("t", "m", ("a", "b"))),
        (b'{"errorMessage":"m","trace":["a"]}', ("", "m", ("a",))),
        (b'{"errorMessage":null}', ("", "", ())),
        (b'{"errorMessage":{"a":1},"errorType":"t"}', ("t", '{"a": 1}', ())),
        (b'{"stackTrace":[["f.py",1]]}', ("", "", ('["f.py", 1]',))),
        (b'"text"', ("", "text", ())),
        (b"[]", ("", "", ())),
        (b"not JSON", ("", "not JSON", ())),
        (b"", ("", "", ())),
    ],
)
def test_errors_of_all_runtimes_are_read(payload: bytes, expected: tuple[str, str, tuple[str, ...]]) -> None:
    with pytest.raises(FunctionError) as caught:
        InvokeResult(200, payload, "Unhandled").value()
    assert (caught.value.type, caught.value.message, caught.value.stack_trace) == expected


def test_404_and_429_have_their_classes() -> None:
    assert isinstance(ours(response(NOT_FOUND)), ResourceNotFoundException)
    throttle = ours(response(THROTTLE))
    assert isinstance(throttle, TooManyRequestsException)
    assert throttle.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert throttle.retry_after == 1.0
    assert not throttle.may_have_run


def test_a_proxys_page_is_told_by_its_status() -> None:
    error = ours(response(HTML))
    assert type(error) is ServiceError
    assert (error.code, error.message, error.may_have_run) == ("503", "Service Unavailable", True)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"message": 5}', b"[" * 100_000, b"\xff"])
def test_any_body_of_an_error_is_an_error(body: bytes) -> None:
    error = ours(answer(400, body, x_amzn_errortype="ResourceConflictException"))
    assert type(error) is errors.ResourceConflictException


def test_there_is_a_class_for_every_error_of_the_model() -> None:
    modelled = {shape.name for shape in MODEL.operation_model("Invoke").error_shapes}
    modelled |= {shape.name for shape in MODEL.operation_model("InvokeWithResponseStream").error_shapes}
    unmodelled = {
        "AccessDeniedException",
        "ValidationException",
        "RequestEntityTooLargeException",
        "InvalidSignatureException",
    }
    assert set(errors.SERVICE_ERRORS) == modelled | unmodelled


@pytest.mark.parametrize(
    "received",
    [
        HttpResponse(200, Headers({"content-length": "2"}), b"{}"),
        HttpResponse(200, Headers({"x-amzn-requestid": "r"}), b"{}"),
        HttpResponse(202, Headers({"content-length": "0"})),
        HttpResponse(304, Headers()),
        HttpResponse(302, Headers({"location": "http://elsewhere/"})),
        HttpResponse(103, Headers()),
    ],
    ids=lambda received: str(received.status_code),
)
def test_what_is_no_whole_answer_of_the_service(received: HttpResponse) -> None:
    error = ours(received)
    assert isinstance(error, TransportError)
    assert error.may_have_run


def test_a_chunked_answer_needs_no_length() -> None:
    received = HttpResponse(200, Headers({"x-amzn-requestid": "r", "transfer-encoding": "chunked"}), b"1")
    assert ours(received).value() == 1


def test_what_a_proxy_compressed_is_unpacked() -> None:
    packed = {
        "gzip": gzip.compress(b'{"a":1}'),
        "deflate": zlib.compress(b'{"a":1}'),
        "identity": b'{"a":1}',
    }
    for name, body in packed.items():
        assert ours(answer(200, body, content_encoding=name)).value() == {"a": 1}
    for name, body in (("gzip", b"\x1f\x8b..."), ("gzip", packed["gzip"][:-3]), ("br", b"x")):
        error = ours(answer(200, body, content_encoding=name))
        assert isinstance(error, TransportError)
        assert error.may_have_run
    assert ours(answer(503, b"x", content_encoding="br")).code == "503"
    assert ours(answer(404, gzip.compress(b'{"Message":"m"}'), content_encoding="gzip")).message == "m"


# ---------------------------------------------------------------- decoding


@dataclass
class Item:
    name: str
    price: float = 0.0


@dataclass
class Order:
    id: int
    items: list[Item]
    note: str | None = None
    tags: dict[str, int] | None = None


class Person(TypedDict):
    name: str
    age: NotRequired[int]


class Account(pydantic.BaseModel):
    id: int


@pytest.mark.parametrize(
    ("returns", "payload", "value"),
    [
        (None, b'{"a":[null]}', {"a": [None]}),
        (bytes, b"\xff", b"\xff"),
        (Order, b'{"id":1,"items":[{"name":"x","price":2}],"new":0}', Order(1, [Item("x", 2.0)])),
        (Order, b'{"id":1,"items":[],"note":null,"tags":{"a":1}}', Order(1, [], None, {"a": 1})),
        (Person, b'{"name":"Ada"}', {"name": "Ada"}),
        (Account, b'{"id":5}', Account(id=5)),
        (list[Item], b'[{"name":"x"}]', [Item("x")]),
        (dict[str, Account], b'{"a":{"id":5}}', {"a": Account(id=5)}),
        (tuple[int, str], b'[1,"x"]', (1, "x")),
        (Literal["a", "b"], b'"a"', "a"),
        (int, b"3", 3),
        (float, b"3", 3.0),
    ],
    ids=repr,
)
def test_values_are_of_the_type_asked_for(returns: Any, payload: bytes, value: Any) -> None:
    found = InvokeResult(200, payload, returns=returns).value()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("returns", "payload", "told"),
    [
        (None, b"", "Expecting value"),
        (None, b"<html>", "Expecting value"),
        (None, b"\xff\xfe{", ""),
        (None, b"[" * 100_000, "nested"),
        (Order, b'{"id":1}', r"\$ has no items"),
        (Order, b'{"id":"1","items":[]}', r"\$\.id is a string, not int"),
        (Order, b'{"id":true,"items":[]}', r"\$\.id is true, not int"),
        (Order, b'{"id":1,"items":[{"name":null}]}', r"\$\.items\[0\]\.name is null, not str"),
        (Order, b'{"id":1,"items":[],"note":5}', r"\$\.note is 5, not str"),
        (Order, b"[]", r"\$ is an array, not Order"),
        (Person, b'{"age":1}', r"\$ has no name"),
        (Account, b'{"id":"x"}', "Account"),
        (tuple[int, str], b"[1]", "1 items, not 2"),
        (Literal["a"], b'"c"', "Literal"),
        (complex, b"1", "cannot be read as"),
    ],
)
def test_what_does_not_fit_says_where(returns: Any, payload: bytes, told: str) -> None:
    result = InvokeResult(200, payload, returns=returns)
    with pytest.raises(DecodingError) as caught:
        result.value()
    assert re.search(told, str(caught.value))
    assert caught.value.result is result
    assert caught.value.may_have_run


def test_events_and_dry_runs_have_no_value() -> None:
    assert ours(response(EVENT)).value() is None
    assert ours(response(DRY_RUN)).value() is None


def test_results_can_be_made_by_hand_compared_and_pickled() -> None:
    result = InvokeResult(200, b'{"a":1}', headers=Headers({"X": "1"}))
    assert result == InvokeResult(200, b'{"a":1}', headers=Headers({"x": "1"}))
    assert pickle.loads(pickle.dumps(result)) == result
    assert "payload" not in repr(result)
    assert InvokeResult().to_dict() == {"StatusCode": 200, "Payload": b""}


def test_logs_that_are_cut_within_a_character_are_read() -> None:
    cut = base64.b64encode("é".encode()[1:] + b" end").decode()
    assert InvokeResult(log_result=cut).logs == "\ufffd end"
    assert InvokeResult(log_result="%%%").logs == ""
    assert InvokeResult().logs == ""


@pytest.mark.parametrize("kind", [*errors.SERVICE_ERRORS.values(), ServiceError])
def test_errors_of_the_service_survive_pickling(kind: type[ServiceError]) -> None:
    error = kind("Code", "text", status_code=400, request_id=REQUEST_ID, attempts=2)
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is kind
    assert (copied.__dict__, str(copied)) == (error.__dict__, str(error))


def test_all_other_errors_survive_pickling() -> None:
    result: InvokeResult[Any] = InvokeResult(200, b"x", "Unhandled")
    made: list[LambentError] = [
        FunctionError("t", "m", result=result, stack_trace=("a",)),
        TransportError("x", may_have_run=True),
        errors.CallTimeout("x", phase="read", may_have_run=True),
        DecodingError("x", result=result),
        errors.ValidationError("x"),
        errors.ConfigurationError("x"),
    ]
    for error in made:
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), copied.__dict__, str(copied)) == (type(error), error.__dict__, str(error))


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(errors.CallTimeout, TimeoutError)
    assert issubclass(errors.DecodingError, ValueError)
    assert issubclass(errors.ValidationError, ValueError)
