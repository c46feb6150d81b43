"""The functions API through boto3: exact replies, states, waiters, paging, refusals.

Expected values are those of docs/aws-behaviour.md, functions 7.1 to 7.18; sections are named beside them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import botocore.exceptions
import pytest
from botocore.model import ServiceModel, Shape
from botocore.session import get_session

from lambent.api.invoke import SERVED as SERVED_BY_INVOKE
from lambent.api.operations import OPERATIONS
from tests.integration.conftest import ROLE, RUNTIME, RunningServer, pack, wait_until_active

Deploy = Callable[..., str]

PACKAGE = pack(index="def handler(event, context): return 1")
OTHER_PACKAGE = pack(index="def handler(event, context): return 2")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")

# Section 7.2: what stands in every reply, and what only some show.
EVERYWHERE = {
    "FunctionName", "FunctionArn", "Runtime", "Handler", "Role", "CodeSize", "CodeSha256", "LastModified",
    "RevisionId", "Version", "Description", "Timeout", "MemorySize", "PackageType", "Architectures",
    "EphemeralStorage", "TracingConfig", "SnapStart", "LoggingConfig",
}  # fmt: skip
STATE = {"State", "RuntimeVersionConfig"}
REASONS = {"StateReason", "StateReasonCode"}
UPDATE = {"LastUpdateStatus"}
UPDATE_REASONS = {"LastUpdateStatusReason", "LastUpdateStatusReasonCode"}


def _create(client: Any, name: str, **configuration: Any) -> dict[str, Any]:
    given = {
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "index.handler",
        "Code": {"ZipFile": PACKAGE},
        **configuration,
    }
    return {**client.create_function(**{key: value for key, value in given.items() if value is not None})}


@pytest.fixture
def name(client: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that no other test uses; a function of that name is gone after the test."""
    chosen = re.sub(r"\W+", "-", request.node.name)[:60]
    yield chosen
    try:
        client.delete_function(FunctionName=chosen)
    except client.exceptions.ResourceNotFoundException:
        return


@pytest.fixture(scope="module")
def trusting(server: RunningServer) -> Any:
    """A client that sends what it is given."""
    return server.client(parameter_validation=False)


def _members(reply: dict[str, Any]) -> set[str]:
    return set(reply) - {"ResponseMetadata"}


def _status(reply: dict[str, Any]) -> int:
    return int(reply["ResponseMetadata"]["HTTPStatusCode"])


def _refusal(call: Callable[..., Any], **given: Any) -> tuple[int, str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**given)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


# ---------------------------------------------------------------------------- replies


def test_create_replies_with_exactly_awss_members_and_defaults(client: Any, name: str) -> None:
    created = _create(client, name)
    assert _status(created) == 201
    assert _members(created) == EVERYWHERE | STATE | REASONS
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
    created = _create(client, name)
    wait_until_active(client, name)
    got = client.get_function(FunctionName=name)
    assert (_status(got), _members(got)) == (200, {"Configuration", "Code"})
    assert set(got["Code"]) == {"RepositoryType", "Location"}
    assert got["Code"]["RepositoryType"] == "S3"
    shown = got["Configuration"]
    assert set(shown) == EVERYWHERE | STATE | UPDATE
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    assert shown["RevisionId"] != created["RevisionId"]
    assert shown["LastModified"] == created["LastModified"]
    alone = client.get_function_configuration(FunctionName=name)
    assert {key: alone[key] for key in _members(alone)} == shown


def test_get_shows_the_arn_as_it_was_asked_for(client: Any, name: str) -> None:
    _create(client, name)
    for get in (
        client.get_function_configuration,
        lambda **given: client.get_function(**given)["Configuration"],
    ):
        assert get(FunctionName=name)["FunctionArn"] == ARN + name
        assert get(FunctionName=name, Qualifier="$LATEST")["FunctionArn"] == f"{ARN}{name}:$LATEST"
        assert get(FunctionName=f"{ARN}{name}:$LATEST")["FunctionArn"] == f"{ARN}{name}:$LATEST"


