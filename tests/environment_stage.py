"""A pool with everything around it fake but the folders: a fake process speaks, time stands still.

A script reads like this: the caller *runs* an invocation, the launcher *starts* a process, the
process *says* something, time *passes*; then the result, the log and the pool are looked at.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from lambent.clock import ManualClock
from lambent.execution.environment import ExecutionEnvironment
from lambent.execution.pool import EnvironmentPool
from lambent.execution.process import FunctionProcess
from lambent.execution.zygote import Exit
from lambent.model.functions import CodePackage, FunctionKey, FunctionVersion, LoggingConfig
from lambent.model.invocations import Invocation, InvocationResult
from lambent.tasks import Tasks
from lambent.wire import frames

IDLE_TIMEOUT_S = 100.0


def make_version(
    name: str = "f",
    *,
    timeout_s: int = 3,
    document_id: str | None = None,
    logging: LoggingConfig | None = None,
) -> FunctionVersion:
    key = FunctionKey("000000000000", "us-east-1", name)
    return FunctionVersion(
        key=key,
        document_id=document_id or f"{name}-1",
        generation="g",
        code=CodePackage("00" * 32, 1),
        runtime="python3.13",
        handler="index.handler",
        role="r",
        timeout_s=timeout_s,
        logging=logging or LoggingConfig(f"/aws/lambda/{name}"),
        modified_at=0.0,
    )


class FakeProcess:
    """What an environment may ask of a process; says and writes what the script tells it."""

    def __init__(self, environment: ExecutionEnvironment) -> None:
        self._environment = environment
        self._written = b""
        self.sent: list[bytes] = []
        self.abandoned = False

    def send(self, head: bytes, payload: bytes) -> None:
        assert not self.abandoned
        self.sent.append(head + payload)

    def drain(self) -> bytes:
        written, self._written = self._written, b""
        return written

    def abandon(self) -> None:
        self.abandoned = True

    # -- the script

    def writes(self, text: str, *, seen: bool = False) -> None:
        """Write to standard output; ``seen``: the server looks before anything else happens."""
        self._written += text.encode()
        if seen:
            self._environment.on_output(self.drain())

    def says(self, kind: int, payload: bytes | None = b"", *, ms: float = 1.5, mb: int = 40) -> None:
        self._environment.on_frame(kind, mb << 10, int(ms * 1000), payload)

    def exits(self, status: int, *, mb: int = 50) -> None:
        self._environment.on_exit(Exit(status, mb << 10))


class FakeLauncher:
    """Starts fake processes when the script says so."""

    def __init__(self) -> None:
        self.waiting: list[ExecutionEnvironment] = []

    def launch(self, environment: ExecutionEnvironment) -> None:
        self.waiting.append(environment)

    def starts(self) -> FakeProcess:
        """Give the environment that has waited longest its process."""
        environment = self.waiting.pop(0)
        process = FakeProcess(environment)
        environment.adopt(cast("FunctionProcess", process))
        return process

    def fails(self, reason: str) -> None:
        self.waiting.pop(0).start_failed(reason)


class FakeLog:
    """Keeps what is appended, by stream."""

    def __init__(self) -> None:
        self.text = ""
        self.streams: list[str] = []

    def append(self, group: tuple[str, str, str], stream: str, at: float, text: bytes) -> None:
        assert text.endswith(b"\n")
        self.text += text.decode()
        self.streams.append(stream)


@dataclasses.dataclass
class Stage:
    """A pool with everything around it fake but the folders."""

    pool: EnvironmentPool
    launcher: FakeLauncher
    log: FakeLog
    clock: ManualClock
    temporary: Path
    results: dict[str, InvocationResult] = dataclasses.field(default_factory=dict)

    def runs(self, request_id: str, version: FunctionVersion | None = None, *, tail: bool = True) -> None:
        version = version or make_version()
        invocation = Invocation(request_id, version, version.key.arn(), b"{}", "", "Root=1", tail)

        def done(result: InvocationResult) -> None:
            assert request_id not in self.results, "done was called twice"
            self.results[request_id] = result

        self.pool.run(invocation, done)

    def answers(self, request_id: str, version: FunctionVersion | None = None) -> FakeProcess:
        """Run an invocation to its end in a new environment and return its process."""
        self.runs(request_id, version)
        process = self.launcher.starts()
        process.says(frames.READY)
        process.says(frames.RESULT, b'"ok"')
        assert self.results[request_id].payload == b'"ok"'
        return process

    async def passes(self, seconds: float) -> None:
        """Let time pass, and the pool look at its deadlines once."""
        self.clock.advance(seconds)
        self.pool._sweep_deadlines()

    def error(self, request_id: str) -> tuple[str, str]:
        result = self.results[request_id]
        assert result.function_error == "Unhandled"
        body = json.loads(result.payload)
        return body["errorType"], body["errorMessage"]


@asynccontextmanager
async def open_stage(folder: Path, *, machine_limit: int = 10) -> AsyncIterator[Stage]:
    tasks = Tasks()
    launcher, log, clock = FakeLauncher(), FakeLog(), ManualClock()
    pool = EnvironmentPool(
        launcher=launcher,
        log_store=log,
        clock=clock,
        tasks=tasks,
        temporary=folder,
        machine_limit=machine_limit,
        idle_timeout_s=IDLE_TIMEOUT_S,
    )
    yield Stage(pool, launcher, log, clock, folder)
    await pool.drain(0)
    # Folders are removed in the background: nothing that the pool began is left to do.
    async with asyncio.timeout(5):
        while tasks._running:
            await asyncio.gather(*tasks._running)
    assert not os.listdir(folder)  # noqa: PTH208 - a folder of this test's own, of no size
    await tasks.close()


def play(folder: Path, script: Callable[[Stage], object], *, machine_limit: int = 10) -> None:
    async def run() -> None:
        async with open_stage(folder, machine_limit=machine_limit) as stage:
            played = script(stage)
            if asyncio.iscoroutine(played):
                await played

    asyncio.run(run())
