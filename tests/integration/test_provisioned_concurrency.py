"""Provisioned concurrency over the API: what is refused, what is kept ready, and who runs in it.

Source: docs/aws-behaviour.md, concurrency 3.4 and 3.6.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import (
    Functions,
    RunningServer,
    pack,
    publish_live,
    running_server,
    wait_until_active,
)

Deploy = Callable[..., str]

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
LIMIT = 110
# How it was initialised, which of the environments it is, and how often that was called.
TELLING = """
import os, time, uuid
me, calls = uuid.uuid4().hex, 0
def handler(event, context):
    global calls
    calls += 1
    if event == "crash":
        os._exit(3)
    if event == "sleep":
        time.sleep(60)
    if isinstance(event, str):
        open(event + "." + me, "w").close()
        while not os.path.exists(event):
            time.sleep(0.005)
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], me, calls, context.function_version]
"""
PROVISIONED = "provisioned-concurrency"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose account may run a little more than must stay unreserved."""
    folder = tmp_path_factory.mktemp("provisioned")
    with running_server(folder, LAMBENT_CONCURRENCY_ACCOUNT_LIMIT=str(LIMIT)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Any:
    return server.client(max_pool_connections=50)


@pytest.fixture
def name(client: Any, deploy: Deploy) -> str:
    """A function with the versions 1 and 2, and the alias ``live`` on the first."""
    made = deploy(TELLING, Timeout=10)
    client.publish_version(FunctionName=made)
    publish_again(client, made)
    client.create_alias(FunctionName=made, Name="live", FunctionVersion="1")
    return made


def publish_again(client: Any, name: str, source: str = TELLING) -> str:
    """Publish another version."""
    client.update_function_code(
        FunctionName=name, ZipFile=pack(index=source + f"\n# {time.monotonic_ns()}\n")
    )
    wait_until_active(client, name, "function_updated_v2")
    return str(client.publish_version(FunctionName=name)["Version"])


def put(client: Any, name: str, qualifier: str, count: int) -> dict[str, Any]:
    reply = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )
    return dict(reply)


def get(client: Any, name: str, qualifier: str) -> dict[str, Any]:
    reply = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    return {member: value for member, value in reply.items() if member != "ResponseMetadata"}


def settled(client: Any, name: str, qualifier: str) -> dict[str, Any]:
    """Return the config when it is no longer in progress."""
    deadline = time.monotonic() + 30
    while (shown := get(client, name, qualifier))["Status"] == "IN_PROGRESS":
        assert time.monotonic() < deadline, shown
        time.sleep(0.01)
    return shown


def provision(client: Any, name: str, qualifier: str, count: int) -> None:
    """Put, and wait until all of it is ready."""
    put(client, name, qualifier, count)
    assert settled(client, name, qualifier)["Status"] == "READY"


def counts(shown: dict[str, Any]) -> list[int]:
    return [
        shown[f"{kind}ProvisionedConcurrentExecutions"] for kind in ("Requested", "Available", "Allocated")
    ]


def call(client: Any, name: str, qualifier: str = "$LATEST", event: object = None) -> list[Any]:
    """Return what the function says of itself."""
    reply = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event).encode())
    assert "FunctionError" not in reply
    return list(json.loads(reply["Payload"].read()))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refused(operation: Callable[..., Any], **members: Any) -> tuple[str, int, str, Any]:
    """Return code, status, text and Type of a refusal."""
    with pytest.raises(ClientError) as caught:
        operation(**members)
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], status, response["Error"]["Message"], response.get("Type")


def invalid(text: str) -> tuple[str, int, str, str]:
    return "InvalidParameterValueException", 400, text, "User"


# -- the operations


