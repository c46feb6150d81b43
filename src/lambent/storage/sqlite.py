"""The function store on SQLite: the engine of one machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from lambent.model.functions import FunctionHead, FunctionKey
from lambent.storage.contracts import AlreadyExists, Conflict
from lambent.storage.database import Database, load_statements
from lambent.storage.directory import DataDirectory

if TYPE_CHECKING:
    import sqlite3

_SQL = load_statements("functions")
_decode = msgspec.json.Decoder(FunctionHead).decode
_encode = msgspec.json.Encoder().encode


class SqliteFunctionStore:
    """Function heads in the data directory's database.

    Implements :class:`lambent.storage.contracts.FunctionStore`.
    """

    def __init__(self, directory: DataDirectory) -> None:
        self._database = Database(directory.database, durable=not directory.temporary)
        self._subscribers: list[Callable[[FunctionKey], None]] = []

    async def start(self) -> None:
        """Open the database; may be called twice.

        Raises:
            DataDirectoryTooNew: a newer program has written it.
        """
        await self._database.start()

    async def stop(self) -> None:
        """Finish the writes under way and close; may be called twice."""
        await self._database.stop()

    def subscribe(self, on_change: Callable[[FunctionKey], None]) -> None:
        """Call ``on_change`` on the event loop after each commit, before the writer resumes."""
        self._subscribers.append(on_change)

    async def create(self, head: FunctionHead) -> None:
        """Store a new function, durably.

        Raises:
            AlreadyExists: the key is taken.
        """
        row = (*head.key, head.revision_id, head.settled, head.latest.code.size, _render(head))

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["create"], row).rowcount == 0:
                raise AlreadyExists(head.key)

        await self._write(head.key, apply)

    async def load(self, key: FunctionKey) -> FunctionHead | None:
        """Return the stored head, or None."""
        rows = self._database.read(_SQL["load"], key)
        return _decode(rows[0][0]) if rows else None

    async def replace(self, head: FunctionHead, expected_revision_id: str) -> None:
        """Store ``head`` if the stored one still has ``expected_revision_id``, durably.

        Raises:
            Conflict: it has another one, or the function is gone.
        """
        row = (
            head.revision_id,
            head.settled,
            head.latest.code.size,
            _render(head),
            *head.key,
            expected_revision_id,
        )

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["replace"], row).rowcount == 0:
                raise Conflict(head.key)

        await self._write(head.key, apply)

    async def delete(self, key: FunctionKey) -> bool:
        """Remove the function, durably; False when there was none."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete"], key).rowcount == 0:
                raise _Absent

        try:
            await self._write(key, apply)
        except _Absent:
            return False
        return True

    async def page(self, account: str, region: str, *, after: str, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads with a name above ``after``, in byte order of name."""
        return [_decode(row[0]) for row in self._database.read(_SQL["page"], (account, region, after, limit))]

    async def usage(self, account: str, region: str) -> tuple[int, int]:
        """Return (number of functions, sum of their packages in bytes)."""
        ((count, size),) = await self._database.scan(_SQL["usage"], (account, region))
        return count, size

    async def unsettled(self) -> list[FunctionHead]:
        """Return every head left Pending or with an update in progress."""
        return [_decode(row[0]) for row in await self._database.scan(_SQL["unsettled"])]

    async def elsewhere(self, name: str) -> list[FunctionKey]:
        """Return up to 10 keys of that name in any account and region."""
        return [FunctionKey(*row) for row in self._database.read(_SQL["elsewhere"], (name,))]

    async def package_hashes(self) -> set[str]:
        """Return the SHA-256 (hex) of every package that a head refers to."""
        return {row[0] for row in await self._database.scan(_SQL["package_hashes"])}

    async def _write(self, key: FunctionKey, apply: Callable[[sqlite3.Connection], None]) -> None:
        await self._database.write(apply, on_commit=lambda: self._announce(key))

    def _announce(self, key: FunctionKey) -> None:
        """Feed the subscribers.

        Each gets a callback of its own, so that the loop reports one that fails and
        the others are still told. Callbacks run in order: the writer resumes after them.
        """
        for on_change in self._subscribers:
            asyncio.get_running_loop().call_soon(on_change, key)


class _Absent(Exception):
    """There was nothing to delete, and so nothing to announce."""


def _render(head: FunctionHead) -> str:
    return _encode(head).decode()


__all__ = ["SqliteFunctionStore"]
