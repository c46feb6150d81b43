"""The identity store under its contract, and what it leaves on the disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest
from tests.contract.identity_store import (
    POLICY,
    DurableIdentityStoreContract,
    IdentityStoreContract,
    key_of,
    make_role,
    make_user,
)
from tests.contract.stores import opened

from lambent.model.identities import AccessKey
from lambent.storage.directory import DataDirectory, DataDirectoryDamaged
from lambent.storage.identities import IdentityStore, SqliteIdentityStore
from lambent.storage.sealed_columns import KeyLost, drop_lost
from lambent.storage.sealing import KEY_BYTES, Sealer


class TestSqlite(DurableIdentityStoreContract):
    @pytest.fixture(autouse=True)
    def _location(self, tmp_path: Path) -> None:
        self.location = tmp_path / "data"

    def open_store(self) -> AbstractAsyncContextManager[IdentityStore]:
        return opened(SqliteIdentityStore, self.location)


class TestSqliteInMemory(IdentityStoreContract):
    def open_store(self) -> AbstractAsyncContextManager[IdentityStore]:
        return opened(SqliteIdentityStore, ":memory:")


@pytest.fixture
def location(tmp_path: Path) -> Path:
    return tmp_path / "data"


def content_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_secrets_lie_in_no_file(location: Path) -> None:
    user, key = make_user("alice", policy=POLICY), AccessKey.new(1.0)

    async def scenario() -> None:
        async with opened(SqliteIdentityStore, location) as store:
            await store.create(user)
            await store.replace_access_key(user.key, key)
            # While the write-ahead log is there, and not yet all of it in the database.
            everything = content_of(location)
            assert key.access_key_id.encode() in everything
            for secret in (key_of(user).secret, key.secret):
                assert secret.encode() not in everything

    asyncio.run(scenario())


def test_a_new_first_key_seals_anew_and_the_old_one_can_go(location: Path) -> None:
    user = make_user("alice")
    old, new = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)

    async def scenario() -> None:
        async with opened(SqliteIdentityStore, location, Sealer([old])) as store:
            await store.create(user)
        for keys in ([new, old], [new]):
            async with opened(SqliteIdentityStore, location, Sealer(keys)) as store:
                assert store.identities(None) == [user]
        with pytest.raises(KeyLost):
            async with opened(SqliteIdentityStore, location, Sealer([old])):
                pass

    asyncio.run(scenario())


def test_who_lost_the_key_gives_up_the_secrets_and_keeps_the_users(location: Path) -> None:
    user, role, sealer = (
        make_user("alice", policy=POLICY),
        make_role("worker"),
        Sealer([os.urandom(KEY_BYTES)]),
    )

    async def scenario() -> None:
        async with opened(SqliteIdentityStore, location) as store:
            await store.create(user)
            await store.create(role)
        with closing(DataDirectory.open(location)) as directory:
            dropped = await drop_lost(directory, sealer)
        assert dropped == [f"access-key {key_of(user).access_key_id}"]
        async with opened(SqliteIdentityStore, location, sealer) as store:
            assert store.find_credential(key_of(user).access_key_id) is None
            found = store.identity(user.key)
            assert found is not None
            assert found.policy == POLICY
            assert store.role(role.arn) == role
            await store.put_policy(user.key, POLICY)
            key = AccessKey.new(1.0)
            await store.replace_access_key(user.key, key)
            assert store.find_credential(key.access_key_id) is not None

    asyncio.run(scenario())


def test_secrets_open_nothing_in_each_others_place(location: Path) -> None:
    async def scenario() -> None:
        async with opened(SqliteIdentityStore, location) as store:
            for name in ("alice", "bob"):
                await store.create(make_user(name))
        with closing(sqlite3.connect(location / "state.db")) as connection, connection:
            connection.execute(
                "UPDATE identities SET sealed = (SELECT sealed FROM identities WHERE name = 'bob')"
                " WHERE name = 'alice'"
            )
        with pytest.raises(DataDirectoryDamaged, match="access-key AKIA"):
            async with opened(SqliteIdentityStore, location):
                pass

    asyncio.run(scenario())


def test_a_stored_policy_that_is_none_keeps_the_store_from_opening(location: Path) -> None:
    async def scenario() -> None:
        async with opened(SqliteIdentityStore, location) as store:
            await store.create(make_user("alice", policy=POLICY))
        with closing(sqlite3.connect(location / "state.db")) as connection, connection:
            connection.execute("UPDATE identities SET document = json_set(document, '$.policy', '{')")
        with pytest.raises(DataDirectoryDamaged, match="the policy of arn:aws:iam::123456789012:user/alice"):
            async with opened(SqliteIdentityStore, location):
                pass

    asyncio.run(scenario())