def test_updates_show_latest_with_the_update_in_progress(client: Any, name: str) -> None:
    _create(client, name)
    wait_until_active(client, name)
    for update, given in (
        (client.update_function_code, {"ZipFile": OTHER_PACKAGE}),
        (client.update_function_configuration, {"Description": "another"}),
    ):
        before = client.get_function_configuration(FunctionName=name)
        updated = update(FunctionName=f"{ARN}{name}", **given)
        assert _status(updated) == 200
        assert _members(updated) == EVERYWHERE | STATE | UPDATE | UPDATE_REASONS
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
    _create(
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
    first = _create(client, name)
    deleted = client.delete_function(FunctionName=name)
    assert _status(deleted) == 204
    assert deleted["ResponseMetadata"]["HTTPHeaders"].get("content-length", "0") == "0"
    missing = (404, "ResourceNotFoundException", f"Function not found: {ARN}{name}")
    for call in (client.delete_function, client.get_function, client.get_function_configuration):
        assert _refusal(call, FunctionName=name) == missing
    assert _create(client, name)["RevisionId"] != first["RevisionId"]


def test_account_settings_count_functions_and_bytes(server: RunningServer) -> None:
    client = server.client(account="777788889999")
    _create(client, "one")
    _create(client, "two", Code={"ZipFile": OTHER_PACKAGE})
    settings = client.get_account_settings()
    assert _members(settings) == {"AccountLimit", "AccountUsage"}
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
    _create(client, name)
    wait_until_active(client, name, waiter)
    if waiter != "function_exists":
        assert client.get_function_configuration(FunctionName=name)["State"] == "Active"


@pytest.mark.parametrize("waiter", ["function_updated", "function_updated_v2"])
def test_the_waiters_for_an_update_end(client: Any, name: str, waiter: str) -> None:
    _create(client, name)
    wait_until_active(client, name)
    client.update_function_configuration(FunctionName=name, Timeout=5)
    wait_until_active(client, name, waiter)
    assert client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"


# ---------------------------------------------------------------------------- code


def test_the_download_link_gives_the_uploaded_bytes_at_the_host_of_the_request(
    server: RunningServer, client: Any, name: str
) -> None:
    _create(client, name)
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
    _create(client, name)
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
    _create(client, name)
    wait_until_active(client, name)
    before = client.get_function(FunctionName=name)["Configuration"]
    reply = client.update_function_code(FunctionName=name, ZipFile=OTHER_PACKAGE, DryRun=True)
    assert _status(reply) == 200
    sha256 = base64.b64encode(hashlib.sha256(OTHER_PACKAGE).digest()).decode()
    assert (reply["CodeSize"], reply["CodeSha256"]) == (len(OTHER_PACKAGE), sha256)
    for member in ("RevisionId", "LastModified", "State", "LastUpdateStatus"):
        assert reply[member] == before[member]
    assert client.get_function(FunctionName=name)["Configuration"] == before
    assert client.invoke(FunctionName=name)["Payload"].read() == b"1"
    assert _refusal(client.update_function_code, FunctionName=name, ZipFile=b"no zip", DryRun=True)[0] == 400


def test_a_revision_id_guards_against_another_ones_change(client: Any, name: str) -> None:
    _create(client, name)
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
        assert _refusal(update, FunctionName=name, RevisionId=wrong, **given) == stale
        revision = client.get_function_configuration(FunctionName=name)["RevisionId"]
        update(FunctionName=name, RevisionId=revision, **given)
        assert _refusal(update, FunctionName=name, RevisionId=revision, **given) == stale
        wait_until_active(client, name, "function_updated_v2")


# ---------------------------------------------------------------------------- list


@pytest.fixture(scope="module")
def many(server: RunningServer) -> Any:
    """A client of an account with 53 functions."""
    client = server.client(account="111111111111")
    for number in range(53):
        _create(client, f"f-{number:02}")
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
    assert _members(reply) == {"Functions", "NextMarker"}
    assert set(reply["Functions"][0]) == EVERYWHERE
    assert reply["Functions"][0]["FunctionArn"] == "arn:aws:lambda:us-east-1:111111111111:function:f-00"


def test_a_list_of_nothing_is_an_empty_list(server: RunningServer) -> None:
    reply = server.client(account="222222222222").list_functions()
    assert _members(reply) == {"Functions"}
    assert reply["Functions"] == []


def test_a_marker_of_somebody_elses_is_refused(server: RunningServer, many: Any) -> None:
    marker = many.list_functions(MaxItems=1)["NextMarker"]
    invalid = (400, "InvalidParameterValueException", "Invalid marker")
    for client, given in (
        (many, "nonsense"),
        (many, marker[:-2]),
        (server.client(account="222222222222"), marker),
    ):
        assert _refusal(client.list_functions, Marker=given) == invalid


# ---------------------------------------------------------------------------- refusals


def test_create_refuses_what_aws_refuses_in_its_words(trusting: Any, name: str) -> None:
    # Sections 7.4 to 7.6.
    refused = "1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must {}"
    cases: list[tuple[dict[str, Any], int, str, str]] = [
        ({"Role": "r1"}, 400, "ValidationException", refused.format("r1", "role", "satisfy regular expression pattern: ")),
        ({"Timeout": 901}, 400, "ValidationException",
         refused.format(901, "timeout", "have value less than or equal to 900")),
        ({"MemorySize": 10241}, 400, "ValidationException",
         refused.format(10241, "memorySize", "have value less than or equal to 10240")),
        ({"EphemeralStorage": {"Size": 511}}, 400, "ValidationException",
         refused.format(511, "ephemeralStorage.size", "have value greater than or equal to 512")),
        ({"name": "a" * 65}, 400, "InvalidParameterValueException",
         refused.format("a" * 65, "functionName", "have length less than or equal to 64")),
        ({"name": "no!"}, 400, "ValidationException",
         refused.format("no!", "functionName", "satisfy regular expression pattern: (arn:")),
        ({"name": "arn:aws:lambda:eu-west-1:000000000000:function:f"}, 404, "ResourceNotFoundException",
         "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"),
        ({"Code": {"ZipFile": b"no zip"}}, 400, "InvalidParameterValueException",
         "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ({"Code": {}}, 400, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Environment": {"Variables": {"AWS_REGION": "x", "TZ_": "y", "AWS_SESSION_TOKEN": "z"}}}, 400,
         "InvalidParameterValueException",
         ("Lambda was unable to configure your environment variables because the environment variables you have "
          "provided contains reserved keys that are currently not supported for modification. "
          "Reserved keys used in this request: AWS_REGION, AWS_SESSION_TOKEN")),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}}, 400, "InvalidParameterValueException",
         'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or'),
        ({"PackageType": "Image"}, 400, "InvalidParameterValueException",
         "PackageType Image is not served by this version of Lambent."),
    ]  # fmt: skip
    for changes, status, code, text in cases:
        found = _refusal(partial(_create, trusting, **{"name": name, **changes}))
        assert found[:2] == (status, code), changes
        assert found[2].startswith(text), changes
    assert _refusal(trusting.get_function, FunctionName=name)[0] == 404