def test_a_config_is_put_becomes_ready_is_listed_and_deleted(client: Any, name: str) -> None:
    reply = put(client, name, "live", 2)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (reply["Status"], counts(reply)) == ("IN_PROGRESS", [2, 0, 0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", reply["LastModified"])
    assert "StatusReason" not in reply

    shown = settled(client, name, "live")
    assert (shown["Status"], counts(shown)) == ("READY", [2, 2, 2])
    assert shown["LastModified"] == reply["LastModified"]
    put(client, name, "2", 1)
    settled(client, name, "2")
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    listed = [page["ProvisionedConcurrencyConfigs"] for page in pages]
    assert [[item.pop("FunctionArn") for item in page] for page in listed] == [
        [f"{ARN}{name}:2"],
        [f"{ARN}{name}:live"],
    ]
    assert listed[1] == [shown]

    for _ in range(2):
        reply = client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
        assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="live") == (
        "ProvisionedConcurrencyConfigNotFoundException",
        404,
        "No Provisioned Concurrency Config found for this function",
        "User",
    )


def test_what_is_provisioned_still_counts_as_unreserved(client: Any, name: str) -> None:
    put(client, name, "1", 5)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == LIMIT


def test_an_init_that_fails_is_told_as_aws_does(client: Any, deploy: Deploy) -> None:
    name = deploy("1 / 0")
    client.publish_version(FunctionName=name)
    put(client, name, "1", 2)
    shown = settled(client, name, "1")
    assert (shown["Status"], shown["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
    assert counts(shown) == [2, 0, 0]


# -- refusals


def test_latest_has_no_provisioned_concurrency(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="newest", FunctionVersion="$LATEST")
    unpublished = invalid(
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    )
    for qualifier in ("$LATEST", "newest"):
        assert (
            refused(
                client.put_provisioned_concurrency_config,
                FunctionName=name,
                Qualifier=qualifier,
                ProvisionedConcurrentExecutions=1,
            )
            == unpublished
        )
    for operation in (
        client.get_provisioned_concurrency_config,
        client.delete_provisioned_concurrency_config,
    ):
        assert refused(operation, FunctionName=name, Qualifier="$LATEST") == invalid(
            "The function resource provided must be an alias or a published version."
        )


def test_zero_is_no_value(server: RunningServer, name: str) -> None:
    trusting = server.client(parameter_validation=False)
    members = {"FunctionName": name, "Qualifier": "1", "ProvisionedConcurrentExecutions": 0}
    text = (
        "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy "
        "constraint: Member must have value greater than or equal to 1"
    )
    operation = trusting.put_provisioned_concurrency_config
    assert refused(operation, **members) == ("ValidationException", 400, text, None)


@pytest.mark.parametrize(
    ("qualifier", "text"), [("absent", "Cannot find alias arn: "), ("7", "Function not found: ")]
)
def test_versions_and_aliases_that_are_not_there(client: Any, name: str, qualifier: str, text: str) -> None:
    for function in (name, "nothing"):
        for operation, members in (
            (client.put_provisioned_concurrency_config, {"ProvisionedConcurrentExecutions": 9999}),
            (client.get_provisioned_concurrency_config, {}),
            (client.delete_provisioned_concurrency_config, {}),
        ):
            assert refused(operation, FunctionName=function, Qualifier=qualifier, **members) == (
                "ResourceNotFoundException",
                404,
                f"{text}{ARN}{function}:{qualifier}",
                "User",
            )
    assert refused(client.list_provisioned_concurrency_configs, FunctionName="nothing") == (
        "ResourceNotFoundException",
        404,
        f"Function not found: {ARN}nothing",
        "User",
    )


def test_a_version_is_provisioned_once(client: Any, name: str) -> None:
    operation = client.put_provisioned_concurrency_config
    put(client, name, "live", 1)
    assert refused(operation, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1) == (
        "ResourceConflictException",
        409,
        "Version is pointed by a Provisioned Concurrency alias",
        "User",
    )
    put(client, name, "2", 1)
    client.create_alias(FunctionName=name, Name="first", FunctionVersion="1")
    client.create_alias(FunctionName=name, Name="second", FunctionVersion="2")
    taken = (
        "ResourceConflictException",
        409,
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        "User",
    )
    for alias in ("first", "second"):
        members = {"FunctionName": name, "Qualifier": alias, "ProvisionedConcurrentExecutions": 1}
        assert refused(operation, **members) == taken
    # The alias cannot get there by moving either.
    assert refused(client.update_alias, FunctionName=name, Name="live", FunctionVersion="2") == taken
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="2")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    put(client, name, "1", 1)


def test_an_alias_with_provisioned_concurrency_points_to_one_published_version(
    client: Any, name: str
) -> None:
    weighted = invalid("Invalid alias configuration for Provisioned Concurrency")
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    client.update_alias(FunctionName=name, Name="live", RoutingConfig=routing)
    members = {"FunctionName": name, "Qualifier": "live", "ProvisionedConcurrentExecutions": 1}
    assert refused(client.put_provisioned_concurrency_config, **members) == weighted
    client.update_alias(FunctionName=name, Name="live", RoutingConfig={})
    put(client, name, "live", 1)
    change = client.update_alias
    assert refused(change, FunctionName=name, Name="live", RoutingConfig=routing) == weighted
    assert refused(change, FunctionName=name, Name="live", FunctionVersion="$LATEST") == invalid(
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    )


def test_no_more_is_provisioned_than_the_account_has_and_a_minimum_stays(client: Any, name: str) -> None:
    operation = client.put_provisioned_concurrency_config
    too_little_left = invalid(
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100]."
    )
    for count, refusal in (
        (
            LIMIT + 1,
            invalid(
                "Specified ConcurrentExecutions for function is greater than account's unreserved "
                f"concurrency [{LIMIT}]."
            ),
        ),
        (LIMIT, too_little_left),
        (LIMIT - 99, too_little_left),
    ):
        members = {"FunctionName": name, "Qualifier": "1", "ProvisionedConcurrentExecutions": count}
        assert refused(operation, **members) == refusal
    put(client, name, "live", 4)
    members = {"FunctionName": name, "Qualifier": "2", "ProvisionedConcurrentExecutions": 7}
    assert refused(operation, **members) == too_little_left
    put(client, name, "2", 6)
    put(client, name, "2", 1)
    # What is provisioned cannot be reserved by others.
    reserve = client.put_function_concurrency
    other = Functions(client)(TELLING)
    refusal = refused(reserve, FunctionName=other, ReservedConcurrentExecutions=6)
    assert refusal[2].startswith("Specified ReservedConcurrentExecutions for function decreases account's")
    reserve(FunctionName=other, ReservedConcurrentExecutions=5)
    client.delete_function(FunctionName=other)


def test_no_more_is_provisioned_than_the_function_has_reserved(client: Any, name: str) -> None:
    operation, reserve = client.put_provisioned_concurrency_config, client.put_function_concurrency
    reserve(FunctionName=name, ReservedConcurrentExecutions=3)
    put(client, name, "live", 2)
    members = {"FunctionName": name, "Qualifier": "2", "ProvisionedConcurrentExecutions": 2}
    assert refused(operation, **members) == invalid(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
        "for function"
    )
    put(client, name, "2", 1)
    for count in (0, 2):
        assert refused(reserve, FunctionName=name, ReservedConcurrentExecutions=count) == invalid(
            f" ReservedConcurrentExecutions  {count} should not be lower than function's total provisioned "
            "concurrency [3]."
        )
    reserve(FunctionName=name, ReservedConcurrentExecutions=4)
    client.delete_function_concurrency(FunctionName=name)


# -- who runs where


class Held:
    """A call that runs until it is let go; begun when this is made."""

    def __init__(self, client: Any, name: str, qualifier: str, gate: Path) -> None:
        self._gate = gate
        self._pool = ThreadPoolExecutor(1)
        self._call = self._pool.submit(call, client, name, qualifier, str(gate))
        until(lambda: list(gate.parent.glob(f"{gate.name}.*")))

    def end(self) -> list[Any]:
        self._gate.touch()
        answer = self._call.result()
        self._pool.shutdown()
        return answer


def test_provisioned_environments_come_first_and_calls_spill_over(
    client: Any, name: str, tmp_path: Path
) -> None:
    provision(client, name, "live", 1)
    held = Held(client, name, "live", tmp_path / "gate")
    assert call(client, name, "live")[0] == "on-demand"
    kind, me, calls, version = held.end()
    assert (kind, calls, version) == (PROVISIONED, 1, "1")
    # The version itself uses them, too, and no other does.
    for qualifier in ("1", "live"):
        assert call(client, name, qualifier)[:2] == [PROVISIONED, me]
    for qualifier in ("2", "$LATEST"):
        assert call(client, name, qualifier)[0] == "on-demand"


def test_all_that_is_reserved_may_be_provisioned_and_others_are_throttled(client: Any, name: str) -> None:
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    provision(client, name, "1", 1)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName=name)
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert call(client, name, "1")[0] == PROVISIONED
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert call(client, name)[0] == "on-demand"


