"""The data directory: who may use it, what lies where, and which layout it has.

::

    <root>/                     0700
      lock                      held by the running server; its text is the server's pid
      format                    number of this layout
      keys                      what is sealed is sealed with these (storage/sealing.py); may lie elsewhere
      state.db, -wal, -shm      functions (storage/sqlite.py), users and roles (storage/identities.py)
      events.db, -wal, -shm     waiting events and dead letters (storage/event_queue.py)
      events.ballast            room for the event queue on a full disk (storage/ballast.py)
      code/                     packages (storage/files.py)
      logs/                     log groups (storage/logs.py)

The lock is ``flock``: it belongs to the open file and ends with the last process that
has it open, however that dies. The zygotes have it open too, and functions do not: a
zygote outlives the functions of a server that was killed, so whoever gets the lock knows
that none of them runs any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from lambent.clock import Clock

FORMAT = 1
"""Layout that this program writes; raised when an older program could not read it."""

LOCK_WAIT_S = 3.0
"""How long a starting server waits for the end of the last one and of its functions."""

_LOCK_AGAIN_S = 0.02

IN_MEMORY = ":memory:"
"""The location that means a private directory which is removed at close."""


class DataDirectoryInUse(Exception):
    """Another server runs on this directory; nothing was touched."""

    def __init__(self, root: Path, pid: str) -> None:
        by = f"process {pid}" if pid else "another process"
        super().__init__(
            f"The data directory {root} is in use by {by}. Stop that server or choose another directory."
        )


class DataDirectoryTooNew(Exception):
    """A newer program wrote this directory; this one would not understand it."""

    def __init__(self, place: Path, found: int, known: int) -> None:
        super().__init__(
            f"{place} was written by a newer version of Lambent (format {found}; this one knows "
            f"{known}). Use that version or another data directory."
        )


class DataDirectoryDamaged(Exception):
    """A file of this directory is not what it should be; nothing was changed."""

    def __init__(self, place: Path, reason: str) -> None:
        super().__init__(f"{place} cannot be read: {reason}. Restore it or use another data directory.")


class DataDirectory:
    """An opened directory, owned exclusively until :meth:`close`.

    Attributes:
        root: absolute path.
        temporary: whether it is removed at close, so that nothing in it has to be durable.
    """

    def __init__(self, root: Path, lock: int, *, temporary: bool) -> None:
        self.root = root
        self.temporary = temporary
        self._lock: int | None = lock

    @classmethod
    def open(cls, location: str | Path) -> DataDirectory:
        """Create the directory when it is missing, lock it, and check its layout.

        Args:
            location: a path, or ``:memory:`` for a temporary directory.

        Raises:
            DataDirectoryInUse: another server has it.
            DataDirectoryTooNew: a newer program wrote it.
            OSError: it cannot be created or written.
        """
        temporary = str(location) == IN_MEMORY
        root = Path(tempfile.mkdtemp(prefix="lambent-") if temporary else location).expanduser().absolute()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(root)
        try:
            _make_private(root)
            _check_format(root)
            directory = cls(root, lock, temporary=temporary)
            for folder in (directory.code, directory.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except BaseException:
            os.close(lock)
            raise
        return directory

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.root / "state.db"

    @property
    def keys(self) -> Path:
        """The key file, unless a setting puts it elsewhere."""
        return self.root / "keys"

    @property
    def events(self) -> Path:
        """The SQLite database of the event queue."""
        return self.root / "events.db"

    @property
    def ballast(self) -> Path:
        """The file that keeps room for the event queue on a full disk."""
        return self.root / "events.ballast"

    @property
    def code(self) -> Path:
        """The folder of packages."""
        return self.root / "code"

    @property
    def byte_code(self) -> Path:
        """Byte code by Python version; below it each source's own absolute path."""
        return self.root / "pycache"

    @property
    def logs(self) -> Path:
        """The folder of log groups."""
        return self.root / "logs"

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock, for processes that have to end before another server starts."""
        assert self._lock is not None
        return self._lock

    def close(self) -> None:
        """Let another server have the directory; a temporary one is removed. May be called twice."""
        if self._lock is None:
            return
        if self.temporary:
            shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)
        self._lock = None


async def open_directory(location: str | Path, clock: Clock) -> DataDirectory:
    """Open a directory for a server, which waits for the end of the last one and of its functions.

    Raises:
        DataDirectoryInUse: that took longer than :data:`LOCK_WAIT_S`.
        DataDirectoryTooNew: a newer program wrote it.
        OSError: it cannot be created or written.
    """
    end = clock.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return DataDirectory.open(location)
        except DataDirectoryInUse:
            if clock.monotonic() >= end:
                raise
        await clock.sleep(_LOCK_AGAIN_S)


def sync_directory(folder: Path) -> None:
    """Make names that were added to or removed from ``folder`` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Put ``data`` into a new file at ``path`` so that it survives a crash; the name is not synced yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(root: Path) -> int:
    """Take the directory's lock and write our pid into it."""
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise DataDirectoryInUse(root, pid) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _check_format(root: Path) -> None:
    """Refuse a newer layout; mark a fresh directory with ours."""
    marker = root / "format"
    text = marker.read_text() if marker.exists() else ""
    if text.strip().isdigit():
        if int(text) > FORMAT:
            raise DataDirectoryTooNew(root, int(text), FORMAT)
        return
    fresh = root / "format.new"
    fresh.unlink(missing_ok=True)
    write_durably(fresh, f"{FORMAT}\n".encode())
    fresh.rename(marker)
    sync_directory(root)


def _make_private(root: Path) -> None:
    """Take others' rights away from a directory that holds nothing yet but our lock.

    One that people share with other things (somebody's home) keeps its rights, and
    so does one whose owner changed them later: what we put into it is private by itself.
    """
    if stat.S_IMODE(root.stat().st_mode) & 0o077 and {entry.name for entry in root.iterdir()} == {"lock"}:
        # Another owner's directory (a mounted volume) is theirs to set.
        with contextlib.suppress(PermissionError):
            root.chmod(0o700)


__all__ = [
    "FORMAT",
    "IN_MEMORY",
    "DataDirectory",
    "DataDirectoryInUse",
    "DataDirectoryTooNew",
    "open_directory",
    "sync_directory",
    "write_durably",
]