def test_a_name_that_is_taken_is_a_conflict(client: Any, name: str) -> None:
    _create(client, name)
    conflict = (409, "ResourceConflictException", f"Function already exist: {name}")
    assert _refusal(lambda: _create(client, name)) == conflict
    assert _refusal(lambda: _create(client, f"{ARN}{name}")) == conflict


def test_a_function_of_another_account_is_not_created(client: Any) -> None:
    status, code, _ = _refusal(lambda: _create(client, "arn:aws:lambda:us-east-1:999999999999:function:f"))
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
    _create(client, name)
    if text is None:
        assert _status(client.delete_function(FunctionName=name, Qualifier=qualifier)) == status
    else:
        assert _refusal(client.delete_function, FunctionName=name, Qualifier=qualifier)[::2] == (status, text)
    assert client.get_function(FunctionName=name)


def test_of_two_updates_at_once_the_second_conflicts_or_finds_the_first_one_settled(
    client: Any, name: str
) -> None:
    _create(client, name)
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


# ---------------------------------------------------------------------------- what is not served

MODEL: ServiceModel = get_session().get_service_model("lambda")

# A text for every pattern of the model: the first that fits is sent.
TEXTS = (
    "a", "1", "us-east-1", "000000000000", "arn:aws:lambda:us-east-1:000000000000:runtime/named", "lambda:GetLayerVersion", "subnet-1", "sg-1", "csc-12345678901234567", "provided",
    "00000000-0000-4000-8000-000000000000", ROLE, f"{ARN}f", f"{ARN}f:1",
    "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-12345678901234567",
    "arn:aws:lambda:us-east-1:000000000000:layer:l:1",
    "arn:aws:lambda:us-east-1:000000000000:capacity-provider:c",
    "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-12345678901234567",
    "arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:kms:us-east-1:000000000000:key/k",
    "arn:aws:secretsmanager:us-east-1:000000000000:secret:s", "/mnt/data", "$LATEST.PUBLISHED",
    f"{ARN}f:1/durable-execution/a/b", "host:9092", "2026-01-01T00:00:00Z", "lambda.amazonaws.com",
)  # fmt: skip


