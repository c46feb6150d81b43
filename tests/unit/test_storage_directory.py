"""Who may use a data directory, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.storage.contracts import StorageFailed
from lambent.storage.database import Database, load_statements, migrations
from lambent.storage.directory import FORMAT, DataDirectory, DataDirectoryInUse, DataDirectoryTooNew


def test_directory_is_made_private(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path / "a" / "data")
    assert stat.S_IMODE(directory.root.stat().st_mode) == 0o700
    assert directory.code.is_dir()
    assert directory.logs.is_dir()
    directory.close()


def test_empty_directory_that_was_there_is_made_private(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    root.mkdir(mode=0o755)
    DataDirectory.open(root).close()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_shared_directory_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "somebody's letters").touch()
    tmp_path.chmod(0o755)
    directory = DataDirectory.open(tmp_path)
    directory.close()
    DataDirectory.open(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE(directory.code.stat().st_mode) == 0o700


def test_second_server_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    program = (
        "import sys; from lambent.storage.directory import DataDirectory as D\n"
        "d = D.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"open\n"
        with pytest.raises(DataDirectoryInUse) as caught:
            DataDirectory.open(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert f"process {server.pid}." in str(caught.value)
        server.kill()
        server.wait()
    DataDirectory.open(tmp_path).close()


def test_closed_directory_can_be_opened_again(tmp_path: Path) -> None:
    first = DataDirectory.open(tmp_path)
    first.close()
    first.close()
    DataDirectory.open(tmp_path).close()


def test_memory_is_a_private_directory_that_goes_at_close() -> None:
    directory = DataDirectory.open(":memory:")
    assert directory.temporary
    assert stat.S_IMODE(directory.root.stat().st_mode) == 0o700
    directory.close()
    assert not directory.root.exists()


def test_directory_of_a_newer_program_is_refused_and_unlocked(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path).close()
    (tmp_path / "format").write_text(f"{FORMAT + 1}\n")
    for _ in range(2):
        with pytest.raises(DataDirectoryTooNew, match=str(tmp_path)):
            DataDirectory.open(tmp_path)
    assert (tmp_path / "format").read_text() == f"{FORMAT + 1}\n"


def test_database_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {migrations()[-1][0] + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DataDirectoryTooNew):
        asyncio.run(Database(path).start())
    assert path.read_bytes() == before


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_statement_is_one_that_sqlite_takes(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(tmp_path / "state.db")
        await database.start()
        for statement in load_statements("functions").values():
            count = statement.count("?")
            database.read(f"EXPLAIN {statement}", (None,) * count)
        await database.stop()

    asyncio.run(main())


def modes_in(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_database_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(tmp_path / "state.db")
        await database.start()
        await database.start()
        modes = modes_in(tmp_path)
        await database.stop()
        await database.stop()
        assert modes == {0o600}

    asyncio.run(main())


def test_writes_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(tmp_path / "state.db")
        await database.start()
        await database.write(lambda connection: connection.execute("CREATE TABLE t (x)"))
        commits: list[str] = []
        await database.write(lambda connection: connection.set_trace_callback(commits.append))
        commits.clear()
        await asyncio.gather(
            *(
                database.write(lambda connection, n=n: connection.execute("INSERT INTO t VALUES (?)", (n,)))  # type: ignore[misc]
                for n in range(100)
            )
        )
        assert database.read("SELECT count(*) FROM t") == [(100,)]
        # Whatever the first batch caught, the rest gathered behind it.
        assert commits.count("COMMIT") <= 10
        await database.stop()

    asyncio.run(main())


def test_write_that_breaks_the_transaction_leaves_its_neighbours_whole(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(tmp_path / "state.db")
        await database.start()
        await database.write(lambda connection: connection.execute("CREATE TABLE t (x UNIQUE)"))

        def good(number: int) -> None:
            return None

        async def insert(number: int) -> None:
            await database.write(
                lambda connection: good(connection.execute("INSERT INTO t VALUES (?)", (number,)).rowcount)
            )

        def break_everything(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO t VALUES (99)")
            connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("disk I/O error")

        outcomes = await asyncio.gather(
            insert(1),
            database.write(break_everything),
            insert(2),
            insert(1),
            insert(3),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [
            type(None),
            StorageFailed,
            type(None),
            StorageFailed,
            type(None),
        ]
        assert database.read("SELECT x FROM t ORDER BY x") == [(1,), (2,), (3,)]
        await database.stop()

    asyncio.run(main())


def test_stop_answers_what_was_handed_over(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(tmp_path / "state.db")
        await database.start()
        writes = [database.write(lambda connection: 7) for _ in range(20)]
        await database.stop()
        assert await asyncio.gather(*writes) == [7] * 20
        with pytest.raises(RuntimeError):
            await database.write(lambda connection: None)

    asyncio.run(main())
