"""Functions that call themselves through boto3, as real ones do: stopped after 16 runs, unless they may go on.

Source: docs/aws-behaviour.md, async 2.5 and 2.7.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import Functions, RunningServer, running_server
from tests.integration.events_harness import Told, accept, letters

TEXT = (
    "Lambda has detected your function being invoked in a recursive loop with other Amazon Web "
    "Services resources and stopped your function's invocation."
)
# Tells of each run, and calls the next function of the event's list, in turn.
LOOPING = """
import json

import boto3

CLIENT = boto3.client("lambda")

def handler(event, context):
    with open(event["out"], "a") as out:
        out.write(json.dumps({"id": context.aws_request_id}) + "\\n")
    if not event["left"]:
        return "end"
    first, *others = event["names"]
    following = {**event, "left": event["left"] - 1, "names": [*others, first]}
    try:
        answer = CLIENT.invoke(
            FunctionName=first, InvocationType=event["type"], Payload=json.dumps(following)
        )
    except CLIENT.exceptions.RecursiveInvocationException as error:
        return error.response["Error"]["Message"]
    return json.loads(answer["Payload"].read() or b"null")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("recursion")) as running:
        yield running


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


@pytest.fixture(scope="module")
def functions(client: Any) -> Functions:
    return Functions(client)


def looping(functions: Functions) -> str:
    return functions(LOOPING, Timeout=60)


def call(client: Any, name: str, told: Told, *names: str, left: int) -> Any:
    event = told.event(names=names, left=left, type="RequestResponse")
    return json.loads(client.invoke(FunctionName=name, Payload=event)["Payload"].read())


def test_a_function_that_calls_itself_is_stopped_at_its_17th_run(
    client: Any, functions: Functions, told: Told
) -> None:
    name = looping(functions)
    assert call(client, name, told, name, left=15) == "end"
    assert len(told.runs) == 16
    assert call(client, name, told, name, left=40) == TEXT
    assert len(told.runs) == 32


def test_each_function_of_a_chain_is_counted_by_itself(client: Any, functions: Functions, told: Told) -> None:
    first, second = looping(functions), looping(functions)
    client.publish_version(FunctionName=second)
    assert call(client, first, told, f"{second}:1", first, left=60) == TEXT
    assert len(told.runs) == 32


def test_a_function_may_be_allowed_to_loop(client: Any, functions: Functions, told: Told) -> None:
    name = looping(functions)
    client.publish_version(FunctionName=name)
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert call(client, f"{name}:1", told, f"{name}:1", left=18) == TEXT
    assert (
        client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"]
        == "Allow"
    )
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert call(client, f"{name}:1", told, f"{name}:1", left=18) == "end"
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Terminate")
    assert call(client, f"{name}:1", told, f"{name}:1", left=18) == TEXT


def test_an_event_that_would_run_once_too_often_is_a_dead_letter(
    server: RunningServer, client: Any, functions: Functions, told: Told
) -> None:
    name = looping(functions)
    accept(client, name, told.event(names=[name], left=40, type="Event"))
    (letter,) = letters(server, name, 1)
    assert (letter["condition"], letter["approximateInvokeCount"], letter["error"]) == (
        "RecursiveInvocation",
        0,
        TEXT,
    )
    assert len(told.runs) == 16


def test_a_caller_that_sends_a_long_lineage_is_told_so(client: Any, functions: Functions) -> None:
    name = functions("import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']")
    lineage = json.loads(client.invoke(FunctionName=name)["Payload"].read()).rpartition("=")[2]

    def send(runs: int) -> Any:
        def add(request: Any, **_: Any) -> None:
            request.headers["X-Amzn-Trace-Id"] = f"Root=1-5-6;Lineage={lineage[:-1]}{runs}"

        client.meta.events.register("before-send.lambda.Invoke", add)
        try:
            return client.invoke(FunctionName=name)
        finally:
            client.meta.events.unregister("before-send.lambda.Invoke", add)

    assert json.loads(send(14)["Payload"].read()).endswith(f"{lineage[:-1]}15")
    with pytest.raises(ClientError) as caught:
        send(15)
    response = caught.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == (
        400,
        "RecursiveInvocationException",
    )
    assert (response["Error"]["Message"], response["Type"]) == (TEXT, "User")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (
            {"FunctionName": "absent", "RecursiveLoop": "Allow"},
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:absent",
        ),
        (
            {"FunctionName": "absent", "RecursiveLoop": "Maybe"},
            "ValidationException",
            (
                "1 validation error detected: Value 'Maybe' at 'recursiveLoop' failed to satisfy constraint: "
                "Member must satisfy enum value set: [Allow, Terminate]"
            ),
        ),
    ],
)
def test_what_cannot_be_configured_is_refused(
    client: Any, arguments: dict[str, str], code: str, text: str
) -> None:
    with pytest.raises(ClientError) as caught:
        client.put_function_recursion_config(**arguments)
    assert caught.value.response["Error"] == {"Code": code, "Message": text}
