"""What happens behind the answer: functions become Active, or Failed, and packages that nobody needs go.

Expected values carry the section of docs/aws-behaviour.md they come from.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.contract.rig import (
    ACCOUNT,
    ARN,
    KEY,
    REGION,
    Rig,
    Run,
    created,
    open_rig,
    refused,
    shown,
    zip_of,
)

from lambent.control.activation import SWEEP_INTERVAL_S, collect_garbage, finish_unsettled, keep_collecting
from lambent.control.functions import (
    create_function,
    delete_function,
    update_function_code,
    update_function_configuration,
)
from lambent.model.errors import (
    InvalidParameterValueException,
    InvalidZipFileException,
    ResourceConflictException,
)
from lambent.model.functions import FunctionKey, FunctionVersion
from lambent.storage.contracts import StorageFailed


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
