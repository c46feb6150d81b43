"""Functions in the tests' own process answer as the service does."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from lambent.client import (
    AsyncLambda,
    FunctionError,
    InvalidParameterValueException,
    InvalidRequestContentException,
    InvokeResult,
    Lambda,
    RequestEntityTooLargeException,
    ResourceNotFoundException,
    ValidationException,
)

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:hello"


def echo(event: Any, context: Any) -> Any:
    return event


def describe(event: Any, context: Any) -> Any:
    return [context.function_name, context.function_version, context.invoked_function_arn]


def result_of(handler: Any, payload: object = None, **options: Any) -> InvokeResult[Any]:
    with Lambda.local({"hello": handler}) as client:
        return client.invoke("hello", payload, **options)


# ----------------------------------------------------------------- events and results


def test_event_and_result_make_the_round_trip_through_json() -> None:
    class Point(NamedTuple):
        x: int
        y: int

    seen = []

    def handler(event: Any, context: Any) -> Any:
        seen.append(event)
        return {"tuple": (1, 2), "point": Point(3, 4), "decimal": Decimal("1.50"), 5: b"bytes"}

    result = result_of(handler, {1: (2, 3), "text": "ä"})

    assert seen == [{"1": [2, 3], "text": "ä"}]
    assert result.payload.startswith(b'{"tuple": [1, 2], "point": {"x": 3, "y": 4}, "decimal": 1.50, ')
    assert result.value()["5"] == "bytes"


@pytest.mark.parametrize("value", [None, "text", 3, 1.5, True, [], {}, {"a": [None]}])
def test_any_json_value_is_an_event_and_a_result(value: object) -> None:
    result = result_of(echo, value)

    assert result.value() == value
    assert result.status_code == 200
    assert result.executed_version == "$LATEST"


def test_absent_payload_is_an_empty_object() -> None:
    with Lambda.local({"hello": echo}) as client:
        assert client.invoke("hello").payload == b"{}"
        assert client.invoke("hello", b"").payload == b"{}"


def test_handler_gets_a_copy_and_so_does_the_caller() -> None:
    kept = {"list": [1]}

    def handler(event: Any, context: Any) -> Any:
        event["list"].append(2)
        return kept

    sent = {"list": [1]}
    value = result_of(handler, sent).value()
    value["list"].append(3)

    assert sent == {"list": [1]}
    assert kept == {"list": [1]}


def test_bytes_of_a_handler_are_the_payload() -> None:
    result = result_of(lambda event, context: b"\x00not json")

    assert result.payload == b"\x00not json"
    assert result.headers["Content-Type"] == "application/unknown"


def test_payload_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidRequestContentException, match="Could not parse request body into json"):
        result_of(echo, b"{half")


@pytest.mark.parametrize("payload", [b"NaN", b"\xff", b"[" * 100_000])
def test_what_the_service_takes_for_no_json_is_none_here(payload: bytes) -> None:
    with pytest.raises(InvalidRequestContentException):
        result_of(echo, payload)


def test_event_that_is_too_large_to_be_queued() -> None:
    with Lambda.local({"hello": echo}) as client:
        large = "x" * 1_100_000
        assert client.invoke("hello", large).value() == large
        with pytest.raises(RequestEntityTooLargeException, match="too large for the Event invocation type"):
            client.send("hello", large)


# ----------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name",
    [
        "hello",
        "hello:prod",
        "function:hello",
        "123456789012:hello",
        "123456789012:function:hello:7",
        "eu-west-1:123456789012:function:hello",
        ARN,
        f"{ARN}:prod",
        f"{ARN}:$LATEST",
    ],
)
def test_name_of_any_form_finds_its_handler(name: str) -> None:
    with Lambda.local({"other": describe, "hello": echo}) as client:
        assert client.invoke(name, "found").value() == "found"


@pytest.mark.parametrize("key", ["hello", "function:hello", ARN])
def test_handlers_may_be_named_in_any_form(key: str) -> None:
    with Lambda.local({key: echo}) as client:
        assert client.invoke("hello", "found").value() == "found"


def test_qualifier_chooses_its_own_handler_before_that_of_the_bare_name() -> None:
    with Lambda.local({"hello": lambda e, c: "any", "hello:prod": lambda e, c: "prod"}) as client:
        assert client.invoke("hello:prod").value() == "prod"
        assert client.invoke("hello", qualifier="prod").value() == "prod"
        assert client.invoke("hello", qualifier="dev").value() == "any"
        assert client.invoke("hello").value() == "any"


def test_unknown_names_are_refused_as_by_the_service() -> None:
    with Lambda.local({"hello:prod": echo}) as client:
        with pytest.raises(ResourceNotFoundException, match=r"function:bye:\$LATEST") as caught:
            client.invoke("bye")
        assert caught.value.status_code == 404
        assert not caught.value.may_have_run
        with pytest.raises(ResourceNotFoundException, match="function:hello:dev"):
            client.invoke("hello:dev")
        with pytest.raises(ValidationException, match="functionName"):
            client.invoke("hello world")
        with pytest.raises(InvalidParameterValueException):
            client.invoke("hello:prod", qualifier="dev")


@pytest.mark.parametrize("key", ["hello world", "", "a:b:c:d"])
def test_handler_under_no_functions_name_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="no function can be called"):
        Lambda.local({key: echo})


def test_two_handlers_of_one_function_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="has a handler already"):
        Lambda.local({"hello": echo, ARN: echo})


def test_handler_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="'hello'"):
        Lambda.local({"hello": "app.handler"})  # type: ignore[dict-item]


# ----------------------------------------------------------------- the context


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hello", ["hello", "$LATEST", "arn:aws:lambda:us-east-1:000000000000:function:hello"]),
        ("hello:7", ["hello", "7", "arn:aws:lambda:us-east-1:000000000000:function:hello:7"]),
        (f"{ARN}:prod", ["hello", "$LATEST", f"{ARN}:prod"]),
    ],
)
def test_context_tells_what_was_called(name: str, expected: list[str]) -> None:
    with Lambda.local({"hello": describe}) as client:
        assert client.invoke(name).value() == expected


def test_arn_has_the_clients_region() -> None:
    with Lambda.local({"hello": describe}, region_name="eu-central-1") as client:
        assert client.invoke("hello").value()[2].split(":")[3] == "eu-central-1"


def test_context_has_everything_that_handlers_read() -> None:
    contexts: list[Any] = []

    def handler(event: Any, context: Any) -> Any:
        contexts.append(context)

    result = result_of(
        handler, client_context={"custom": {"a": 1}, "client": {"app_title": "shop"}}, tenant_id="blue"
    )

    (context,) = contexts
    assert context.aws_request_id == result.request_id
    assert context.memory_limit_in_mb == "128"
    assert context.log_group_name == "/aws/lambda/hello"
    assert context.log_stream_name.endswith("[$LATEST]" + "0" * 32)
    assert context.client_context.custom == {"a": 1}
    assert context.client_context.client.app_title == "shop"
    assert context.identity.cognito_identity_id is None
    assert context.tenant_id == "blue"
    assert 0 < context.get_remaining_time_in_millis() <= 900_000


def test_client_context_that_is_no_json_object_is_refused() -> None:
    with pytest.raises(InvalidRequestContentException, match="Client context must be"):
        result_of(echo, client_context="W10=")


def test_request_ids_differ() -> None:
    with Lambda.local({"hello": echo}) as client:
        assert len({client.invoke("hello").request_id for _ in range(20)}) == 20


# ----------------------------------------------------------------- errors


def fail(event: Any, context: Any) -> Any:
    raise ValueError("no such order")


def test_exception_is_a_function_error_and_not_a_refusal() -> None:
    result = result_of(fail)

    assert result.status_code == 200
    assert result.function_error == "Unhandled"
    assert list(json.loads(result.payload)) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    with pytest.raises(FunctionError) as caught:
        result.value()
    assert caught.value.type == "ValueError"
    assert caught.value.message == "no such order"
    assert caught.value.may_have_run
    (frame,) = caught.value.stack_trace
    assert __file__ in frame
    assert 'raise ValueError("no such order")' in frame


def test_result_that_is_no_json_is_the_runtimes_error() -> None:
    with pytest.raises(FunctionError) as caught:
        result_of(lambda event, context: {1, 2}).value()

    assert caught.value.type == "Runtime.MarshalError"
    assert caught.value.message == "Unable to marshal response: Object of type set is not JSON serializable"
    assert caught.value.stack_trace == ()


def test_coroutine_is_no_result_as_on_aws() -> None:
    async def handler(event: Any, context: Any) -> Any:
        return event

    made = []

    def keeping(event: Any, context: Any) -> Any:
        made.append(handler(event, context))
        return made[0]

    with pytest.raises(FunctionError, match="coroutine is not JSON serializable"):
        result_of(keeping).value()
    made[0].close()


@pytest.mark.parametrize(
    ("code", "text"),
    [(None, "without providing a reason"), (3, "with error: exit status 3"), ("x", "status 1")],
)
def test_exit_of_the_process_does_not_end_the_test(code: Any, text: str) -> None:
    with pytest.raises(FunctionError, match=text) as caught:
        result_of(lambda event, context: sys.exit(code)).value()

    assert caught.value.type == "Runtime.ExitError"


def test_ctrl_c_ends_the_test() -> None:
    def handler(event: Any, context: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result_of(handler)


def test_handler_of_the_wrong_shape_is_its_own_error() -> None:
    with pytest.raises(FunctionError) as caught:
        result_of(lambda event: event).value()

    assert caught.value.type == "TypeError"


def test_response_that_is_too_large() -> None:
    with pytest.raises(FunctionError, match="Response payload size exceeded") as caught:
        result_of(lambda event, context: "x" * 6_291_600).value()

    assert caught.value.type == "Function.ResponseSizeTooLarge"


# ----------------------------------------------------------------- logs


def talk(event: Any, context: Any) -> Any:
    print("printed")
    print("to stderr", file=sys.stderr)
    logging.getLogger("shop").warning("logged %d", 7)
    context.log("as it is\n")
    if event == "fail":
        raise ValueError("boom")


def test_log_tail_holds_what_was_printed_and_logged(capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(talk, log_tail=True)

    lines = result.logs.splitlines()
    assert lines[0] == f"START RequestId: {result.request_id} Version: $LATEST"
    assert lines[1:3] == ["printed", "to stderr"]
    level, _, request_id, message = lines[3].split("\t")
    assert (level, request_id, message) == ("[WARNING]", result.request_id, "logged 7")
    assert lines[4:6] == ["as it is", f"END RequestId: {result.request_id}"]
    assert lines[6].startswith(f"REPORT RequestId: {result.request_id}\tDuration: ")
    # The test's own capture sees it too.
    assert capsys.readouterr().out.startswith("printed\n")


def test_error_tells_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FunctionError) as caught:
        result_of(talk, "fail", log_tail=True).value()

    assert "[ERROR] ValueError: boom\nTraceback (most recent call last):\n" in caught.value.logs


def test_log_is_not_sent_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(talk)

    assert result.log_result is None
    assert result.logs == ""


def test_streams_and_loggers_are_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr, list(logging.getLogger().handlers)

    result_of(talk, "fail", log_tail=True)

    assert (sys.stdout, sys.stderr, list(logging.getLogger().handlers)) == before


def test_tail_is_the_last_4_kb() -> None:
    result = result_of(lambda event, context: print("x" * 10_000), log_tail=True)

    assert len(result.logs) == 4096
    assert "REPORT" in result.logs


def test_logs_of_invocations_at_the_same_time_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    both = threading.Barrier(2)

    def handler(event: Any, context: Any) -> Any:
        for _ in range(50):
            both.wait(20)
            print(event)

    logs = {}
    with Lambda.local({"hello": handler}) as client:
        threads = [
            threading.Thread(
                target=lambda name=name: logs.update({name: client.invoke("hello", name, log_tail=True).logs})
            )
            for name in ("first", "second")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for name, log in logs.items():
        assert log.splitlines()[1:-2] == [name] * 50


# ----------------------------------------------------------------- the other ways to call


def test_send_runs_the_handler_before_it_returns(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def handler(event: Any, context: Any) -> Any:
        seen.append((event, context.aws_request_id, context.client_context))
        raise ValueError("nobody is told")

    with Lambda.local({"hello": handler}) as client:
        request_id = client.send("hello", 1, client_context={"custom": {}})

    assert seen == [(1, request_id, None)]
    assert "nobody is told" in caplog.text


def test_check_runs_nothing() -> None:
    with Lambda.local({"hello": fail}) as client:
        client.check("hello")
        with pytest.raises(ResourceNotFoundException):
            client.check("bye")


def test_unknown_invocation_type_is_refused() -> None:
    with pytest.raises(ValidationException, match="invocationType"):
        result_of(echo, invocation_type="Later")


def test_map_keeps_the_order() -> None:
    with Lambda.local({"double": lambda event, context: 2 * event}) as client:
        assert list(client.map("double", range(50), concurrency=8)) == [2 * n for n in range(50)]
        assert sorted(client.map_unordered("double", [5, 6])) == [(0, 10), (1, 12)]


def test_bound_function_decodes_and_raises() -> None:
    with Lambda.local({"hello": echo, "fail": fail}) as client:
        assert client.function("hello")({"a": 1}) == {"a": 1}
        with pytest.raises(FunctionError, match="no such order"):
            client.function("fail")()


def test_stream_gives_the_whole_result() -> None:
    with Lambda.local({"hello": echo, "fail": fail}) as client:
        with client.stream("hello", [1, 2], log_tail=True) as stream:
            assert stream.executed_version == "$LATEST"
            assert b"".join(stream) == b"[1, 2]"
            assert "REPORT" in stream.logs
        with pytest.raises(FunctionError, match="no such order"):
            b"".join(client.stream("fail"))


def test_waiters_find_the_function_active() -> None:
    with Lambda.local({"hello": echo}) as client:
        client.wait_until_active("hello")
        client.wait_until_updated("hello")
        with pytest.raises(ResourceNotFoundException):
            client.wait_until_active("bye", timeout=0.1)


def test_recorded_requests_are_signed() -> None:
    with Lambda.local({"hello": echo}) as client, client.record() as sent:
        client.invoke("hello", {"a": 1}, qualifier="prod")

    (request,) = sent
    assert request.method == "POST"
    assert request.url.endswith("/2015-03-31/functions/hello/invocations?Qualifier=prod")
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert request.body == b'{"a":1}'


def test_options_are_those_of_a_client() -> None:
    attempts: list[Any] = []
    with Lambda.local({"hello": echo}, after_response=lambda *seen: attempts.append(seen)) as client:
        client.invoke("hello")

    assert [response.status_code for _, response in attempts] == [200]


def test_function_calls_another_through_the_same_client() -> None:
    with Lambda.local(
        {
            "inner": lambda event, context: event + 1,
            "outer": lambda event, context: client.invoke("inner", event).value(),
        }
    ) as client:
        assert client.invoke("outer", 1).value() == 2


# ----------------------------------------------------------------- asyncio


def test_async_client_runs_them_too() -> None:
    async def run() -> list[Any]:
        async with AsyncLambda.local({"double": lambda event, context: 2 * event, "fail": fail}) as client:
            values = [value async for value in client.map("double", range(20))]
            assert (await client.invoke("double", 4, log_tail=True)).logs.startswith("START")
            assert await client.send("double", 1)
            with pytest.raises(FunctionError, match="no such order"):
                await client.function("fail")()
            return values

    assert asyncio.run(run()) == [2 * n for n in range(20)]


def test_async_client_does_not_hold_the_loop_up() -> None:
    both = threading.Barrier(2)

    async def run() -> None:
        async with AsyncLambda.local({"hello": lambda event, context: both.wait(20)}) as client:
            await asyncio.gather(client.invoke("hello"), client.invoke("hello"))

    asyncio.run(run())
