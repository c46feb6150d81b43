"""What storage promises, whatever engine is behind it.

A *change feed* is the only thing that feeds caches: an operation never touches a
cache itself, so that a change made by another process reaches it the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from lambent.model.events import (
    Backlog,
    DeadLetter,
    Event,
    EventInvokeConfig,
    EventTarget,
    QueuedEvent,
    Waiting,
)
from lambent.model.functions import LATEST, Alias, CodePackage, FunctionHead, FunctionKey
from lambent.model.provisioned import ProvisionedConfig


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


class AliasMissing(Exception):
    """Something was to be stored for an alias that is not there; nothing was changed."""


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


class ReservedTooLittle(Exception):
    """Less concurrency was to be reserved than is provisioned; nothing was changed.

    Attributes:
        provisioned: for all versions and aliases of the function together.
    """

    def __init__(self, provisioned: int) -> None:
        super().__init__(provisioned)
        self.provisioned = provisioned


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


class Provisioning(NamedTuple):
    """What is provisioned for a function, and beside it in its account, at one moment.

    Attributes:
        alias: that it is asked for; None for a version.
        configs: of the function, each with the version that it is for.
        reserved: the function's reserved concurrency.
        account_reserved: sum of what the account's functions have reserved.
        account_provisioned: sum of what is provisioned for those without reserved concurrency.
    """

    alias: Alias | None
    configs: list[tuple[ProvisionedConfig, str]]
    reserved: int | None
    account_reserved: int
    account_provisioned: int


class StoredPolicy(NamedTuple):
    """A resource policy.

    Attributes:
        document: compact JSON.
        revision_id: a UUID that changes with every change.
    """

    document: str
    revision_id: str


Check: TypeAlias = Callable[[Provisioning], None]
"""Refuses a write by what it raises. Called inside the write, perhaps twice and in another thread."""


class Change(NamedTuple):
    """One change of what is stored.

    Attributes:
        key: the function.
        qualifier: the version or alias that changed, what is provisioned for it, or its
            policy (``$LATEST`` for the function's own); None when all of the function is gone.
        head: the version's head where that is what changed, as it is now; else None.
    """

    key: FunctionKey
    qualifier: str | None
    head: FunctionHead | None = None


OnChange: TypeAlias = Callable[[Change], None]


class FunctionStore(Protocol):
    """Heads of ``$LATEST`` and of published versions, aliases, and what is provisioned and allowed for them.

    Every write is durable when it returns.

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
            reserved_at_most: what may be set aside of the account's concurrency: reserved,
                or provisioned for functions without reserved concurrency.

        Raises:
            Conflict: it has another one, or the function is gone.
            ReservedTooLittle: ``head`` reserves less than is provisioned for the function.
            ReservedTooMuch: with ``head`` more would be set aside.
        """
        ...

    async def delete(self, key: FunctionKey) -> bool:
        """Remove the function with all that belongs to it; False when there was none."""
        ...

    async def delete_version(self, key: FunctionKey, version: str) -> bool:
        """Remove a published version with what is provisioned for it; False when there was none.

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

    async def replace_alias(
        self, alias: Alias, expected_revision_id: str, check: Check | None = None
    ) -> None:
        """Store ``alias`` if the stored one still has ``expected_revision_id``.

        Args:
            alias: as it is to be.
            expected_revision_id: as read before.
            check: asked where concurrency is provisioned for the alias.

        Raises:
            VersionMissing: a version it points to, or the function, is not there.
            Conflict: it has another one, or the alias is gone.
        """
        ...

    async def delete_alias(self, key: FunctionKey, name: str) -> bool:
        """Remove the alias with what is provisioned for it; False when there was none."""
        ...

    async def aliases(self, key: FunctionKey, *, version: str | None, after: str, limit: int) -> list[Alias]:
        """Return up to ``limit`` aliases with a name above ``after``, in byte order of name.

        With ``version`` only those that may run it.
        """
        ...

    async def put_event_config(
        self, config: EventInvokeConfig, expected: EventInvokeConfig | None = None
    ) -> None:
        """Store how events of a function, version or alias are tried, in the place of what was there.

        It goes with what its target names; the change feed does not tell of it.

        Args:
            config: the target's qualifier is not None.
            expected: as read before; None to replace whatever is there.

        Raises:
            Conflict: something else is stored, or what the target names is not there.
        """
        ...

    async def load_event_config(self, key: FunctionKey, qualifier: str) -> EventInvokeConfig | None:
        """Return what was stored for exactly this qualifier, or None."""
        ...

    async def delete_event_config(self, key: FunctionKey, qualifier: str) -> bool:
        """Remove it; False when there was none."""
        ...

    async def event_configs(self, key: FunctionKey, *, after: str, limit: int) -> list[EventInvokeConfig]:
        """Return up to ``limit`` of a function, with a qualifier above ``after``, in its byte order."""
        ...

    async def put_provisioned(self, config: ProvisionedConfig, check: Check) -> None:
        """Store what is to be provisioned for a version or alias, in the place of what was.

        Raises:
            VersionMissing: there is no such version.
            AliasMissing: there is no such alias.
        """
        ...

    async def load_provisioned(self, key: FunctionKey, qualifier: str) -> ProvisionedConfig | None:
        """Return what is stored, or None."""
        ...

    async def delete_provisioned(self, key: FunctionKey, qualifier: str) -> bool:
        """Provision nothing any more; False when nothing was."""
        ...

    async def provisioned(self, key: FunctionKey, *, after: str, limit: int) -> list[ProvisionedConfig]:
        """Return up to ``limit`` of a function with a qualifier above ``after``, in byte order of it."""
        ...

    async def with_provisioned(self) -> list[FunctionKey]:
        """Return every function that has some."""
        ...

    async def load_policy(self, key: FunctionKey, qualifier: str | None) -> StoredPolicy | None:
        """Return the resource policy of exactly this version or alias, or None.

        The function itself, which is called without a qualifier, is None; ``$LATEST`` never
        has a policy.
        """
        ...

    async def replace_policy(
        self,
        key: FunctionKey,
        qualifier: str | None,
        policy: StoredPolicy | None,
        expected_revision_id: str | None,
    ) -> None:
        """Store a resource policy if the stored one still has ``expected_revision_id``.

        It goes with what it belongs to.

        Args:
            key: the function.
            qualifier: a version's number or an alias; None for the function itself.
            policy: as it is to be; None to remove it.
            expected_revision_id: as read before; None if there was no policy.

        Raises:
            Conflict: it has another one, or what the policy belongs to is not there.
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


class BacklogFull(Exception):
    """As many events wait as may; nothing was stored."""


class TakenEvent(NamedTuple):
    """An event that its taker runs; ``handle`` names it to the queue."""

    handle: int
    event: Event


class EventQueue(Protocol):
    """Accepted events until they come to their end, and dead letters.

    What is put is on disk when :meth:`put` is done, and is taken again and again, by
    whichever server runs, until :meth:`finish`: at least once, roughly in the order of
    acceptance. A taken event belongs to its taker until it is released or finished; what a
    dead server had taken comes back with the next start, and each time is counted. Whether
    an attempt counts is the taker's decision. A failure to store leaves everything as it was.

    Each method but the reads may raise :class:`StorageFailed`.
    """

    @property
    def count(self) -> int:
        """Events that wait or run."""
        ...

    async def backlogs(self) -> list[Backlog]:
        """Return what waits, by target; once, before anything is put."""
        ...

    def put(self, event: Event) -> asyncio.Future[None]:
        """Accept an event; when the future is done, it survives a crash of the machine.

        Raises:
            BacklogFull: at once.
        """
        ...

    async def take(
        self, target: EventTarget, limit: int, now: float
    ) -> tuple[list[TakenEvent], float | None]:
        """Take up to ``limit`` events that are due at ``now``, and tell when the next of the target is due.

        By a taker that holds what it needs to run them.
        """
        ...

    async def release(self, taken: TakenEvent, event: Event, due: float) -> None:
        """Give a taken event back as ``event`` (its counters may differ), due at that instant."""
        ...

    async def finish(self, taken: TakenEvent, letters: Sequence[DeadLetter] = ()) -> None:
        """Forget a taken event and keep what became of it, both or neither."""
        ...

    async def destinations(self) -> list[tuple[str, FunctionKey]]:
        """Return where letters are to be sent that were not delivered yet, and of which functions."""
        ...

    async def undelivered(
        self, destination: str, source: FunctionKey | None, *, after: int, limit: int, max_bytes: int
    ) -> list[tuple[int, DeadLetter]]:
        """Return letters for a destination with their numbers, which are above ``after``, oldest first.

        Of one function's events, or of all. The first one, and those behind it until there are
        ``limit``, or all before are ``max_bytes`` long together.
        """
        ...

    async def delivered(self, numbers: Sequence[int]) -> None:
        """Forget letters that their destination has taken; those that are gone do not matter."""
        ...

    async def undeliverable(self, number: int, error: str) -> None:
        """Keep a letter as dead, with the reason why its destination will never take it."""
        ...

    async def queued(
        self, account: str, region: str, name: str | None, *, after: int, limit: int
    ) -> list[QueuedEvent]:
        """Return events that wait or run with their numbers above ``after``, oldest first."""
        ...

    async def summary(self, account: str, region: str) -> list[Waiting]:
        """Return how many events wait and run, by target."""
        ...

    async def cancel(self, account: str, region: str, request_id: str) -> Event | None:
        """Forget an event that waits, and return it; None when there is none that nobody has taken."""
        ...

    async def dead_letters(
        self, account: str, region: str, name: str | None, *, after: int, limit: int, max_bytes: int
    ) -> list[tuple[int, DeadLetter]]:
        """Return dead letters with their numbers, oldest first; of one function if ``name`` is given.

        Those above ``after``; the first one, and those behind it as :meth:`undelivered` does.
        A number is never given to another one.
        """
        ...

    async def dead_letter(self, account: str, region: str, request_id: str) -> tuple[int, DeadLetter] | None:
        """Return the newest dead letter of an event, with its number."""
        ...

    async def redrive(self, number: int, event: Event) -> bool:
        """Put ``event`` in the place of a dead letter, both or neither; False when that is gone."""
        ...

    async def purge(self, account: str, region: str, name: str | None) -> list[str]:
        """Remove dead letters, of one function if ``name`` is given; return the events' ids, oldest first."""
        ...

    async def expire(self, before: float) -> int:
        """Remove dead letters that were given up before an instant; return how many there were."""
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
    "BacklogFull",
    "Change",
    "CodeStore",
    "Conflict",
    "EventQueue",
    "FunctionStore",
    "LogEvent",
    "LogStore",
    "OnChange",
    "Provisioning",
    "Referenced",
    "ReservedTooLittle",
    "ReservedTooMuch",
    "StorageFailed",
    "TakenEvent",
    "Usage",
    "VersionMissing",
]
