"""Real environments without HTTP: pool, launcher, zygote and processes, and a caller in front of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from lambent import limits
from lambent.clock import SystemClock
from lambent.execution.launcher import FunctionEndpoints, ProcessLauncher
from lambent.execution.pool import EnvironmentPool
from lambent.execution.runtimes import Interpreter, OfferedPackages, Runtimes
from lambent.execution.sandbox.process import ProcessSandbox
from lambent.execution.zygote import Zygotes
from lambent.model.functions import CodePackage, FunctionKey, FunctionVersion, LoggingConfig
from lambent.model.invocations import Invocation, InvocationResult
from lambent.tasks import Tasks
from tests.integration.bootstrap_harness import TIMEOUT_S, own_interpreter, write_files

RUNTIME = f"python3.{sys.version_info[1]}"


class Log:
    """Keeps what is appended."""

    def __init__(self) -> None:
        self.text = ""

    def append(self, group: tuple[str, str, str], stream: str, at: float, text: bytes) -> None:
        assert text.endswith(b"\n")
        self.text += text.decode(errors="replace")


@dataclass
class Answer:
    """What a caller got, and the bytes of the log's tail as text."""

    result: InvocationResult

    @property
    def value(self) -> Any:
        """The result as JSON of a call that must have gone well."""
        assert self.result.function_error is None, self.result
        return json.loads(self.result.payload)

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of a call that must have failed; the request id is left out."""
        assert self.result.function_error == "Unhandled", self.result
        body = json.loads(self.result.payload)
        return body["errorType"], body["errorMessage"].rpartition(" Error: ")[2]

    @property
    def tail(self) -> str:
        """The last 4 KB of the invocation's log."""
        assert self.result.log_tail is not None
        return self.result.log_tail.decode(errors="replace")


@dataclass
class Rig:
    """A pool over real processes."""

    folder: Path
    pool: EnvironmentPool
    zygotes: Zygotes
    log: Log
    versions: dict[str, FunctionVersion] = field(default_factory=dict)

    def deploy(self, source: str, name: str = "f", *, timeout_s: int = 20, **changes: Any) -> None:
        """Make module ``m`` with ``handler`` a function."""
        code = os.urandom(32).hex()
        write_files(self.folder / "code" / code, {"m.py": source})
        key = FunctionKey("000000000000", "us-east-1", name)
        self.versions[name] = FunctionVersion(
            **{
                "key": key,
                "document_id": code,
                "generation": "g",
                "code": CodePackage(code, 1),
                "runtime": RUNTIME,
                "handler": "m.handler",
                "role": "r",
                "timeout_s": timeout_s,
                "logging": LoggingConfig(f"/aws/lambda/{name}"),
                "modified_at": 0.0,
                **changes,
            }
        )

    async def invoke(self, event: object = None, name: str = "f") -> Answer:
        """Invoke once; fails when no answer comes."""
        version = self.versions[name]
        answered: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()
        invocation = Invocation(
            str(uuid.uuid4()), version, version.key.arn(), json.dumps(event).encode(), "", "Root=1", tail=True
        )
        self.pool.run(invocation, answered.set_result)
        return Answer(await asyncio.wait_for(answered, TIMEOUT_S))

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when the condition holds; it is asked often."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():  # noqa: ASYNC110 - processes of others tell nobody
                await asyncio.sleep(0.002)


def play(
    folder: Path, script: Callable[[Rig], Awaitable[object]], *, init_limit_s: float = limits.INIT_S
) -> None:
    """Run a script over a rig and leave nothing behind."""

    async def unpack(code: str) -> Path:
        return folder / "code" / code

    async def run() -> None:
        tasks, zygotes, log = Tasks(), Zygotes(), Log()
        major, minor, micro = sys.version_info[:3]
        interpreter = Interpreter(Path(own_interpreter()), (major, minor, micro))
        launcher = ProcessLauncher(
            runtimes=Runtimes([interpreter]),
            zygotes=zygotes,
            sandbox=ProcessSandbox(),
            unpack=unpack,
            pycache=folder / "pycache",
            boto3=OfferedPackages(folder / "none", SpecifierSet("<1"), "0"),
            endpoints=FunctionEndpoints("http://127.0.0.1:1"),
            make_keys=lambda version: (version.key.account, "lambent", "lambent"),
            tasks=tasks,
        )
        temporary = folder / "tmp"
        temporary.mkdir()
        pool = EnvironmentPool(
            launcher=launcher,
            log_store=log,
            clock=SystemClock(),
            tasks=tasks,
            temporary=temporary,
            machine_limit=10,
            idle_timeout_s=600,
            init_limit_s=init_limit_s,
        )
        try:
            await script(Rig(folder, pool, zygotes, log))
        finally:
            await pool.drain(0)
            await zygotes.close()
            async with asyncio.timeout(TIMEOUT_S):
                while tasks._running:
                    await asyncio.gather(*tasks._running)

    asyncio.run(run())
