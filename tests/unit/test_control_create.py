"""CreateFunction over a real store: its answer, its refusals and their order.

Expected values carry the section of docs/aws-behaviour.md they come from.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

import pytest
from tests.contract.rig import (
    ACCOUNT,
    ARN,
    KEY,
    REGION,
    ROLE,
    Rig,
    Run,
    created,
    refused,
    shown,
    zip_of,
)

from lambent import limits
from lambent.control.functions import (
    create_function,
)
from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceError,
)

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
            "StateReason": "The function is being created.",
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