@pytest.mark.parametrize(("event", "error"), [("crash", "Runtime.ExitError"), ("sleep", "Sandbox.Timedout")])
def test_an_environment_that_crashes_or_times_out_is_replaced(
    client: Any, deploy: Deploy, event: str, error: str
) -> None:
    name = deploy(TELLING, Timeout=1)
    client.publish_version(FunctionName=name)
    provision(client, name, "1", 1)
    first = call(client, name, "1")
    reply = client.invoke(FunctionName=name, Qualifier="1", Payload=json.dumps(event).encode())
    assert json.loads(reply["Payload"].read())["errorType"] == error
    assert settled(client, name, "1")["Status"] == "READY"
    kind, me, calls, _ = call(client, name, "1")
    assert (kind, calls) == (PROVISIONED, 1)
    assert me != first[1]


def test_an_environment_that_dies_while_idle_is_replaced(client: Any, deploy: Deploy, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    source = f"import os\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n" + TELLING
    name = deploy(source)
    client.publish_version(FunctionName=name)
    provision(client, name, "1", 1)
    _, before, _, _ = call(client, name, "1")
    process = int(pid.read_text())
    os.kill(process, signal.SIGKILL)
    until(lambda: int(pid.read_text() or process) != process)
    assert settled(client, name, "1")["Status"] == "READY"
    kind, me, _, _ = call(client, name, "1")
    assert (kind, me != before) == (PROVISIONED, True)


def test_a_call_in_a_provisioned_environment_is_no_cold_start(client: Any, name: str) -> None:
    provision(client, name, "live", 1)
    reply = client.invoke(FunctionName=name, Qualifier="live", LogType="Tail")
    assert b"Init Duration" not in base64.b64decode(reply["LogResult"])


# -- changes


def test_more_and_fewer_are_kept_as_the_config_says(client: Any, name: str) -> None:
    provision(client, name, "live", 1)
    provision(client, name, "live", 3)
    assert counts(get(client, name, "live")) == [3, 3, 3]
    reply = put(client, name, "live", 2)
    assert reply["Status"] == "IN_PROGRESS"
    assert counts(settled(client, name, "live")) == [2, 2, 2]


def test_moving_the_alias_moves_what_is_provisioned(client: Any, name: str) -> None:
    provision(client, name, "live", 2)
    assert call(client, name, "1")[0] == PROVISIONED
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert get(client, name, "live")["Status"] in {"IN_PROGRESS", "READY"}
    assert settled(client, name, "live")["Status"] == "READY"
    assert call(client, name, "live")[::3] == [PROVISIONED, "2"]
    assert call(client, name, "1")[0] == "on-demand"


def test_until_the_new_versions_environments_are_ready_the_old_ones_serve(
    client: Any, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    slow = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.005)\n" + TELLING
    third = publish_again(client, name, slow)
    provision(client, name, "live", 1)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=third)
    shown = get(client, name, "live")
    assert (shown["Status"], counts(shown)) == ("IN_PROGRESS", [1, 0, 0])
    assert call(client, name, "1")[0] == PROVISIONED
    gate.touch()
    assert settled(client, name, "live")["Status"] == "READY"
    assert call(client, name, "live")[0] == PROVISIONED
    assert call(client, name, "1")[0] == "on-demand"


