"""Stores of a data directory that are open as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from lambent.storage.directory import DataDirectory
from lambent.storage.sealing import Sealer, open_sealer


class Store(Protocol):
    """What a store does beside its work."""

    async def start(self) -> None:
        """Open it."""

    async def stop(self) -> None:
        """Close it."""


AnyStore = TypeVar("AnyStore", bound=Store)


@asynccontextmanager
async def opened(
    make: Callable[[DataDirectory, Sealer], AnyStore], location: str | Path, sealer: Sealer | None = None
) -> AsyncIterator[AnyStore]:
    """Open the store of a data directory, with the directory's own keys unless it is given others."""
    directory = DataDirectory.open(location)
    store = make(directory, sealer or open_sealer(directory))
    try:
        await store.start()
        yield store
    finally:
        await store.stop()
        directory.close()
