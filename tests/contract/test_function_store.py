"""The function stores under their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.function_store import DurableFunctionStoreContract, FunctionStoreContract

from lambent.storage.contracts import FunctionStore
from lambent.storage.directory import DataDirectory
from lambent.storage.sealing import open_sealer
from lambent.storage.sqlite import SqliteFunctionStore


@asynccontextmanager
async def opened(location: str | Path) -> AsyncIterator[FunctionStore]:
    directory = DataDirectory.open(location)
    store = SqliteFunctionStore(directory, open_sealer(directory))
    try:
        await store.start()
        yield store
    finally:
        await store.stop()
        directory.close()


class TestSqlite(DurableFunctionStoreContract):
    @pytest.fixture(autouse=True)
    def _location(self, tmp_path: Path) -> None:
        self.location = tmp_path / "data"

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[FunctionStore]:
        async with opened(self.location) as store:
            yield store


class TestSqliteInMemory(FunctionStoreContract):
    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[FunctionStore]:
        async with opened(":memory:") as store:
            yield store
