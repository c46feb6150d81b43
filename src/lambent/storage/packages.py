"""Deployment packages: what a zip must be, and how its files come out of it.

A package comes from anybody who may create a function. So nothing in it is
believed: not its names (``../x``, ``/etc/x``, a link to another place), not its
sizes, not that its entries agree with each other. :func:`inspect_package` refuses
what can be seen in the directory of the zip; :func:`unpack_package` checks what
only shows while unpacking, and stops at the limit.

Source of limits and texts: docs/aws-behaviour.md, functions 7.4 and 7.6.
"""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lambent import limits
from lambent.model.errors import InvalidParameterValueException, RequestEntityTooLargeException
from lambent.model.functions import CodePackage

ENTRIES_MAX = 250_000
"""Our own bound: the standard library needs about 0.5 KB of memory per entry."""

_LINK_BYTES_MAX = 4096
_LINKS_FOLLOWED_MAX = 40
# Over all links of a package: hostile links could otherwise keep a core busy for hours.
_LINK_STEPS_MAX = 1_000_000
_NAME_BYTES_MAX = 255
_PATH_BYTES_MAX = 3072
_CHUNK_BYTES = 1 << 18

_INSPECTED_IN_PLACE_BYTES = 1 << 18
"""Larger packages are looked at in a thread; below, the thread costs more than the look."""

_CENTRAL_HEADER = b"PK\x01\x02"
_MADE_ON_UNIX = 3
_ENCRYPTED = 0x1
_NAME_IS_UTF_8 = 0x800

# What the standard library raises on a damaged or hostile zip.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class PackageDamaged(Exception):
    """The zip cannot be unpacked as a whole, or it asks for what is not allowed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One thing to unpack; ``path`` is relative, with neither ``.`` nor ``..`` in it."""

    info: zipfile.ZipInfo
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that a package holds, checked against itself."""

    folders: list[tuple[str, ...]]
    files: list[_Entry]
    links: dict[tuple[str, ...], str]
    unpacked_bytes: int


def check_zipped_size(data: bytes) -> None:
    """Refuse a zip that is too large to be sent; what lies in S3 may be larger.

    Raises:
        RequestEntityTooLargeException: it is.
    """
    if len(data) > limits.ZIPPED_CODE_BYTES:
        raise RequestEntityTooLargeException(
            f"Zipped size must be smaller than {limits.ZIPPED_CODE_BYTES} bytes"
        )


def inspect_package(data: bytes) -> int:
    """Check a zip as far as its directory tells; return its unpacked size in bytes.

    Raises:
        InvalidParameterValueException: it is no zip, empty, too large unpacked, or
            has entries that may not be unpacked.
    """
    if not data:
        raise _empty()
    try:
        # Each entry has such a header: counted before the standard library makes objects of them.
        if _count_headers(data) > ENTRIES_MAX:
            raise PackageDamaged(f"it has more than {ENTRIES_MAX} entries")
        with _open(io.BytesIO(data)) as archive:
            if not archive.infolist():
                raise _empty()
            plan = _plan(archive)
    except PackageDamaged as error:
        raise InvalidParameterValueException(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        ) from error
    if plan.unpacked_bytes >= limits.UNZIPPED_CODE_BYTES:
        raise InvalidParameterValueException(
            f"Unzipped size must be smaller than {limits.UNZIPPED_CODE_BYTES} bytes"
        )
    return plan.unpacked_bytes


async def inspect(data: bytes) -> int:
    """Do what :func:`inspect_package` does; a large package off the loop."""
    if len(data) <= _INSPECTED_IN_PLACE_BYTES:
        return inspect_package(data)
    return await asyncio.to_thread(inspect_package, data)


def describe_package(data: bytes) -> CodePackage:
    """Return what the zip is stored and shown as."""
    return CodePackage(hashlib.sha256(data).hexdigest(), len(data))


async def describe(data: bytes) -> CodePackage:
    """Do what :func:`describe_package` does; a large package off the loop."""
    if len(data) <= _INSPECTED_IN_PLACE_BYTES:
        return describe_package(data)
    return await asyncio.to_thread(describe_package, data)


def unpack_package(source: Path, folder: Path) -> None:
    """Unpack the zip at ``source`` into ``folder``, which must not exist.

    Files get mode 0644, or 0755 where the zip has any executable bit; folders 0755.
    Times come from the zip (taken as UTC), so that unpacking twice gives the same.
    On failure a part of the files may be there: the caller removes them.

    Raises:
        PackageDamaged: it cannot be unpacked; the text says why.
        OSError: the disk does not take it.
    """
    with source.open("rb") as file, _open(file) as archive:
        plan = _plan(archive)
        folder.mkdir()
        folder.chmod(0o755)
        for path in plan.folders:
            inner = folder.joinpath(*path)
            inner.mkdir()
            # Set apart from making it: the umask must not decide.
            inner.chmod(0o755)
        left: int = limits.UNZIPPED_CODE_BYTES
        for entry in plan.files:
            left -= _unpack_file(archive, entry, folder.joinpath(*entry.path), left)
        # Last, so that nothing is ever written through a link.
        for link, target in plan.links.items():
            folder.joinpath(*link).symlink_to(target)


def _count_headers(data: bytes) -> int:
    """Count in pieces: the interpreter's lock is held for the length of each, and the loop waits for it."""
    return sum(
        data.count(_CENTRAL_HEADER, start, start + _CHUNK_BYTES + len(_CENTRAL_HEADER) - 1)
        for start in range(0, len(data), _CHUNK_BYTES)
    )