def _text(shape: Shape) -> str:
    facts = shape.metadata
    if "enum" in facts:
        # Not what AWS does unasked: that would change nothing, and so is not refused.
        return str(
            next(
                (each for each in facts["enum"] if each not in {"None", "Zip", "PassThrough"}),
                facts["enum"][0],
            )
        )
    pattern = facts.get("pattern")
    length = range(facts.get("min", 0), facts.get("max", 10_000) + 1)
    for text in TEXTS:
        if len(text) in length and (pattern is None or "\\p{" in pattern or re.fullmatch(pattern, text)):
            return text
    return "a" * (length[0] or 1)


def _value(shape: Shape, *, whole: bool, within: tuple[str, ...] = ()) -> Any:
    """Return a value that the model takes: required members alone, or as ``whole`` all of them."""
    kind = shape.type_name
    if kind == "structure":
        names = shape.members if whole and shape.name not in within else shape.required_members
        return {
            name: _value(shape.members[name], whole=whole, within=(*within, shape.name))
            for name in names
            if shape.name not in within
        }
    if kind == "list":
        return [
            _value(shape.member, whole=whole, within=within) for _ in range(shape.metadata.get("min") or 1)
        ]
    if kind == "map":
        return {_text(shape.key): _value(shape.value, whole=whole, within=within)}
    if kind == "string":
        return _text(shape)
    if kind == "blob":
        return b"{}"
    if kind == "boolean":
        return True
    if kind == "timestamp":
        return 1_700_000_000
    return max(1, int(shape.metadata.get("min", 1)))


def _minimal(operation: str) -> dict[str, Any]:
    shape = MODEL.operation_model(operation).input_shape
    return {} if shape is None else dict(_value(shape, whole=False))


def _call(client: Any, operation: str, given: dict[str, Any]) -> tuple[int, str, str]:
    method = {name: python for python, name in client.meta.method_to_api_mapping.items()}[operation]
    return _refusal(getattr(client, method), **given)


def _refused(name: str) -> tuple[int, str, str]:
    return 400, "InvalidParameterValueException", f"{name} is not served by this version of Lambent."


@pytest.mark.parametrize("operation", sorted(set(MODEL.operation_names) - set(OPERATIONS) - {"Invoke"}))
def test_every_operation_that_is_not_served_says_so(trusting: Any, operation: str) -> None:
    assert _call(trusting, operation, _minimal(operation)) == _refused(operation)


SERVED = {**{name: operation.members for name, operation in OPERATIONS.items()}, "Invoke": SERVED_BY_INVOKE}


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        (operation, member)
        for operation, served in sorted(SERVED.items())
        for member in getattr(MODEL.operation_model(operation).input_shape, "members", ())
        if member not in served and not any(name.startswith(f"{member}.") for name in served)
    ],
)
def test_every_member_that_is_not_served_says_so(trusting: Any, operation: str, member: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    assert shape is not None
    given = {**_minimal(operation), member: _value(shape.members[member], whole=True)}
    assert _call(trusting, operation, given) == _refused(member)


@pytest.mark.parametrize("part", ["S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "SourceKMSKeyArn"])
def test_every_part_of_code_but_a_zip_says_that_it_is_not_served(client: Any, name: str, part: str) -> None:
    values = {
        "S3Bucket": "bucket",
        "S3Key": "key",
        "S3ObjectVersion": "1",
        "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/repo:tag",
        "SourceKMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
    }
    code = {"ZipFile": PACKAGE, part: values[part]}
    assert _refusal(lambda: _create(client, name, Code=code)) == _refused(f"Code.{part}")


@pytest.mark.parametrize(
    "given",
    [
        {"Publish": False},
        {"Layers": []},
        {"Tags": {}},
        {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}},
        {"KMSKeyArn": ""},
        {"SnapStart": {"ApplyOn": "None"}},
        {"DeadLetterConfig": {}},
    ],
)
def test_a_member_that_asks_for_nothing_is_no_reason_to_refuse(
    client: Any, name: str, given: dict[str, Any]
) -> None:
    assert _members(_create(client, name, **given)) == EVERYWHERE | STATE | REASONS


def test_an_event_invocation_is_refused_and_never_accepted(client: Any, name: str) -> None:
    _create(client, name)
    refused = _refusal(client.invoke, FunctionName=name, InvocationType="Event", Payload=b"{}")
    assert refused == _refused("InvocationType Event")
