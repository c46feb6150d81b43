"""Power loss at any instant: what was answered is there, what was never sent is not.

A random history runs through the queue. First with checkpoints off, so that all of it stands in the
write-ahead log in the order of writing: what was handed over and what was answered is noted together
with the length of the log at that instant, and the database is opened from every beginning of the log.
Then with a checkpoint every few pages, and every write and sync on record: the database is opened from
what a disk may hold after each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.contract.event_queue import event, letter, target
from tests.crash.disk import Recording, needs_watched_files, watched

from lambent.storage.contracts import TakenEvent
from lambent.storage.database import Database
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue

ROUNDS = 40
CALLERS = 4

# Of SQLite's file format: the log's own header, and what stands before each page.
_HEADER, _FRAME = 32, 24 + 4096
_NEVER = 1 << 60


@dataclass
class Life:
    """One event and the instants at which things were asked for, and were answered.

    An instant is a length of the log, or a number of writes and syncs.

    Attributes:
        put: before and after the put.
        attempts: by number of attempts, before and after the release that wrote it.
        ended: before and after the finish.
        is_kept: whether it ends as a dead letter.
    """

    put: tuple[int, int]
    attempts: dict[int, tuple[int, int]] = field(default_factory=dict)
    ended: tuple[int, int] = (_NEVER, _NEVER)
    is_kept: bool = False


class History:
    """Callers that put, take, release and finish at once, and what they know."""

    def __init__(self, queue: SqliteEventQueue, instant: Callable[[], int], chance: random.Random) -> None:
        self.queue = queue
        self.instant = instant
        self.chance = chance
        self.lives: dict[str, Life] = {}
        self.taken: list[TakenEvent] = []

    async def run(self) -> None:
        for _ in range(ROUNDS):
            steps = [self.put, self.put, self.take, self.release, self.finish]
            await asyncio.gather(*(self.chance.choice(steps)() for _ in range(CALLERS)))

    async def put(self) -> None:
        name = str(len(self.lives))
        life = self.lives[name] = Life((self.instant(), _NEVER))
        payload = b"x" * self.chance.choice((1, 100, 100, 20_000))
        await self.queue.put(event(name, payload=payload))
        life.put = life.put[0], self.instant()

    async def take(self) -> None:
        taken, _ = await self.queue.take(target(), self.chance.randrange(1, 4), 100.0)
        self.taken += taken

    async def release(self) -> None:
        if not self.taken:
            return
        taken = self.taken.pop()
        again = dataclasses.replace(taken.event, attempts=taken.event.attempts + 1)
        life = self.lives[again.request_id]
        before = self.instant()
        life.attempts[again.attempts] = before, _NEVER
        await self.queue.release(taken, again, 100.0)
        life.attempts[again.attempts] = before, self.instant()

    async def finish(self) -> None:
        if not self.taken:
            return
        taken = self.taken.pop()
        life = self.lives[taken.event.request_id]
        life.is_kept = self.chance.random() < 0.5
        before = self.instant()
        life.ended = before, _NEVER
        await self.queue.finish(taken, [letter(taken.event.request_id)] if life.is_kept else [])
        life.ended = before, self.instant()


def check(found: sqlite3.Connection, lives: dict[str, Life], instant: int) -> None:
    """Hold what a database says against what was known at an instant."""
    documents = [json.loads(text) for (text,) in found.execute("SELECT document FROM events")]
    events = {document["request_id"]: document for document in documents}
    assert len(events) == len(documents)
    kept = [request_id for (request_id,) in found.execute("SELECT request_id FROM dead_letters")]
    assert len(set(kept)) == len(kept)
    for name, life in lives.items():
        is_there = name in events
        may_be_there = life.put[0] < instant and instant < life.ended[1]
        must_be_there = life.put[1] <= instant <= life.ended[0]
        assert must_be_there <= is_there <= may_be_there, (name, life, instant)
        if is_there:
            answered = max((n for n, (_, after) in life.attempts.items() if after <= instant), default=0)
            asked = max((n for n, (before, _) in life.attempts.items() if before < instant), default=0)
            assert answered <= events[name]["attempts"] <= asked, (name, life, instant)
        if life.put[1] <= instant:
            assert (name in kept) == (life.is_kept and not is_there), (name, life, instant)
    assert events.keys() | set(kept) <= lives.keys()


def cuts(size: int) -> Iterator[int]:
    """Yield, longest first, every length at which a frame is whole, and some at which one is not."""
    for end in range(_HEADER, size + 1, _FRAME):
        length = size - end
        yield length + _HEADER
        if length:
            yield length + _HEADER - 1
            yield length + _HEADER - _FRAME + 24


def beginnings(log: bytes, path: Path, shortest: int) -> Iterator[int]:
    """Bring a log at ``path`` into every state that a power loss may leave it in; yield its good length."""
    path.write_bytes(log)
    with path.open("r+b") as file:
        # A page was written and not synced, and is lost; some that follow it are not.
        for length in range(shortest, len(log), _FRAME):
            os.pwrite(file.fileno(), bytes(_FRAME), length)
            yield length
            os.pwrite(file.fileno(), log[length : length + _FRAME], length)
        for length in cuts(len(log)):
            if length >= shortest:
                file.truncate(length)
                yield length


def checkpoint_every(patched: pytest.MonkeyPatch, pages: int) -> None:
    """Let the databases that are opened from now on bring their log home when it has so many pages; 0: never."""
    open_for_writing = Database._open_for_writing

    def replaced(self: Database) -> sqlite3.Connection:
        connection = open_for_writing(self)
        connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        return connection

    patched.setattr(Database, "_open_for_writing", replaced)


@pytest.mark.parametrize("seed", range(3))
def test_every_beginning_of_the_log_holds_what_was_answered(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live() -> tuple[int, dict[str, Life], bytes, bytes]:
        directory = DataDirectory.open(tmp_path / "data")
        queue = SqliteEventQueue(directory, 10_000)
        await queue.start()
        log = directory.root / "events.db-wal"
        started = log.stat().st_size
        history = History(queue, lambda: log.stat().st_size, random.Random(seed))
        await history.run()
        files = directory.events.read_bytes(), log.read_bytes()
        await queue.stop()
        directory.close()
        return started, history.lives, *files

    with monkeypatch.context() as patched:
        checkpoint_every(patched, 0)
        started, lives, data, log = asyncio.run(live())
    assert sum(life.ended[1] < _NEVER for life in lives.values()) > 10
    copy = tmp_path / "copy.db"
    copy.write_bytes(data)
    for length in beginnings(log, tmp_path / "copy.db-wal", started):
        # Read-only: it must not bring the log into the database when it closes.
        with contextlib.closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as found:
            check(found, lives, length)


@needs_watched_files
@pytest.mark.parametrize("seed", range(3))
def test_every_write_and_sync_of_checkpoints_leaves_what_was_answered(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live() -> tuple[Recording, dict[str, Life]]:
        directory = DataDirectory.open(tmp_path / "data")
        files = (directory.events, directory.root / "events.db-wal")
        recording = Recording({})
        with watched(recording.watch()):
            queue = SqliteEventQueue(directory, 10_000)
            await queue.start()
            recording.start = {path: path.read_bytes() for path in files}
            history = History(queue, lambda: len(recording.steps), random.Random(seed))
            await history.run()
            await queue.stop()
        directory.close()
        return recording, history.lives

    checkpoint_every(monkeypatch, 20)
    recording, lives = asyncio.run(live())
    data, log = recording.start
    copies = {data: tmp_path / "copy.db", log: tmp_path / "copy.db-wal"}
    brought_home = [number for number, step in enumerate(recording.steps) if step[0] == data]
    assert len(brought_home) > 100
    chance = random.Random(seed)
    for number in range(len(recording.steps) + 1):
        for path, content in recording.after(number, chance).items():
            copies[path].write_bytes(content)
        with contextlib.closing(sqlite3.connect(f"file:{copies[data]}?mode=ro", uri=True)) as found:
            assert found.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            check(found, lives, number)


def test_a_queue_opens_from_every_beginning_of_the_log_of_its_first_start(tmp_path: Path) -> None:
    async def live() -> tuple[bytes, bytes]:
        directory = DataDirectory.open(tmp_path / "data")
        queue = SqliteEventQueue(directory, 10_000)
        await queue.start()
        await queue.put(event("first"))
        files = directory.events.read_bytes(), (directory.root / "events.db-wal").read_bytes()
        await queue.stop()
        directory.close()
        return files

    async def see(number: int, data: bytes, log: bytes, *, is_whole: bool) -> None:
        directory = DataDirectory.open(tmp_path / f"copy{number}")
        directory.events.write_bytes(data)
        (directory.root / "events.db-wal").write_bytes(log)
        queue = SqliteEventQueue(directory, 10_000)
        await queue.start()
        assert [backlog.waiting for backlog in await queue.backlogs()] == [1] * is_whole
        await queue.put(event("next"))
        await queue.stop()
        directory.close()

    data, log = asyncio.run(live())
    for number, length in enumerate(cuts(len(log))):
        asyncio.run(see(number, data, log[:length], is_whole=length == len(log)))
