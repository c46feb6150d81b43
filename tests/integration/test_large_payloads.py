"""The largest events and answers that pass, several at a time, and large events that do not pass."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import RunningServer
from tests.integration.wire import INVOKE, Answer, Peer, request

# Source: docs/aws-behaviour.md, invoke 1.1.
REQUEST_BYTES = 6_291_456
RESPONSE_BYTES = 6_291_556

ECHO = "def handler(event, context): return event"
LARGEST = f"def handler(event, context): return 'x' * {RESPONSE_BYTES - 2}"
COUNTS = """
calls = 0
def handler(event, context):
    global calls
    calls += 1
    return calls
"""
EVENTS = {
    "text": b'"%b"' % (b"a" * (REQUEST_BYTES - 2)),
    # Each is six bytes in the answers of runtimes before Python 3.12.
    "not ASCII": b'"%b"' % ("é".encode() * 1_048_000),
    "digits": b"[" + b"1, " * (REQUEST_BYTES // 3 - 1) + b"1]",
}


def _invoke(server: RunningServer, name: str, event: bytes, **headers: str) -> Answer:
    peer = Peer(server.port)
    peer.send(request("POST", INVOKE.format(name), event, **headers))
    answer = peer.receive()
    peer.close()
    return answer


@pytest.mark.parametrize("kind", EVENTS)
def test_the_largest_events_are_echoed_several_at_a_time(
    server: RunningServer, deploy: Callable[..., str], kind: str
) -> None:
    event = EVENTS[kind]
    name = deploy(ECHO, MemorySize=1024)
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: _invoke(server, name, event), range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    expected = json.loads(event)
    assert all(answer.json == expected for answer in answers)


def test_the_largest_answer_passes_and_one_byte_more_does_not(
    server: RunningServer, deploy: Callable[..., str]
) -> None:
    name = deploy(LARGEST.replace(" - 2", "") + " + event")
    answer = _invoke(server, name, b'""')
    assert len(answer.body) == RESPONSE_BYTES
    assert answer.header("x-amz-function-error") is None
    answer = _invoke(server, name, b'"x"')
    assert answer.header("x-amz-function-error") == "Unhandled"
    assert answer.json["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(_invoke(server, name, b'""').body) == RESPONSE_BYTES


@pytest.mark.parametrize("headers", [{}, {"X_Amz_Invocation_Type": "DryRun"}])
@pytest.mark.parametrize(
    ("event", "problem", "column"),
    [
        (b"[" + b"1, " * 100_000 + b"}", "", 300_002),
        (b'"' + b"x" * 100_000 + b"\xff" + b'"', "Invalid UTF-8 start byte 0xff", 100_002),
        (b" " * 100_000 + b"NaN", "", 100_001),
        (b'"' + b"x" * 100_000 + b'\\ud800"', "", None),
    ],
)
def test_a_large_event_that_is_no_json_is_refused_in_awss_words_and_nothing_runs(
    server: RunningServer,
    deploy: Callable[..., str],
    headers: dict[str, str],
    event: bytes,
    problem: str,
    column: int | None,
) -> None:
    # Source: docs/aws-behaviour.md, invoke 1.4 and 1.10.
    name = deploy(COUNTS)
    answer = _invoke(server, name, event, **headers)
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "InvalidRequestContentException")
    assert answer.json["Type"] == "User"
    first, _, place = answer.json["message"].partition("\n")
    assert first.startswith(
        f"Could not parse request body into json: Could not parse payload into json: {problem}"
    )
    if column is not None:
        assert place.endswith(f"line: 1, column: {column}]")
    assert _invoke(server, name, b"{}").json == 1


def test_a_large_dry_run_answers_and_runs_nothing(server: RunningServer, deploy: Callable[..., str]) -> None:
    name = deploy(COUNTS)
    assert _invoke(server, name, EVENTS["text"], X_Amz_Invocation_Type="DryRun").status == 204
    assert _invoke(server, name, EVENTS["text"]).json == 1


def test_who_a_large_event_is_for_is_looked_at_before_what_is_in_it(server: RunningServer) -> None:
    # Source: docs/aws-behaviour.md, invoke 1.4, order of checks.
    event = b"}" * 100_000
    assert _invoke(server, "absent", event).header("x-amzn-errortype") == "ResourceNotFoundException"
    assert _invoke(server, "no!", event).header("x-amzn-errortype") == "ValidationException"


def test_the_client_context_is_looked_at_before_a_large_event(
    server: RunningServer, deploy: Callable[..., str]
) -> None:
    answer = _invoke(server, deploy(ECHO), b"}" * 100_000, X_Amz_Client_Context="no!")
    assert answer.json["message"] == "Client context must be a valid Base64-encoded JSON object."


def test_boto3_sends_and_gets_six_megabytes(client: Any, deploy: Callable[..., str]) -> None:
    answer = client.invoke(FunctionName=deploy(ECHO), Payload=EVENTS["text"])
    assert answer["Payload"].read() == EVENTS["text"]


def test_a_large_package_comes_back_as_it_was_sent_and_runs(
    client: Any, deploy: Callable[..., str], server: RunningServer
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("index.py", "def handler(event, context): return 'large'")
        files.writestr("data", random.Random(1).randbytes(10_000_000))
    package = archive.getvalue()
    name = deploy(COUNTS)
    client.update_function_code(FunctionName=name, ZipFile=package)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
    with urlopen(client.get_function(FunctionName=name)["Code"]["Location"]) as fetched:
        assert fetched.read() == package
    assert _invoke(server, name, b"{}").json == "large"


def test_a_large_body_is_refused_in_the_words_for_small_ones(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(COUNTS)
    for size in (100, 10_000_000):
        with pytest.raises(ClientError, match="Could not unzip uploaded file"):
            client.update_function_code(FunctionName=name, ZipFile=bytes(size))
        with pytest.raises(ClientError, match=r"1 validation error detected: Value '\[x86\]' at 'arch"):
            client.update_function_code(FunctionName=name, ZipFile=bytes(size), Architectures=["x86"])
