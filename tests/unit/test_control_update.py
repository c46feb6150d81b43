"""Updates of code and configuration over a real store: what is kept, what is refused, what is served meanwhile.

Expected values carry the section of docs/aws-behaviour.md they come from.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest
from tests.contract.rig import (
    ARN,
    KEY,
    Operation,
    Rig,
    Run,
    created,
    refused,
    shown,
    zip_of,
)

from lambent.control.functions import (
    create_function,
    update_function_code,
    update_function_configuration,
)
from lambent.model.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceError,
)


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
            "The function is being created.",
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
