"""One database file with several writers, as ``state.db`` has: functions and identities."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from lambent.storage.database import Database

Scenario = Callable[[Database, Database], Awaitable[None]]


def play(path: Path, scenario: Scenario) -> list[str]:
    """Run a scenario with two writers of a table; return what stands there at the end."""

    async def main() -> list[str]:
        one, other = Database(path), Database(path)
        await one.start()
        await other.start()
        try:
            await one.write(create)
            await scenario(one, other)
            return [value for (value,) in await one.scan("SELECT value FROM seen ORDER BY rowid")]
        finally:
            await one.stop()
            await other.stop()

    return asyncio.run(main())


def create(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE seen (value TEXT)")


def insert(value: str) -> Callable[[sqlite3.Connection], None]:
    def apply(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO seen VALUES (?)", (value,))

    return apply


def test_one_waits_while_the_other_is_in_a_transaction(tmp_path: Path) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        insert("slow")(connection)
        begun.set()
        goes_on.wait(20)

    async def scenario(one: Database, other: Database) -> None:
        first = one.write(slow)
        assert await asyncio.to_thread(begun.wait, 20)
        second = other.write(insert("second"))
        await asyncio.sleep(0.05)
        assert not second.done()
        goes_on.set()
        await asyncio.gather(first, second)

    assert play(tmp_path / "both.db", scenario) == ["slow", "second"]


def test_both_are_written_while_neither_rests(tmp_path: Path) -> None:
    async def write(database: Database, name: str) -> None:
        for _ in range(50):
            await database.write(insert(name))

    async def scenario(one: Database, other: Database) -> None:
        writers = [write(one, "one") for _ in range(16)] + [write(other, "other") for _ in range(2)]
        await asyncio.gather(*writers)

    seen = play(tmp_path / "both.db", scenario)
    assert (seen.count("one"), seen.count("other")) == (800, 100)
