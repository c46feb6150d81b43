"""The function stores under their contract."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.contract.function_store import DurableFunctionStoreContract, FunctionStoreContract
from tests.contract.stores import opened

from lambent.storage.contracts import FunctionStore
from lambent.storage.sqlite import SqliteFunctionStore


class TestSqlite(DurableFunctionStoreContract):
    @pytest.fixture(autouse=True)
    def _location(self, tmp_path: Path) -> None:
        self.location = tmp_path / "data"

    def open_store(self) -> AbstractAsyncContextManager[FunctionStore]:
        return opened(SqliteFunctionStore, self.location)


class TestSqliteInMemory(FunctionStoreContract):
    def open_store(self) -> AbstractAsyncContextManager[FunctionStore]:
        return opened(SqliteFunctionStore, ":memory:")
