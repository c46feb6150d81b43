"""Event invocations over a real server: what the caller gets, what runs, what survives.

Source of the rules: docs/aws-behaviour.md, invoke 1.1, 1.2 and 1.4, and async 2.1 to 2.3 and 2.7.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import Functions, RunningServer, pack, running_server, wait_until_active
from tests.integration.events_harness import TELLING, Told, accept, control, letters
from tests.integration.wire import INVOKE, Peer, request
from tests.waiting import wait_for

QUICKLY = {"LAMBENT_ASYNC_RETRY_DELAYS": "0.1,0.1"}
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
LIMIT = 1_048_576

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that tries again quickly."""
    with running_server(tmp_path_factory.mktemp("events"), **QUICKLY) as running:
        yield running


@pytest.fixture(scope="module")
def telling(client: Any) -> str:
    return Functions(client)(TELLING, FunctionName="telling")


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def refused(client: Any, name: str, payload: bytes = b"{}") -> tuple[int, str, str]:
    """Return status, code and text of the refusal of an event."""
    with pytest.raises(ClientError) as caught:
        accept(client, name, payload)
    response = caught.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


# -- the answer


def test_an_event_is_answered_with_a_202_and_nothing_but_its_id(peer: Peer, telling: str, told: Told) -> None:
    peer.send(request("POST", INVOKE.format(telling), told.event(), X_Amz_Invocation_Type="Event"))
    answer = peer.receive()
    assert (answer.status, answer.reason, answer.body) == (202, "Accepted", b"")
    assert answer.names == {"date", "connection", "x-amzn-requestid", "content-type", "content-length"}
    assert told.wait(1)[0]["id"] == answer.header("x-amzn-requestid")


def test_an_event_may_have_a_mebibyte_and_not_a_byte_more(client: Any, telling: str, told: Told) -> None:
    bare = told.event(filler="")
    whole = told.event(filler="x" * (LIMIT - len(bare)))
    assert len(whole) == LIMIT

    assert refused(client, telling, whole + b" ") == (
        413,
        "RequestEntityTooLargeException",
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
    )
    accept(client, telling, whole)
    (run,) = told.wait(1)
    assert run["event"] == json.loads(whole)


def test_what_is_no_json_or_for_nobody_is_refused_as_for_any_invocation(client: Any, telling: str) -> None:
    status, code, text = refused(client, telling, b"{")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert text.startswith("Could not parse request body into json: ")
    for name, missing in (("absent", "absent:$LATEST"), (f"{telling}:7", f"{telling}:7")):
        expected = (404, "ResourceNotFoundException", f"Function not found: {ARN}{missing}")
        assert refused(client, name) == expected


# -- runs


def test_an_event_runs_once_without_a_client_context(client: Any, telling: str, told: Told) -> None:
    first = accept(client, telling, told.event(n=1), ClientContext="e30=")
    told.wait(1)
    second = accept(client, telling, told.event(n=2))

    runs = told.wait(2)
    assert [(run["id"], run["event"]["n"]) for run in runs] == [(first, 1), (second, 2)]
    assert {(run["context"], run["version"], run["arn"]) for run in runs} == {
        (False, "$LATEST", f"{ARN}{telling}")
    }


def test_an_event_without_a_body_is_an_empty_object(
    server: RunningServer, client: Any, deploy: Deploy
) -> None:
    name = deploy("def handler(event, context): raise ValueError(repr(event))")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    accept(client, name, b"")
    (letter,) = letters(server, name, 1)
    assert (letter["error"], letter["payload"]) == ("{}", {})


def test_a_version_and_an_alias_are_what_runs(client: Any, deploy: Deploy, told: Told) -> None:
    name = deploy(TELLING, Publish=True)
    wait_until_active(client, f"{name}:1")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    for qualifier in ("1", "live"):
        accept(client, name, told.event(), Qualifier=qualifier)
        run = told.wait(1 if qualifier == "1" else 2)[-1]
        assert (run["version"], run["arn"]) == ("1", f"{ARN}{name}:{qualifier}")


