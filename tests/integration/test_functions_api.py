"""The functions API through boto3: exact replies, states, waiters, paging, refusals.

Expected values are those of docs/aws-behaviour.md, functions 7.1 to 7.18; sections are named beside them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

import pytest

from tests.integration.conftest import ROLE, RUNTIME, RunningServer, wait_until_active
from tests.integration.functions_harness import (
    ARN,
    EVERYWHERE,
    OTHER_PACKAGE,
    PACKAGE,
    REASONS,
    STATE,
    UPDATE,
    UPDATE_REASONS,
    UUID,
    create,
    members_of,
    refusal,
    status_of,
)

# ---------------------------------------------------------------------------- replies


def test_create_replies_with_exactly_awss_members_and_defaults(client: Any, name: str) -> None:
    created = create(client, name)
    assert status_of(created) == 201
    assert members_of(created) == EVERYWHERE | STATE | REASONS
    expected = {
        "FunctionName": name,
        "FunctionArn": ARN + name,
        "Runtime": RUNTIME,
        "Handler": "index.handler",
        "Role": ROLE,
        "CodeSize": len(PACKAGE),
        "CodeSha256": base64.b64encode(hashlib.sha256(PACKAGE).digest()).decode(),
        "Version": "$LATEST",
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
    }
    assert {key: created[key] for key in expected} == expected
    assert UUID.fullmatch(created["RevisionId"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", created["LastModified"])
    changed = datetime.strptime(created["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((datetime.now(changed.tzinfo) - changed).total_seconds()) < 60
    runtime_arn = created["RuntimeVersionConfig"]["RuntimeVersionArn"]
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", runtime_arn)


def test_get_shows_the_active_function_and_its_code(client: Any, name: str) -> None:
    created = create(client, name)
    wait_until_active(client, name)
    got = client.get_function(FunctionName=name)
    assert (status_of(got), members_of(got)) == (200, {"Configuration", "Code"})
    assert set(got["Code"]) == {"RepositoryType", "Location"}
    assert got["Code"]["RepositoryType"] == "S3"
    shown = got["Configuration"]
    assert set(shown) == EVERYWHERE | STATE | UPDATE
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    assert shown["RevisionId"] != created["RevisionId"]
    assert shown["LastModified"] == created["LastModified"]
    alone = client.get_function_configuration(FunctionName=name)
    assert {key: alone[key] for key in members_of(alone)} == shown


def test_get_shows_the_arn_as_it_was_asked_for(client: Any, name: str) -> None:
    create(client, name)
    for get in (
        client.get_function_configuration,
        lambda **given: client.get_function(**given)["Configuration"],
    ):
        assert get(FunctionName=name)["FunctionArn"] == ARN + name
        assert get(FunctionName=name, Qualifier="$LATEST")["FunctionArn"] == f"{ARN}{name}:$LATEST"
        assert get(FunctionName=f"{ARN}{name}:$LATEST")["FunctionArn"] == f"{ARN}{name}:$LATEST"


def test_updates_show_latest_with_the_update_in_progress(client: Any, name: str) -> None:
    create(client, name)
    wait_until_active(client, name)
    for update, given in (
        (client.update_function_code, {"ZipFile": OTHER_PACKAGE}),
        (client.update_function_configuration, {"Description": "another"}),
    ):
        before = client.get_function_configuration(FunctionName=name)
        updated = update(FunctionName=f"{ARN}{name}", **given)
        assert status_of(updated) == 200
        assert members_of(updated) == EVERYWHERE | STATE | UPDATE | UPDATE_REASONS
        assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
        assert updated["LastUpdateStatusReason"] == "The function is being created."
        assert updated["LastUpdateStatusReasonCode"] == "Creating"
        assert updated["FunctionArn"] == ARN + name
        assert updated["RevisionId"] != before["RevisionId"]
        wait_until_active(client, name, "function_updated_v2")
        settled = client.get_function_configuration(FunctionName=name)
        assert settled["RevisionId"] not in {before["RevisionId"], updated["RevisionId"]}
        assert settled["LastUpdateStatus"] == "Successful"
    assert (settled["CodeSize"], settled["Description"]) == (len(OTHER_PACKAGE), "another")


def test_a_configuration_is_kept_where_nothing_else_is_given_and_replaced_where_it_is(
    client: Any, name: str
) -> None:
    create(
        client,
        name,
        Description="first",
        Timeout=9,
        MemorySize=1024,
        Environment={"Variables": {"ONE_": "1", "TWO_": "2"}},
        TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 1024},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
    )
    wait_until_active(client, name)
    updated = client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"ONE_": "3"}}, Handler="index.other"
    )
    assert updated["Environment"] == {"Variables": {"ONE_": "3"}}
    assert updated["Handler"] == "index.other"
    assert (updated["Description"], updated["Timeout"], updated["MemorySize"]) == ("first", 9, 1024)
    assert updated["TracingConfig"] == {"Mode": "Active"}
    assert updated["EphemeralStorage"] == {"Size": 1024}
    assert updated["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "DEBUG",
        "SystemLogLevel": "INFO",
        "LogGroup": f"/aws/lambda/{name}",
    }
    wait_until_active(client, name, "function_updated_v2")
    emptied = client.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
    assert emptied["Environment"] == {"Variables": {}}


def test_delete_replies_with_nothing_and_the_name_is_free_again(client: Any, name: str) -> None:
    first = create(client, name)
    deleted = client.delete_function(FunctionName=name)
    assert status_of(deleted) == 204
    assert deleted["ResponseMetadata"]["HTTPHeaders"].get("content-length", "0") == "0"
    missing = (404, "ResourceNotFoundException", f"Function not found: {ARN}{name}")
    for call in (client.delete_function, client.get_function, client.get_function_configuration):
        assert refusal(call, FunctionName=name) == missing
    assert create(client, name)["RevisionId"] != first["RevisionId"]


def test_account_settings_count_functions_and_bytes(server: RunningServer) -> None:
    client = server.client(account="777788889999")
    create(client, "one")
    create(client, "two", Code={"ZipFile": OTHER_PACKAGE})
    settings = client.get_account_settings()
    assert members_of(settings) == {"AccountLimit", "AccountUsage"}
    assert settings["AccountLimit"] == {
        "TotalCodeSize": 80530636800,
        "CodeSizeUnzipped": 262144000,
        "CodeSizeZipped": 52428800,
        "ConcurrentExecutions": 1000,
        "UnreservedConcurrentExecutions": 1000,
    }
    assert settings["AccountUsage"] == {
        "TotalCodeSize": len(PACKAGE) + len(OTHER_PACKAGE),
        "FunctionCount": 2,
    }


# ---------------------------------------------------------------------------- waiters


@pytest.mark.parametrize("waiter", ["function_exists", "function_active", "function_active_v2"])
def test_the_waiters_for_a_new_function_end(client: Any, name: str, waiter: str) -> None:
    create(client, name)
    wait_until_active(client, name, waiter)
    if waiter != "function_exists":
        assert client.get_function_configuration(FunctionName=name)["State"] == "Active"


@pytest.mark.parametrize("waiter", ["function_updated", "function_updated_v2"])
def test_the_waiters_for_an_update_end(client: Any, name: str, waiter: str) -> None:
    create(client, name)
    wait_until_active(client, name)
    client.update_function_configuration(FunctionName=name, Timeout=5)
    wait_until_active(client, name, waiter)
    assert client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"


# ---------------------------------------------------------------------------- code


def test_the_download_link_gives_the_uploaded_bytes_at_the_host_of_the_request(
    server: RunningServer, client: Any, name: str
) -> None:
    create(client, name)
    for host in ("127.0.0.1", "localhost"):
        other = server.client()
        other.meta.events.register(
            "before-send",
            lambda request, host=host, **_: request.headers.update(Host=f"{host}:{server.port}"),
        )
        location = other.get_function(FunctionName=name)["Code"]["Location"]
        assert location.startswith(f"http://{host}:{server.port}/")
        with urllib.request.urlopen(location, timeout=10) as response:
            assert response.read() == PACKAGE
            assert response.headers["content-type"] == "application/zip"


def test_a_changed_link_opens_nothing(client: Any, name: str) -> None:
    create(client, name)
    location = client.get_function(FunctionName=name)["Code"]["Location"]
    path, _, query = location.partition("?")
    other = "0" * 64
    for changed in (
        location[:-1],
        path,
        f"{path.rpartition('/')[0]}/{other}?{query}",
        location.replace("=1", "=2", 1),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(changed, timeout=10):
            pass
        with caught.value:
            assert (caught.value.code, caught.value.headers["x-amzn-errortype"]) == (
                403,
                "AccessDeniedException",
            )


def test_a_dry_run_shows_what_would_be_and_changes_nothing(client: Any, name: str) -> None:
    create(client, name)
    wait_until_active(client, name)
    before = client.get_function(FunctionName=name)["Configuration"]
    reply = client.update_function_code(FunctionName=name, ZipFile=OTHER_PACKAGE, DryRun=True)
    assert status_of(reply) == 200
    sha256 = base64.b64encode(hashlib.sha256(OTHER_PACKAGE).digest()).decode()
    assert (reply["CodeSize"], reply["CodeSha256"]) == (len(OTHER_PACKAGE), sha256)
    for member in ("RevisionId", "LastModified", "State", "LastUpdateStatus"):
        assert reply[member] == before[member]
    assert client.get_function(FunctionName=name)["Configuration"] == before
    assert client.invoke(FunctionName=name)["Payload"].read() == b"1"
    assert refusal(client.update_function_code, FunctionName=name, ZipFile=b"no zip", DryRun=True)[0] == 400


def test_a_revision_id_guards_against_another_ones_change(client: Any, name: str) -> None:
    create(client, name)
    wait_until_active(client, name)
    stale = (
        412,
        "PreconditionFailedException",
        (
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        ),
    )
    wrong = "00000000-0000-4000-8000-000000000000"
    for update, given in (
        (client.update_function_configuration, {"Timeout": 4}),
        (client.update_function_code, {"ZipFile": OTHER_PACKAGE}),
    ):
        assert refusal(update, FunctionName=name, RevisionId=wrong, **given) == stale
        revision = client.get_function_configuration(FunctionName=name)["RevisionId"]
        update(FunctionName=name, RevisionId=revision, **given)
        assert refusal(update, FunctionName=name, RevisionId=revision, **given) == stale
        wait_until_active(client, name, "function_updated_v2")


# ---------------------------------------------------------------------------- list


@pytest.fixture(scope="module")
def many(server: RunningServer) -> Any:
    """A client of an account with 53 functions."""
    client = server.client(account="111111111111")
    for number in range(53):
        create(client, f"f-{number:02}")
    return client


def test_the_paginator_goes_through_every_function_once_by_name(many: Any) -> None:
    pages = list(many.get_paginator("list_functions").paginate())
    assert [len(page["Functions"]) for page in pages] == [50, 3]
    assert "NextMarker" not in pages[-1]
    assert [each["FunctionName"] for page in pages for each in page["Functions"]] == [
        f"f-{number:02}" for number in range(53)
    ]


def test_a_page_is_as_long_as_asked_and_never_over_fifty(many: Any) -> None:
    assert len(many.list_functions(MaxItems=10_000)["Functions"]) == 50
    pages = list(many.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 20}))
    assert [len(page["Functions"]) for page in pages] == [20, 20, 13]


def test_an_entry_of_a_list_has_no_state(many: Any) -> None:
    reply = many.list_functions(MaxItems=1)
    assert members_of(reply) == {"Functions", "NextMarker"}
    assert set(reply["Functions"][0]) == EVERYWHERE
    assert reply["Functions"][0]["FunctionArn"] == "arn:aws:lambda:us-east-1:111111111111:function:f-00"


def test_a_list_of_nothing_is_an_empty_list(server: RunningServer) -> None:
    reply = server.client(account="222222222222").list_functions()
    assert members_of(reply) == {"Functions"}
    assert reply["Functions"] == []


def test_a_marker_of_somebody_elses_is_refused(server: RunningServer, many: Any) -> None:
    marker = many.list_functions(MaxItems=1)["NextMarker"]
    invalid = (400, "InvalidParameterValueException", "Invalid marker")
    for client, given in (
        (many, "nonsense"),
        (many, marker[:-2]),
        (server.client(account="222222222222"), marker),
    ):
        assert refusal(client.list_functions, Marker=given) == invalid


# ---------------------------------------------------------------------------- refusals


def test_a_name_that_is_taken_is_a_conflict(client: Any, name: str) -> None:
    create(client, name)
    conflict = (409, "ResourceConflictException", f"Function already exist: {name}")
    assert refusal(lambda: create(client, name)) == conflict
    assert refusal(lambda: create(client, f"{ARN}{name}")) == conflict


def test_a_function_of_another_account_is_not_created(client: Any) -> None:
    status, code, _ = refusal(lambda: create(client, "arn:aws:lambda:us-east-1:999999999999:function:f"))
    assert (status, code) == (403, "AccessDeniedException")


@pytest.mark.parametrize(
    ("qualifier", "status", "text"),
    [
        ("$LATEST", 400, "$LATEST version cannot be deleted without deleting the function."),
        ("prod", 400, "Deletion of aliases is not currently supported."),
        ("7", 204, None),
    ],
)
def test_delete_of_a_qualified_name(
    client: Any, name: str, qualifier: str, status: int, text: str | None
) -> None:
    # Section 7.8.
    create(client, name)
    if text is None:
        assert status_of(client.delete_function(FunctionName=name, Qualifier=qualifier)) == status
    else:
        assert refusal(client.delete_function, FunctionName=name, Qualifier=qualifier)[::2] == (status, text)
    assert client.get_function(FunctionName=name)


def test_of_two_updates_at_once_the_second_conflicts_or_finds_the_first_one_settled(
    client: Any, name: str
) -> None:
    create(client, name)
    wait_until_active(client, name)
    client.update_function_configuration(FunctionName=name, Timeout=4)
    refused = None
    try:
        client.update_function_configuration(FunctionName=name, Timeout=5)
    except client.exceptions.ResourceConflictException as error:
        refused = error.response["Error"]["Message"]
    assert refused in {
        None,
        f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}{name}",
    }
