"""What storage promises, whatever engine is behind it.

A *change feed* is the only thing that feeds caches: an operation never touches a
cache itself, so that a change made by another process reaches it the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lambent.model.functions import CodePackage, FunctionHead, FunctionKey


class AlreadyExists(Exception):
    """A function of this key is already stored; nothing was changed."""


class Conflict(Exception):
    """The head changed since it was read (or is gone); nothing was changed."""


class StorageFailed(Exception):
    """The engine could not store or read (a full disk, a broken file); nothing was changed."""


class FunctionStore(Protocol):
    """Function heads by key; every write is durable when it returns.

    Each method may raise :class:`StorageFailed`.
    """

    async def create(self, head: FunctionHead) -> None:
        """Store a new function.

        Raises:
            AlreadyExists: the key is taken.
        """
        ...

    async def load(self, key: FunctionKey) -> FunctionHead | None:
        """Return the stored head, or None."""
        ...

    async def replace(self, head: FunctionHead, expected_revision_id: str) -> None:
        """Store ``head`` if the stored one still has ``expected_revision_id``.

        Raises:
            Conflict: it has another one, or the function is gone.
        """
        ...

    async def delete(self, key: FunctionKey) -> bool:
        """Remove the function; False when there was none."""
        ...

    async def page(self, account: str, region: str, *, after: str, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads with a name above ``after``, in byte order of name."""
        ...

    async def usage(self, account: str, region: str) -> tuple[int, int]:
        """Return (number of functions, sum of their packages in bytes)."""
        ...

    async def unsettled(self) -> list[FunctionHead]:
        """Return every head left Pending or with an update in progress."""
        ...

    async def elsewhere(self, name: str) -> list[FunctionKey]:
        """Return up to 10 keys of that name in any account and region."""
        ...

    async def package_hashes(self) -> set[str]:
        """Return the SHA-256 (hex) of every package that a head refers to."""
        ...

    def subscribe(self, on_change: Callable[[FunctionKey], None]) -> None:
        """Call ``on_change`` on the event loop after each create, replace and delete."""
        ...


class CodeStore(Protocol):
    """Packages by content: the zip as uploaded, and its files unpacked."""

    async def put(self, data: bytes) -> CodePackage:
        """Store a zip; when this returns it survives a crash of the machine.

        A half-written upload is never visible.
        """
        ...

    async def read(self, sha256: str) -> bytes | None:
        """Return the zip as it was uploaded, or None."""
        ...

    async def unpack(self, sha256: str) -> Path:
        """Return the folder with the package's files, unpacking it when needed.

        The folder appears whole or not at all.

        Raises:
            InvalidZipFileException: the stored package cannot be unpacked.
        """
        ...

    async def keep_only(self, hashes: set[str]) -> None:
        """Remove every package that is not among ``hashes``.

        Never one that is younger than the operations that run: what was put or
        referred to lately is only noted, and goes with a later call.
        """
        ...


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line of a function's log; ``at`` in seconds since the epoch."""

    at: float
    stream: str
    message: str


class LogStore(Protocol):
    """Lines by account, region and log group; bounded, and never in the way.

    A full disk loses lines (and counts them), it never fails an invocation.
    """

    def append(self, group: tuple[str, str, str], stream: str, at: float, text: bytes) -> None:
        """Take ``text`` (whole lines) for writing within 100 ms; never blocks.

        Args:
            group: account, region, log group name.
            stream: log stream name.
            at: seconds since the epoch.
            text: one or more lines, as the function wrote them.
        """
        ...

    def read(self, group: tuple[str, str, str], *, since: float, follow: bool) -> AsyncIterator[LogEvent]:
        """Yield events not older than ``since``; with ``follow``, go on until the store stops.

        In the order in which they were appended, the end of line left out. Without
        ``follow`` it ends behind what was appended before the call.
        """
        ...


__all__ = [
    "AlreadyExists",
    "CodeStore",
    "Conflict",
    "FunctionStore",
    "LogEvent",
    "LogStore",
    "StorageFailed",
]