def _empty() -> InvalidParameterValueException:
    return InvalidParameterValueException("Uploaded file must be a non-empty zip")


def _open(file: IO[bytes]) -> zipfile.ZipFile:
    """Read the zip's directory."""
    try:
        return zipfile.ZipFile(file)
    except _DAMAGED as error:
        raise PackageDamaged(str(error)) from error


def _plan(archive: zipfile.ZipFile) -> _Plan:
    """Decide what every entry becomes.

    Raises:
        PackageDamaged: an entry may not be unpacked, or two contradict each other.
    """
    folders: dict[tuple[str, ...], None] = {}
    files: dict[tuple[str, ...], _Entry] = {}
    links: dict[tuple[str, ...], str] = {}
    size = 0
    for info in archive.infolist():
        path = _parse_path(info)
        kind = _kind(info)
        if kind == stat.S_IFDIR:
            if path:
                folders[path] = None
            continue
        if not path:
            raise PackageDamaged("an entry has no name")
        if path in files or path in links:
            raise PackageDamaged(f"{info.filename!r} is there twice")
        _check_readable(info)
        size += info.file_size
        if kind == stat.S_IFLNK:
            links[path] = _read_link(archive, info)
        else:
            files[path] = _Entry(info, path)
    for path in [*folders, *files, *links]:
        for depth in range(1, len(path)):
            folders[path[:depth]] = None
    for path in folders:
        if path in files or path in links:
            raise PackageDamaged(f"{'/'.join(path)!r} is a file and a folder")
    _check_links(links)
    return _Plan(sorted(folders), list(files.values()), links, size)


