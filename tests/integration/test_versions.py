"""Published versions over the API: frozen, numbered, listed, deleted, invoked."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import ROLE, RUNTIME, pack, wait_until_active

Deploy = Callable[..., str]

# Tells which code ran, with which configuration, and what its context shows.
TELLING = """
import os
def handler(event, context):
    return [{mark!r}, os.environ.get("MARK"), context.function_version, context.invoked_function_arn,
            os.environ["AWS_LAMBDA_FUNCTION_VERSION"], context.log_stream_name.partition("[")[2].partition("]")[0]]
"""
BASE = "arn:aws:lambda:us-east-1:000000000000:function:"


def invoke(client: Any, name: str, qualifier: str | None = None) -> tuple[Any, str]:
    """Return the decoded payload and the executed version."""
    options = {} if qualifier is None else {"Qualifier": qualifier}
    answer = client.invoke(FunctionName=name, **options)
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read()), answer["ExecutedVersion"]


def change_code(client: Any, name: str, mark: str, **options: Any) -> Any:
    """Give the function code with another mark and wait until it is served."""
    reply = client.update_function_code(
        FunctionName=name, ZipFile=pack(index=TELLING.format(mark=mark)), **options
    )
    wait_until_active(client, name, "function_updated_v2")
    return reply


def refused(call: Callable[..., Any], **members: Any) -> tuple[str, int, str]:
    """Return code, status and text of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    error, metadata = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    return error["Code"], metadata["HTTPStatusCode"], error["Message"]


@pytest.fixture
def name(deploy: Deploy) -> str:
    return deploy(TELLING.format(mark="a"))


# Source of all that follows: docs/aws-behaviour.md, versions-permissions 5.1, 5.4; functions 7.2, 7.3, 7.8.


def test_a_version_stays_what_it_was(client: Any, name: str) -> None:
    client.publish_version(FunctionName=name)
    change_code(client, name, "b")
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"MARK": "second"}}, MemorySize=256
    )
    wait_until_active(client, name, "function_updated_v2")
    client.publish_version(FunctionName=name)
    change_code(client, name, "c")

    assert invoke(client, name, "1") == (["a", None, "1", f"{BASE}{name}:1", "1", "1"], "1")
    assert invoke(client, name, "2") == (["b", "second", "2", f"{BASE}{name}:2", "2", "2"], "2")
    latest = ["c", "second", "$LATEST", f"{BASE}{name}", "$LATEST", "$LATEST"]
    assert invoke(client, name) == (latest, "$LATEST")
    assert client.get_function_configuration(FunctionName=name, Qualifier="1")["MemorySize"] == 128


def test_publish_replies_with_the_active_version(client: Any, name: str) -> None:
    before = client.get_function_configuration(FunctionName=name)
    reply = client.publish_version(FunctionName=name, Description="first")
    after = client.get_function_configuration(FunctionName=name)

    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (reply["Version"], reply["FunctionArn"]) == ("1", f"{BASE}{name}:1")
    assert (reply["State"], reply["LastUpdateStatus"]) == ("Active", "Successful")
    assert (reply["Description"], after["Description"]) == ("first", "")
    assert "RuntimeVersionConfig" in reply
    # Both have a revision of their own, and that of $LATEST has changed.
    assert len({before["RevisionId"], reply["RevisionId"], after["RevisionId"]}) == 3
    shown = client.get_function_configuration(FunctionName=name, Qualifier="1")
    reply.pop("ResponseMetadata")
    shown.pop("ResponseMetadata")
    assert shown == reply


def test_publishing_what_has_not_changed_answers_with_the_version_that_is_there(
    client: Any, name: str
) -> None:
    first = client.publish_version(FunctionName=name, Description="first")
    again = client.publish_version(FunctionName=name, Description="again")

    assert again["ResponseMetadata"]["HTTPStatusCode"] == 201
    for member in ("Version", "RevisionId", "Description"):
        assert again[member] == first[member]
    client.update_function_configuration(FunctionName=name, Timeout=4)
    wait_until_active(client, name, "function_updated_v2")
    assert client.publish_version(FunctionName=name)["Version"] == "2"


