"""Function management over a real store: replies, states, errors and their order.

Expected values carry the section of docs/aws-behaviour.md they come from.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.contract.rig import (
    ACCOUNT,
    REGION,
    ROLE,
    Operation,
    Rig,
    Run,
    created,
    open_rig,
    refused,
    shown,
    zip_of,
)

from lambent import limits
from lambent.control.account import get_account_settings
from lambent.control.activation import SWEEP_INTERVAL_S, collect_garbage, finish_unsettled, keep_collecting
from lambent.control.code import open_link
from lambent.control.functions import (
    create_function,
    delete_function,
    get_function,
    get_function_configuration,
    list_functions,
    update_function_code,
    update_function_configuration,
)
from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    InvalidZipFileException,
    PreconditionFailedException,
    RequestEntityTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceError,
)
from lambent.model.functions import FunctionKey, FunctionVersion, State
from lambent.storage.contracts import StorageFailed

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
KEY = FunctionKey(ACCOUNT, REGION, "f")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CREATING = "The function is being created."


# -- create


def test_create_answers_with_every_default(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        data = zip_of()
        rig.clock.advance(0.575)
        reply = await create_function(rig.services, rig.create_call(Code={"ZipFile": data}))
        assert UUID.fullmatch(reply.pop("RevisionId"))
        runtime_arn = reply.pop("RuntimeVersionConfig")["RuntimeVersionArn"]
        assert re.fullmatch(rf"arn:aws:lambda:{REGION}::runtime:[0-9a-f]{{64}}", runtime_arn)
        # functions 7.2, column Create
        assert reply == {
            "FunctionName": "f",
            "FunctionArn": ARN,
            "Runtime": "python3.13",
            "Role": ROLE,
            "Handler": "app.handler",
            "CodeSize": len(data),
            "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "LastModified": "2023-11-14T22:13:20.575+0000",
            "Version": "$LATEST",
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            "TracingConfig": {"Mode": "PassThrough"},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
            "State": "Pending",
            "StateReason": CREATING,
            "StateReasonCode": "Creating",
        }

    run(scenario)


def test_create_shows_what_was_given(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        given: dict[str, Any] = {
            "Description": "d",
            "Timeout": 900,
            "MemorySize": 10240,
            "EphemeralStorage": {"Size": 1024},
            "TracingConfig": {"Mode": "Active"},
            "Environment": {"Variables": {"AB": "c"}},
            "LoggingConfig": {
                "LogFormat": "JSON",
                "LogGroup": "g",
                "ApplicationLogLevel": "DEBUG",
                "SystemLogLevel": "INFO",
            },
        }
        await created(rig, **given)
        reply = await shown(rig)
        assert {name: reply[name] for name in given} == given

    run(scenario)


def test_create_becomes_active_in_the_background(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.gate.clear()
        reply = await create_function(rig.services, rig.create_call())
        pending = await shown(rig)
        # versions-permissions 5.3
        assert (pending["State"], pending["StateReasonCode"]) == ("Pending", "Creating")
        assert "LastUpdateStatus" not in reply
        assert pending["RevisionId"] == reply["RevisionId"]
        rig.gate.set()
        await rig.settled()
        active = await shown(rig)
        assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
        assert not {"StateReason", "StateReasonCode", "LastUpdateStatusReason"} & active.keys()
        # versions-permissions 5.4: the id changes with the state, the time does not.
        assert active["RevisionId"] != reply["RevisionId"]
        assert active["LastModified"] == reply["LastModified"]
        assert [version.key for version in rig.prepared] == [KEY]

    run(scenario)


@pytest.mark.parametrize("name", [ARN, f"{ACCOUNT}:function:f", "function:f", f"{ARN}:$LATEST"])
def test_create_takes_every_form_of_a_name(run: Run, name: str) -> None:
    async def scenario(rig: Rig) -> None:
        reply = await created(rig, name)
        # functions 7.2: the bare name even if an ARN was sent; 7.3: no suffix.
        assert (reply["FunctionName"], reply["FunctionArn"]) == ("f", ARN)

    run(scenario)


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        (
            {"FunctionName": "a" * 65},
            InvalidParameterValueException,
            (
                f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy "
                "constraint: Member must have length less than or equal to 64"
            ),
        ),
        (
            {"FunctionName": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"},
            ResourceNotFoundException,
            f"Functions from 'us-east-1' are not reachable in this region ('{REGION}')",
        ),
        ({"FunctionName": f"arn:aws:lambda:{REGION}:000000000000:function:f"}, AccessDeniedException, None),
        ({"FunctionName": "f:1"}, InvalidParameterValueException, None),
        (
            {"Handler": None},
            InvalidParameterValueException,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        (
            {"Runtime": None},
            InvalidParameterValueException,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        ({"Code": {}}, InvalidParameterValueException, "Please provide a source for function code."),
        (
            {"Code": {"ZipFile": b"no zip"}},
            InvalidParameterValueException,
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        ({"Code": {"ZipFile": b""}}, InvalidParameterValueException, "Uploaded file must be a non-empty zip"),
        (
            {"Code": {"ZipFile": b"x" * (limits.ZIPPED_CODE_BYTES + 1)}},
            RequestEntityTooLargeException,
            "Zipped size must be smaller than 52428800 bytes",
        ),
        (
            {"Environment": {"Variables": {"AWS_ACCESS_KEY_ID": "", "OK": "", "AWS_SECRET_ACCESS_KEY": ""}}},
            InvalidParameterValueException,
            (
                "Lambda was unable to configure your environment variables because the environment variables "
                "you have provided contains reserved keys that are currently not supported for modification. "
                "Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            ),
        ),
        (
            {"Environment": {"Variables": {"KEY": "v" * 4087}}},
            InvalidParameterValueException,
            "Lambda was unable to configure your environment variables because the environment variables you "
            'have provided exceeded the 4KB limit. String measured: {"KEY":"' + "v" * 4087 + '"}',
        ),
        ({"Environment": {"Variables": {"KEY": "a\0b"}}}, InvalidParameterValueException, None),
        ({"Environment": {"Variables": {"KEY": "\ud800"}}}, InvalidParameterValueException, None),
        (
            {"LoggingConfig": {"ApplicationLogLevel": "DEBUG"}},
            InvalidParameterValueException,
            (
                'LogLevel is not supported when LogFormat is set to "Text". '
                'Remove LogLevel from your request or change the LogFormat to "Json" and try again.'
            ),
        ),
        ({"Handler": "app\0.handler"}, InvalidParameterValueException, None),
        ({"PackageType": "Image"}, InvalidParameterValueException, None),
    ],
)
def test_create_refuses_in_the_words_of_aws(
    run: Run, members: dict[str, Any], error: type[ServiceError], text: str | None
) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.create_call(**{"name": "f", **members} if "FunctionName" not in members else members)
        await refused(rig, create_function, call, error, text)
        # functions 7.4: after the refusal the function does not exist.
        assert await rig.functions.load(KEY) is None
        assert list((rig.code._zips).iterdir()) == []

    run(scenario)


def test_foreign_account_is_denied_without_a_text(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.create_call(f"arn:aws:lambda:{REGION}:000000000000:function:f")
        with pytest.raises(AccessDeniedException) as caught:
            await create_function(rig.services, call)
        # functions 7.5 [R]: JSON null
        assert caught.value.message is None

    run(scenario)


def test_variables_of_exactly_4096_bytes_pass(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        # {"KEY":"…"} has ten characters round the value; é counts two.
        await created(rig, Environment={"Variables": {"KEY": "é" * 2043}})

    run(scenario)


def test_taken_name_is_a_conflict_also_while_pending(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.gate.clear()
        reply = await create_function(rig.services, rig.create_call())
        text = "Function already exist: f"
        await refused(rig, create_function, rig.create_call(ARN), ResourceConflictException, text)
        assert (await shown(rig))["RevisionId"] == reply["RevisionId"]

    run(scenario)


def test_of_two_creates_at_once_one_wins(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        calls = [rig.create_call(Description=str(number)) for number in range(5)]
        replies = await asyncio.gather(
            *(create_function(rig.services, call) for call in calls), return_exceptions=True
        )
        assert sum(isinstance(reply, ResourceConflictException) for reply in replies) == 4
        (winner,) = (reply for reply in replies if isinstance(reply, dict))
        await rig.settled()
        assert (await shown(rig))["Description"] == winner["Description"]

    run(scenario)


def test_earlier_check_wins(run: Run) -> None:
    """The order of functions 7.18: the later entries of this list are the earlier checks."""

    async def scenario(rig: Rig) -> None:
        await created(rig)
        wrong: dict[str, Any] = {}
        texts = [await refused(rig, create_function, rig.create_call(), ResourceConflictException)]
        access_point = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-0123456789abcdef0"
        for member, value in (
            ("Tags", {"aws:x": ""}),
            ("SnapStart", {"ApplyOn": "PublishedVersions"}),
            ("FileSystemConfigs", [{"Arn": access_point, "LocalMountPath": "/mnt/data"}]),
            ("LoggingConfig", {"SystemLogLevel": "INFO"}),
            ("Environment", {"Variables": {"AWS_REGION": ""}}),
            ("Code", {"ZipFile": b"no zip"}),
            ("Code", {}),
            ("Handler", None),
            ("FunctionName", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"),
            ("FunctionName", "a" * 65),
            ("Code", {"ZipFile": b"x" * (limits.ZIPPED_CODE_BYTES + 1)}),
        ):
            wrong[member] = value
            call = rig.create_call(
                **{"name": "f", "Runtime": "python3.11", **wrong} if "FunctionName" not in wrong else wrong
            )
            texts.append((await refused(rig, create_function, call, ServiceError))[:30])
        assert len(set(texts)) == len(texts)

    run(scenario)


def test_warnings_of_runtime_and_architecture_reach_the_caller(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        calls = [rig.create_call(name, Architectures=[name]) for name in ("arm64", "x86_64")]
        for call in calls:
            reply = await create_function(rig.services, call)
            assert reply["Architectures"] == [call.input["FunctionName"]]
        # One of the two is this machine's own.
        assert sorted(len(call.warnings) for call in calls) == [0, 1]
        rig.runtime_warning = "python3.13 runs on Python 3.14"
        call = rig.create_call()
        await create_function(rig.services, call)
        assert call.warnings == [rig.runtime_warning]

    run(scenario)


# -- get


def test_get_has_configuration_and_a_link_to_the_code(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        reply = await get_function(rig.services, rig.call(FunctionName="f"))
        assert reply["Configuration"] == await shown(rig)
        assert reply["Code"].keys() == {"RepositoryType", "Location"}
        assert reply["Code"]["RepositoryType"] == "S3"
        url = urlsplit(reply["Code"]["Location"])
        assert f"{url.scheme}://{url.netloc}" == "http://127.0.0.1:3001"
        sha256 = url.path.removeprefix("/_lambent/code/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        rig.clock.advance(600)
        assert await open_link(rig.services, sha256, query) == zip_of()
        for changed in (
            {"signature": "0" * 64},
            {"signature": "é"},
            {"expires": "9999999999"},
            {"expires": ""},
        ):
            with pytest.raises(AccessDeniedException):
                await open_link(rig.services, sha256, {**query, **changed})
        with pytest.raises(AccessDeniedException):
            await open_link(rig.services, "ab" * 32, query)
        with pytest.raises(AccessDeniedException):
            await open_link(rig.services, sha256, {})
        rig.clock.advance(1)
        with pytest.raises(AccessDeniedException, match="expired"):
            await open_link(rig.services, sha256, query)

    run(scenario)


@pytest.mark.parametrize("operation", [get_function, get_function_configuration])
def test_get_shows_the_arn_as_asked(run: Run, operation: Operation) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        for name, qualifier, suffix in (
            ("f", None, ""),
            ("f", "$LATEST", ":$LATEST"),
            ("f:$LATEST", None, ":$LATEST"),
            (ARN, None, ""),
        ):
            members = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
            reply = await operation(rig.services, rig.call(**members))
            assert reply.get("Configuration", reply)["FunctionArn"] == ARN + suffix

    run(scenario)


@pytest.mark.parametrize("operation", [get_function, get_function_configuration])
@pytest.mark.parametrize("qualifier", [None, "1221", "$LATEST", "live", "$latest"])
def test_get_of_what_is_not_there_names_it_as_asked(
    run: Run, operation: Operation, qualifier: str | None
) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.call(FunctionName="f", **({"Qualifier": qualifier} if qualifier else {}))
        text = f"Function not found: {ARN}" + (f":{qualifier}" if qualifier else "")
        await refused(rig, operation, call, ResourceNotFoundException, text)
        await created(rig)
        if qualifier not in {None, "$LATEST"}:
            await refused(rig, operation, call, ResourceNotFoundException, text)

    run(scenario)


def test_qualifiers_that_differ_are_refused_before_existence(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        text = "The derived qualifier from the function name does not match the specified qualifier."
        for operation in (get_function, delete_function):
            call = rig.call(FunctionName="f:$LATEST", Qualifier="1")
            await refused(rig, operation, call, InvalidParameterValueException, text)

    run(scenario)


# -- update


def test_update_is_in_progress_then_successful_and_serves_the_old_until_then(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        revisions = [(await created(rig))["RevisionId"], (await shown(rig))["RevisionId"]]
        rig.gate.clear()
        rig.clock.advance(60)
        reply = await update_function_configuration(rig.services, rig.call(FunctionName=ARN, Timeout=5))
        # functions 7.2, column Update
        assert {name: reply.get(name) for name in ("Timeout", "State", "StateReason", "FunctionArn")} == {
            "Timeout": 5,
            "State": "Active",
            "StateReason": None,
            "FunctionArn": ARN,
        }
        assert [reply[f"LastUpdateStatus{part}"] for part in ("", "Reason", "ReasonCode")] == [
            "InProgress",
            CREATING,
            "Creating",
        ]
        assert reply["LastModified"] == "2023-11-14T22:14:20.000+0000"
        during = await shown(rig)
        assert (during["RevisionId"], during["Timeout"]) == (reply["RevisionId"], 5)
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.serving is not None
        assert head.serving.timeout_s == 3
        assert head.serving.document_id != head.latest.document_id
        revisions.append(reply["RevisionId"])
        rig.gate.set()
        await rig.settled()
        after = await shown(rig)
        assert after["LastUpdateStatus"] == "Successful"
        assert "LastUpdateStatusReason" not in after
        revisions.append(after["RevisionId"])
        # versions-permissions 5.4: four values.
        assert len(set(revisions)) == 4
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.serving == head.latest

    run(scenario)


def test_update_that_changes_nothing_is_an_update_too(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        before = await rig.functions.load(KEY)
        reply = await update_function_configuration(rig.services, rig.call(FunctionName="f"))
        # functions 7.3 [R]
        assert reply["LastUpdateStatus"] == "InProgress"
        await rig.settled()
        after = await rig.functions.load(KEY)
        assert before is not None
        assert after is not None
        assert after.latest.document_id != before.latest.document_id
        assert after.generation == before.generation

    run(scenario)


def test_update_keeps_what_is_not_sent_and_replaces_objects_whole(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, Description="d", Timeout=7, Environment={"Variables": {"AB": "1", "CD": "2"}})
        call = rig.call(FunctionName="f", Environment={"Variables": {"EF": "3"}}, MemorySize=256)
        reply = await update_function_configuration(rig.services, call)
        # functions 7.7 [R]
        assert (reply["Description"], reply["Timeout"], reply["MemorySize"]) == ("d", 7, 256)
        assert reply["Environment"] == {"Variables": {"EF": "3"}}
        await rig.settled()
        reply = await update_function_configuration(rig.services, rig.call(FunctionName="f", Environment={}))
        # functions 7.2 [R], 7.18: stays visible when emptied.
        assert reply["Environment"] == {"Variables": {}}

    run(scenario)


def test_logging_is_merged(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)

        async def update(**given: str) -> Any:
            call = rig.call(FunctionName="f", LoggingConfig=given)
            reply = await update_function_configuration(rig.services, call)
            await rig.settled()
            return reply["LoggingConfig"]

        # execution 4.7 [R]
        info = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
        group = {"LogGroup": "/aws/lambda/f"}
        assert await update(LogFormat="JSON") == {"LogFormat": "JSON", **group, **info}
        assert await update(SystemLogLevel="WARN") == {
            "LogFormat": "JSON",
            **group,
            **info,
            "SystemLogLevel": "WARN",
        }
        assert (await update(LogGroup="x"))["SystemLogLevel"] == "WARN"
        assert await update(LogFormat="Text") == {"LogFormat": "Text", "LogGroup": "x"}
        assert await update(LogFormat="JSON", ApplicationLogLevel="ERROR") == {
            "LogFormat": "JSON",
            "LogGroup": "x",
            "ApplicationLogLevel": "ERROR",
            "SystemLogLevel": "INFO",
        }

    run(scenario)


def test_new_code_is_served_after_the_update(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, Timeout=9)
        data = zip_of({"app.py": "new"})
        reply = await update_function_code(rig.services, rig.call(FunctionName="f", ZipFile=data))
        assert reply["CodeSha256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert (reply["CodeSize"], reply["Timeout"]) == (len(data), 9)
        assert reply["LastUpdateStatus"] == "InProgress"
        await rig.settled()
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.serving is not None
        folder = await rig.code.unpack(head.serving.code.sha256)
        assert (folder / "app.py").read_text() == "new"

    run(scenario)


def test_code_update_can_change_the_architecture(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, Architectures=["x86_64"])
        call = rig.call(FunctionName="f", ZipFile=zip_of(), Architectures=["arm64"])
        assert (await update_function_code(rig.services, call))["Architectures"] == ["arm64"]

    run(scenario)


def test_dry_run_shows_what_would_be_and_stores_nothing(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        before, head = await shown(rig), await rig.functions.load(KEY)
        rig.clock.advance(60)
        data = zip_of({"b.py": ""})
        call = rig.call(FunctionName="f", ZipFile=data, DryRun=True, RevisionId=before["RevisionId"])
        reply = await update_function_code(rig.services, call)
        # functions 7.18
        assert reply == {
            **before,
            "CodeSize": len(data),
            "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        }
        assert await rig.functions.load(KEY) == head
        assert await rig.code.read(hashlib.sha256(data).hexdigest()) is None
        wrong: list[tuple[dict[str, Any], type[ServiceError]]] = [
            ({"ZipFile": b"no zip"}, InvalidParameterValueException),
            ({"RevisionId": "stale"}, PreconditionFailedException),
        ]
        for members, error in wrong:
            call = rig.call(**{"FunctionName": "f", "ZipFile": data, "DryRun": True, **members})
            await refused(rig, update_function_code, call, error)

    run(scenario)


UPDATES = pytest.mark.parametrize(
    ("operation", "members"),
    [(update_function_code, {"ZipFile": zip_of()}), (update_function_configuration, {"Timeout": 5})],
    ids=["code", "configuration"],
)


@UPDATES
def test_update_while_updating_is_a_conflict(run: Run, operation: Operation, members: dict[str, Any]) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        rig.gate.clear()
        await operation(rig.services, rig.call(FunctionName="f", **members))
        # versions-permissions 5.3 [R]
        text = f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}"
        call = rig.call(FunctionName="f", **members)
        await refused(rig, operation, call, ResourceConflictException, text)

    run(scenario)


@UPDATES
def test_update_while_pending_is_a_conflict(run: Run, operation: Operation, members: dict[str, Any]) -> None:
    async def scenario(rig: Rig) -> None:
        rig.gate.clear()
        await create_function(rig.services, rig.create_call())
        text = (
            f"The operation cannot be performed at this time. The resource {ARN} is currently in the "
            "following state: 'Pending'. StateReasonCode: 'Creating'"
        )
        call = rig.call(FunctionName="f", **members)
        await refused(rig, operation, call, ResourceConflictException, text)

    run(scenario)


@UPDATES
def test_stale_revision_is_refused(run: Run, operation: Operation, members: dict[str, Any]) -> None:
    async def scenario(rig: Rig) -> None:
        reply = await created(rig)
        # The one that Create answered is stale as soon as the function is Active.
        call = rig.call(FunctionName="f", RevisionId=reply["RevisionId"], **members)
        text = (
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )
        await refused(rig, operation, call, PreconditionFailedException, text)
        latest = (await shown(rig))["RevisionId"]
        await operation(rig.services, rig.call(FunctionName="f", RevisionId=latest, **members))

    run(scenario)


@UPDATES
def test_update_of_nothing_is_not_found_before_anything_else(
    run: Run, operation: Operation, members: dict[str, Any]
) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.call(FunctionName="f", RevisionId="stale", ZipFile=b"no zip")
        text = f"Function not found: {ARN}"
        await refused(rig, operation, call, ResourceNotFoundException, text)
        await created(rig)
        call = rig.call(FunctionName="f:7", **members)
        await refused(rig, operation, call, ResourceNotFoundException, f"{text}:7")

    run(scenario)


def test_code_update_without_a_source_is_refused(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        text = "Please provide a source for function code."
        call = rig.call(FunctionName="f")
        await refused(rig, update_function_code, call, InvalidParameterValueException, text)

    run(scenario)


def test_of_two_updates_at_once_one_is_refused(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        rig.gate.clear()
        replies = await asyncio.gather(
            *(
                update_function_configuration(rig.services, rig.call(FunctionName="f", Timeout=timeout))
                for timeout in range(1, 6)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(reply, ResourceConflictException) for reply in replies) == 4

    run(scenario)


# -- delete

LATEST_STAYS = "$LATEST version cannot be deleted without deleting the function."
NO_ALIASES = "Deletion of aliases is not currently supported."


def test_deleted_function_is_gone_and_its_name_is_free(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        first = await created(rig)
        await delete_function(rig.services, rig.call(FunctionName=ARN))
        text = f"Function not found: {ARN}"
        for operation in (get_function, delete_function):
            await refused(rig, operation, rig.call(FunctionName="f"), ResourceNotFoundException, text)
        second = await created(rig)
        assert second["RevisionId"] != first["RevisionId"]
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.state is State.ACTIVE

    run(scenario)


@pytest.mark.parametrize(
    ("qualifier", "exists", "error", "text"),
    [
        # functions 7.8 [R]
        ("$LATEST", True, InvalidParameterValueException, LATEST_STAYS),
        ("$LATEST", False, InvalidParameterValueException, LATEST_STAYS),
        ("live", True, InvalidParameterValueException, NO_ALIASES),
        ("live", False, InvalidParameterValueException, NO_ALIASES),
        ("2024-01-02", False, InvalidParameterValueException, NO_ALIASES),
        ("7", False, ResourceNotFoundException, f"Function not found: {ARN}"),
        ("$latest", False, ResourceNotFoundException, f"Function not found: {ARN}"),
        ("7", True, None, ""),
    ],
)
def test_delete_with_a_qualifier(
    run: Run, qualifier: str, exists: bool, error: type[ServiceError] | None, text: str
) -> None:
    async def scenario(rig: Rig) -> None:
        if exists:
            await created(rig)
        call = rig.call(FunctionName="f", Qualifier=qualifier)
        if error is None:
            await delete_function(rig.services, call)
        else:
            await refused(rig, delete_function, call, error, text)
        assert (await rig.functions.load(KEY) is not None) == exists

    run(scenario)


# -- list and account


def test_list_is_by_name_fifty_a_page_and_without_state(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        names = sorted(f"f{number}" for number in range(120))
        await asyncio.gather(*(create_function(rig.services, rig.create_call(name)) for name in names))
        await rig.settled()
        seen: list[str] = []
        pages = []
        marker: dict[str, str] = {}
        while True:
            reply = await list_functions(rig.services, rig.call(MaxItems=10_000, **marker))
            pages.append(len(reply["Functions"]))
            seen += [entry["FunctionName"] for entry in reply["Functions"]]
            if "NextMarker" not in reply:
                break
            marker = {"Marker": reply["NextMarker"]}
        assert pages == [50, 50, 20]
        assert seen == names
        # functions 7.2: lists drop exactly these.
        full, entry = await shown(rig, "f0"), reply["Functions"][-1]
        assert full.keys() - entry.keys() == {"State", "LastUpdateStatus", "RuntimeVersionConfig"}
        reply = await list_functions(rig.services, rig.call(MaxItems=2, FunctionVersion="ALL"))
        assert [entry["FunctionArn"][-10:] for entry in reply["Functions"]] == ["f0:$LATEST", "f1:$LATEST"]

    run(scenario)


def test_list_of_another_account_is_empty(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        for place in ({"account": "000000000000"}, {"region": "us-east-1"}):
            assert await list_functions(rig.services, rig.call(**place)) == {"Functions": []}

    run(scenario)


def test_marker_that_was_not_given_is_refused(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        for name in ("a", "b"):
            await created(rig, name)
        marker = (await list_functions(rig.services, rig.call(MaxItems=1)))["NextMarker"]
        for wrong in (
            "x",
            marker[:-4],
            "A" + marker[1:],
            "é",
            base64.b64encode(b"a").decode(),
            marker + "====",
        ):
            call = rig.call(Marker=wrong)
            await refused(rig, list_functions, call, InvalidParameterValueException, "Invalid marker")
        call = rig.call(Marker=marker, account="000000000000")
        await refused(rig, list_functions, call, InvalidParameterValueException, "Invalid marker")

    run(scenario)


def test_account_settings_count_what_is_used(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, "a")
        await created(rig, "b")
        reply = await get_account_settings(rig.services, rig.call())
        # functions 7.15 [W]: these seven members, in this order.
        assert reply == {
            "AccountLimit": {
                "TotalCodeSize": 80530636800,
                "CodeSizeUnzipped": 262144000,
                "CodeSizeZipped": 52428800,
                "ConcurrentExecutions": 1000,
                "UnreservedConcurrentExecutions": 1000,
            },
            "AccountUsage": {"TotalCodeSize": 2 * len(zip_of()), "FunctionCount": 2},
        }

    run(scenario)


# -- activation


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (InvalidZipFileException("broken"), "InvalidZipFileException"),
        (InvalidParameterValueException("no interpreter"), "InvalidRuntime"),
        (RuntimeError("secret detail"), "InternalError"),
    ],
)
def test_failed_activation_is_told(run: Run, fault: Exception, code: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.fault = fault
        await created(rig)
        reply = await shown(rig)
        assert (reply["State"], reply["StateReasonCode"]) == ("Failed", code)
        assert "secret" not in reply["StateReason"]
        assert "LastUpdateStatus" not in reply
        text = (
            f"The operation cannot be performed at this time. The resource {ARN} is currently in the "
            f"following state: 'Failed'. StateReasonCode: '{code}'"
        )
        call = rig.call(FunctionName="f", Timeout=4)
        await refused(rig, update_function_configuration, call, ResourceConflictException, text)
        await delete_function(rig.services, rig.call(FunctionName="f"))

    run(scenario)


def test_package_with_damaged_content_fails_the_activation(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        data = bytearray(zip_of({"app.py": bytes(range(256)) * 20}))
        data[60] ^= 0xFF
        await created(rig, Code={"ZipFile": bytes(data)})
        reply = await shown(rig)
        assert (reply["State"], reply["StateReasonCode"]) == ("Failed", "InvalidZipFileException")

    run(scenario)


def test_failed_update_leaves_the_old_document_serving_and_can_be_repeated(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        rig.fault = RuntimeError("no")
        await update_function_configuration(rig.services, rig.call(FunctionName="f", Timeout=5))
        await rig.settled()
        reply = await shown(rig)
        assert (reply["State"], reply["LastUpdateStatus"], reply["Timeout"]) == ("Active", "Failed", 5)
        assert reply["LastUpdateStatusReasonCode"] == "InternalError"
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.serving is not None
        assert head.serving.timeout_s == 3
        rig.fault = None
        await update_function_configuration(rig.services, rig.call(FunctionName="f", MemorySize=256))
        await rig.settled()
        head = await rig.functions.load(KEY)
        assert head is not None
        assert head.serving is not None
        assert (head.serving.timeout_s, head.serving.memory_mb) == (5, 256)

    run(scenario)


@pytest.mark.parametrize("late_outcome", [None, RuntimeError("late")], ids=["succeeds", "fails"])
@pytest.mark.parametrize("new_is_active", [True, False], ids=["new active", "new pending"])
def test_function_created_anew_is_not_touched_by_the_old_activation(
    run: Run, late_outcome: Exception | None, new_is_active: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        gates = {"old": asyncio.Event(), "new": asyncio.Event()}

        async def on_prepare(version: FunctionVersion) -> None:
            await gates[version.description].wait()
            if version.description == "old" and late_outcome is not None:
                raise late_outcome

        rig.on_prepare = on_prepare
        await create_function(rig.services, rig.create_call(Description="old"))
        await delete_function(rig.services, rig.call(FunctionName="f"))
        await create_function(rig.services, rig.create_call(Description="new"))
        old, new = rig.tasks
        if new_is_active:
            gates["new"].set()
            await new
        before = await shown(rig)
        assert (before["Description"], before["State"]) == ("new", "Active" if new_is_active else "Pending")
        gates["old"].set()
        await old
        assert await shown(rig) == before
        gates["new"].set()
        await new
        assert (await shown(rig))["State"] == "Active"

    run(scenario)


def test_activation_of_a_deleted_function_brings_nothing_back(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.gate.clear()
        await create_function(rig.services, rig.create_call())
        await delete_function(rig.services, rig.call(FunctionName="f"))
        rig.gate.set()
        await rig.settled()
        assert await rig.functions.load(KEY) is None

    run(scenario)


def test_what_a_former_server_left_unsettled_is_finished(tmp_path: Path) -> None:
    async def interrupted() -> None:
        async with open_rig(tmp_path) as rig:
            await created(rig, "b")
            rig.gate.clear()
            await create_function(rig.services, rig.create_call("a"))
            await update_function_configuration(rig.services, rig.call(FunctionName="b", Timeout=5))
            for task in rig.tasks:
                task.cancel()
            await asyncio.gather(*rig.tasks, return_exceptions=True)
            rig.tasks.clear()

    async def next_server() -> None:
        async with open_rig(tmp_path) as rig:
            assert (await shown(rig, "a"))["State"] == "Pending"
            await finish_unsettled(rig.services)
            await rig.settled()
            assert (await shown(rig, "a"))["State"] == "Active"
            assert (await shown(rig, "b"))["LastUpdateStatus"] == "Successful"
            head = await rig.functions.load(FunctionKey(ACCOUNT, REGION, "b"))
            assert head is not None
            assert head.serving == head.latest

    asyncio.run(interrupted())
    asyncio.run(next_server())


def test_activation_outlasts_a_storage_that_fails_for_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(rig: Rig) -> None:
        replace = rig.functions.replace
        failures = 3

        async def failing(head: Any, expected: str) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StorageFailed("disk full")
            await replace(head, expected)

        monkeypatch.setattr(rig.functions, "replace", failing)
        await create_function(rig.services, rig.create_call())
        while (await shown(rig))["State"] == "Pending":
            await asyncio.sleep(0.001)
            rig.clock.advance(30)
        await rig.settled()
        assert (await shown(rig))["State"] == "Active"

    run(scenario)


def test_garbage_spares_packages_of_functions_and_of_old_documents_in_service(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        old, new, gone = (zip_of({name: ""}) for name in "abc")
        await created(rig, Code={"ZipFile": old})
        await created(rig, "g", Code={"ZipFile": gone})
        rig.gate.clear()
        await update_function_code(rig.services, rig.call(FunctionName="f", ZipFile=new))
        await delete_function(rig.services, rig.call(FunctionName="g"))
        await collect_garbage(rig.services)
        rig.clock.advance(3600)
        await collect_garbage(rig.services)
        kept = [
            await rig.code.read(hashlib.sha256(data).hexdigest()) is not None for data in (old, new, gone)
        ]
        assert kept == [True, True, False]

    run(scenario)


def test_garbage_is_collected_again_and_again_whatever_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        rounds: asyncio.Queue[None] = asyncio.Queue()

        async def keep_only(hashes: set[str]) -> None:
            rounds.put_nowait(None)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(rig.code, "keep_only", keep_only)
        task = asyncio.get_running_loop().create_task(keep_collecting(rig.services))
        for _ in range(3):
            await rounds.get()
            await asyncio.sleep(0)
            rig.clock.advance(SWEEP_INTERVAL_S)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert "could not be removed" in caplog.text

    run(scenario)