def _parse_path(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the entry's path below the package's folder; empty for the folder itself."""
    # The standard library cuts ``filename`` at NUL: that is not what was asked for.
    name = info.orig_filename
    if not info.flag_bits & _NAME_IS_UTF_8:
        # zip on Linux writes UTF-8 and does not say so; the standard library reads cp437.
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    if "\0" in name or name.startswith("/"):
        raise PackageDamaged(f"{name!r} is not a relative path")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise PackageDamaged(f"{name!r} is not text") from None
    if ".." in parts:
        raise PackageDamaged(f"{name!r} leads out of the package")
    if sum(lengths) + len(parts) > _PATH_BYTES_MAX or max(lengths, default=0) > _NAME_BYTES_MAX:
        raise PackageDamaged("a path is too long")
    return parts


def _kind(info: zipfile.ZipInfo) -> int:
    """Return S_IFREG, S_IFDIR or S_IFLNK."""
    kind = stat.S_IFMT(_mode(info))
    if info.orig_filename.endswith("/") or kind == stat.S_IFDIR:
        return stat.S_IFDIR
    if kind in {0, stat.S_IFREG}:
        return stat.S_IFREG
    if kind == stat.S_IFLNK:
        return stat.S_IFLNK
    raise PackageDamaged(f"{info.filename!r} is a device or a pipe")


def _mode(info: zipfile.ZipInfo) -> int:
    """Return the Unix mode that the entry states, or 0."""
    return info.external_attr >> 16 if info.create_system == _MADE_ON_UNIX else 0


def _check_readable(info: zipfile.ZipInfo) -> None:
    # The standard library bounds what it unpacks at once only for these two methods.
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise PackageDamaged(f"{info.filename!r} is compressed by a method other than deflate")
    if info.flag_bits & _ENCRYPTED:
        raise PackageDamaged(f"{info.filename!r} is encrypted")


def _read_link(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Return where a symbolic link points."""
    if not 0 < info.file_size <= _LINK_BYTES_MAX:
        raise PackageDamaged(f"{info.filename!r} is a link to nowhere")
    try:
        target = b"".join(_chunks(archive, info)).decode()
    except UnicodeDecodeError as error:
        raise PackageDamaged(f"{info.filename!r} is a link to nowhere") from error
    if "\0" in target:
        raise PackageDamaged(f"{info.filename!r} is a link to nowhere")
    return target


def _check_links(links: dict[tuple[str, ...], str]) -> None:
    """Walk each link as the kernel would, through other links; refuse one that leaves the package.

    Comparing texts is not enough: with ``deep/down -> ../..`` a second link
    ``out -> deep/down/../x`` looks harmless and leads out.
    """
    steps = 0
    for path in links:
        at, to_go, followed = list(path[:-1]), [path[-1]], 0
        while to_go:
            part = to_go.pop()
            steps += 1
            if part == "..":
                if not at:
                    raise PackageDamaged(f"the link {'/'.join(path)!r} leads out of the package")
                at.pop()
            elif part not in {"", "."}:
                at.append(part)
                target = links.get(tuple(at))
                if target is not None:
                    followed += 1
                    if target.startswith("/"):
                        raise PackageDamaged(f"the link {'/'.join(path)!r} leads out of the package")
                    if followed > _LINKS_FOLLOWED_MAX or steps > _LINK_STEPS_MAX:
                        raise PackageDamaged(f"the link {'/'.join(path)!r} goes in circles")
                    at.pop()
                    to_go.extend(reversed(target.split("/")))


def _unpack_file(archive: zipfile.ZipFile, entry: _Entry, target: Path, bytes_left: int) -> int:
    """Write one file; return its size.

    Raises:
        PackageDamaged: its bytes are damaged, or there are more than ``bytes_left``.
    """
    mode = 0o755 if _mode(entry.info) & 0o111 else 0o644
    size = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for chunk in _chunks(archive, entry.info):
            size += len(chunk)
            if size >= bytes_left:
                raise PackageDamaged(f"it unpacks to {limits.UNZIPPED_CODE_BYTES} bytes or more")
            _write_whole(file, chunk)
        os.fchmod(descriptor, mode)
        moment = _modified_at(entry.info)
        os.utime(descriptor, (moment, moment))
    return size


def _write_whole(file: io.RawIOBase | IO[bytes], chunk: bytes) -> None:
    """Write all of it: a raw file may take less than it is given."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) or 0 :]


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield an entry's bytes; the last step checks length and checksum."""
    size = 0
    try:
        with archive.open(info) as content:
            while chunk := content.read(_CHUNK_BYTES):
                size += len(chunk)
                yield chunk
    except _DAMAGED as error:
        raise PackageDamaged(f"{info.filename!r}: {error}") from error
    if size != info.file_size:
        raise PackageDamaged(f"{info.filename!r} has {size} bytes instead of {info.file_size}")


def _modified_at(info: zipfile.ZipInfo) -> int:
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except (ValueError, OverflowError):
        return calendar.timegm((1980, 1, 1, 0, 0, 0, 0, 0, 0))


__all__ = [
    "ENTRIES_MAX",
    "PackageDamaged",
    "check_zipped_size",
    "describe",
    "describe_package",
    "inspect",
    "inspect_package",
    "unpack_package",
]
