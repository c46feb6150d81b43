"""The event queues under their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.event_queue import MAX_BACKLOG, EventQueueContract

from lambent.storage.contracts import EventQueue
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue


class TestSqlite(EventQueueContract):
    @pytest.fixture(autouse=True)
    def _location(self, tmp_path: Path) -> None:
        self.location = tmp_path / "data"

    @asynccontextmanager
    async def open_queue(self) -> AsyncIterator[EventQueue]:
        directory = DataDirectory.open(self.location)
        queue = SqliteEventQueue(directory, MAX_BACKLOG)
        try:
            await queue.start()
            yield queue
        finally:
            await queue.stop()
            directory.close()
