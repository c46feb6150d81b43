"""A layer below SQLite that sees every write and every sync of its files, and may refuse a sync.

SQLite reaches files through a VFS (https://sqlite.org/vfs.html). The one made here is the system's,
with the three calls wrapped that decide what is on the disk after the power is lost.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_pointer = ctypes.c_void_p
# SQLite keeps the name's address: it must be handed on as it came.
_Open = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, _pointer, ctypes.c_int, _pointer)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int)


class _Vfs(ctypes.Structure):
    """``sqlite3_vfs``, third version."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("path_length", ctypes.c_int),
        ("next", _pointer),
        ("name", ctypes.c_char_p),
        ("data", _pointer),
        ("open", _pointer),
        ("others", _pointer * 14),
    ]


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``, third version."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("close", _pointer),
        ("read", _pointer),
        ("write", _pointer),
        ("truncate", _pointer),
        ("sync", _pointer),
        ("others", _pointer * 13),
    ]


class _File(ctypes.Structure):
    """``sqlite3_file``."""

    _fields_ = [("methods", ctypes.POINTER(_Methods))]


@dataclass
class Watch:
    """What is done to the files, one after the other.

    Attributes:
        wrote: path, offset, bytes; or path, new length, None for a truncation.
        synced: path.
        fails: whether a sync of a path is refused with an I/O error.
    """

    wrote: Callable[[Path, int, bytes | None], None] = lambda path, offset, data: None
    synced: Callable[[Path], None] = lambda path: None
    fails: Callable[[Path], bool] = lambda path: False


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Let ``watch`` see all files that SQLite opens in this process from now on."""
    library = _library()
    assert library is not None
    original = _Vfs.from_address(library.sqlite3_vfs_find(None))
    open_original = _Open(original.open)
    # What C holds a pointer to must not be collected.
    wrappers: dict[int, tuple[_Methods, Any]] = {}
    paths: dict[int, Path] = {}

    def open_file(_: int, name: int | None, file: int, flags: int, got: int) -> int:
        outcome = open_original(ctypes.addressof(original), name, file, flags, got)
        handle = _File.from_address(file)
        if outcome == sqlite3.SQLITE_OK and name:
            paths[file] = Path(ctypes.string_at(name).decode())
            found = ctypes.addressof(handle.methods.contents)
            if found not in wrappers:
                wrappers[found] = _wrap(handle.methods.contents, paths, watch)
            handle.methods = ctypes.pointer(wrappers[found][0])
        return int(outcome)

    wrapped_open = _Open(open_file)
    vfs = _Vfs.from_buffer_copy(original)
    vfs.name = b"watched"
    vfs.open = ctypes.cast(wrapped_open, _pointer)
    library.sqlite3_vfs_register(ctypes.byref(vfs), 1)
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(vfs))
        library.sqlite3_vfs_register(ctypes.byref(original), 1)


def _library() -> ctypes.CDLL | None:
    """Return the SQLite that the module ``sqlite3`` uses; None when its functions are hidden."""
    try:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = _pointer
    except (AttributeError, OSError):
        return None
    return library


needs_watched_files = pytest.mark.skipif(
    _library() is None, reason="this Python hides its SQLite's functions"
)
"""Mark of tests that use :func:`watched`."""


def _wrap(original: _Methods, paths: dict[int, Path], watch: Watch) -> tuple[_Methods, Any]:
    write_original, truncate_original = _Write(original.write), _Truncate(original.truncate)
    sync_original = _Sync(original.sync)

    def write(file: int, data: int, size: int, offset: int) -> int:
        watch.wrote(paths[file], offset, ctypes.string_at(data, size))
        return int(write_original(file, data, size, offset))

    def truncate(file: int, size: int) -> int:
        watch.wrote(paths[file], size, None)
        return int(truncate_original(file, size))

    def sync(file: int, flags: int) -> int:
        if watch.fails(paths[file]):
            return sqlite3.SQLITE_IOERR_FSYNC
        outcome = int(sync_original(file, flags))
        watch.synced(paths[file])
        return outcome

    kept = _Write(write), _Truncate(truncate), _Sync(sync)
    methods = _Methods.from_buffer_copy(original)
    methods.write, methods.truncate, methods.sync = (ctypes.cast(one, _pointer) for one in kept)
    return methods, kept


@dataclass
class Recording:
    """The files of one database from a moment on: what was done to them, in order.

    Attributes:
        start: contents at that moment, all of it synced.
        steps: path, offset and bytes of a write; path, length and None of a truncation;
            path, -1 and None of a sync.
    """

    start: dict[Path, bytes]
    steps: list[tuple[Path, int, bytes | None]] = field(default_factory=list)

    def watch(self) -> Watch:
        """Return what writes it down."""

        def wrote(path: Path, offset: int, data: bytes | None) -> None:
            if path in self.start:
                self.steps.append((path, offset, data))

        return Watch(wrote=wrote, synced=lambda path: wrote(path, -1, None))

    def after(self, count: int, chance: random.Random) -> dict[Path, bytes]:
        """Return what a disk may hold when the power is lost after ``count`` steps.

        All that was synced, and of the rest whatever ``chance`` gives: nothing, all of it,
        or some of the writes, in any order that a disk may choose.
        """
        files = {path: bytearray(content) for path, content in self.start.items()}
        pending: dict[Path, list[tuple[int, bytes | None]]] = {path: [] for path in files}
        for path, offset, data in self.steps[:count]:
            if offset < 0:
                _write(files[path], pending[path])
                pending[path] = []
            else:
                pending[path].append((offset, data))
        share = chance.choice((0.0, 0.5, 1.0))
        for path, writes in pending.items():
            _write(files[path], [write for write in writes if chance.random() < share])
        return {path: bytes(content) for path, content in files.items()}


def _write(content: bytearray, writes: list[tuple[int, bytes | None]]) -> None:
    for offset, data in writes:
        if data is None:
            del content[offset:]
        else:
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