def test_every_attempt_has_the_id_that_the_caller_was_told(
    server: RunningServer, client: Any, telling: str, told: Told
) -> None:
    request_id = accept(client, telling, told.event(fails="boom"))

    (letter,) = [one for one in letters(server, telling, 1) if one["requestId"] == request_id]
    assert told.ids == [request_id] * 3
    assert (letter["state"], letter["condition"], letter["approximateInvokeCount"]) == (
        "dead",
        "RetriesExhausted",
        3,
    )
    assert (letter["error"], letter["function"], letter["qualifier"]) == ("boom", telling, None)
    assert letter["payload"] == json.loads(told.event(fails="boom"))
    assert letter["record"]["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{ARN}{telling}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert letter["record"]["responsePayload"]["errorType"] == "ValueError"
    lines = letter["logTail"].splitlines()
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[1] == "about to fail"
    assert lines[-1].startswith(f"REPORT RequestId: {request_id}\t")


@pytest.mark.parametrize("retries", [0, 1])
def test_retries_are_those_of_the_configuration_and_the_destination_is_named(
    server: RunningServer, client: Any, deploy: Deploy, told: Told, retries: int
) -> None:
    name = deploy(TELLING)
    queue = "arn:aws:sqs:us-east-1:000000000000:failures"
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=retries,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    request_id = accept(client, name, told.event(fails="boom"))

    (letter,) = letters(server, name, 1)
    assert told.ids == [request_id] * (retries + 1)
    assert (letter["state"], letter["destination"]) == ("undelivered", queue)
    assert letter["approximateInvokeCount"] == retries + 1


@pytest.mark.parametrize(
    "raised", ["\\ud800", "\\x00 \\N{GRINNING FACE}", "x" * 100_000], ids=["surrogate", "zero", "long"]
)
def test_whatever_text_an_error_has_the_event_comes_to_its_end(
    server: RunningServer, client: Any, deploy: Deploy, raised: str
) -> None:
    name = deploy(f"def handler(event, context): raise ValueError('{raised}')")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    accept(client, name, b"{}")
    (letter,) = letters(server, name, 1)
    assert letter["condition"] == "RetriesExhausted"
    whole = letter["record"]["responsePayload"]["errorMessage"]
    assert letter["error"] == whole[:4096]


def test_events_of_a_function_that_is_switched_off_are_dead_at_once(
    server: RunningServer, client: Any, deploy: Deploy, told: Told
) -> None:
    name = deploy(TELLING)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    accept(client, name, told.event())
    (letter,) = letters(server, name, 1)
    assert (letter["condition"], letter["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)
    assert "responseContext" not in letter["record"]
    assert told.runs == []


# -- while there is no room


class Busy:
    """A server with one slot, which an invocation holds until it is told to end."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server = server
        self.client = server.client()
        self.deploy = Functions(self.client)
        self._gate = folder / "gate"
        told = Told(folder)
        holder = self.deploy(TELLING, FunctionName="holder")
        event = told.event(gate=str(self._gate))
        client = server.client()
        self._call = threading.Thread(target=lambda: client.invoke(FunctionName=holder, Payload=event))
        self._call.start()
        told.wait(1)

    def end(self) -> None:
        self._gate.touch()
        self._call.join()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    variables = {"LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": "1", "LAMBENT_ASYNC_MAX_BACKLOG": "3", **QUICKLY}
    with running_server(tmp_path, **variables) as server:
        busy = Busy(server, tmp_path)
        yield busy
        busy.end()


def test_code_and_configuration_are_those_of_the_moment_at_which_an_event_runs(
    busy: Busy, told: Told
) -> None:
    client = busy.client
    name = busy.deploy("def handler(event, context): raise RuntimeError('old code')", Publish=True)
    wait_until_active(client, f"{name}:1")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for qualifier in ("$LATEST", "live"):
        accept(client, name, told.event(), Qualifier=qualifier)

    client.update_function_code(FunctionName=name, ZipFile=pack(index=TELLING))
    wait_until_active(client, name, "function_updated_v2")
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"MARK": "new"}})
    wait_until_active(client, name, "function_updated_v2")
    client.publish_version(FunctionName=name)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    busy.end()

    runs = told.wait(2)
    assert sorted((run["version"], run["mark"]) for run in runs) == [("$LATEST", "new"), ("2", "new")]


def test_beyond_the_backlog_nothing_is_accepted_until_something_has_ended(busy: Busy, told: Told) -> None:
    name = busy.deploy(TELLING)
    accepted = [accept(busy.client, name, told.event()) for _ in range(3)]

    with pytest.raises(ClientError) as caught:
        accept(busy.client, name, told.event())
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert (response["Error"]["Code"], response["Error"]["Message"], response["Reason"]) == (
        "TooManyRequestsException",
        "Rate exceeded",
        "CallerRateLimitExceeded",
    )
    busy.end()
    assert sorted(run["id"] for run in told.wait(3)) == sorted(accepted)

    def fits() -> bool:
        try:
            accepted.append(accept(busy.client, name, told.event()))
        except ClientError:
            return False
        return True

    wait_for(fits)
    assert told.wait(4)[-1]["id"] == accepted[-1]


def test_events_that_wait_for_a_function_that_is_deleted_are_dead_letters(busy: Busy, told: Told) -> None:
    client = busy.client
    name = busy.deploy(TELLING)
    old = [accept(client, name, told.event(n=number)) for number in range(3)]
    client.delete_function(FunctionName=name)

    found = letters(busy.server, name, 3)
    assert sorted(one["requestId"] for one in found) == sorted(old)
    assert {(one["condition"], one["approximateInvokeCount"], one["error"]) for one in found} == {
        ("ResourceNotFound", 0, f"Function not found: {ARN}{name}:$LATEST")
    }
    # Two wait: there is room for one of the three.
    busy.deploy(TELLING, FunctionName=name)
    for _ in range(2):
        accept(client, name, told.event())
    reply = control(busy.server, "POST", "/redrive", json.dumps({"function": name}).encode())
    assert [(one["code"], one["message"]) for one in reply.json["refused"]] == [
        ("TooManyRequestsException", "Rate exceeded")
    ] * 2
    (redriven,) = reply.json["redriven"]
    assert len(letters(busy.server, name)) == 2
    busy.end()
    assert redriven["requestId"] in [run["id"] for run in told.wait(3)]
    assert not set(told.ids) & set(old)


# -- restarts


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_what_waits_and_what_runs_when_the_server_ends_runs_afterwards(
    tmp_path: Path, told: Told, number: signal.Signals
) -> None:
    variables = {
        "LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": "1",
        "LAMBENT_SERVER_SHUTDOWN_GRACE": "0.2",
        **QUICKLY,
    }
    gate = tmp_path / "gate"
    with running_server(tmp_path, **variables) as server:
        client = server.client()
        name = Functions(client)(TELLING)
        event = told.event(gate=str(gate), fails="boom")
        accepted = [accept(client, name, event)]
        told.wait(1)
        accepted += [accept(client, name, event) for _ in range(3)]
        server.stop(number)
    gate.touch()

    with running_server(tmp_path, **variables) as server:
        found = letters(server, name, 4)
        assert sorted(one["requestId"] for one in found) == sorted(accepted)
        # The attempt that the server's end cut short was run again under the same number.
        assert {one["approximateInvokeCount"] for one in found} == {3}
        assert [told.ids.count(each) for each in accepted] == [4, 3, 3, 3]
        assert ("events ran when the last server ended" in server.errors.read_text()) == (
            number == signal.SIGKILL
        )


def test_what_ran_comes_back_only_when_no_function_of_the_dead_server_is_left(
    tmp_path: Path, told: Told
) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path) as first:
        name = Functions(first.client())(TELLING)
        accepted = accept(first.client(), name, told.event(gate=str(gate)))
        (run,) = told.wait(1)
        (zygote,) = first.zygotes()
        # It cannot end its functions now, so they outlive the server.
        os.kill(zygote, signal.SIGSTOP)
        first.stop(signal.SIGKILL)
    was_alive: list[bool] = []

    def let_go() -> None:
        was_alive.append(Path(f"/proc/{run['pid']}").exists())
        os.kill(zygote, signal.SIGCONT)

    timer = threading.Timer(0.3, let_go)
    timer.start()
    with running_server(tmp_path):
        assert was_alive == [True]
        assert not Path(f"/proc/{run['pid']}").exists()
        assert told.wait(2)[1]["id"] == accepted
        gate.touch()
    timer.join()
