"""One SQLite database: a thread that writes with group commit, and reads beside it.

Writers hand a callable to one thread. While a commit waits for the disk, further
writes queue up and share the next one: the price of an fsync is paid once per
batch, not once per write. A batch that fails is split in two, so that a write which
cannot be done takes nothing from its neighbours; each is answered after the commit.

After an error of the disk all of the batch fails, and the database is opened anew before
the next one. Until that succeeds every write fails. What failed may stand in the log all the
same, and would count if the log were read again from its beginning: the reader keeps the
log's index alive, in which it does not. A full disk is no such error: SQLite tells it before
anything counts.

Reads run on the caller's thread over another connection. In WAL mode they never
wait for the writer, and a point read (some ten microseconds) is cheaper than
handing it to a thread. Scans go through :meth:`Database.scan`, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import re
import sqlite3
import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from lambent.storage.contracts import StorageFailed
from lambent.storage.directory import DataDirectoryDamaged, DataDirectoryTooNew, sync_directory

T = TypeVar("T")
Item = TypeVar("Item")
Parameters = tuple[Any, ...]

MAX_BATCH = 512
"""Writes per transaction: bounds how long the first of them waits for its answer."""

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another writer of the file (a store beside it, the command line) to commit."""

_DISK_ERRORS = frozenset(
    (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN)
)

_logger = logging.getLogger("lambent.storage")


