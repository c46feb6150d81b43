"""Aliases over the API: what they point to, how they split calls, and every refusal."""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conftest import wait_until_active
from tests.integration.test_versions import BASE, TELLING, change_code, invoke, refused

Deploy = Callable[..., str]


@pytest.fixture
def name(client: Any, deploy: Deploy) -> str:
    """A function with the versions 1 (code a) and 2 (code b)."""
    made = deploy(TELLING.format(mark="a"))
    client.publish_version(FunctionName=made)
    change_code(client, made, "b", Publish=True)
    client.get_waiter("published_version_active").wait(FunctionName=made, Qualifier="2")
    return made


def weights(**shares: float) -> dict[str, Any]:
    """Return a RoutingConfig: ``weights(v2=0.5)``."""
    return {"AdditionalVersionWeights": {number.removeprefix("v"): share for number, share in shares.items()}}


# Source of all that follows: docs/aws-behaviour.md, versions-permissions 5.1, 5.2, 5.8 and invoke 1.2.


def test_an_alias_runs_the_version_that_it_points_to(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    told, executed = invoke(client, name, "live")
    # The ARN that the function sees ends in the alias, its version is the number.
    assert told == ["a", None, "1", f"{BASE}{name}:live", "1", "1"]
    assert executed == "1"

    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    # The next invocation runs the other one, in an environment of its own.
    told, executed = invoke(client, name, "live")
    assert (told[0], told[2], executed) == ("b", "2", "2")


def test_an_alias_of_latest_follows_every_update(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="dev", FunctionVersion="$LATEST")
    change_code(client, name, "c")

    told, executed = invoke(client, name, "dev")
    assert (told[0], told[3], executed) == ("c", f"{BASE}{name}:dev", "$LATEST")


@pytest.mark.parametrize("form", ["{name}:live", "function:{name}:live", BASE + "{name}:live"])
def test_an_alias_may_stand_in_the_name(client: Any, name: str, form: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    assert client.invoke(FunctionName=form.format(name=name))["ExecutedVersion"] == "1"
    reply = client.get_function_configuration(FunctionName=form.format(name=name))
    assert (reply["Version"], reply["FunctionArn"]) == ("1", f"{BASE}{name}:live")


def test_create_get_update_and_list_show_the_same_members(client: Any, name: str) -> None:
    created = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert created.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    revision = created.pop("RevisionId")
    assert created == {
        "AliasArn": f"{BASE}{name}:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "",
    }
    before = client.get_function_configuration(FunctionName=name)["RevisionId"]
    updated = client.update_alias(
        FunctionName=name, Name="live", Description="all of it", RoutingConfig=weights(v2=0.25)
    )
    assert updated.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    assert updated["RevisionId"] != revision
    assert (updated["FunctionVersion"], updated["Description"]) == ("1", "all of it")
    assert updated["RoutingConfig"] == weights(v2=0.25)
    shown = client.get_alias(FunctionName=name, Name="live")
    shown.pop("ResponseMetadata")
    assert shown == updated
    assert client.list_aliases(FunctionName=name)["Aliases"] == [updated]
    # An alias is nothing to the function's own revision.
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] == before


def test_an_empty_routing_config_clears_the_weights(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights(v2=1.0))
    assert invoke(client, name, "live")[1] == "2"
    kept = client.update_alias(FunctionName=name, Name="live", Description="d")
    assert kept["RoutingConfig"] == weights(v2=1.0)

    cleared = client.update_alias(FunctionName=name, Name="live", RoutingConfig={})
    assert "RoutingConfig" not in cleared
    assert invoke(client, name, "live")[1] == "1"


def test_weights_split_the_calls_and_the_answer_tells_which_version_ran(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights(v2=0.5))
    ran: Counter[str] = Counter()
    for _ in range(60):
        told, executed = invoke(client, name, "live")
        assert (told[0], told[2]) == ({"1": "a", "2": "b"}[executed], executed)
        ran[executed] += 1
    # All on one side would happen once in 10^17 runs.
    assert set(ran) == {"1", "2"}
    assert client.get_function_configuration(FunctionName=name, Qualifier="live")["Version"] == "1"


def test_the_start_line_names_the_version_that_runs(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    answer = client.invoke(FunctionName=name, Qualifier="live", LogType="Tail")
    assert " Version: 2\n" in base64.b64decode(answer["LogResult"]).decode()


def test_aliases_are_listed_by_name_and_of_one_version(client: Any, name: str) -> None:
    for alias, version, routing in (
        ("b", "1", weights(v2=0.1)),
        ("a", "2", {}),
        ("c", "1", {}),
        ("d", "$LATEST", {}),
    ):
        client.create_alias(FunctionName=name, Name=alias, FunctionVersion=version, RoutingConfig=routing)

    def listed(**options: Any) -> list[str]:
        pages = client.get_paginator("list_aliases").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 2}, **options
        )
        return [one["Name"] for page in pages for one in page["Aliases"]]

    assert listed() == ["a", "b", "c", "d"]
    assert listed(FunctionVersion="1") == ["b", "c"]
    assert listed(FunctionVersion="2") == ["a", "b"]
    assert listed(FunctionVersion="$LATEST") == ["d"]
    assert listed(FunctionVersion="9") == []


