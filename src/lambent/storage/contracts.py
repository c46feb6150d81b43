"""What storage promises, whatever engine is behind it.

A *change feed* is the only thing that feeds caches: an operation never touches a
cache itself, so that a change made by another process reaches it the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from lambent.model.functions import LATEST, Alias, CodePackage, FunctionHead, FunctionKey


class AlreadyExists(Exception):
    """A function, version or alias of this name is already stored; nothing was changed."""


class Conflict(Exception):
    """What is stored changed since it was read (or is gone); nothing was changed."""


class VersionMissing(Exception):
    """An alias was to point to a version that is not there; nothing was changed.

    Attributes:
        version: the missing one; None when the function itself is not there.
    """

    def __init__(self, version: str | None) -> None:
        super().__init__(version)
        self.version = version


class Referenced(Exception):
    """A version that aliases point to was to be deleted; nothing was changed.

    Attributes:
        aliases: their names, in order.
    """

    def __init__(self, aliases: list[str]) -> None:
        super().__init__(aliases)
        self.aliases = aliases


class StorageFailed(Exception):
    """The engine could not store or read (a full disk, a broken file); nothing was changed."""


class ReservedTooMuch(Exception):
    """More concurrency was to be reserved than an account may; nothing was changed."""


class Usage(NamedTuple):
    """What an account has in a region.

    Attributes:
        functions: their number.
        code_bytes: sum of the packages of all their versions.
        reserved: sum of their reserved concurrency.
    """

    functions: int = 0
    code_bytes: int = 0
    reserved: int = 0


class Change(NamedTuple):
    """One change of what is stored.

    Attributes:
        key: the function.
        qualifier: the version or alias that changed; None when all of the function is gone.
        head: the version's head as it is now; None for an alias, and for what is gone.
    """

    key: FunctionKey
    qualifier: str | None
    head: FunctionHead | None = None


OnChange: TypeAlias = Callable[[Change], None]


class FunctionStore(Protocol):
    """Heads of ``$LATEST`` and of published versions, and aliases; every write is durable when it returns.

    A version is named ``$LATEST`` or by its number as text. Each method may raise
    :class:`StorageFailed`.
    """

    async def create(self, head: FunctionHead, published: FunctionHead | None = None) -> None:
        """Store a new function, and its first version with it if one is given.

        Raises:
            AlreadyExists: the key is taken.
        """
        ...

    async def load(self, key: FunctionKey, version: str = LATEST) -> FunctionHead | None:
        """Return the stored head, or None."""
        ...

    async def replace(
        self,
        head: FunctionHead,
        expected_revision_id: str,
        published: FunctionHead | None = None,
        *,
        reserved_at_most: int | None = None,
    ) -> None:
        """Store ``head`` if the stored one still has ``expected_revision_id``, and a new version with it.

        Args:
            head: of ``$LATEST`` or of a version.
            expected_revision_id: as read before.
            published: head of a new version.
            reserved_at_most: what the account's functions may reserve together.

        Raises:
            Conflict: it has another one, or the function is gone.
            ReservedTooMuch: with ``head`` they would reserve more.
        """
        ...

    async def delete(self, key: FunctionKey) -> bool:
        """Remove the function, its versions and its aliases; False when there was none."""
        ...

    async def delete_version(self, key: FunctionKey, version: str) -> bool:
        """Remove a published version; False when there was none.

        Raises:
            Referenced: aliases point to it.
        """
        ...

    async def page(self, account: str, region: str, *, after: str, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads of ``$LATEST`` with a name above ``after``, in byte order of name."""
        ...

    async def page_all(
        self, account: str, region: str, *, after: tuple[str, int], limit: int
    ) -> list[FunctionHead]:
        """Return up to ``limit`` heads behind a name and number, in that order; ``$LATEST`` has number 0."""
        ...

    async def versions(self, key: FunctionKey, *, after: int, limit: int) -> list[FunctionHead]:
        """Return up to ``limit`` heads of one function with a number above ``after``; ``$LATEST`` has 0."""
        ...

    async def usage(self, account: str, region: str) -> Usage:
        """Return what an account has in a region."""
        ...

    async def reserved(self) -> list[FunctionHead]:
        """Return the head of ``$LATEST`` of every function that has reserved concurrency."""
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

    async def create_alias(self, alias: Alias) -> None:
        """Store a new alias.

        Raises:
            VersionMissing: a version it points to, or the function, is not there.
            AlreadyExists: the function has one of that name.
        """
        ...

    async def load_alias(self, key: FunctionKey, name: str) -> Alias | None:
        """Return the stored alias, or None."""
        ...

    async def replace_alias(self, alias: Alias, expected_revision_id: str) -> None:
        """Store ``alias`` if the stored one still has ``expected_revision_id``.

        Raises:
            VersionMissing: a version it points to, or the function, is not there.
            Conflict: it has another one, or the alias is gone.
        """
        ...

    async def delete_alias(self, key: FunctionKey, name: str) -> bool:
        """Remove the alias; False when there was none."""
        ...

    async def aliases(self, key: FunctionKey, *, version: str | None, after: str, limit: int) -> list[Alias]:
        """Return up to ``limit`` aliases with a name above ``after``, in byte order of name.

        With ``version`` only those that may run it.
        """
        ...

    def subscribe(self, on_change: OnChange) -> None:
        """Call ``on_change`` on the event loop after each write, before the writer resumes."""
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
    "Change",
    "CodeStore",
    "Conflict",
    "FunctionStore",
    "LogEvent",
    "LogStore",
    "OnChange",
    "Referenced",
    "ReservedTooMuch",
    "StorageFailed",
    "Usage",
    "VersionMissing",
]