@pytest.mark.parametrize("what", ["config", "alias", "version"])
def test_environments_end_with_what_they_are_kept_for(client: Any, name: str, what: str) -> None:
    qualifier = "2" if what == "version" else "live"
    provision(client, name, qualifier, 1)
    assert call(client, name, qualifier)[0] == PROVISIONED
    if what == "config":
        client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        until(lambda: call(client, name, "1")[0] == "on-demand")
        put(client, name, "1", 1)
    elif what == "alias":
        client.delete_alias(FunctionName=name, Name=qualifier)
        until(lambda: call(client, name, "1")[0] == "on-demand")
        client.create_alias(FunctionName=name, Name=qualifier, FunctionVersion="1")
        code = refused(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier=qualifier)[0]
        assert code == "ProvisionedConcurrencyConfigNotFoundException"
    else:
        client.delete_function(FunctionName=name, Qualifier=qualifier)
        assert (
            client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
            == []
        )


def test_a_function_that_is_made_anew_has_nothing_provisioned(client: Any, deploy: Deploy) -> None:
    name = deploy(TELLING)
    client.publish_version(FunctionName=name)
    provision(client, name, "1", 10)
    client.delete_function(FunctionName=name)
    Functions(client)(TELLING, FunctionName=name)
    client.publish_version(FunctionName=name)
    assert call(client, name, "1")[0] == "on-demand"
    provision(client, name, "1", 10)
    assert call(client, name, "1")[0] == PROVISIONED


def test_after_a_restart_the_environments_are_made_again(tmp_path: Path) -> None:
    with running_server(tmp_path) as first:
        client = first.client()
        name = publish_live(client, Functions(client)(TELLING))
        provision(client, name, "live", 2)
        first.stop(signal.SIGKILL)
    with running_server(tmp_path) as second:
        client = second.client()
        assert counts(settled(client, name, "live")) == [2, 2, 2]
        assert call(client, name, "live")[0] == PROVISIONED


def test_what_the_machine_has_no_room_for_waits_and_others_give_way(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_CONCURRENCY_MACHINE_LIMIT="2") as server:
        client = server.client()
        functions = Functions(client)
        name, other = functions(TELLING, Timeout=60), functions(TELLING)
        client.publish_version(FunctionName=name)
        call(client, other)
        provision(client, name, "1", 2)
        with pytest.raises(client.exceptions.TooManyRequestsException):
            client.invoke(FunctionName=other)
        client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
        held = Held(client, name, "1", tmp_path / "gate")
        put(client, name, "1", 2)
        until(lambda: get(client, name, "1")["AllocatedProvisionedConcurrentExecutions"] == 1)
        assert get(client, name, "1")["Status"] == "IN_PROGRESS"
        # Idle now, it makes room for the one that is wanted.
        held.end()
        assert settled(client, name, "1")["Status"] == "READY"
