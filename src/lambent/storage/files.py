"""Packages on disk: each zip under its SHA-256, and its files unpacked beside it.

::

    code/
      zips/<sha256>        the zip as uploaded
      unpacked/<sha256>/   its files; made when first needed, can be made again
      incoming/            what is not whole yet; emptied at start
      boot                 the boot of the machine in which ``unpacked`` was filled

A zip is written, synced, renamed, and its folder synced: it is there whole or not
at all, also after a power failure. Unpacked files are not synced, that would cost
an fsync per file; so after a crash of the *machine* they may be hollow. They are
thrown away whenever the machine has been booted since, and made again from the zip.

Nothing in this file touches a package that is younger than the operations that run:
a package is removed only when it stayed unreferenced for ``grace_s``, and whoever
stores it again meanwhile starts that time anew. What a former process left behind
has no such operations, and goes at once.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import uuid
import weakref
from pathlib import Path

from lambent.clock import Clock, SystemClock
from lambent.model.errors import InvalidZipFileException
from lambent.model.functions import CodePackage
from lambent.storage.directory import DataDirectory, sync_directory, write_durably
from lambent.storage.packages import PackageDamaged, describe_package, unpack_package

GRACE_S = 1200.0
"""Longer than any invocation (900 s), which may still import from its folder."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FileCodeStore:
    """Packages in the data directory.

    Implements :class:`lambent.storage.contracts.CodeStore`.

    Args:
        directory: opened data directory; ``code/`` in it is ours.
        clock: measures ``grace_s``.
        grace_s: seconds for which an unreferenced package is kept.
    """

    def __init__(
        self, directory: DataDirectory, *, clock: Clock | None = None, grace_s: float = GRACE_S
    ) -> None:
        self._zips = directory.code / "zips"
        self._unpacked = directory.code / "unpacked"
        self._incoming = directory.code / "incoming"
        self._boot = directory.code / "boot"
        self._byte_code = directory.byte_code
        self._durable = not directory.temporary
        self._clock = clock or SystemClock()
        self._grace_s = grace_s
        self._unpacking: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        # Guards the names in ``_zips`` and both records below, in worker threads.
        self._names = threading.Lock()
        self._inherited: set[str] = set()
        self._unreferenced_since: dict[str, float] = {}

    async def start(self) -> None:
        """Make the folders and clear what a crash left; may be called twice."""
        await asyncio.to_thread(self._prepare)

    async def put(self, data: bytes) -> CodePackage:
        """Store a zip, unexamined; when this returns it survives a crash of the machine.

        A half-written upload is never visible.

        Raises:
            OSError: the disk does not take it.
        """
        return await asyncio.to_thread(self._put, data)

    async def read(self, sha256: str) -> bytes | None:
        """Return the zip as it was uploaded, or None."""

        def read() -> bytes | None:
            try:
                return (self._zips / sha256).read_bytes()
            except FileNotFoundError:
                return None

        return await asyncio.to_thread(read)

    async def unpack(self, sha256: str) -> Path:
        """Return the folder with the package's files, unpacking it when needed.

        The folder appears whole or not at all. Callers who ask for one package at
        the same time share the work.

        Raises:
            InvalidZipFileException: the stored package cannot be unpacked or is gone.
            OSError: the disk does not take it.
        """
        # Before the look: what is marked as needed is not swept between look and return.
        self._keep(sha256)
        folder = self._unpacked / sha256
        if folder.exists():
            return folder
        lock = self._unpacking.setdefault(sha256, asyncio.Lock())
        async with lock:
            if not folder.exists():
                await asyncio.to_thread(self._unpack, sha256, folder)
        return folder

    async def keep_only(self, hashes: set[str]) -> None:
        """Remove packages that are not among ``hashes``, see the head of this module."""
        await asyncio.to_thread(self._sweep, hashes, self._clock.monotonic())

    def _prepare(self) -> None:
        for folder in (self._zips, self._unpacked, self._incoming):
            folder.mkdir(mode=0o700, exist_ok=True)
        boot = _boot_id()
        try:
            same_boot = self._boot.read_text() == boot != ""
        except FileNotFoundError:
            same_boot = False
        _empty_folder(self._incoming)
        if not same_boot:
            _empty_folder(self._unpacked)
            self._boot.write_text(boot)
        with self._names:
            self._inherited = {entry.name for entry in self._zips.iterdir()}
            self._inherited |= {entry.name for entry in self._unpacked.iterdir()}

    def _put(self, data: bytes) -> CodePackage:
        package = describe_package(data)
        target = self._zips / package.sha256
        if not self._holds(package):
            incoming = self._incoming / uuid.uuid4().hex
            try:
                if self._durable:
                    write_durably(incoming, data)
                else:
                    incoming.write_bytes(data)
                with self._names:
                    incoming.rename(target)
                    self._forget_mark(package.sha256)
            except BaseException:
                incoming.unlink(missing_ok=True)
                raise
        # Also for one that was there: its first writer may not have come this far yet.
        if self._durable:
            sync_directory(self._zips)
        return package

    def _holds(self, package: CodePackage) -> bool:
        """Whether the package is stored already; if so, its removal is put off."""
        with self._names:
            try:
                stored = (self._zips / package.sha256).stat().st_size == package.size
            except FileNotFoundError:
                return False
            if stored:
                self._forget_mark(package.sha256)
            return stored

    def _unpack(self, sha256: str, folder: Path) -> None:
        incoming = self._incoming / uuid.uuid4().hex
        try:
            unpack_package(self._zips / sha256, incoming)
            try:
                incoming.rename(folder)
            except OSError:
                # A caller that was cancelled left its thread at work, and that came first.
                if not folder.exists():
                    raise
        except (PackageDamaged, FileNotFoundError) as error:
            raise InvalidZipFileException(f"The package {sha256} cannot be unpacked: {error}") from error
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _keep(self, sha256: str) -> None:
        with self._names:
            self._forget_mark(sha256)

    def _forget_mark(self, sha256: str) -> None:
        self._inherited.discard(sha256)
        self._unreferenced_since.pop(sha256, None)

    def _sweep(self, hashes: set[str], now: float) -> None:
        present = {entry.name for entry in self._zips.iterdir()}
        present |= {entry.name for entry in self._unpacked.iterdir()}
        for sha256 in present & hashes:
            self._keep(sha256)
        for sha256 in present - hashes:
            with self._names:
                since = self._unreferenced_since.setdefault(sha256, now)
                if sha256 not in self._inherited and now - since < self._grace_s:
                    continue
                self._forget_mark(sha256)
                (self._zips / sha256).unlink(missing_ok=True)
                leaving = self._incoming / uuid.uuid4().hex
                try:
                    (self._unpacked / sha256).rename(leaving)
                except FileNotFoundError:
                    continue
            shutil.rmtree(leaving, ignore_errors=True)
            self._forget_byte_code(sha256)

    def _forget_byte_code(self, sha256: str) -> None:
        """Remove what each Python compiled of a package: its path again, below that Python's folder."""
        mirrored = (self._unpacked / sha256).relative_to("/")
        for python in self._byte_code.glob("*"):
            shutil.rmtree(python / mirrored, ignore_errors=True)


def _boot_id() -> str:
    """Return what changes with each boot of the machine; empty where nobody tells."""
    try:
        return _BOOT_ID.read_text()
    except OSError:
        return ""


def _empty_folder(folder: Path) -> None:
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


__all__ = ["GRACE_S", "FileCodeStore"]
