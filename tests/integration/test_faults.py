"""Every error of Invoke on demand, as boto3 and plain sockets see it, and connections that stall or are cut."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from lambent.api.service_model import load_service_model
from lambent.model.errors import INVOKE_ERRORS, THROTTLE_REASONS
from tests.integration.conftest import Functions, RunningServer, running_server
from tests.integration.events_harness import OwnersConnection
from tests.integration.wire import INVOKE, Peer, request
from tests.waiting import wait_for

MODEL = load_service_model()["shapes"]
STREAM = "/2021-11-15/functions/{}/response-streaming-invocations"
ASYNC = "/2014-11-13/functions/{}/invoke-async"
UNMODELLED = {"AccessDeniedException": 403, "RequestEntityTooLargeException": 413}
TEXT = "This answer was asked for with `lambent fault`."

Deploy = Callable[..., str]


def tell(server: RunningServer, path: str, **members: object) -> Any:
    """Post to ``/_lambent/faults`` over the owner's socket."""
    connection = OwnersConnection(server.data_dir / "control.sock")
    try:
        connection.request("POST", f"/_lambent/faults{path}", json.dumps(members))
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return json.loads(body)
    finally:
        connection.close()


@pytest.fixture
def name(server: RunningServer, deploy: Deploy) -> Iterator[str]:
    """A function without a fault; it has none after the test."""
    made = deploy("def handler(event, context): return 'ran'")
    yield made
    tell(server, "/clear", all=True)


def _has_run(client: Any, name: str) -> bool:
    return bool(client.invoke(FunctionName=name)["Payload"].read() == b'"ran"')


@pytest.mark.parametrize("error", sorted(INVOKE_ERRORS))
def test_every_error_is_an_exception_of_its_own_in_boto3(
    server: RunningServer, client: Any, name: str, error: str
) -> None:
    tell(server, "", function=name, error=error, count=2)
    kind = getattr(client.exceptions, error, botocore.exceptions.ClientError)
    assert (kind is botocore.exceptions.ClientError) == (error in UNMODELLED)

    with pytest.raises(kind) as caught:
        client.invoke(FunctionName=name)
    with pytest.raises(kind) as streamed:
        client.invoke_with_response_stream(FunctionName=name)

    for response in (caught.value.response, streamed.value.response):
        assert response["Error"]["Code"] == error
        assert response["Error"]["Message"]
        if error not in UNMODELLED:
            members = {each for each, member in MODEL[error]["members"].items() if "location" not in member}
            assert {each for each in members if each != "message" and each not in response} <= {"Message"}
            assert response["Type"] == ("Service" if MODEL[error].get("fault") else "User")
    assert _has_run(client, name)


@pytest.mark.parametrize("error", sorted(INVOKE_ERRORS))
def test_every_error_is_exact_on_the_wire(server: RunningServer, peer: Peer, name: str, error: str) -> None:
    tell(server, "", function=name, error=error)
    for path, headers in (
        (INVOKE, {}),
        (INVOKE, {"X_Amz_Invocation_Type": "Event"}),
        (INVOKE, {"X_Amz_Invocation_Type": "DryRun"}),
        (STREAM, {}),
        (STREAM, {"X_Amz_Invocation_Type": "DryRun"}),
        (ASYNC, {}),
    ):
        peer.send(request("POST", path.format(name), b"{}", **headers))
        answer = peer.receive()
        assert answer.header("x-amzn-errortype") == error
        assert answer.header("content-type") == "application/json"
        assert answer.header("x-lambent-hint") is None
        assert answer.header("connection") == "keep-alive"
        if error in UNMODELLED:
            key = "Message" if error == "AccessDeniedException" else "message"
            assert (answer.status, answer.json) == (UNMODELLED[error], {key: TEXT})
            continue
        shape = MODEL[error]
        assert answer.status == shape["error"]["httpStatusCode"]
        assert set(answer.json) == {
            each for each, member in shape["members"].items() if "location" not in member
        }
        assert answer.json["Type"] == ("Service" if shape.get("fault") else "User")
        if error != "TooManyRequestsException":
            assert answer.json.get("message", answer.json.get("Message")) == TEXT


@pytest.mark.parametrize("reason", THROTTLE_REASONS)
def test_throttles_have_their_reason_and_rates_say_when_to_come_again(
    server: RunningServer, client: Any, peer: Peer, name: str, reason: str
) -> None:
    # Source: docs/aws-behaviour.md, concurrency 3.2.
    tell(server, "", function=name, error="toomanyrequests", reason=reason.upper())
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName=name)
    assert caught.value.response["Reason"] == reason
    peer.send(request("POST", INVOKE.format(name)))
    answer = peer.receive()
    is_rate = reason in {"FunctionInvocationRateLimitExceeded", "ReservedFunctionInvocationRateLimitExceeded"}
    assert answer.header("retry-after") == ("1" if is_rate else None)
    assert answer.header("x-amz-retry-after") == "1000"
    assert list(answer.json) == ["Reason", "Type", "message"]