def test_a_version_that_an_alias_points_to_cannot_be_deleted(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights(v2=0.5))
    for version in ("1", "2"):
        assert refused(client.delete_function, FunctionName=name, Qualifier=version) == (
            "ResourceConflictException",
            409,
            "Unable to delete version because the following aliases reference it: [live]",
        )
    assert client.delete_alias(FunctionName=name, Name="live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_function(FunctionName=name, Qualifier="1")


def test_an_alias_that_is_not_there_is_told_in_as_many_wordings_as_aws_has(client: Any, name: str) -> None:
    arn = f"{BASE}{name}:live"
    for call, members, text in (
        (client.invoke, {"Qualifier": "live"}, f"Function not found: {arn}"),
        (client.get_function, {"Qualifier": "live"}, f"Function not found: {arn}"),
        (client.get_alias, {"Name": "live"}, f"Cannot find alias arn: {arn}"),
        (client.update_alias, {"Name": "live", "FunctionVersion": "1"}, f"Alias not found: {arn}"),
    ):
        assert refused(call, FunctionName=name, **members) == ("ResourceNotFoundException", 404, text)
    # Deleting it succeeds.
    assert client.delete_alias(FunctionName=name, Name="live")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_a_name_that_is_taken_is_a_conflict(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    assert refused(client.create_alias, FunctionName=name, Name="live", FunctionVersion="2") == (
        "ResourceConflictException",
        409,
        f"Alias already exists: {BASE}{name}:live",
    )


@pytest.mark.parametrize(
    ("members", "code", "status", "text"),
    [
        (
            {"FunctionVersion": "1", "RoutingConfig": weights(v2=0.1, v3=0.1)},
            "InvalidParameterValueException",
            400,
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            {"FunctionVersion": "1", "RoutingConfig": weights(v1=0.1)},
            "InvalidParameterValueException",
            400,
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": weights(v1=0.1)},
            "InvalidParameterValueException",
            400,
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ({"FunctionVersion": "10"}, "ResourceNotFoundException", 404, "Function not found: {arn}:10"),
        (
            {"FunctionVersion": "1", "RoutingConfig": weights(v10=0.1)},
            "ResourceNotFoundException",
            404,
            "Function not found: {arn}:10",
        ),
    ],
)
@pytest.mark.parametrize("operation", ["create_alias", "update_alias"])
def test_what_an_alias_cannot_point_to_is_refused_in_awss_words(
    client: Any, name: str, operation: str, members: dict[str, Any], code: str, status: int, text: str
) -> None:
    if operation == "update_alias":
        client.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    wanted = (code, status, text.format(arn=f"{BASE}{name}"))

    assert refused(getattr(client, operation), FunctionName=name, Name="live", **members) == wanted


@pytest.mark.parametrize(
    ("members", "beginning"),
    [
        ({"RoutingConfig": weights(v2=2.0)}, "Map value must satisfy constraint: ["),
        ({"RoutingConfig": weights(v2=-1.0)}, "Map value must satisfy constraint: ["),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.1}}},
            "Map keys must satisfy constraint: [",
        ),
        ({"Name": "123"}, "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"),
        ({"Name": "a" * 129}, "Member must have length less than or equal to 128"),
        ({"FunctionVersion": "live"}, "Member must satisfy regular expression pattern: "),
    ],
)
def test_what_the_model_forbids_is_a_validation_exception(
    server: Any, name: str, members: dict[str, Any], beginning: str
) -> None:
    given = {"FunctionName": name, "Name": "live", "FunctionVersion": "1", **members}
    # Some of it boto3 itself would refuse.
    code, status, text = refused(server.client(parameter_validation=False).create_alias, **given)

    assert (code, status) == ("ValidationException", 400)
    assert f"failed to satisfy constraint: {beginning}" in text


def test_a_name_that_only_looks_like_a_number_is_an_alias(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="2024-01-02", FunctionVersion="1")

    assert invoke(client, name, "2024-01-02")[1] == "1"


def test_an_alias_wants_the_revision_that_the_caller_has_seen(client: Any, name: str) -> None:
    seen = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")["RevisionId"]
    client.update_alias(FunctionName=name, Name="live", Description="x", RevisionId=seen)

    code, status, text = refused(
        client.update_alias, FunctionName=name, Name="live", Description="y", RevisionId=seen
    )
    assert (code, status) == ("PreconditionFailedException", 412)
    assert text == (
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    )


@pytest.mark.parametrize("operation", ["create_alias", "list_aliases", "delete_alias"])
def test_aliases_of_a_function_that_is_not_there_are_not_found(client: Any, operation: str) -> None:
    members = {
        "create_alias": {"Name": "live", "FunctionVersion": "1"},
        "list_aliases": {},
        "delete_alias": {"Name": "live"},
    }[operation]

    assert refused(getattr(client, operation), FunctionName="nothing", **members) == (
        "ResourceNotFoundException",
        404,
        f"Function not found: {BASE}nothing",
    )


def test_a_function_takes_its_aliases_along(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert invoke(client, name, "live")[1] == "1"
    client.delete_function(FunctionName=name)

    assert refused(client.invoke, FunctionName=name, Qualifier="live")[0] == "ResourceNotFoundException"


def test_delete_function_does_not_delete_aliases(client: Any, name: str) -> None:
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    assert refused(client.delete_function, FunctionName=name, Qualifier="live") == (
        "InvalidParameterValueException",
        400,
        "Deletion of aliases is not currently supported.",
    )


def test_an_update_of_latest_leaves_a_running_invocation_alone(client: Any, deploy: Deploy) -> None:
    slow = "import time\ndef handler(event, context):\n    time.sleep(0.7)\n    return 'old'\n"
    name = deploy(slow, Timeout=10)
    client.invoke(FunctionName=name)
    answers: list[str] = []

    def call() -> None:
        answers.append(client.invoke(FunctionName=name)["Payload"].read().decode())

    running = threading.Thread(target=call)
    running.start()
    change_code(client, name, "new")
    wait_until_active(client, name, "function_updated_v2")
    assert invoke(client, name)[0][0] == "new"
    running.join()
    assert answers == ['"old"']
