"""kill -9 at every named step in which an old data directory is sealed: the next start finishes it.

The one that seals is a real process (this file, run as a program) that opens the store
and kills itself at the step that it was given.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.contract.rig import ACCOUNT, REGION, make_head
from tests.contract.stores import opened
from tests.old_directory import files_with, write_old_directory

from lambent.model.functions import FunctionHead
from lambent.storage.sqlite import SqliteFunctionStore

# Behind which statement each step ends; the first that begins so.
STEPS = {
    "migrated": "PRAGMA secure_delete",
    "sealing begun": "BEGIN IMMEDIATE",
    "sealed by half": "UPDATE functions SET document",
    "sealed": "INSERT INTO sealing",
    "committed": "COMMIT",
    "written anew": "VACUUM",
    "log emptied": "PRAGMA wal_checkpoint",
    "noted": "UPDATE sealing SET wiped",
}
# Until then the values are where they were; afterwards they are nowhere.
_BEFORE_WIPED = tuple(STEPS)[: tuple(STEPS).index("log emptied")]


class Connection(sqlite3.Connection):
    """A connection whose process dies behind a statement."""

    fatal = ""

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor = super().execute(statement, parameters)
        if statement.startswith(self.fatal):
            cursor.fetchall()
            os.kill(os.getpid(), signal.SIGKILL)
        return cursor


async def heads_in(location: Path) -> list[FunctionHead]:
    """Open a data directory as the server does, look, and close it."""
    async with opened(SqliteFunctionStore, location) as store:
        return await store.page(ACCOUNT, REGION, after="", limit=1000)


def open_and_die(location: Path, step: str) -> None:
    """Run this file as a program."""
    process = subprocess.run(
        [sys.executable, __file__, str(location), step],
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == -signal.SIGKILL


def heads(name: str, value: str, count: int) -> list[FunctionHead]:
    """Return heads whose variables are too large for one page, and hold ``value``."""
    return [
        make_head(f"{name}{number:02}", variables={"TOKEN": value, "FILLER": f"{value} " * 40})
        for number in range(count)
    ]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_of_sealing(tmp_path: Path, step: str) -> None:
    location, secret, deleted = tmp_path / "data", os.urandom(16).hex(), os.urandom(16).hex()
    kept = heads("kept", secret, 20)
    write_old_directory(location, kept, heads("gone", deleted, 20))
    before = files_with(location, secret, deleted)
    assert before[secret] == {"state.db", "state.db-wal"}
    assert "state.db" in before[deleted]

    open_and_die(location, step)
    assert bool(files_with(location, secret, deleted)) == (step in _BEFORE_WIPED)
    assert asyncio.run(heads_in(location)) == kept
    assert files_with(location, secret, deleted) == {}
    with closing(sqlite3.connect(location / "state.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT wiped FROM sealing").fetchall() == [(1,)]


def test_killed_again_and_again(tmp_path: Path) -> None:
    location, secret = tmp_path / "data", os.urandom(16).hex()
    kept = heads("kept", secret, 10)
    write_old_directory(location, kept, [])
    for step in STEPS:
        open_and_die(location, step)
    assert asyncio.run(heads_in(location)) == kept
    assert files_with(location, secret) == {}


if __name__ == "__main__":
    connect = sqlite3.connect
    Connection.fatal = STEPS[sys.argv[2]]
    sqlite3.connect = lambda path, **options: connect(path, factory=Connection, **options)  # type: ignore[assignment]
    asyncio.run(heads_in(Path(sys.argv[1])))
