"""The function store on SQLite: the engine of one machine."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import msgspec

from lambent.model.functions import LATEST, Alias, FunctionHead, FunctionKey
from lambent.storage.contracts import (
    AlreadyExists,
    Change,
    Conflict,
    OnChange,
    Referenced,
    ReservedTooMuch,
    Usage,
    VersionMissing,
)
from lambent.storage.database import Database, load_statements
from lambent.storage.directory import DataDirectory

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_SQL = load_statements("functions")
_decode = msgspec.json.Decoder(FunctionHead).decode
_decode_alias = msgspec.json.Decoder(Alias).decode
_encode = msgspec.json.Encoder().encode
# As it is printed, and within SQLite's integers.
_PUBLISHED = re.compile(r"[1-9][0-9]{0,17}")


class SqliteFunctionStore:
    """Functions, versions and aliases in the data directory's database.

    Implements :class:`lambent.storage.contracts.FunctionStore`.
    """

    def __init__(self, directory: DataDirectory) -> None:
        self._database = Database(directory.database, durable=not directory.temporary)
        self._subscribers: list[OnChange] = []

    async def start(self) -> None:
        """Open the database; may be called twice.

        Raises:
            DataDirectoryTooNew: a newer program has written it.
        """
        await self._database.start()

    async def stop(self) -> None:
        """Finish the writes under way and close; may be called twice."""
        await self._database.stop()

    def subscribe(self, on_change: OnChange) -> None:
        """Call ``on_change`` on the event loop after each commit, before the writer resumes."""
        self._subscribers.append(on_change)

    # -- heads

    async def create(self, head: FunctionHead, published: FunctionHead | None = None) -> None:
        """Store a new function, durably, and its first version with it if one is given.

        Raises:
            AlreadyExists: the key is taken.
        """

        def apply(connection: sqlite3.Connection) -> None:
            _insert(connection, head)
            if published is not None:
                _insert(connection, published)

        await self._write(apply, Change(head.key, LATEST, head))

    async def load(self, key: FunctionKey, version: str = LATEST) -> FunctionHead | None:
        """Return the stored head, or None."""
        rows = self._database.read(_SQL["load"], (*key, _number(version)))
        return _decode(rows[0][0]) if rows else None

    async def replace(
        self,
        head: FunctionHead,
        expected_revision_id: str,
        published: FunctionHead | None = None,
        *,
        reserved_at_most: int | None = None,
    ) -> None:
        """Store ``head`` if the stored one still has ``expected_revision_id``, durably.

        Raises:
            Conflict: it has another one, or the function is gone.
            ReservedTooMuch: the account's functions would reserve more than ``reserved_at_most``.
        """
        row = (*_columns(head), *head.key, _number(head.version), expected_revision_id)

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["replace"], row).rowcount == 0:
                raise Conflict(head.key)
            if reserved_at_most is not None:
                usage = Usage(*connection.execute(_SQL["usage"], head.key[:2]).fetchone())
                if usage.reserved > reserved_at_most:
                    raise ReservedTooMuch(usage.reserved)
            if published is not None:
                _insert(connection, published)

        await self._write(apply, Change(head.key, head.version, head))

    async def delete(self, key: FunctionKey) -> bool:
        """Remove the function with its versions and aliases, durably; False when there was none."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete"], key).rowcount == 0:
                raise _Absent
            connection.execute(_SQL["delete_aliases"], key)

        return await self._remove(apply, Change(key, None))

    async def delete_version(self, key: FunctionKey, version: str) -> bool:
        """Remove a published version, durably; False when there was none.

        Raises:
            Referenced: aliases point to it.
        """
        number = _number(version)

        def apply(connection: sqlite3.Connection) -> None:
            aliases = connection.execute(_SQL["references"], (*key, number, number)).fetchall()
            if aliases:
                raise Referenced([alias for (alias,) in aliases])
            if connection.execute(_SQL["delete_version"], (*key, number)).rowcount == 0:
                raise _Absent

        return await self._remove(apply, Change(key, version))

    async def page(self, account: str, region: str, *, after: str, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads of ``$LATEST`` with a name above ``after``, in byte order of name."""
        return [_decode(row[0]) for row in self._database.read(_SQL["page"], (account, region, after, limit))]

    async def page_all(
        self, account: str, region: str, *, after: tuple[str, int], limit: int
    ) -> list[FunctionHead]:
        """Return up to ``limit`` heads behind a name and number, in that order; ``$LATEST`` has number 0."""
        rows = self._database.read(_SQL["page_all"], (account, region, *after, limit))
        return [_decode(row[0]) for row in rows]

    async def versions(self, key: FunctionKey, *, after: int, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads of one function with a number above ``after``; ``$LATEST`` has 0."""
        return [_decode(row[0]) for row in self._database.read(_SQL["versions"], (*key, after, limit))]

    async def usage(self, account: str, region: str) -> Usage:
        """Return what an account has in a region."""
        rows = self._database.read(_SQL["usage"], (account, region))
        return Usage(*rows[0]) if rows else Usage()

    async def reserved(self) -> list[FunctionHead]:
        """Return the head of ``$LATEST`` of every function that has reserved concurrency."""
        return [_decode(row[0]) for row in await self._database.scan(_SQL["reserved"])]

    async def unsettled(self) -> list[FunctionHead]:
        """Return every head left Pending or with an update in progress."""
        return [_decode(row[0]) for row in await self._database.scan(_SQL["unsettled"])]

    async def elsewhere(self, name: str) -> list[FunctionKey]:
        """Return up to 10 keys of that name in any account and region."""
        return [FunctionKey(*row) for row in self._database.read(_SQL["elsewhere"], (name,))]

    async def package_hashes(self) -> set[str]:
        """Return the SHA-256 (hex) of every package that a head refers to."""
        return {row[0] for row in await self._database.scan(_SQL["package_hashes"])}

    # -- aliases

    async def create_alias(self, alias: Alias) -> None:
        """Store a new alias, durably.

        Raises:
            VersionMissing: a version it points to, or the function, is not there.
            AlreadyExists: the function has one of that name.
        """
        row = (*alias.key, alias.name, alias.revision_id, *_numbers(alias), _render(alias))

        def apply(connection: sqlite3.Connection) -> None:
            _check_versions(connection, alias)
            if connection.execute(_SQL["create_alias"], row).rowcount == 0:
                raise AlreadyExists(alias.arn)

        await self._write(apply, Change(alias.key, alias.name))

    async def load_alias(self, key: FunctionKey, name: str) -> Alias | None:
        """Return the stored alias, or None."""
        rows = self._database.read(_SQL["load_alias"], (*key, name))
        return _decode_alias(rows[0][0]) if rows else None

    async def replace_alias(self, alias: Alias, expected_revision_id: str) -> None:
        """Store ``alias`` if the stored one still has ``expected_revision_id``, durably.

        Raises:
            VersionMissing: a version it points to, or the function, is not there.
            Conflict: it has another one, or the alias is gone.
        """
        changes = (alias.revision_id, *_numbers(alias), _render(alias))
        row = (*changes, *alias.key, alias.name, expected_revision_id)

        def apply(connection: sqlite3.Connection) -> None:
            _check_versions(connection, alias)
            if connection.execute(_SQL["replace_alias"], row).rowcount == 0:
                raise Conflict(alias.arn)

        await self._write(apply, Change(alias.key, alias.name))

    async def delete_alias(self, key: FunctionKey, name: str) -> bool:
        """Remove the alias, durably; False when there was none."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete_alias"], (*key, name)).rowcount == 0:
                raise _Absent

        return await self._remove(apply, Change(key, name))

    async def aliases(self, key: FunctionKey, *, version: str | None, after: str, limit: int) -> list[Alias]:
        """Return up to ``limit`` aliases with a name above ``after``; of one version if it is given."""
        if version is None:
            rows = self._database.read(_SQL["aliases"], (*key, after, limit))
        else:
            number = _number(version)
            rows = self._database.read(_SQL["aliases_of_version"], (*key, number, number, after, limit))
        return [_decode_alias(row[0]) for row in rows]

    # -- ours

    async def _write(self, apply: Callable[[sqlite3.Connection], None], change: Change) -> None:
        await self._database.write(apply, on_commit=lambda: self._announce(change))

    async def _remove(self, apply: Callable[[sqlite3.Connection], None], change: Change) -> bool:
        try:
            await self._write(apply, change)
        except _Absent:
            return False
        return True

    def _announce(self, change: Change) -> None:
        """Feed the subscribers.

        Each gets a callback of its own, so that the loop reports one that fails and
        the others are still told. Callbacks run in order: the writer resumes after them.
        """
        for on_change in self._subscribers:
            asyncio.get_running_loop().call_soon(on_change, change)


class _Absent(Exception):
    """There was nothing to delete, and so nothing to announce."""


def _insert(connection: sqlite3.Connection, head: FunctionHead) -> None:
    row = (*head.key, _number(head.version), *_columns(head))
    if connection.execute(_SQL["create"], row).rowcount == 0:
        raise AlreadyExists(head.key)


def _columns(head: FunctionHead) -> tuple[object, ...]:
    return head.revision_id, head.settled, head.latest.code.size, head.reserved_concurrency, _render(head)


def _check_versions(connection: sqlite3.Connection, alias: Alias) -> None:
    """Refuse an alias to what is not there; in the write itself, so that nothing is deleted meanwhile."""
    for version in (LATEST, *alias.versions):
        if connection.execute(_SQL["exists"], (*alias.key, _number(version))).fetchone() is None:
            raise VersionMissing(None if version == LATEST else version)


def _number(version: str) -> int:
    """Return the column's value; one that no row has for a text that names no version (``0``, ``007``)."""
    if version == LATEST:
        return 0
    return int(version) if _PUBLISHED.fullmatch(version) else -1


def _numbers(alias: Alias) -> tuple[int, int | None]:
    number, *others = map(_number, alias.versions)
    return number, others[0] if others else None


def _render(stored: FunctionHead | Alias) -> str:
    return _encode(stored).decode()


__all__ = ["SqliteFunctionStore"]