def test_numbers_go_on_after_a_version_was_deleted(client: Any, name: str) -> None:
    client.publish_version(FunctionName=name)
    client.delete_function(FunctionName=name, Qualifier="1")

    assert client.publish_version(FunctionName=name)["Version"] == "2"


def test_publish_wants_the_code_that_the_caller_has_seen(client: Any, name: str) -> None:
    actual = client.get_function_configuration(FunctionName=name)["CodeSha256"]
    text = (
        f"CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ({actual}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    assert refused(client.publish_version, FunctionName=name, CodeSha256="wrong") == (
        "InvalidParameterValueException",
        400,
        text,
    )
    assert client.publish_version(FunctionName=name, CodeSha256=actual)["Version"] == "1"


def test_publish_wants_the_revision_that_the_caller_has_seen(client: Any, name: str) -> None:
    seen = client.get_function_configuration(FunctionName=name)["RevisionId"]
    client.update_function_configuration(FunctionName=name, Timeout=5)
    wait_until_active(client, name, "function_updated_v2")

    code, status, text = refused(client.publish_version, FunctionName=name, RevisionId=seen)
    assert (code, status) == ("PreconditionFailedException", 412)
    assert text.startswith("The Revision Id provided does not match the latest Revision Id. ")


def test_create_with_publish_shows_the_version_without_a_qualifier(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context):\n    return 1\n")
    client.delete_function(FunctionName=name)
    reply = client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": pack(index=TELLING.format(mark="x"))},
        Publish=True,
    )

    assert (reply["Version"], reply["FunctionArn"]) == ("1", f"{BASE}{name}")
    assert (reply["State"], "LastUpdateStatus" in reply) == ("Pending", False)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    wait_until_active(client, name)
    assert invoke(client, name, "1")[1] == "1"
    # Nothing has changed since: there is nothing to publish.
    assert client.publish_version(FunctionName=name)["Version"] == "1"


def test_update_with_publish_shows_the_pending_version(client: Any, name: str) -> None:
    data = pack(index=TELLING.format(mark="b"))
    reply = client.update_function_code(FunctionName=name, ZipFile=data, Publish=True)

    assert (reply["Version"], reply["FunctionArn"]) == ("1", f"{BASE}{name}:1")
    assert (reply["State"], "LastUpdateStatus" in reply) == ("Pending", False)
    assert reply["CodeSha256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    wait_until_active(client, name, "function_updated_v2")
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    latest = client.get_function_configuration(FunctionName=name)
    assert (latest["Version"], latest["LastUpdateStatus"]) == ("$LATEST", "Successful")
    assert latest["RevisionId"] != reply["RevisionId"]
    assert invoke(client, name, "1")[0][0] == "b"


def test_a_dry_run_with_publish_makes_no_version(client: Any, name: str) -> None:
    reply = client.update_function_code(
        FunctionName=name, ZipFile=pack(index="handler = None"), Publish=True, DryRun=True
    )

    assert reply["Version"] == "$LATEST"
    listed = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [one["Version"] for one in listed] == ["$LATEST"]


def test_versions_are_listed_with_latest_first(client: Any, name: str) -> None:
    for timeout in range(1, 12):
        client.update_function_configuration(FunctionName=name, Timeout=timeout)
        wait_until_active(client, name, "function_updated_v2")
        client.publish_version(FunctionName=name)

    reply = client.list_versions_by_function(FunctionName=name)
    versions = ["$LATEST", *map(str, range(1, 12))]
    assert [one["Version"] for one in reply["Versions"]] == versions
    assert [one["FunctionArn"] for one in reply["Versions"]] == [f"{BASE}{name}:{one}" for one in versions]
    assert all("State" not in one and "RuntimeVersionConfig" not in one for one in reply["Versions"])
    assert "NextMarker" not in reply
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 5}
    )
    sizes = [len(page["Versions"]) for page in pages]
    assert sizes == [5, 5, 2]
    # Every one of them counts for the list of all functions, too.
    everything = client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
    mine = [one for page in everything for one in page["Functions"] if one["FunctionName"] == name]
    assert [one["Version"] for one in mine] == versions
    assert [one["FunctionArn"] for one in mine] == [f"{BASE}{name}:{one}" for one in versions]


