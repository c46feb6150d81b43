"""kill -9 at every named step of a create: what was answered is there, whole; nothing is there by half.

The server's part is a real process (this file, run as a program) that creates
functions over real stores and tells every answer on its standard output. It kills
itself at the step that it was given, or is killed from outside.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.rig import ACCOUNT, REGION, Rig, open_rig, zip_of

from lambent.control.activation import finish_unsettled
from lambent.control.functions import create_function
from lambent.model.functions import FunctionKey, State
from lambent.storage import database, files, packages

STEPS = (
    "upload opened",
    "upload written by half",
    "upload written",
    "upload synced",
    "upload renamed",
    "upload's folder synced",
    "transaction begun",
    "transaction written",
    "transaction committed",
    "answered",
    "unpacked by half",
    "unpacked",
    "prepared",
    "activated",
)

# The steps that come after the answer of a create.
_AFTER_ANSWER = STEPS.index("answered")
_VICTIM = "f3"


def package(name: str) -> bytes:
    """Return a package that only this function has, large enough to be written in parts."""
    return zip_of({"app.py": f"# {name}\n", "data": hashlib.shake_256(name.encode()).digest(200_000)})


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------ the process that dies


async def serve(location: str, step: str) -> None:
    """Create functions one after the other; the third one meets ``step``."""
    async with open_rig(location) as rig:
        for number in range(6):
            name = f"f{number}"
            if name == _VICTIM:
                arm(step, rig)
            await create_function(rig.services, rig.create_call(name, Code={"ZipFile": package(name)}))
            print(name, flush=True)
            if name == _VICTIM and step == "answered":
                die()
            await rig.settled()


def arm(step: str, rig: Rig) -> None:
    """Make the process die at ``step`` from now on."""
    apply = database._apply
    commits = itertools.count()

    def write_half(descriptor: int, data: memoryview) -> int:
        os.pwrite(descriptor, data[: len(data) // 2], 0)
        die()
        return 0

    def apply_and_die(connection: sqlite3.Connection, write: Any) -> None:
        apply(connection, write)
        die()

    async def die_prepared(_: object) -> None:
        die()

    ways: dict[str, Callable[[], None]] = {
        "upload opened": lambda: die_after(os, "open", lambda path, *_: "incoming" in str(path)),
        "upload written by half": lambda: setattr(os, "write", write_half),
        "upload written": lambda: die_after(os, "write"),
        "upload synced": lambda: die_after(files, "write_durably"),
        "upload renamed": lambda: die_after(Path, "rename", lambda _, target: "zips" in str(target)),
        "upload's folder synced": lambda: die_after(files, "sync_directory"),
        "transaction begun": lambda: setattr(database, "_apply", lambda *_: die()),
        "transaction written": lambda: setattr(database, "_apply", apply_and_die),
        "transaction committed": lambda: die_after(database, "_commit"),
        "answered": lambda: None,
        "unpacked by half": lambda: die_after(packages, "_unpack_file"),
        "unpacked": lambda: die_after(files, "unpack_package"),
        "prepared": lambda: setattr(rig, "on_prepare", die_prepared),
        # The first commit is the create's, the second the activation's.
        "activated": lambda: die_after(database, "_commit", lambda *_: next(commits) == 1),
    }
    ways[step]()


def die_after(owner: object, name: str, matches: Callable[..., bool] = lambda *_: True) -> None:
    """Let a function of ``owner`` do its work and die then, when its arguments match."""
    original = getattr(owner, name)

    def replaced(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if matches(*arguments):
            die()
        return result

    setattr(owner, name, replaced)


async def serve_many(location: str) -> None:
    """Create functions at once, until killed."""
    async with open_rig(location) as rig:

        async def create(worker: int) -> None:
            for number in range(10_000):
                name = f"w{worker}-{number}"
                await create_function(rig.services, rig.create_call(name, Code={"ZipFile": package(name)}))
                print(name, flush=True)

        await asyncio.gather(*(create(worker) for worker in range(8)))


# ------------------------------------------------------------------ the one who looks


def start(location: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, __file__, str(location), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def check_files(code: Path) -> None:
    """See that every package that can be seen is whole."""
    assert list((code / "incoming").iterdir()) == []
    for path in (code / "zips").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


async def check(location: Path, answered: list[str], in_doubt: set[str]) -> None:
    """Look at what is there after the crash.

    Args:
        location: data directory.
        answered: functions whose create was answered.
        in_doubt: functions whose create may have come through unanswered.
    """
    async with open_rig(location) as rig:
        check_files(location / "code")
        heads = await rig.functions.page(ACCOUNT, REGION, after="", limit=100_000)
        there = {head.key.name: head for head in heads}
        assert set(answered) <= there.keys()
        assert there.keys() - set(answered) <= in_doubt
        for name, head in there.items():
            assert await rig.code.read(head.latest.code.sha256) == package(name)
        await finish_unsettled(rig.services)
        await rig.settled()
        for name in there:
            after = await rig.functions.load(FunctionKey(ACCOUNT, REGION, name))
            assert after is not None
            assert after.state is State.ACTIVE
            assert after.serving == after.latest
            folder = await rig.code.unpack(after.latest.code.sha256)
            assert (folder / "app.py").read_text() == f"# {name}\n"
            assert (folder / "data").stat().st_size == 200_000
    with sqlite3.connect(location / "state.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_of_create(tmp_path: Path, step: str) -> None:
    with start(tmp_path / "data", step) as server:
        output, _ = server.communicate(timeout=60)
    assert server.returncode == -signal.SIGKILL
    answered = output.decode().split()
    wanted = ["f0", "f1", "f2"] + ([_VICTIM] if STEPS.index(step) >= _AFTER_ANSWER else [])
    assert answered == wanted
    # Committed and not answered: the caller has to look.
    committed = step == "transaction committed"
    asyncio.run(check(tmp_path / "data", answered, {_VICTIM} if committed else set()))


@pytest.mark.parametrize("kill_after", [1, 40, 150])
def test_killed_while_many_create(tmp_path: Path, kill_after: int) -> None:
    with start(tmp_path / "data") as server:
        assert server.stdout is not None
        answered = [server.stdout.readline().decode().strip() for _ in range(kill_after)]
        server.kill()
        rest = server.stdout.read().decode()
    # A line that the kill cut off was answered too, but its name cannot be told.
    answered += [line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    in_doubt = {f"w{worker}-{number}" for worker in range(8) for number in range(10_000)}
    asyncio.run(check(tmp_path / "data", answered, in_doubt))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(serve(sys.argv[1], sys.argv[2]))
    else:
        asyncio.run(serve_many(sys.argv[1]))
