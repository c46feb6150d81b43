"""Real small parts that tests build: packages, heads, and services over SQLite."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import uuid
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.control.functions import create_function, get_function_configuration
from lambent.control.operation import Call, Output, Services
from lambent.model.errors import ServiceError
from lambent.model.functions import (
    CodePackage,
    FunctionHead,
    FunctionKey,
    FunctionVersion,
    LoggingConfig,
    State,
)
from lambent.model.invocations import Caller
from lambent.storage.directory import DataDirectory
from lambent.storage.files import FileCodeStore
from lambent.storage.sealing import open_sealer
from lambent.storage.sqlite import SqliteFunctionStore

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/r"
# Of the function that is made where no other name is given.
KEY = FunctionKey(ACCOUNT, REGION, "f")
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


def zip_of(files: Mapping[str, str | bytes] | None = None, *, mode: int | None = None) -> bytes:
    """Return a zip; ``mode`` is the Unix mode of every entry."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            files or {"app.py": "def handler(event, context):\n    return event\n"}
        ).items():
            info = zipfile.ZipInfo(name, (2024, 5, 17, 10, 20, 30))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0 if mode is None else mode << 16
            archive.writestr(info, content)
    return target.getvalue()


def make_head(name: str, *, account: str = ACCOUNT, region: str = REGION, **changes: Any) -> FunctionHead:
    """Return a Pending head; ``changes`` are fields of the head, ``code`` and ``variables`` the version's."""
    key = FunctionKey(account, region, name)
    generation = uuid.uuid4().hex
    version = FunctionVersion(
        key=key,
        document_id=uuid.uuid4().hex,
        generation=generation,
        code=changes.pop("code", CodePackage("ab" * 32, 100)),
        runtime="python3.13",
        handler="app.handler",
        role=ROLE,
        logging=LoggingConfig(group=f"/aws/lambda/{name}"),
        variables=changes.pop("variables", None),
        modified_at=1_700_000_000.125,
    )
    head = FunctionHead(
        key=key,
        generation=generation,
        revision_id=str(uuid.uuid4()),
        latest=version,
        serving=None,
        state=State.PENDING,
        state_reason=("The function is being created.", "Creating"),
    )
    return dataclasses.replace(head, **changes)


class Rig:
    """Services over a data directory, with a clock that stands still.

    Attributes:
        prepared: the documents that were prepared, in order.
        fault: raised by ``prepare`` when set.
        gate: ``prepare`` waits for it; open unless a test closes it.
        tasks: background tasks that nobody has waited for yet.
        on_prepare: called by ``prepare`` after the gate, when set.
    """

    def __init__(self, directory: DataDirectory) -> None:
        self.clock = ManualClock()
        self.functions = SqliteFunctionStore(directory, open_sealer(directory))
        self.code = FileCodeStore(directory, clock=self.clock)
        self.prepared: list[FunctionVersion] = []
        self.fault: Exception | None = None
        self.on_prepare: Callable[[FunctionVersion], Awaitable[None]] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.runtime_warning: str | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.services = Services(
            functions=self.functions,
            code=self.code,
            clock=self.clock,
            prepare=self._prepare,
            runtime_check=lambda _: self.runtime_warning,
            account_limit=1000,
            start_task=self._start_task,
        )

    def call(self, *, account: str = ACCOUNT, region: str = REGION, **members: Any) -> Call:
        """Return a call with these members of input."""
        return Call(Caller(account, region), str(uuid.uuid4()), members, "http://127.0.0.1:3001")

    def create_call(self, name: str = "f", **members: Any) -> Call:
        """Return a call of CreateFunction that succeeds unless ``members`` say otherwise."""
        given = {
            "FunctionName": name,
            "Runtime": "python3.13",
            "Role": ROLE,
            "Handler": "app.handler",
            "Code": {"ZipFile": zip_of()},
        }
        return self.call(**{**given, **members})

    async def settled(self) -> None:
        """Return when every background task has ended."""
        while self.tasks:
            await self.tasks.pop()

    def _start_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine, name=name))

    async def _prepare(self, version: FunctionVersion, folder: Path) -> None:
        await self.gate.wait()
        if self.on_prepare is not None:
            await self.on_prepare(version)
        if self.fault is not None:
            raise self.fault
        assert folder.is_dir()  # noqa: ASYNC240 - one look, in a test
        self.prepared.append(version)


@asynccontextmanager
async def open_rig(location: Path | str) -> AsyncIterator[Rig]:
    """Open a data directory and give services over it; everything ends with the block."""
    directory = DataDirectory.open(location)
    rig = Rig(directory)
    try:
        await rig.functions.start()
        await rig.code.start()
        yield rig
        rig.gate.set()
        await rig.settled()
    finally:
        await rig.functions.stop()
        directory.close()


Run = Callable[[Callable[[Rig], Awaitable[None]]], None]
"""Runs a scenario with services in a fresh data directory."""

Operation = Callable[[Services, Call], Awaitable[Any]]


async def created(rig: Rig, name: str = "f", **members: Any) -> Output:
    """Create a function and wait until it is Active; return the answer of CreateFunction."""
    reply = await create_function(rig.services, rig.create_call(name, **members))
    await rig.settled()
    return reply


async def shown(rig: Rig, name: str = "f", **members: Any) -> Output:
    """Return what GetFunctionConfiguration shows."""
    return await get_function_configuration(rig.services, rig.call(FunctionName=name, **members))


async def refused(
    rig: Rig, operation: Operation, call: Call, error: type[ServiceError], text: str | None = None
) -> str:
    """Return the text with which a call is refused."""
    with pytest.raises(error) as caught:
        await operation(rig.services, call)
    assert text is None or caught.value.message == text
    return str(caught.value.message)
