"""The event queue on SQLite: on disk before the 202, and back after a crash.

One database file with the one writer thread of :mod:`lambent.storage.database`: while a
commit waits for the disk, whatever is put, taken and finished meanwhile joins the next.
In memory is only how many events there are.

On a full disk what ends must still be written: a ballast file makes room for that, and
while it is gone nothing new is accepted.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from lambent.model.events import Backlog, DeadLetter, Event, EventTarget, QueuedEvent, Waiting
from lambent.model.functions import FunctionKey
from lambent.storage.ballast import Ballast
from lambent.storage.contracts import BacklogFull, StorageFailed, TakenEvent
from lambent.storage.database import Database, load_statements
from lambent.storage.directory import DataDirectory

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")
_Row: TypeAlias = tuple[object, ...]

_SQL = load_statements("events")
_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
_decode: Callable[[str], Any] = msgspec.json.Decoder().decode
_BALLAST_BYTES = 8 << 20
_BALLAST_AGAIN_S = 1.0
# Between two statements the writer hands the interpreter to the loop and waits to get it back.
_STRIDE = 16
_PUT_MANY = _SQL["put"] + ", (?, ?, ?, ?)" * (_STRIDE - 1)


class SqliteEventQueue:
    """Waiting events and dead letters in the data directory.

    Implements :class:`lambent.storage.contracts.EventQueue`.

    Args:
        directory: opened data directory.
        max_backlog: events that may wait or run at a time.
    """

    def __init__(self, directory: DataDirectory, max_backlog: int) -> None:
        self._database = Database(directory.events, durable=not directory.temporary, schema="events")
        self._ballast = None if directory.temporary else Ballast(directory.ballast, _BALLAST_BYTES)
        self._ballast_again_at = -math.inf
        self._max_backlog = max_backlog
        self._count = 0

    @property
    def count(self) -> int:
        """Events that wait or run."""
        return self._count

    async def start(self) -> int:
        """Open the database; return how many events ran when the last server ended.

        Raises:
            DataDirectoryTooNew: a newer program has written it.
        """
        await self._database.start()
        if self._ballast is not None:
            self._ballast.hold()
        came_back, self._count = await self._database.write(_come_back)
        return came_back

    async def stop(self) -> None:
        """Finish the writes under way and close; may be called twice."""
        await self._database.stop()

    async def backlogs(self) -> list[Backlog]:
        """Return what waits, by target; once, before anything is put."""
        rows = await self._database.scan(_SQL["backlogs"])
        return [Backlog(_target(text), count, due) for text, count, due in rows]

    def put(self, event: Event) -> asyncio.Future[None]:
        """Accept an event; when the future is done, it is on disk.

        Raises:
            BacklogFull: at once; nothing was stored.
        """
        if self._count >= self._max_backlog:
            raise BacklogFull
        if self._ballast is not None and not self._ballast.is_held and not self._has_room(self._ballast):
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(StorageFailed("the disk is full"))
            return refused
        self._count += 1
        row: _Row = (_text(event.target), event.accepted_at, _document(event), event.payload)
        stored = self._database.write_together(_insert, row)
        stored.add_done_callback(self._put)
        return stored

    def _put(self, stored: asyncio.Future[None]) -> None:
        if stored.cancelled() or stored.exception() is not None:
            self._count -= 1

    def _has_room(self, ballast: Ballast) -> bool:
        """Look now and then whether there is room for the ballast again."""
        now = time.monotonic()
        if now < self._ballast_again_at:
            return False
        self._ballast_again_at = now + _BALLAST_AGAIN_S
        return ballast.hold()

    async def _make_room_for(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write; when that fails, once more without the ballast."""
        try:
            return await write()
        except StorageFailed:
            if self._ballast is None or not self._ballast.release():
                raise
        return await write()

    async def take(
        self, target: EventTarget, limit: int, now: float
    ) -> tuple[list[TakenEvent], float | None]:
        """Take up to ``limit`` events that are due, oldest first; and tell when the next one is."""
        text = _text(target)

        def apply(connection: sqlite3.Connection) -> tuple[list[Any], float | None]:
            rows = connection.execute(_SQL["due"], (text, now, limit)).fetchall()
            connection.execute(_SQL["mark"], (json.dumps([row[0] for row in rows]),))
            following = connection.execute(_SQL["next_due"], (text,)).fetchone()
            return rows, None if following is None else following[0]

        rows, following = await self._make_room_for(lambda: self._database.write(apply))
        return [TakenEvent(row[0], _event(target, row[2], row[3])) for row in rows], following

    async def release(self, taken: TakenEvent, event: Event, due: float) -> None:
        """Put a taken event back as ``event``, to be taken again when it is due."""
        document = _document(event)

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["release"], (due, document, taken.handle))
            connection.execute(_SQL["unmark"], (json.dumps([taken.handle]),))

        await self._make_room_for(lambda: self._database.write(apply))

    async def finish(self, taken: TakenEvent, letters: Sequence[DeadLetter] = ()) -> None:
        """Forget a taken event, and keep what became of it, in one commit."""
        rows = [_letter_row(letter) for letter in letters]
        await self._make_room_for(lambda: self._database.write_together(_forget, (taken.handle, rows)))
        self._count -= 1

    # -- deliveries

    async def destinations(self) -> list[tuple[str, FunctionKey]]:
        """Return where letters are to be sent that have not been taken there, and whose they are."""
        rows = await self._database.scan(_SQL["destinations"])
        return [(destination, FunctionKey(*key)) for destination, *key in rows]

    async def undelivered(
        self, destination: str, source: FunctionKey | None, *, after: int, limit: int, max_bytes: int
    ) -> list[tuple[int, DeadLetter]]:
        """Return the first letters for a destination with their numbers above ``after``."""
        key = source or (None, None, None)
        rows = await self._database.scan(_SQL["undelivered"], (destination, after, *key, limit, max_bytes))
        return [(number, _letter(*row)) for number, *row in rows]

    async def delivered(self, numbers: Sequence[int]) -> None:
        """Forget letters that their destination has taken."""
        await self._make_room_for(lambda: self._database.write_together(_hand_over, numbers))

    async def undeliverable(self, number: int, error: str) -> None:
        """Keep a letter as dead that its destination will never take."""

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["undeliverable"], (error, number))

        await self._make_room_for(lambda: self._database.write(apply))

    # -- what a person sees and does

    async def queued(
        self, account: str, region: str, name: str | None, *, after: int, limit: int
    ) -> list[QueuedEvent]:
        """Return up to ``limit`` events that wait or run with their numbers above ``after``, oldest first."""
        rows = await self._database.scan(_SQL["queued"], (after, _place(account, region, name), limit))
        return [
            QueuedEvent(number, _event(_target(target), document, b""), size, due, bool(is_taken))
            for number, target, due, document, size, is_taken in rows
        ]

    async def summary(self, account: str, region: str) -> list[Waiting]:
        """Return how many events wait and run, by target."""
        rows = await self._database.scan(_SQL["summary"], (_place(account, region, None),))
        return [
            Waiting(_target(target), total - running, running, oldest)
            for target, total, running, oldest in rows
        ]

    async def cancel(self, account: str, region: str, request_id: str) -> Event | None:
        """Forget an event that waits, and return it; None when there is none that nobody has taken."""
        place = _place(account, region, None)
        for number, target, document, payload in await self._database.scan(
            _SQL["queued_by_id"], (place, request_id)
        ):
            if await self._database.write(partial(_cancel, number)):
                self._count -= 1
                return _event(_target(target), document, payload)
        return None

    # -- dead letters

    async def dead_letters(
        self, account: str, region: str, name: str | None, *, after: int, limit: int, max_bytes: int
    ) -> list[tuple[int, DeadLetter]]:
        """Return the first of them with their numbers above ``after``, oldest first."""
        place = (account, region, name)
        rows = await self._database.scan(_SQL["dead_letters"], (*place, after, limit, max_bytes))
        return [(number, _letter(*row)) for number, *row in rows]

    async def dead_letter(self, account: str, region: str, request_id: str) -> tuple[int, DeadLetter] | None:
        """Return the newest one of an event, with its number."""
        rows = await self._database.scan(_SQL["dead_letter"], (account, region, request_id))
        return next(((number, _letter(*row)) for number, *row in rows), None)

    async def redrive(self, number: int, event: Event) -> bool:
        """Put ``event`` in the place of a dead letter, in one commit; False when that is gone.

        Raises:
            BacklogFull: nothing was changed.
        """
        if self._count >= self._max_backlog:
            raise BacklogFull
        row = (_text(event.target), event.accepted_at, _document(event), event.payload)

        def apply(connection: sqlite3.Connection) -> bool:
            if connection.execute(_SQL["forget"], (number,)).rowcount == 0:
                return False
            connection.execute(_SQL["put"], row)
            return True

        # Before it is written: others may be redriven at the same time.
        self._count += 1
        redriven = False
        try:
            redriven = await self._database.write(apply)
        finally:
            self._count -= not redriven
        return redriven

    async def purge(self, account: str, region: str, name: str | None) -> list[str]:
        """Remove dead letters; return their request ids, oldest first."""

        def apply(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(_SQL["purged"], (account, region, name)).fetchall()
            connection.execute(_SQL["purge"], (account, region, name))
            return [row[0] for row in rows]

        return await self._database.write(apply)

    async def expire(self, before: float) -> int:
        """Remove dead letters that are older; return how many there were."""
        return await self._database.write(
            lambda connection: connection.execute(_SQL["expire"], (before,)).rowcount
        )


def _come_back(connection: sqlite3.Connection) -> tuple[int, int]:
    """Let what was taken be taken again, with one interruption more; return how many that are, and all."""
    marked = connection.execute(_SQL["marked"]).fetchall()
    for sequence, text in marked:
        document = json.loads(text)
        document["interruptions"] += 1
        connection.execute(_SQL["note"], (json.dumps(document), sequence))
    connection.execute(_SQL["unmark_all"])
    (count,) = connection.execute(_SQL["count"]).fetchone()
    return len(marked), count


def _insert(connection: sqlite3.Connection, rows: list[_Row]) -> None:
    """Put events: whole strides of them by one statement each, the rest one by one."""
    strided = len(rows) // _STRIDE * _STRIDE
    for start in range(0, strided, _STRIDE):
        values = [value for row in rows[start : start + _STRIDE] for value in row]
        connection.execute(_PUT_MANY, values)
    connection.executemany(_SQL["put"], rows[strided:])


def _forget(connection: sqlite3.Connection, ended: list[tuple[int, list[_Row]]]) -> None:
    """Remove taken events and keep what became of them."""
    handles = (json.dumps([handle for handle, _ in ended]),)
    connection.execute(_SQL["delete"], handles)
    connection.execute(_SQL["unmark"], handles)
    connection.executemany(_SQL["bury"], [row for _, rows in ended for row in rows])


def _hand_over(connection: sqlite3.Connection, taken: list[Sequence[int]]) -> None:
    """Remove letters that were delivered."""
    numbers = [number for numbers in taken for number in numbers]
    connection.execute(_SQL["delivered"], (json.dumps(numbers),))


def _cancel(number: int, connection: sqlite3.Connection) -> bool:
    """Remove an event unless it was taken meanwhile."""
    return connection.execute(_SQL["cancel"], (number,)).rowcount > 0


def _text(target: EventTarget) -> str:
    return "\n".join((*target.key, target.qualifier or ""))


def _place(account: str, region: str, name: str | None) -> str:
    """Return what the texts of a function's targets begin with, or of all functions of a place."""
    return "".join(f"{part}\n" for part in (account, region, name) if part is not None)


def _target(text: str) -> EventTarget:
    account, region, name, qualifier = text.split("\n")
    return EventTarget(FunctionKey(account, region, name), qualifier or None)


def _document(event: Event) -> str:
    """Return what is stored of an event beside its target and payload."""
    return _encode(
        {
            "request_id": event.request_id,
            "generation": event.generation,
            "trace_id": event.trace_id,
            "accepted_at": event.accepted_at,
            "attempts": event.attempts,
            "interruptions": event.interruptions,
            "redriven_from": event.redriven_from,
            "last_error": event.last_error,
        }
    ).decode()


def _event(target: EventTarget, document: str, payload: bytes) -> Event:
    return Event(target=target, payload=payload, **json.loads(document))


def _letter_row(letter: DeadLetter) -> tuple[object, ...]:
    fields = {name: getattr(letter, name) for name in _LETTER_FIELDS}
    try:
        document = _encode(fields).decode()
    except UnicodeEncodeError:
        # A function made this text: it may hold half of a surrogate pair.
        document = json.dumps(fields)
    destination = letter.destination if letter.state == "undelivered" else None
    row = (letter.at, destination, document, letter.payload, letter.response)
    return letter.request_id, *letter.function, *row


def _letter(document: str, payload: bytes, response: bytes | None) -> DeadLetter:
    try:
        fields = _decode(document)
    except msgspec.DecodeError:
        fields = json.loads(document)
    fields["function"] = FunctionKey(*fields["function"])
    return DeadLetter(payload=payload, response=response, **fields)


_LETTER_FIELDS = (
    "request_id",
    "function",
    "qualifier",
    "at",
    "state",
    "record",
    "error",
    "error_code",
    "log_tail",
    "destination",
    "form",
    "delivery_error",
    "trace_id",
)


__all__ = ["SqliteEventQueue"]
