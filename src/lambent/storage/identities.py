"""Users and roles: what their store promises, and the store on SQLite.

All of it is in memory as well, because every request asks for a key. Memory follows
the commits, in their order, and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

from lambent.model.identities import (
    AccessKey,
    Credential,
    Identity,
    IdentityKey,
    Role,
    User,
)
from lambent.model.policies import MalformedPolicy, parse_policy
from lambent.storage.contracts import AlreadyExists, StorageFailed
from lambent.storage.database import Database, load_statements
from lambent.storage.directory import DataDirectory, DataDirectoryDamaged
from lambent.storage.sealed_columns import keep_sealed
from lambent.storage.sealing import Sealer, Unsealable
from lambent.storage.stored_identities import decode_identity, encode_identity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable


class IdentityMissing(Exception):
    """There is no such user or role; nothing was changed."""


class IdentityChange(NamedTuple):
    """One change of what is stored; ``identity`` as it is now, None when it is gone."""

    key: IdentityKey
    identity: Identity | None


OnIdentityChange: TypeAlias = "Callable[[IdentityChange], None]"


class IdentityStore(Protocol):
    """Users with their access keys, roles, and the policy of each.

    Reads answer from memory, at once. A write is durable when it returns, and then the
    reads tell of it. Names compare by their letters, but none may differ from
    another one of its account and kind in case alone. Each write may raise
    :class:`lambent.storage.contracts.StorageFailed`.
    """

    def find_credential(self, access_key_id: str) -> Credential | None:
        """Return who has a key, with the secret and the compiled policies; None for an unknown one."""
        ...

    def role(self, arn: str) -> Role | None:
        """Return the role of an ARN, or None."""
        ...

    def identity(self, key: IdentityKey) -> Identity | None:
        """Return the user or role, or None."""
        ...

    def identities(self, account: str | None) -> list[Identity]:
        """Return those of an account, or of all, in order of account, kind (roles first) and name."""
        ...

    async def create(self, identity: Identity) -> None:
        """Store a new user or role.

        Raises:
            AlreadyExists: the account has one of that kind and name, perhaps in another case.
            MalformedPolicy: one of its documents is none.
        """
        ...

    async def put_policy(self, key: IdentityKey, policy: str) -> Identity:
        """Give a user or role another policy; return it as it is then.

        Raises:
            IdentityMissing: there is none.
            MalformedPolicy: the document is none.
        """
        ...

    async def replace_access_key(self, key: IdentityKey, access_key: AccessKey) -> User:
        """Give a user another key; the old one opens nothing any more.

        Raises:
            IdentityMissing: there is no such user.
        """
        ...

    async def delete(self, key: IdentityKey) -> bool:
        """Remove a user with its key, or a role; False when there was none."""
        ...

    def subscribe(self, on_change: OnIdentityChange) -> None:
        """Call ``on_change`` on the event loop after each write, before the writer resumes."""
        ...


_Changed = TypeVar("_Changed", bound=Identity)
_SQL = load_statements("identities")


class SqliteIdentityStore:
    """Users and roles in the data directory's database; secrets are sealed there.

    Implements :class:`IdentityStore`.

    Args:
        directory: opened.
        sealer: seals the secrets of access keys.
    """

    def __init__(self, directory: DataDirectory, sealer: Sealer) -> None:
        self._path = path = directory.database
        self._database = Database(
            path,
            durable=not directory.temporary,
            on_open=lambda connection: keep_sealed(connection, path, sealer),
        )
        self._sealer = sealer
        self._subscribers: list[OnIdentityChange] = []
        self._identities: dict[IdentityKey, Identity] = {}
        self._credentials: dict[str, Credential] = {}
        self._roles: dict[str, Role] = {}

    async def start(self) -> None:
        """Open the database and read all that there is; may be called twice.

        Raises:
            DataDirectoryTooNew: a newer program has written it.
            DataDirectoryDamaged: what is stored cannot be read, such as a policy, or a secret that
                was put into another row.
            KeyLost: it holds values that are sealed with a key that is not at hand.
        """
        await self._database.start()
        for kind, document, sealed in await self._database.scan(_SQL["all"]):
            try:
                identity = decode_identity(kind, document, sealed, self._sealer)
            except Unsealable as error:
                raise DataDirectoryDamaged(self._path, str(error)) from error
            try:
                self._remember(identity)
            except MalformedPolicy as error:
                reason = f"of the policy of {identity.arn}: {error}".rstrip(".")
                raise DataDirectoryDamaged(self._path, reason) from error

    async def stop(self) -> None:
        """Finish the writes under way and close; may be called twice."""
        await self._database.stop()

    def subscribe(self, on_change: OnIdentityChange) -> None:
        """Call ``on_change`` on the event loop after each commit, before the writer resumes."""
        self._subscribers.append(on_change)

    # -- reads

    def find_credential(self, access_key_id: str) -> Credential | None:
        """Return who has a key, or None."""
        return self._credentials.get(access_key_id)

    def role(self, arn: str) -> Role | None:
        """Return the role of an ARN, or None."""
        return self._roles.get(arn)

    def identity(self, key: IdentityKey) -> Identity | None:
        """Return the user or role, or None."""
        return self._identities.get(key)

    def identities(self, account: str | None) -> list[Identity]:
        """Return those of an account, or of all, in order of account, kind (roles first) and name."""
        keys = sorted(key for key in self._identities if account in {None, key.account})
        return [self._identities[key] for key in keys]

    # -- writes

    async def create(self, identity: Identity) -> None:
        """Store a new user or role, durably.

        Raises:
            AlreadyExists: the account has one of that kind and name, perhaps in another case.
            MalformedPolicy: one of its documents is none.
        """
        _check(identity)
        row = (*identity.key, *encode_identity(identity, self._sealer))

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["create"], row).rowcount == 0:
                raise AlreadyExists(identity.key)

        await self._database.write(apply, on_commit=lambda: self._follow(identity.key, identity))

    async def put_policy(self, key: IdentityKey, policy: str) -> Identity:
        """Give a user or role another policy, durably; return it as it is then.

        Raises:
            IdentityMissing: there is none.
            MalformedPolicy: the document is none.
        """
        parse_policy(policy)
        return await self._change(key, lambda found: dataclasses.replace(found, policy=policy))

    async def replace_access_key(self, key: IdentityKey, access_key: AccessKey) -> User:
        """Give a user another key, durably.

        Raises:
            IdentityMissing: there is no such user.
        """

        def edit(found: Identity) -> User:
            if isinstance(found, Role):
                raise IdentityMissing(key)
            return dataclasses.replace(found, access_key=access_key)

        return await self._change(key, edit)

    async def delete(self, key: IdentityKey) -> bool:
        """Remove a user with its key, or a role, durably; False when there was none."""

        def apply(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete"], key).rowcount == 0:
                raise IdentityMissing(key)

        try:
            await self._database.write(apply, on_commit=lambda: self._follow(key, None))
        except IdentityMissing:
            return False
        return True

    # -- ours

    async def _change(self, key: IdentityKey, edit: Callable[[Identity], _Changed]) -> _Changed:
        """Replace an identity by what ``edit`` makes of what is stored at that moment."""
        changed: list[_Changed] = []

        def apply(connection: sqlite3.Connection) -> _Changed:
            found = connection.execute(_SQL["load"], key).fetchone()
            if found is None:
                raise IdentityMissing(key)
            kind, document, sealed = found
            try:
                stored = decode_identity(kind, document, sealed, self._sealer)
            except Unsealable as error:
                raise StorageFailed(str(error)) from error
            # May run twice; what the second run made counts.
            changed[:] = [edit(stored)]
            connection.execute(_SQL["replace"], (*encode_identity(changed[0], self._sealer), *key))
            return changed[0]

        return await self._database.write(apply, on_commit=lambda: self._follow(key, changed[0]))

    def _follow(self, key: IdentityKey, identity: Identity | None) -> None:
        """Make a commit known: to the reads at once, and to the subscribers.

        Each of these gets a callback of its own, so that the loop reports one that fails
        and the others are still told. Callbacks run in order: the writer resumes after them.
        """
        self._forget(key)
        if identity is not None:
            self._remember(identity)
        for on_change in self._subscribers:
            asyncio.get_running_loop().call_soon(on_change, IdentityChange(key, identity))

    def _forget(self, key: IdentityKey) -> None:
        match self._identities.pop(key, None):
            case User(access_key=AccessKey() as access_key):
                del self._credentials[access_key.access_key_id]
            case Role(arn=arn):
                del self._roles[arn]

    def _remember(self, identity: Identity) -> None:
        if isinstance(identity, Role):
            _check(identity)
            self._roles[identity.arn] = identity
        elif identity.access_key is not None:
            key = identity.access_key
            policies = () if identity.policy is None else (parse_policy(identity.policy),)
            self._credentials[key.access_key_id] = Credential(
                key.access_key_id, key.secret, identity.principal, policies
            )
        self._identities[identity.key] = identity


def _check(identity: Identity) -> None:
    """Refuse documents that are no policies."""
    if identity.policy is not None:
        parse_policy(identity.policy)
    if isinstance(identity, Role):
        parse_policy(identity.trust, resource_based=True)


__all__ = [
    "IdentityChange",
    "IdentityMissing",
    "IdentityStore",
    "OnIdentityChange",
    "SqliteIdentityStore",
]