def test_the_code_of_each_version_counts(server: Any) -> None:
    client = server.client(account="777777777777")
    data = pack(index="def handler(event, context):\n    return 1\n")
    client.create_function(
        FunctionName="f", Runtime=RUNTIME, Role=ROLE, Handler="index.handler", Code={"ZipFile": data}
    )
    wait_until_active(client, "f")
    client.publish_version(FunctionName="f")

    usage = client.get_account_settings()["AccountUsage"]
    assert usage == {"TotalCodeSize": 2 * len(data), "FunctionCount": 1}


@pytest.mark.parametrize("form", ["parameter", "name", "arn"])
def test_get_shows_a_version_by_any_form_of_its_name(client: Any, name: str, form: str) -> None:
    client.publish_version(FunctionName=name)
    asked: dict[str, str] = {
        "parameter": {"FunctionName": name, "Qualifier": "1"},
        "name": {"FunctionName": f"{name}:1"},
        "arn": {"FunctionName": f"{BASE}{name}:1"},
    }[form]

    reply = client.get_function(**asked)
    assert reply["Configuration"]["FunctionArn"] == f"{BASE}{name}:1"
    assert reply["Configuration"]["Version"] == "1"
    assert client.invoke(**asked)["ExecutedVersion"] == "1"


@pytest.mark.parametrize("operation", ["get_function", "get_function_configuration", "invoke"])
@pytest.mark.parametrize("qualifier", ["7", "01", "0", "9" * 128, "live", "$latest"])
def test_a_qualifier_that_names_nothing_is_not_found(
    client: Any, name: str, operation: str, qualifier: str
) -> None:
    assert refused(getattr(client, operation), FunctionName=name, Qualifier=qualifier) == (
        "ResourceNotFoundException",
        404,
        f"Function not found: {BASE}{name}:{qualifier}",
    )


def test_a_deleted_version_is_gone_and_the_others_stay(client: Any, name: str) -> None:
    client.publish_version(FunctionName=name)
    assert invoke(client, name, "1")[1] == "1"
    reply = client.delete_function(FunctionName=name, Qualifier="1")

    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.invoke, FunctionName=name, Qualifier="1")[0] == "ResourceNotFoundException"
    # A version that is not there counts as deleted.
    client.delete_function(FunctionName=name, Qualifier="1")
    assert invoke(client, name)[1] == "$LATEST"


@pytest.mark.parametrize("operation", ["update_function_code", "update_function_configuration"])
def test_a_version_cannot_be_changed(client: Any, name: str, operation: str) -> None:
    client.publish_version(FunctionName=name)
    change = {"ZipFile": pack(index="x = 1")} if operation == "update_function_code" else {"Timeout": 9}

    code, status, _ = refused(getattr(client, operation), FunctionName=f"{name}:1", **change)
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert client.get_function_configuration(FunctionName=name, Qualifier="1")["Timeout"] == 3


def test_publishing_a_function_that_is_not_there_is_not_found(client: Any) -> None:
    for operation in (client.publish_version, client.list_versions_by_function):
        assert refused(operation, FunctionName="nothing") == (
            "ResourceNotFoundException",
            404,
            f"Function not found: {BASE}nothing",
        )


def test_a_name_that_is_created_anew_begins_with_version_one(client: Any, name: str) -> None:
    client.publish_version(FunctionName=name)
    client.delete_function(FunctionName=name)
    assert refused(client.invoke, FunctionName=name, Qualifier="1")[0] == "ResourceNotFoundException"
    client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": pack(index=TELLING.format(mark="new"))},
    )
    wait_until_active(client, name)
    assert refused(client.invoke, FunctionName=name, Qualifier="1")[0] == "ResourceNotFoundException"
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    assert invoke(client, name, "1")[0][0] == "new"