def test_a_client_that_repeats_gets_through_after_so_many_faults(
    server: RunningServer, client: Any, name: str
) -> None:
    tell(server, "", function=name, error="Service", count=2)
    patient = server.client(retries={"total_max_attempts": 3, "mode": "standard"})
    answer = patient.invoke(FunctionName=name)
    assert answer["Payload"].read() == b'"ran"'
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


def test_an_event_that_meets_a_fault_is_not_queued(
    server: RunningServer, client: Any, name: str, deploy: Deploy, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    telling = deploy(f"def handler(event, context): open({str(told)!r}, 'a').write(event)")
    tell(server, "", function=telling, error="EFSIO", count=1)
    with pytest.raises(client.exceptions.EFSIOException):
        client.invoke(FunctionName=telling, InvocationType="Event", Payload=b'"first"')
    assert (
        client.invoke(FunctionName=telling, InvocationType="Event", Payload=b'"second"')["StatusCode"] == 202
    )
    wait_for(lambda: told.exists() and told.read_text() != "")
    assert told.read_text() == "second"


def test_a_fault_is_one_functions_in_one_account_and_region(
    server: RunningServer, client: Any, name: str, deploy: Deploy
) -> None:
    other = deploy("def handler(event, context): return 'ran'")
    elsewhere = server.client(account="111122223333")
    Functions(elsewhere)("def handler(event, context): return 'ran'", FunctionName=name)
    tell(server, "", function=name, error="EFSIO")
    assert _has_run(client, other)
    assert _has_run(elsewhere, name)
    tell(server, "/clear?account=111122223333", all=True)
    with pytest.raises(client.exceptions.EFSIOException):
        client.invoke(FunctionName=f"{name}:$LATEST")
    elsewhere.delete_function(FunctionName=name)


def test_a_cut_connection_ends_without_an_answer(server: RunningServer, client: Any, name: str) -> None:
    tell(server, "", function=name, error="connection.cut", count=2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request("POST", INVOKE.format(name)))
        assert connection.recv(1) == b""
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.invoke(FunctionName=name)
    assert _has_run(client, name)


def test_a_stalled_connection_stays_open_and_silent(server: RunningServer, client: Any, name: str) -> None:
    tell(server, "", function=name, error="connection.stalled", count=2)
    peer = Peer(server.port)
    peer.send(request("POST", INVOKE.format(name)))
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        server.client(read_timeout=0.5).invoke(FunctionName=name)
    assert not peer.has_data(0)
    assert _has_run(client, name)
    peer.close()


def test_stalled_connections_do_not_hold_the_end_of_the_server_up(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_SERVER_SHUTDOWN_GRACE="600") as server:
        name = Functions(server.client())("def handler(event, context): pass")
        tell(server, "", function=name, error="connection.stalled")
        peer = Peer(server.port)
        peer.send(request("POST", INVOKE.format(name)))
        wait_for(lambda: "meets the fault" in server.errors.read_text())
        assert server.stop(signal.SIGTERM) == 0
        assert peer.is_at_end()
        peer.close()


def test_faults_end_with_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        name = Functions(server.client())("def handler(event, context): return 'ran'")
        tell(server, "", function=name, error="EFSIO")
    with running_server(tmp_path) as server:
        assert _has_run(server.client(), name)


def test_the_log_has_a_line_for_each_fault_that_is_set_met_and_cleared(
    server: RunningServer, client: Any, name: str
) -> None:
    tell(server, "", function=name, error="KMSNotFound")
    with pytest.raises(client.exceptions.KMSNotFoundException) as caught:
        client.invoke(FunctionName=name, InvocationType="DryRun")
    tell(server, "/clear", function=name)
    request_id = caught.value.response["ResponseMetadata"]["RequestId"]
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"

    def told() -> list[str]:
        text = server.errors.read_text()
        return [line for line in text.splitlines() if "lambent.faults" in line and arn in line]

    # Lines are written in batches.
    wait_for(lambda: len(told()) >= 3)
    lines = told()
    assert [re.sub(r"^\w+ lambent\.faults: ", "", line) for line in lines] == [
        f"invocations of {arn} answer KMSNotFoundException from now on",
        f"request {request_id} (Invoke {arn}) meets the fault KMSNotFoundException",
        f"invocations of {arn} run again",
    ]


def test_nobody_sets_a_fault_over_the_network(server: RunningServer, peer: Peer, name: str) -> None:
    body = json.dumps({"function": name, "error": "EFSIO"}).encode()
    for method in ("POST", "GET"):
        peer.send(request(method, "/_lambent/faults", body if method == "POST" else b""))
        assert (peer.receive().status) == 403
