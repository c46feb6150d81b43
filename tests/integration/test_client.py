"""Both clients against a real server, with the functions that people write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lambent.client
from lambent.client import (
    UNSIGNED,
    AsyncLambda,
    CallTimeout,
    Credentials,
    FunctionError,
    InvalidRequestContentException,
    InvalidSignatureException,
    Lambda,
    ResourceNotFoundException,
    ServiceError,
    Timeout,
    TooManyRequestsException,
    TransportError,
    ValidationException,
)
from lambent.model.errors import INVOKE_ERRORS
from tests.client_faults.callers import Caller, caller
from tests.integration.conftest import Functions, RunningServer, running_server
from tests.integration.events_harness import control

KEYS = Credentials("test", "secret")
SOURCE = """
import json, os, time
def handler(event, context):
    if event == "fail":
        print("failing")
        raise ValueError("boom")
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    custom = context.client_context.custom if context.client_context else None
    return {"event": event, "version": context.function_version, "custom": custom}
"""


@pytest.fixture(params=["sync", "async"])
def made(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Caller]:
    with caller(request.param, server.url) as found:
        yield found


@pytest.fixture
def name(deploy: Callable[..., str]) -> str:
    return deploy(SOURCE)


def test_a_call_and_its_result(made: Caller, name: str) -> None:
    result = made.invoke(name, {"a": "é"}, client_context={"custom": {"k": "v"}}, log_tail=True)
    assert result.value() == {"event": {"a": "é"}, "version": "$LATEST", "custom": {"k": "v"}}
    assert (result.status_code, result.executed_version, result.function_error) == (200, "$LATEST", None)
    assert "START RequestId: " in result.logs
    assert str(result.request_id) in result.logs


def test_a_function_that_fails(made: Caller, name: str) -> None:
    result = made.invoke(name, "fail", log_tail=True)
    with pytest.raises(FunctionError) as caught:
        result.value()
    assert (caught.value.type, caught.value.message) == ("ValueError", "boom")
    assert "failing" in caught.value.logs
    assert any("handler" in line for line in caught.value.stack_trace)


def test_refusals_of_the_service(made: Caller, name: str) -> None:
    with pytest.raises(ResourceNotFoundException) as caught:
        made.invoke("nobody")
    assert not caught.value.may_have_run
    with pytest.raises(InvalidRequestContentException):
        made.invoke(name, b"{")


def test_events_and_dry_runs(server: RunningServer, name: str) -> None:
    with Lambda(endpoint_url=server.url, region_name="us-east-1", credentials=KEYS) as lam:
        assert len(lam.send(name, 1)) == 36
        lam.check(name)
        with pytest.raises(ResourceNotFoundException):
            lam.check("nobody")
        with pytest.raises(ResourceNotFoundException):
            lam.send("nobody")
        assert lam.invoke(name, 1, invocation_type="Event").value() is None


def test_a_map(made: Caller, name: str) -> None:
    found = made.map(name, range(40), concurrency=8)
    assert [each["event"] for each in found] == list(range(40))


def test_waiters(server: RunningServer, client: Any, name: str) -> None:
    with Lambda(endpoint_url=server.url, region_name="us-east-1", credentials=KEYS) as lam:
        lam.wait_until_active(name)
        client.update_function_configuration(FunctionName=name, Timeout=7)
        lam.wait_until_updated(name, timeout=30)
        with pytest.raises(ResourceNotFoundException):
            lam.wait_until_active("nobody")


def test_an_answer_as_a_stream(made: Caller, name: str) -> None:
    assert json.loads(made.read_stream(name, "x" * 300_000))["event"] == "x" * 300_000


def test_a_stream_of_a_function_that_fails(made: Caller, name: str) -> None:
    with pytest.raises(FunctionError) as caught:
        made.read_stream(name, "fail", log_tail=True)
    error = caught.value
    assert (error.type, error.message, error.may_have_run) == ("ValueError", "boom", True)
    assert "failing" in error.logs
    assert str(error.result.request_id) in error.logs


def test_what_a_stream_tells_beside_its_bytes(server: RunningServer, name: str) -> None:
    with (
        Lambda(endpoint_url=server.url, region_name="us-east-1", credentials=KEYS) as lam,
        lam.stream(name, 1, log_tail=True) as stream,
    ):
        assert (stream.status_code, stream.executed_version, stream.logs) == (200, "$LATEST", "")
        assert [line["event"] for line in stream.json_lines()] == [1]
        assert f"START RequestId: {stream.request_id}" in stream.logs


def test_refusals_of_a_stream(made: Caller, name: str) -> None:
    with pytest.raises(ResourceNotFoundException) as caught:
        made.read_stream("nobody")
    assert not caught.value.may_have_run
    with pytest.raises(ValidationException, match="invocationType"):
        made.read_stream(name, invocation_type="Event")


def set_fault(server: RunningServer, name: str, error: str, **members: Any) -> None:
    asked = json.dumps({"function": name, "error": error, **members}).encode()
    assert control(server, "POST", "", asked, name="faults").status == 200


@pytest.mark.parametrize("error", INVOKE_ERRORS)
def test_every_error_of_the_service_has_its_class(
    server: RunningServer, made: Caller, name: str, error: str
) -> None:
    set_fault(server, name, error, count=1)
    with pytest.raises(ServiceError) as caught:
        made.invoke(name, retries=1)
    assert type(caught.value) is getattr(lambent.client, error)
    assert (caught.value.code, caught.value.attempts) == (error, 1)
    assert caught.value.message
    # The server knows that it did not run; the client must not say so of what it cannot know.
    assert caught.value.may_have_run or caught.value.status_code < 500 or caught.value.STARTS_NOTHING


def test_a_throttle_passes_and_tells_its_reason(server: RunningServer, made: Caller, name: str) -> None:
    reason = "CallerRateLimitExceeded"
    set_fault(server, name, "TooManyRequestsException", count=1, reason=reason)
    assert made.invoke(name, 1).attempts == 2
    set_fault(server, name, "TooManyRequestsException", count=1, reason=reason)
    with pytest.raises(TooManyRequestsException) as caught:
        made.invoke(name, 1, retries=1)
    assert caught.value.reason == reason
    assert caught.value.retry_after is not None


def test_a_connection_that_is_cut_or_stalls(server: RunningServer, made: Caller, name: str) -> None:
    set_fault(server, name, "connection.cut", count=1)
    with pytest.raises(TransportError) as caught:
        made.invoke(name, 1)
    assert (caught.value.may_have_run, caught.value.attempts) == (True, 1)
    set_fault(server, name, "connection.cut", count=1)
    assert made.invoke(name, 1, idempotent=True).attempts == 2
    set_fault(server, name, "connection.stalled", count=1)
    with pytest.raises(CallTimeout) as late:
        made.invoke(name, 1, timeout=Timeout(read=0.2))
    assert (late.value.phase, late.value.may_have_run) == ("read", True)
    assert made.invoke(name, 1).value()["event"] == 1


def test_functions_of_this_process_answer_as_those_of_a_server(server: RunningServer, name: str) -> None:
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    options: Any = {"region_name": "us-east-1", "credentials": KEYS}
    with (
        Lambda(endpoint_url=server.url, **options) as there,
        Lambda.local({name: space["handler"]}) as here,
    ):
        calls: list[dict[str, Any]] = [
            {"payload": {"a": "é"}, "client_context": {"custom": {"k": "v"}}},
            {"payload": b""},
            {"payload": b"{"},
            {"payload": b"[NaN]"},
            {"payload": "fail"},
            {"payload": 1, "qualifier": "$LATEST"},
            {"payload": 1, "invocation_type": "DryRun"},
            {"payload": 1, "invocation_type": "Event"},
            {"payload": 1, "invocation_type": "Never"},
            {"payload": 1, "client_context": "no base64!"},
            {"payload": "x" * 7_000_000},
        ]
        for call in calls:
            assert outcome(here, name, call) == outcome(there, name, call)
        assert outcome(here, "a b", {}) == outcome(there, "a b", {})
        assert outcome(here, "nobody", {}) == outcome(there, "nobody", {})


def outcome(lam: Lambda, name: str, call: dict[str, Any]) -> object:
    """Return what a caller can tell two services by, but for ids and the words of JSON's parser."""
    try:
        result = lam.invoke(name, **call)
    except ServiceError as error:
        return type(error), error.status_code, error.message.partition("Could not parse payload")[0]
    shown = result.payload
    if result.function_error:
        failure = json.loads(shown)
        shown = failure["errorType"], failure["errorMessage"]  # type: ignore[assignment]
    return result.status_code, result.function_error, result.executed_version, shown


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_signatures_are_those_that_the_server_checks(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_server(tmp_path_factory.mktemp("signed"), LAMBENT_AUTH_LEVEL="sigv4") as server:
        policy = json.dumps(
            {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
        )
        asked = {"name": "ada", "account": "000000000000", "policy": policy}
        user = control(server, "POST", "/add-user", json.dumps(asked).encode(), name="iam").json
        keys = Credentials(user["AccessKeyId"], user["SecretAccessKey"])
        admin = server.client(account=keys.access_key_id, secret=keys.secret_access_key)
        functions = Functions(admin)
        name = functions(SOURCE)
        with caller(kind, server.url, credentials=keys) as made:
            context = {"custom": {"k": "ä ö"}}
            assert (
                made.invoke(name, {"é": 1}, client_context=context, log_tail=True).value()["custom"]
                == context["custom"]
            )
            whole = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
            assert made.invoke(whole, 1, qualifier="$LATEST").value()["event"] == 1
            assert json.loads(made.read_stream(name, "x" * 100_000))["event"] == "x" * 100_000
            with pytest.raises(InvalidSignatureException) as caught:
                made.invoke(name, 1, credentials=Credentials(keys.access_key_id, "wrong"))
            assert not caught.value.may_have_run
            with pytest.raises(ServiceError) as unsigned:
                made.invoke(name, 1, credentials=UNSIGNED)
            assert unsigned.value.status_code == 403


def test_tasks_share_a_client(server: RunningServer, name: str) -> None:
    async def run() -> None:
        async with AsyncLambda(endpoint_url=server.url, region_name="us-east-1", credentials=KEYS) as lam:
            hello = lam.function(name)
            found = await asyncio.gather(*[hello(number) for number in range(20)])
            assert [each["event"] for each in found] == list(range(20))

    asyncio.run(run())


def test_a_large_result_and_a_file(made: Caller, name: str, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(b'"' + b"x" * 2_000_000 + b'"')
    result = made.invoke(name, file, timeout=Timeout(read=60))
    assert len(result.value()["event"]) == 2_000_000


def test_versions_are_called_by_their_number(made: Caller, client: Any, name: str) -> None:
    version = client.publish_version(FunctionName=name)["Version"]
    assert made.invoke(name, qualifier=version).value()["version"] == version
    assert made.invoke(f"{name}:{version}").executed_version == version
