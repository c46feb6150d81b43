"""InvokeWithResponseStream through boto3 and over plain sockets: the whole answer as an event stream."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.wire.eventstream import Decoder, Message
from tests.integration.conftest import RunningServer, wait_until_active
from tests.integration.wire import Peer, request
from tests.waiting import wait_for

Deploy = Callable[..., str]
PATH = "/2021-11-15/functions/{}/response-streaming-invocations"
ECHO = "def handler(event, context): print('seen'); return event"
SIZED = "def handler(event, context): return 'x' * (event - 2)"
ARN = "arn:aws:lambda:us-east-1:000000000000:function"


def stream(client: Any, name: str, payload: bytes = b"", **members: Any) -> tuple[dict[str, Any], Any, Any]:
    """Return the answer, the chunks' payloads and what stands in the last event."""
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=payload, **members)
    events = list(answer["EventStream"])
    assert [list(event) for event in events] == [["PayloadChunk"]] * (len(events) - 1) + [["InvokeComplete"]]
    return answer, [each["PayloadChunk"]["Payload"] for each in events[:-1]], events[-1]["InvokeComplete"]


def _refusal(client: Any, **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        client.invoke_with_response_stream(**members)
    response = caught.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


def test_the_answer_comes_as_chunks_and_a_last_event(client: Any, deploy: Deploy) -> None:
    name = deploy(ECHO)
    answer, chunks, complete = stream(client, name, b'{"key": [1, null]}')
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    assert chunks == [b'{"key": [1, null]}']
    assert complete == {}
    assert stream(client, name)[1] == [b"{}"]


@pytest.mark.parametrize("size", [2, 65_535, 65_536, 65_537, 200_000, 6_291_556])
def test_answers_of_every_size_come_whole(client: Any, deploy: Deploy, size: int) -> None:
    _, chunks, complete = stream(client, deploy(SIZED), str(size).encode())
    assert [len(chunk) for chunk in chunks[:-1]] == [65_536] * ((size - 1) // 65_536)
    assert b"".join(chunks) == b'"' + b"x" * (size - 2) + b'"'
    assert complete == {}


def test_large_events_arrive_whole(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context): return len(event)")
    assert stream(client, name, b'"' + b"x" * 6_291_454 + b'"')[1] == [b"6291454"]


def test_an_exception_is_told_by_the_last_event_alone(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context): raise ValueError('böse')")
    answer, chunks, complete = stream(client, name)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (answer["StatusCode"], chunks) == (200, [])
    assert not {"x-amz-function-error", "x-amz-log-result"} & set(headers)
    assert set(complete) == {"ErrorCode", "ErrorDetails"}
    assert complete["ErrorCode"] == "ValueError"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("ValueError", "böse")
    assert details["requestId"] == answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import os\ndef handler(event, context): os._exit(3)", "Runtime.ExitError"),
        ("import time\ndef handler(event, context): time.sleep(20)", "Sandbox.Timedout"),
        ("def handler(event, context): return 'x' * 6291556", "Function.ResponseSizeTooLarge"),
        ("def handler(event, context): return object()", "Runtime.MarshalError"),
        ("def handler(event, context): raise ValueError('x' * 300_000)", "ValueError"),
    ],
)
def test_every_way_to_fail_has_its_error_code(client: Any, deploy: Deploy, source: str, code: str) -> None:
    answer, chunks, complete = stream(client, deploy(source, Timeout=1))
    assert (answer["StatusCode"], chunks, complete["ErrorCode"]) == (200, [], code)
    assert json.loads(complete["ErrorDetails"])["errorType"] == code


def test_the_end_of_the_log_stands_in_the_last_event(client: Any, deploy: Deploy) -> None:
    name = deploy(ECHO)
    answer, chunks, complete = stream(client, name, b"1", LogType="Tail")
    log = base64.b64decode(complete.pop("LogResult")).decode().split("\n")
    assert (chunks, complete) == ([b"1"], {})
    assert log[0] == f"START RequestId: {answer['ResponseMetadata']['RequestId']} Version: $LATEST"
    assert log[1] == "seen"
    assert "x-amz-log-result" not in answer["ResponseMetadata"]["HTTPHeaders"]


def test_versions_aliases_arns_and_contexts_are_those_of_invoke(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "def handler(event, context): return [context.function_version, context.invoked_function_arn,"
        " context.client_context and context.client_context.custom]",
        Publish=True,
    )
    wait_until_active(client, f"{name}:1")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for target in (
        {"FunctionName": name, "Qualifier": "live"},
        {"FunctionName": f"{name}:live"},
        {"FunctionName": f"{ARN}:{name}:live"},
    ):
        answer = client.invoke_with_response_stream(**target)
        (chunk, _) = answer["EventStream"]
        assert answer["ExecutedVersion"] == "1"
        assert json.loads(chunk["PayloadChunk"]["Payload"]) == ["1", f"{ARN}:{name}:live", None]
    context = base64.b64encode(b'{"custom": {"a": 1}}').decode()
    assert json.loads(stream(client, name, ClientContext=context)[1][0])[2] == {"a": 1}


