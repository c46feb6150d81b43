"""The function store on SQLite: the engine of one machine."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import msgspec

from lambent.model.events import EventInvokeConfig
from lambent.model.functions import LATEST, Alias, FunctionHead, FunctionKey, is_version
from lambent.model.provisioned import ProvisionedConfig
from lambent.storage.contracts import (
    AliasMissing,
    AlreadyExists,
    Change,
    Check,
    Conflict,
    OnChange,
    Provisioning,
    Referenced,
    ReservedTooLittle,
    ReservedTooMuch,
    StorageFailed,
    StoredPolicy,
    Usage,
    VersionMissing,
)
from lambent.storage.database import Database, load_statements
from lambent.storage.directory import DataDirectory
from lambent.storage.sealed_columns import keep_sealed
from lambent.storage.sealing import Sealer, Unsealable
from lambent.storage.stored_heads import decode_head, encode_head

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_SQL = load_statements("functions")
_decode_alias = msgspec.json.Decoder(Alias).decode
_decode_event_config = msgspec.json.Decoder(EventInvokeConfig).decode
_decode_provisioned = msgspec.json.Decoder(ProvisionedConfig).decode
_encode = msgspec.json.Encoder().encode
# As it is printed, and within SQLite's integers.
_PUBLISHED = re.compile(r"[1-9][0-9]{0,17}")


class SqliteFunctionStore:
    """Functions, versions and aliases in the data directory's database, and what is configured for them.

    Implements :class:`lambent.storage.contracts.FunctionStore`.

    Args:
        directory: opened data directory; ``state.db`` in it is ours.
        sealer: seals the environment variables.
    """

    def __init__(self, directory: DataDirectory, sealer: Sealer) -> None:
        path = directory.database
        self._database = Database(
            path,
            durable=not directory.temporary,
            on_open=lambda connection: keep_sealed(connection, path, sealer),
        )
        self._sealer = sealer
        self._subscribers: list[OnChange] = []

    async def start(self) -> None:
        """Open the database; may be called twice.

        Raises:
            DataDirectoryTooNew: a newer program has written it.
            KeyLost: it holds values that are sealed with a key that is not at hand.
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
        rows = [self._row(each) for each in (head, published) if each is not None]

        def apply(connection: sqlite3.Connection) -> None:
            for row in rows:
                _insert(connection, head.key, row)

        await self._write(apply, Change(head.key, LATEST, head))

    async def load(self, key: FunctionKey, version: str = LATEST) -> FunctionHead | None:
        """Return the stored head, or None."""
        rows = self._database.read(_SQL["load"], (*key, _number(version)))
        return self._decode(rows[0]) if rows else None

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
            ReservedTooLittle: ``head`` reserves less than is provisioned for the function.
            ReservedTooMuch: more than ``reserved_at_most`` of the account's would be set aside.
        """
        row = (*self._columns(head), *head.key, _number(head.version), expected_revision_id)
        version_row = None if published is None else self._row(published)

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["replace"], row).rowcount == 0:
                raise Conflict(head.key)
            if head.reserved_concurrency is not None:
                (provisioned,) = connection.execute(_SQL["total_provisioned"], head.key).fetchone()
                if head.reserved_concurrency < provisioned:
                    raise ReservedTooLittle(provisioned)
            if reserved_at_most is not None:
                aside = sum(_set_aside(connection, head.key))
                if aside > reserved_at_most:
                    raise ReservedTooMuch(aside)
            if version_row is not None:
                _insert(connection, head.key, version_row)

        await self._write(apply, Change(head.key, head.version, head))

    async def delete(self, key: FunctionKey) -> bool:
        """Remove the function with all that belongs to it, durably; False when there was none."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete"], key).rowcount == 0:
                raise _Absent
            connection.execute(_SQL["delete_aliases"], key)

        return await self._remove(apply, Change(key, None))

    async def delete_version(self, key: FunctionKey, version: str) -> bool:
        """Remove a published version with what is provisioned for it, durably; False when there was none.

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
        return [
            self._decode(row) for row in self._database.read(_SQL["page"], (account, region, after, limit))
        ]

    async def page_all(
        self, account: str, region: str, *, after: tuple[str, int], limit: int
    ) -> list[FunctionHead]:
        """Return up to ``limit`` heads behind a name and number, in that order; ``$LATEST`` has number 0."""
        rows = self._database.read(_SQL["page_all"], (account, region, *after, limit))
        return [self._decode(row) for row in rows]

    async def versions(self, key: FunctionKey, *, after: int, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads of one function with a number above ``after``; ``$LATEST`` has 0."""
        return [self._decode(row) for row in self._database.read(_SQL["versions"], (*key, after, limit))]

    async def usage(self, account: str, region: str) -> Usage:
        """Return what an account has in a region."""
        rows = self._database.read(_SQL["usage"], (account, region))
        return Usage(*rows[0]) if rows else Usage()

    async def reserved(self) -> list[FunctionHead]:
        """Return the head of ``$LATEST`` of every function that has reserved concurrency."""
        return [self._decode(row) for row in await self._database.scan(_SQL["reserved"])]

    async def unsettled(self) -> list[FunctionHead]:
        """Return every head left Pending or with an update in progress."""
        return [self._decode(row) for row in await self._database.scan(_SQL["unsettled"])]

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

    async def replace_alias(
        self, alias: Alias, expected_revision_id: str, check: Check | None = None
    ) -> None:
        """Store ``alias`` if the stored one still has ``expected_revision_id``, durably.

        Where concurrency is provisioned for it, ``check`` is asked first.

        Raises:
            VersionMissing: a version it points to, or the function, is not there.
            Conflict: it has another one, or the alias is gone.
        """
        changes = (alias.revision_id, *_numbers(alias), _render(alias))
        place = (*alias.key, alias.name)
        row = (*changes, *place, expected_revision_id)

        def apply(connection: sqlite3.Connection) -> None:
            _check_versions(connection, alias)
            if connection.execute(_SQL["replace_alias"], row).rowcount == 0:
                raise Conflict(alias.arn)
            if check is not None and connection.execute(_SQL["load_provisioned"], place).fetchone():
                check(_provisioning(connection, alias.key, alias))

        await self._write(apply, Change(alias.key, alias.name))

    async def delete_alias(self, key: FunctionKey, name: str) -> bool:
        """Remove the alias with what is provisioned for it, durably; False when there was none."""

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

    # -- how events are tried

    async def put_event_config(
        self, config: EventInvokeConfig, expected: EventInvokeConfig | None = None
    ) -> None:
        """Store how events of a function, version or alias are tried, durably.

        Raises:
            Conflict: another one than ``expected`` is stored, or what the target names is gone.
        """
        key, qualifier = config.target
        assert qualifier is not None
        place = (*key, qualifier)
        row = (*place, _render(config))

        def apply(connection: sqlite3.Connection) -> None:
            if not _is_there(connection, key, qualifier):
                raise Conflict(config.target.arn)
            if expected is not None:
                stored = connection.execute(_SQL["load_event_config"], place).fetchone()
                if stored is None or _decode_event_config(stored[0]) != expected:
                    raise Conflict(config.target.arn)
            connection.execute(_SQL["put_event_config"], row)

        await self._database.write(apply)

    async def load_event_config(self, key: FunctionKey, qualifier: str) -> EventInvokeConfig | None:
        """Return what was stored for exactly this qualifier, or None."""
        rows = self._database.read(_SQL["load_event_config"], (*key, qualifier))
        return _decode_event_config(rows[0][0]) if rows else None

    async def delete_event_config(self, key: FunctionKey, qualifier: str) -> bool:
        """Remove it, durably; False when there was none."""

        def apply(connection: sqlite3.Connection) -> bool:
            return connection.execute(_SQL["delete_event_config"], (*key, qualifier)).rowcount > 0

        return await self._database.write(apply)

    async def event_configs(self, key: FunctionKey, *, after: str, limit: int) -> list[EventInvokeConfig]:
        """Return up to ``limit`` of a function, with a qualifier above ``after``, in its byte order."""
        rows = self._database.read(_SQL["event_configs"], (*key, after, limit))
        return [_decode_event_config(row[0]) for row in rows]

    # -- provisioned concurrency

    async def put_provisioned(self, config: ProvisionedConfig, check: Check) -> None:
        """Store what is to be provisioned, durably, if ``check`` has nothing against it.

        Raises:
            VersionMissing: there is no such version.
            AliasMissing: there is no such alias.
        """
        key, qualifier = config.key, config.qualifier
        row = (*key, qualifier, config.requested, _render(config))

        def apply(connection: sqlite3.Connection) -> None:
            alias = None
            if is_version(qualifier):
                if connection.execute(_SQL["exists"], (*key, _number(qualifier))).fetchone() is None:
                    raise VersionMissing(qualifier)
            else:
                found = connection.execute(_SQL["load_alias"], (*key, qualifier)).fetchone()
                if found is None:
                    raise AliasMissing(config.arn)
                alias = _decode_alias(found[0])
            check(_provisioning(connection, key, alias))
            connection.execute(_SQL["put_provisioned"], row)

        await self._write(apply, Change(key, qualifier))

    async def load_provisioned(self, key: FunctionKey, qualifier: str) -> ProvisionedConfig | None:
        """Return what is stored, or None."""
        rows = self._database.read(_SQL["load_provisioned"], (*key, qualifier))
        return _decode_provisioned(rows[0][0]) if rows else None

    async def delete_provisioned(self, key: FunctionKey, qualifier: str) -> bool:
        """Provision nothing any more, durably; False when nothing was."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete_provisioned"], (*key, qualifier)).rowcount == 0:
                raise _Absent

        return await self._remove(apply, Change(key, qualifier))

    async def provisioned(self, key: FunctionKey, *, after: str, limit: int) -> list[ProvisionedConfig]:
        """Return up to ``limit`` of a function with a qualifier above ``after``, in byte order of it."""
        rows = self._database.read(_SQL["provisioned"], (*key, after, limit))
        return [_decode_provisioned(row[0]) for row in rows]

    async def with_provisioned(self) -> list[FunctionKey]:
        """Return every function that has some."""
        return [FunctionKey(*row) for row in await self._database.scan(_SQL["with_provisioned"])]

    # -- resource policies

    async def load_policy(self, key: FunctionKey, qualifier: str | None) -> StoredPolicy | None:
        """Return the resource policy of exactly this version or alias, or None."""
        rows = self._database.read(_SQL["load_policy"], (*key, qualifier or ""))
        return StoredPolicy(*rows[0]) if rows else None

    async def replace_policy(
        self,
        key: FunctionKey,
        qualifier: str | None,
        policy: StoredPolicy | None,
        expected_revision_id: str | None,
    ) -> None:
        """Store a resource policy, or remove it, durably, if the stored one is the expected one.

        Raises:
            Conflict: it is another one, or what the policy belongs to is not there.
        """
        assert qualifier != LATEST
        place = (*key, qualifier or "")
        row: tuple[object, ...]
        if policy is None:
            statement, row = _SQL["delete_policy"], (*place, expected_revision_id)
        elif expected_revision_id is None:
            statement, row = _SQL["create_policy"], (*place, policy.revision_id, policy.document)
        else:
            statement = _SQL["replace_policy"]
            row = (policy.revision_id, policy.document, *place, expected_revision_id)

        def apply(connection: sqlite3.Connection) -> None:
            is_stored = connection.execute(statement, row).rowcount > 0
            if not is_stored or not _is_there(connection, key, qualifier or LATEST):
                raise Conflict(key.arn(qualifier))

        await self._write(apply, Change(key, qualifier or LATEST))

    # -- ours

    def _row(self, head: FunctionHead) -> tuple[object, ...]:
        return (*head.key, _number(head.version), *self._columns(head))

    def _columns(self, head: FunctionHead) -> tuple[object, ...]:
        stored = encode_head(head, self._sealer)
        return head.revision_id, head.settled, head.latest.code.size, head.reserved_concurrency, *stored

    def _decode(self, row: tuple[str, bytes | None]) -> FunctionHead:
        try:
            return decode_head(*row, self._sealer)
        except Unsealable as error:
            raise StorageFailed(str(error)) from error

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


def _insert(connection: sqlite3.Connection, key: FunctionKey, row: tuple[object, ...]) -> None:
    if connection.execute(_SQL["create"], row).rowcount == 0:
        raise AlreadyExists(key)


def _check_versions(connection: sqlite3.Connection, alias: Alias) -> None:
    """Refuse an alias to what is not there; in the write itself, so that nothing is deleted meanwhile."""
    for version in (LATEST, *alias.versions):
        if connection.execute(_SQL["exists"], (*alias.key, _number(version))).fetchone() is None:
            raise VersionMissing(None if version == LATEST else version)


def _is_there(connection: sqlite3.Connection, key: FunctionKey, qualifier: str) -> bool:
    if is_version(qualifier):
        found = connection.execute(_SQL["exists"], (*key, _number(qualifier)))
    else:
        found = connection.execute(_SQL["load_alias"], (*key, qualifier))
    return found.fetchone() is not None


def _set_aside(connection: sqlite3.Connection, key: FunctionKey) -> tuple[int, int]:
    """Return what the account has reserved, and what it has provisioned for functions without that."""
    usage = Usage(*connection.execute(_SQL["usage"], key[:2]).fetchone())
    (provisioned,) = connection.execute(_SQL["total_unreserved_provisioned"], key[:2]).fetchone()
    return usage.reserved, provisioned


def _provisioning(connection: sqlite3.Connection, key: FunctionKey, alias: Alias | None) -> Provisioning:
    rows = connection.execute(_SQL["provisioned_versions"], key).fetchall()
    (reserved,) = connection.execute(_SQL["reserved_of"], key).fetchone()
    configs = [(_decode_provisioned(document), str(number or LATEST)) for document, number in rows]
    return Provisioning(alias, configs, reserved, *_set_aside(connection, key))


def _number(version: str) -> int:
    """Return the column's value; one that no row has for a text that names no version (``0``, ``007``)."""
    if version == LATEST:
        return 0
    return int(version) if _PUBLISHED.fullmatch(version) else -1


def _numbers(alias: Alias) -> tuple[int, int | None]:
    number, *others = map(_number, alias.versions)
    return number, others[0] if others else None


def _render(stored: Alias | EventInvokeConfig | ProvisionedConfig) -> str:
    return _encode(stored).decode()


__all__ = ["SqliteFunctionStore"]