class Database:
    """A database file with its writer thread.

    Args:
        path: created when missing, readable by its owner alone.
        durable: whether a commit waits for the disk; False only for a directory
            that does not outlive the process.
        schema: folder of the migrations, below ``migrations/``; "" for that folder itself.
        on_open: called with the writer's connection each time it was opened, after the migrations.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = True,
        schema: str = "",
        on_open: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._path = path
        self._durable = durable
        self._schema = schema
        self._on_open = on_open
        self._writes: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open and migrate; returns when reads and writes are possible. May be called twice.

        Raises:
            DataDirectoryTooNew: a newer program has written the database.
            DataDirectoryDamaged: the file is no database.
        """
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        connection = await asyncio.to_thread(self._open_for_writing)
        self._reader = self._open_for_reading()
        # Opens the log and its index, which SQLite would leave until the first read.
        self._reader.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        self._writer = threading.Thread(
            target=self._serve, args=(connection,), name="lambent-database", daemon=True
        )
        self._writer.start()

    async def stop(self) -> None:
        """Commit what was handed over, answer it, and close. May be called twice."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._writes.put(None)
        await asyncio.to_thread(writer.join)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def write(
        self,
        apply: Callable[[sqlite3.Connection], T],
        *,
        on_commit: Callable[[], None] | None = None,
    ) -> asyncio.Future[T]:
        """Run ``apply`` in the writer thread; when this is done, its effect survives a crash.

        A caller that is cancelled while waiting leaves the write under way. A future and no
        coroutine, so that whoever writes for each request needs no task.

        Args:
            apply: executes statements; may run twice (the first time is undone),
                when a neighbour in the same batch broke the transaction.
            on_commit: called on the loop after the commit, before the caller resumes.

        The future's errors: whatever ``apply`` raised, its statements were undone;
        StorageFailed when SQLite failed (a full disk), nothing was stored.
        """
        return self._hand_over(apply, on_commit, _ALONE)

    def write_together(
        self, apply: Callable[[sqlite3.Connection, list[Item]], object], item: Item
    ) -> asyncio.Future[None]:
        """Write ``item`` as :meth:`write` does, in one call of ``apply`` with those of its kind in the batch.

        Args:
            apply: takes the items in the order in which they were handed over, before what
                :meth:`write` got for the same batch.
            item: what is written.
        """
        return self._hand_over(apply, None, item)

    def _hand_over(
        self, apply: Callable[..., Any], on_commit: Callable[[], None] | None, item: object
    ) -> asyncio.Future[Any]:
        if self._writer is None or self._loop is None:
            raise RuntimeError("the database is not open")
        done = self._loop.create_future()
        self._writes.put(_Write(apply, on_commit, done, item))
        return done

    def read(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """Return the rows of a point read, at once.

        Raises:
            StorageFailed: SQLite failed.
        """
        if self._reader is None:
            raise RuntimeError("the database is not open")
        try:
            return self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StorageFailed(str(error)) from error

    async def scan(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """Return the rows of a read that looks at many, from another thread.

        Raises:
            StorageFailed: SQLite failed.
        """
        return await asyncio.to_thread(self._scan, statement, parameters)

    def _scan(self, statement: str, parameters: Parameters) -> list[Any]:
        try:
            with contextlib.closing(self._open_for_reading()) as connection:
                return connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StorageFailed(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        # Connections move from the thread that opens them to the one that uses them.
        return sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

    def _open_for_reading(self) -> sqlite3.Connection:
        connection = self._open()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _open_for_writing(self) -> sqlite3.Connection:
        # SQLite would create the file with the umask's rights; -wal and -shm copy ours.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = self._open()
        try:
            self._check_version(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            # After a checkpoint the log shrinks to this again (bytes).
            connection.execute("PRAGMA journal_size_limit = 67108864")
            _migrate(connection, self._schema)
            if self._on_open is not None:
                self._on_open(connection)
            if self._durable:
                sync_directory(self._path.parent)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise DataDirectoryDamaged(self._path, str(error)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_version(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        known = max(number for number, _ in migrations(self._schema))
        if found > known:
            raise DataDirectoryTooNew(self._path, found, known)

    def _serve(self, connection: sqlite3.Connection | None) -> None:
        """Commit batches until the None of :meth:`stop`."""
        while batch := self._next_batch():
            connection = self._commit(connection, batch)
            # The loop may be closed already when a server ends abruptly: nobody waits then.
            with contextlib.suppress(RuntimeError):
                assert self._loop is not None
                self._loop.call_soon_threadsafe(_answer, batch)
        if connection is not None:
            connection.close()

    def _commit(
        self, connection: sqlite3.Connection | None, batch: list[_Write[Any]]
    ) -> sqlite3.Connection | None:
        """Run a batch in one transaction, or what can be done of it in several; note each write's outcome.

        Returns:
            The connection to go on with; None when the database is to be opened anew.
        """
        try:
            connection = connection or self._open_for_writing()
            _commit(connection, batch)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it; this thread must go on
            connection = _undo(connection, error)
            if connection is not None and len(batch) > 1:
                half = len(batch) // 2
                connection = self._commit(connection, batch[:half])
                return self._commit(connection, batch[half:])
            for write in batch:
                write.error = _told(error)
        return connection

    def _next_batch(self) -> list[_Write[Any]]:
        """Wait for a write and return it with all that wait beside it; empty at the end."""
        first = self._writes.get()
        batch = []
        while first is not None:
            batch.append(first)
            if len(batch) == MAX_BATCH or self._writes.empty():
                return batch
            first = self._writes.get_nowait()
        if batch:
            # The end was met behind writes that still count: meet it again next time.
            self._writes.put(None)
        return batch


_ALONE = object()


class _Write(Generic[T]):
    """One handed-over write, its outcome, and who waits for it."""

    __slots__ = ("apply", "done", "error", "item", "on_commit", "result")

    def __init__(
        self,
        apply: Callable[..., Any],
        on_commit: Callable[[], None] | None,
        done: asyncio.Future[T],
        item: object,
    ) -> None:
        self.apply = apply
        self.on_commit = on_commit
        self.done = done
        self.item = item
        self.result: T | None = None
        self.error: Exception | None = None


def _commit(connection: sqlite3.Connection, batch: list[_Write[Any]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    _apply(connection, batch)
    connection.execute("COMMIT")


def _apply(connection: sqlite3.Connection, batch: list[_Write[Any]]) -> None:
    together: dict[Callable[..., Any], list[object]] = {}
    for write in batch:
        if write.item is not _ALONE:
            together.setdefault(write.apply, []).append(write.item)
    for apply, items in together.items():
        apply(connection, items)
    for write in batch:
        if write.item is _ALONE:
            write.result = write.apply(connection)


def _undo(connection: sqlite3.Connection | None, error: Exception) -> sqlite3.Connection | None:
    """Leave no transaction open; return None when the connection cannot be trusted any more."""
    if connection is None:
        return None
    is_sound = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF not in _DISK_ERRORS
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        is_sound = False
    if is_sound:
        return connection
    _logger.error("the database is opened anew: %s", error)
    connection.close()
    return None


def _told(error: Exception) -> Exception:
    """Return what the caller is told: its own error, or that storage failed."""
    if not isinstance(error, sqlite3.Error | DataDirectoryDamaged | DataDirectoryTooNew | OSError):
        return error
    failed = StorageFailed(str(error))
    failed.__cause__ = error
    return failed


def _answer(batch: list[_Write[Any]]) -> None:
    """Tell everyone on the loop; first the change feed, then the caller."""
    for write in batch:
        if write.error is not None:
            if not write.done.done():
                write.done.set_exception(write.error)
            continue
        if write.on_commit is not None:
            write.on_commit()
        if not write.done.done():
            write.done.set_result(write.result)


def migrations(schema: str = "") -> list[tuple[int, str]]:
    """Return (number, SQL) of every migration of a schema, in order."""
    folder = resources.files("lambent.storage") / "migrations" / schema
    found = [
        (int(entry.name[:4]), entry.read_text("utf-8"))
        for entry in folder.iterdir()
        if re.fullmatch(r"\d{4}_\w+\.sql", entry.name)
    ]
    return sorted(found)


def _migrate(connection: sqlite3.Connection, schema: str) -> None:
    """Apply what is missing, each migration whole or not at all."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in migrations(schema):
        if number > version:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def load_statements(name: str) -> dict[str, str]:
    """Return the statements of ``sql/<name>.sql`` by the name above each (``-- name: x``)."""
    text = (resources.files("lambent.storage") / "sql" / f"{name}.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (part.strip().rstrip(";") for part in parts[1::2]), strict=True))


__all__ = ["Database", "load_statements", "migrations"]