def test_dry_run_checks_and_runs_nothing(client: Any, deploy: Deploy, tmp_path: Path) -> None:
    made = tmp_path / "made"
    name = deploy(f"open({str(made)!r}, 'w')\ndef handler(event, context): pass")
    answer = client.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert list(answer["EventStream"]) == []
    assert "ExecutedVersion" not in answer
    assert not made.exists()
    bad = _refusal(client, FunctionName=name, InvocationType="DryRun", Payload=b"{")
    assert bad[:2] == (400, "InvalidRequestContentException")


def test_refusals_before_the_run_are_those_of_invoke(client: Any, trusting: Any, deploy: Deploy) -> None:
    assert _refusal(client, FunctionName="no-such") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}:no-such:$LATEST",
    )
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke_with_response_stream(FunctionName="no-such")
    name = deploy(ECHO)
    assert _refusal(client, FunctionName=name, Qualifier="2")[2] == f"Function not found: {ARN}:{name}:2"
    assert _refusal(client, FunctionName=f"{name}:1", Qualifier="2")[1] == "InvalidParameterValueException"
    assert _refusal(client, FunctionName=name, Payload=b"{")[1] == "InvalidRequestContentException"
    assert _refusal(client, FunctionName=name, ClientContext="no!")[1] == "InvalidRequestContentException"
    assert _refusal(client, FunctionName=name, TenantId="t")[2].startswith("TenantId is not served by")
    assert _refusal(trusting, FunctionName=name, LogType="All")[1] == "ValidationException"
    assert _refusal(client, FunctionName=name, Payload=b'"' + b"x" * 6_291_455 + b'"') == (
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeWithResponseStream operation",
    )


def test_events_cannot_be_streamed_however_often_the_target_was_called(
    trusting: Any, client: Any, deploy: Deploy
) -> None:
    # The targets of earlier calls are remembered; the types that they may have are not the same for all.
    name = deploy(ECHO)
    for _ in range(2):
        stream(client, name)
        status, code, text = _refusal(trusting, FunctionName=name, InvocationType="Event")
        assert (status, code) == (400, "ValidationException")
        assert text.startswith("1 validation error detected: Value 'Event' at 'invocationType' failed")
        assert re.search(r"enum value set: \[(RequestResponse, DryRun|DryRun, RequestResponse)\]$", text)


def test_a_throttle_is_a_429(client: Any, deploy: Deploy) -> None:
    name = deploy(ECHO)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke_with_response_stream(FunctionName=name)
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_the_bytes_are_messages_with_aws_headers(peer: Peer, deploy: Deploy) -> None:
    name = deploy(ECHO)
    for _ in range(2):
        peer.send(request("POST", PATH.format(name), b'"x"', X_Amz_Log_Type="Tail"))
        answer = peer.receive()
        assert answer.header("content-type") == "application/vnd.amazon.eventstream"
        assert answer.header("x-amz-executed-version") == "$LATEST"
        trace = answer.header("x-amzn-trace-id")
        assert trace is not None
        assert trace.startswith("Root=1-")
        chunk, complete = Decoder().feed(answer.body)
        assert chunk == Message(
            {
                ":message-type": "event",
                ":event-type": "PayloadChunk",
                ":content-type": "application/octet-stream",
            },
            b'"x"',
        )
        assert complete.headers == {
            ":message-type": "event",
            ":event-type": "InvokeComplete",
            ":content-type": "application/json",
        }
        assert list(json.loads(complete.payload)) == ["LogResult"]


def test_the_request_log_names_operation_function_and_outcome(
    server: RunningServer, client: Any, deploy: Deploy
) -> None:
    name = deploy("def handler(event, context): return 1 / event")
    ids = [
        stream(client, target, payload)[0]["ResponseMetadata"]["RequestId"]
        for target, payload in ((name, b"1"), (f"{ARN}:{name}", b"0"))
    ]

    def lines() -> list[dict[str, Any]]:
        text = server.errors.read_text().splitlines()
        logged = [json.loads(line) for line in text if line.startswith("{")]
        return [line for line in logged if line["request_id"] in ids]

    wait_for(lambda: len(lines()) == 2)
    assert [(line["operation"], line["function"], line["status"], line["outcome"]) for line in lines()] == [
        ("InvokeWithResponseStream", name, 200, "ok"),
        ("InvokeWithResponseStream", name, 200, "Unhandled"),
    ]
