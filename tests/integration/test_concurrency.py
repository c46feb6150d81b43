"""Concurrency over the API: what is reserved, who is throttled, and what SDKs make of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import Functions, RunningServer, running_server
from tests.waiting import wait_for

Deploy = Callable[..., str]

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
LIMIT = 110
TOO_LITTLE_LEFT = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [100]."
)
QUICK = "def handler(event, context):\n    return event\n"
# Says that it runs, and waits until the file that the event names is there.
WAITING = (
    "import os, time\ndef handler(event, context):\n"
    "    open(f'{event}.{context.aws_request_id}', 'w').close()\n"
    "    while not os.path.exists(event):\n        time.sleep(0.005)\n    return 'done'\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose account may run a little more than must stay unreserved."""
    folder = tmp_path_factory.mktemp("concurrency")
    with running_server(folder, LAMBENT_CONCURRENCY_ACCOUNT_LIMIT=str(LIMIT)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Any:
    return server.client(max_pool_connections=50)


def refused(call: Callable[..., Any], **members: Any) -> tuple[str, int, str, Any]:
    """Return code, status, text and Type of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], status, response["Error"]["Message"], response.get("Type")


class Running:
    """Invocations that run until they are let go."""

    def __init__(self, client: Any, name: str, gate: Path, count: int) -> None:
        self._gate = gate
        self._pool = ThreadPoolExecutor(count)
        event = json.dumps(str(gate)).encode()
        self._calls = [
            self._pool.submit(client.invoke, FunctionName=name, Payload=event) for _ in range(count)
        ]
        wait_for(lambda: len(list(gate.parent.glob(f"{gate.name}.*"))) == count)

    def end(self) -> list[bytes]:
        self._gate.touch()
        answers = [call.result()["Payload"].read() for call in self._calls]
        self._pool.shutdown()
        return answers


def throttle(client: Any, name: str) -> Any:
    """Return the response of a call that is refused."""
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName=name)
    return caught.value.response


# -- reserved concurrency. Source: docs/aws-behaviour.md, concurrency 3.3 and 3.6.


def test_reserved_concurrency_is_put_shown_and_deleted(client: Any, deploy: Deploy) -> None:
    name = deploy(QUICK)
    for get in (client.get_function_concurrency, client.get_function):
        assert "Concurrency" not in str(sorted(get(FunctionName=name)))
    reply = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    assert (reply["ResponseMetadata"]["HTTPStatusCode"], reply["ReservedConcurrentExecutions"]) == (200, 3)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 3
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 3}
    limit = client.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (LIMIT, LIMIT - 3)

    reply = client.delete_function_concurrency(FunctionName=name)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == LIMIT


def test_a_minimum_stays_unreserved(client: Any, deploy: Deploy) -> None:
    first, second = deploy(QUICK), deploy(QUICK)
    client.put_function_concurrency(FunctionName=first, ReservedConcurrentExecutions=6)
    too_much = (
        "InvalidParameterValueException",
        400,
        TOO_LITTLE_LEFT,
        None,
    )
    put = client.put_function_concurrency
    assert refused(put, FunctionName=second, ReservedConcurrentExecutions=5) == too_much
    assert refused(put, FunctionName=first, ReservedConcurrentExecutions=11) == too_much
    put(FunctionName=second, ReservedConcurrentExecutions=4)
    # Nothing and less than before are always to be had.
    put(FunctionName=second, ReservedConcurrentExecutions=0)
    put(FunctionName=first, ReservedConcurrentExecutions=10)


def test_a_function_that_is_not_there_comes_before_the_value(client: Any) -> None:
    for call, members, arn in (
        (client.put_function_concurrency, {"ReservedConcurrentExecutions": 9999}, f"{ARN}nothing:$LATEST"),
        (client.get_function_concurrency, {}, f"{ARN}nothing"),
        (client.delete_function_concurrency, {}, f"{ARN}nothing:$LATEST"),
    ):
        assert refused(call, FunctionName="nothing", **members) == (
            "ResourceNotFoundException",
            404,
            f"Function not found: {arn}",
            "User",
        )


@pytest.mark.parametrize("qualifier", ["$LATEST", "1", "live"])
def test_versions_and_aliases_have_no_reserved_concurrency(
    client: Any, deploy: Deploy, qualifier: str
) -> None:
    text = (
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
        "operation. Please specify either a function name or an unqualified function ARN."
    )
    name = f"{ARN}{deploy(QUICK)}:{qualifier}"
    for call, members in (
        (client.put_function_concurrency, {"ReservedConcurrentExecutions": 1}),
        (client.get_function_concurrency, {}),
        (client.delete_function_concurrency, {}),
    ):
        assert refused(call, FunctionName=name, **members) == (
            "InvalidParameterValueException",
            400,
            text,
            "User",
        )


def test_reserved_concurrency_survives_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as first:
        name = Functions(first.client())(QUICK)
        first.client().put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with running_server(tmp_path) as second:
        assert refused(second.client().invoke, FunctionName=name)[0] == "TooManyRequestsException"


# -- throttles. Source: docs/aws-behaviour.md, concurrency 3.2 and 3.6.


def test_reserved_zero_throttles_every_call_from_the_next_one_on(client: Any, deploy: Deploy) -> None:
    name = deploy(QUICK)
    client.invoke(FunctionName=name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    response = throttle(client, name)
    assert response["Error"]["Message"] == "Rate Exceeded."
    assert (response["Reason"], response["Type"]) == (
        "ReservedFunctionConcurrentInvocationLimitExceeded",
        "User",
    )
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-retry-after"] == "1000"
    assert "retry-after" not in headers
    # A dry run needs no slot.
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    client.delete_function_concurrency(FunctionName=name)
    assert client.invoke(FunctionName=name)["StatusCode"] == 200


def test_what_is_reserved_is_the_most_that_runs_and_others_are_left_alone(
    client: Any, deploy: Deploy, tmp_path: Path
) -> None:
    name, calm = deploy(WAITING, Timeout=60), deploy(QUICK)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    gate = tmp_path / "gate"
    running = Running(client, name, gate, 2)
    assert throttle(client, name)["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert client.invoke(FunctionName=calm, Payload=b"1")["Payload"].read() == b"1"
    assert running.end() == [b'"done"'] * 2
    assert client.invoke(FunctionName=name, Payload=json.dumps(str(gate)).encode())["StatusCode"] == 200


def test_the_accounts_limit_throttles_with_its_reason(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_CONCURRENCY_ACCOUNT_LIMIT="2") as server:
        client = server.client()
        name = Functions(client)(WAITING, Timeout=60)
        gate = tmp_path / "gate"
        running = Running(client, name, gate, 2)
        assert throttle(client, name)["Reason"] == "ConcurrentInvocationLimitExceeded"
        running.end()
        # Less than the usual minimum may stay unreserved where there is less.
        code, _, text, _ = refused(
            client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=1
        )
        assert (code, text[-4:]) == ("InvalidParameterValueException", "[2].")


def test_calls_come_ten_times_the_limit_a_second_and_no_faster(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_CONCURRENCY_ACCOUNT_LIMIT="1") as server:
        client = server.client()
        name = Functions(client)(QUICK)

        def call_until_refused() -> None:
            for _ in range(10_000):
                client.invoke(FunctionName=name)

        with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
            call_until_refused()
        response = caught.value.response
        assert response["Reason"] == "FunctionInvocationRateLimitExceeded"
        assert (response["retryAfterSeconds"], response["Error"]["Message"]) == ("1", "Rate Exceeded.")
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["retry-after"] == "1"
        assert 0 < int(headers["x-amz-retry-after"]) <= 1000


def test_boto3_gets_through_a_burst_in_standard_mode(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_CONCURRENCY_ACCOUNT_LIMIT="4") as server:
        name = Functions(server.client())(
            "import time\ndef handler(e, c):\n    time.sleep(0.05)\n    return e\n"
        )
        client = server.client(
            retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=12
        )
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(
                    lambda number: client.invoke(FunctionName=name, Payload=str(number).encode()), range(24)
                )
            )
        assert [answer["Payload"].read() for answer in answers] == [str(n).encode() for n in range(24)]
        assert any(answer["ResponseMetadata"]["RetryAttempts"] for answer in answers)


def test_a_caller_that_hangs_up_keeps_its_slot_until_the_function_ends(
    client: Any, server: RunningServer, deploy: Deploy, tmp_path: Path
) -> None:
    name, gate = deploy(WAITING, Timeout=60), tmp_path / "gate"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    hasty = server.client(read_timeout=1)
    with pytest.raises(Exception, match="Read timeout"):
        hasty.invoke(FunctionName=name, Payload=json.dumps(str(gate)).encode())
    assert refused(client.invoke, FunctionName=name)[0] == "TooManyRequestsException"
    gate.touch()
    for _ in range(1000):
        try:
            client.invoke(FunctionName=name, Payload=json.dumps(str(gate)).encode())
        except client.exceptions.TooManyRequestsException:
            continue
        return
    pytest.fail("the slot never came back")


@pytest.mark.parametrize(
    "source",
    [
        "def handler(event, context):\n    raise ValueError\n",
        "import os\ndef handler(event, context):\n    os._exit(3)\n",
        "import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGKILL)\n",
        "import time\ndef handler(event, context):\n    time.sleep(60)\n",
        "1 / 0\n",
    ],
    ids=["exception", "exit", "kill", "timeout", "init"],
)
def test_a_slot_comes_back_however_its_invocation_ends(client: Any, deploy: Deploy, source: str) -> None:
    name = deploy(source, Timeout=1)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    for _ in range(3):
        assert client.invoke(FunctionName=name)["FunctionError"] == "Unhandled"
