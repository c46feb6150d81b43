r"""Log lines on disk: bounded, cheap to append to, and never in the way.

::

    logs/<account>/<region>/<sha256 of the group's name, 32 digits>/
      name                 the group's name
      00000001.log …       segments

    segment = records, one behind the other
    record  = u32 bytes of text | u16 bytes of stream | f64 seconds since the epoch
              | stream | text                              (little-endian)

Streams of one group interleave freely; a record holds whole lines of one stream, in
the order in which they were appended.

:meth:`FileLogStore.append` puts a tuple into a deque. One thread writes what has
gathered, at most 100 ms later. A segment is only ever appended to by the process
that made it: what a crash cut off stands at the end of a segment, where a reader
stops.

Bounds: lines wait in memory up to ``buffer_bytes``; what comes beyond is dropped,
counted, and told of in the log itself. Segments together stay below ``max_bytes``,
none is kept for longer than ``retention_s``; the one that was written to the longest
time ago goes first. On a full disk lines are lost, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import struct
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from lambent.clock import Clock, SystemClock
from lambent.storage.contracts import LogEvent
from lambent.storage.directory import DataDirectory

Group: TypeAlias = tuple[str, str, str]
"""Account, region, name of the log group."""

SEGMENT_BYTES = 4 << 20
BUFFER_BYTES = 64 << 20
FLUSH_INTERVAL_S = 0.1
MAX_BYTES = 1 << 30
RETENTION_S = 1_209_600.0

NOTICE_STREAM = "lambent"
"""Stream of the lines in which the store tells what it had to drop."""

_HEADER = struct.Struct("<IHd")
# What a waiting record costs besides its text: the tuple, the float, the bytes object.
_OVERHEAD_BYTES = 200

_logger = logging.getLogger("lambent.logs")


class _Record(NamedTuple):
    at: float
    stream: str
    text: bytes


@dataclass(slots=True)
class _Segment:
    """One file; ``closed`` when nothing more is appended to it."""

    group: Group
    number: int
    path: Path
    size: int
    first_at: float
    last_at: float
    closed: bool


class FileLogStore:
    """Lines of all log groups in the data directory.

    Implements :class:`lambent.storage.contracts.LogStore`.

    Args:
        directory: opened data directory; ``logs/`` in it is ours.
        max_bytes: of all segments together; 0 keeps nothing.
        retention_s: how long lines are kept.
        clock: tells ages; the pace of writing is real time.
        buffer_bytes: of lines that wait to be written.
    """

    def __init__(
        self,
        directory: DataDirectory,
        *,
        max_bytes: int = MAX_BYTES,
        retention_s: float = RETENTION_S,
        clock: Clock | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._root = directory.logs
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max(1, max_bytes // 8))
        self._retention_s = retention_s
        self._clock = clock or SystemClock()
        self._buffer_bytes = buffer_bytes
        # The loop's side. Each counter is written by one thread only, so neither needs a lock.
        self._waiting: deque[tuple[Group, str, float, bytes]] = deque()
        self._taken_bytes = 0
        self._dropped: Counter[Group] = Counter()
        self._dropped_total = 0
        self._awake = False
        # The writer's side.
        self._written_bytes = 0
        self._lost_total = 0
        self._segments: OrderedDict[tuple[Group, int], _Segment] = OrderedDict()
        self._current: dict[Group, _Segment] = {}
        self._last_number: dict[Group, int] = {}
        self._stored_bytes = 0
        # Between both.
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._is_ended = True
        self._stopping = False
        self._writer: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushes: list[asyncio.Future[None]] = []
        self._followers: set[asyncio.Event] = set()

    @property
    def dropped(self) -> int:
        """Appended texts that were lost since the start: no room in memory or on disk."""
        return self._dropped_total + self._lost_total

    @property
    def stored_bytes(self) -> int:
        """Size of all segments."""
        return self._stored_bytes

    async def start(self) -> None:
        """Take stock of the segments and begin to write; may be called twice."""
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        await asyncio.to_thread(self._take_stock)
        self._is_ended = False
        self._writer = threading.Thread(target=self._serve, name="lambent-logs", daemon=True)
        self._writer.start()

    async def stop(self) -> None:
        """Write what waits and end; may be called twice. Followers read what is left, and end too."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._stopping = True
        self._wake.set()
        self._hurry.set()
        await asyncio.to_thread(writer.join)
        # Only now: followers that end before the last write would miss it.
        self._is_ended = True
        self._report_flush(self._flushes)

    def append(self, group: Group, stream: str, at: float, text: bytes) -> None:
        """Take whole lines for writing within 100 ms; never blocks, never fails.

        Called on the event loop's thread only.

        Args:
            group: account, region, log group name.
            stream: log stream name.
            at: seconds since the epoch.
            text: one or more lines.
        """
        size = len(text) + _OVERHEAD_BYTES
        if self._taken_bytes - self._written_bytes + size > self._buffer_bytes:
            self._dropped[group] += 1
            self._dropped_total += 1
            return
        self._taken_bytes += size
        self._waiting.append((group, stream, at, text))
        if not self._awake:
            self._awake = True
            self._wake.set()

    async def flush(self) -> None:
        """Return when everything appended before is in its file (not synced)."""
        if self._writer is None:
            return
        flushed = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self._awake = True
        self._hurry.set()
        self._wake.set()
        await flushed

    async def read(self, group: Group, *, since: float, follow: bool) -> AsyncIterator[LogEvent]:
        r"""Yield the events of a group that are not older than ``since``.

        In the order in which they were appended, which within one stream is the order
        of time. One event per line; only ``\n`` ends a line. With ``follow``, go on
        until the caller closes the generator; otherwise end at what was appended
        before the call.
        """
        written = asyncio.Event()
        if follow:
            self._followers.add(written)
        try:
            await self.flush()
            place = (0, 0)
            while True:
                # Both before the look: what is written during it wakes us again, and an end
                # that was reached before it leaves nothing to be written after it.
                written.clear()
                is_last_look = self._is_ended or not follow
                while True:
                    records, place = await asyncio.to_thread(self._read_some, group, place)
                    if not records:
                        break
                    oldest = max(since, self._clock.now() - self._retention_s)
                    for record in records:
                        if record.at >= oldest:
                            for event in _events(record):
                                yield event
                if is_last_look:
                    return
                await written.wait()
        finally:
            self._followers.discard(written)

    # ------------------------------------------------------------------ the writer's thread

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            if not self._stopping:
                # Lines gather here, so that a busy function costs ten writes a second.
                self._hurry.wait(FLUSH_INTERVAL_S)
            self._hurry.clear()
            self._wake.clear()
            # From here on an append wakes us again, so that nothing waits unseen.
            self._awake = False
            stopping = self._stopping
            flushes, self._flushes = self._flushes, []
            self._write_waiting()
            with contextlib.suppress(RuntimeError):
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._report_flush, flushes)
            if stopping:
                return

    def _write_waiting(self) -> None:
        """Write what has gathered, group by group; then keep the bounds."""
        gathered: dict[Group, list[_Record]] = {}
        size = 0
        for _ in range(len(self._waiting)):
            group, stream, at, text = self._waiting.popleft()
            size += len(text) + _OVERHEAD_BYTES
            if self._max_bytes:
                gathered.setdefault(group, []).append(_Record(at, stream, text))
        now = self._clock.now()
        for group in list(self._dropped):
            notice = f"{self._dropped.pop(group)} log entries were dropped: too many waited to be written.\n"
            gathered.setdefault(group, []).append(_Record(now, NOTICE_STREAM, notice.encode()))
        for group, records in gathered.items():
            try:
                self._write_group(group, records, now)
            except Exception as error:  # noqa: BLE001 - one group's trouble must not end the log of all
                self._lose(group, len(records), error)
        self._written_bytes += size
        self._keep_bounds(now)

    def _write_group(self, group: Group, records: list[_Record], now: float) -> None:
        """Append a group's records, to as many segments as they fill."""
        parts: list[bytes] = []
        size = 0
        for record in records:
            parts.append(_render(record))
            size += len(parts[-1])
            if size >= self._segment_bytes:
                self._append_to_segment(group, b"".join(parts), now)
                parts, size = [], 0
        if parts:
            self._append_to_segment(group, b"".join(parts), now)

    def _append_to_segment(self, group: Group, data: bytes, now: float) -> None:
        segment = self._current.get(group)
        if segment is None or segment.closed or self._is_full(segment, len(data), now):
            segment = self._new_segment(group, now)
        # Open only while it is written: groups are many, descriptors are not.
        with segment.path.open("ab", buffering=0) as file:
            view = memoryview(data)
            while view:
                count = file.write(view) or 0
                segment.size += count
                self._stored_bytes += count
                view = view[count:]
        segment.last_at = now
        self._segments.move_to_end((group, segment.number))

    def _is_full(self, segment: _Segment, more: int, now: float) -> bool:
        """Whether another segment must follow: by size, or so that lines can age out in time."""
        too_large = segment.size > 0 and segment.size + more > self._segment_bytes
        return too_large or now - segment.first_at > self._retention_s / 8

    def _new_segment(self, group: Group, now: float) -> _Segment:
        number = self._last_number.get(group, 0) + 1
        folder = self._folder(group)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "name").write_text(group[2], "utf-8")
        segment = _Segment(group, number, folder / _file_name(number), 0, now, now, closed=False)
        segment.path.touch(mode=0o600)
        self._last_number[group] = number
        self._segments[group, number] = segment
        self._current[group] = segment
        return segment

    def _lose(self, group: Group, count: int, error: Exception) -> None:
        """Go on after a failed write: half a record may stand at the segment's end, so it is closed."""
        if self._lost_total == 0:
            _logger.error("log lines are lost: %s", error)
        self._lost_total += count
        if group in self._current:
            self._current[group].closed = True

    def _keep_bounds(self, now: float) -> None:
        """Remove the segments that were written to the longest time ago."""
        while self._segments:
            oldest = next(iter(self._segments.values()))
            if self._stored_bytes <= self._max_bytes and now - oldest.last_at <= self._retention_s:
                return
            self._remove(oldest)

    def _remove(self, segment: _Segment) -> None:
        del self._segments[segment.group, segment.number]
        self._stored_bytes -= segment.size
        segment.closed = True
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            _logger.error("a log segment cannot be removed: %s", error)

    # ------------------------------------------------------------------ files

    def _take_stock(self) -> None:
        """Find the segments of former processes; they are read, and never appended to."""
        self._segments.clear()
        self._current.clear()
        self._last_number.clear()
        found = []
        for path in self._root.glob("*/*/*/*.log"):
            folder = path.parent
            try:
                name = (folder / "name").read_text("utf-8")
            except OSError:
                # Lost in a crash; the segments still count, and age.
                name = ""
            group = (folder.parent.parent.name, folder.parent.name, name or folder.name)
            status, number = path.stat(), int(path.stem)
            moment = status.st_mtime
            found.append(_Segment(group, number, path, status.st_size, moment, moment, closed=True))
            self._last_number[group] = max(number, self._last_number.get(group, 0))
        found.sort(key=lambda segment: segment.last_at)
        for segment in found:
            self._segments[segment.group, segment.number] = segment
        self._stored_bytes = sum(segment.size for segment in found)
        self._keep_bounds(self._clock.now())

    def _folder(self, group: Group) -> Path:
        account, region, name = group
        # Names of groups hold slashes and may be longer than names of files.
        return self._root / account / region / hashlib.sha256(name.encode()).hexdigest()[:32]

    def _read_some(self, group: Group, place: tuple[int, int]) -> tuple[list[_Record], tuple[int, int]]:
        """Return records from ``place`` (segment, offset) on and the place behind them; none at the end."""
        number, offset = place
        # Listed before anything is read: a segment that has a successor here is complete.
        paths = sorted(self._folder(group).glob("*.log"), key=lambda path: int(path.stem))
        for path in paths:
            if int(path.stem) < number:
                continue
            if int(path.stem) > number:
                number, offset = int(path.stem), 0
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    data = file.read()
            except FileNotFoundError:
                # The bounds were kept meanwhile.
                continue
            records, size = _parse(data)
            if records:
                return records, (number, offset + size)
        return [], (number, offset)

    # ------------------------------------------------------------------ the loop's side again

    def _report_flush(self, flushes: list[asyncio.Future[None]]) -> None:
        for flushed in flushes:
            if not flushed.done():
                flushed.set_result(None)
        for written in self._followers:
            written.set()


def _file_name(number: int) -> str:
    return f"{number:08d}.log"


def _render(record: _Record) -> bytes:
    stream = record.stream.encode()
    return _HEADER.pack(len(record.text), len(stream), record.at) + stream + record.text


def _parse(data: bytes) -> tuple[list[_Record], int]:
    """Return the whole records at the start of ``data`` and their size; what is cut off is left."""
    records = []
    begin = 0
    while begin + _HEADER.size <= len(data):
        text_bytes, stream_bytes, at = _HEADER.unpack_from(data, begin)
        stream = begin + _HEADER.size
        text = stream + stream_bytes
        if text + text_bytes > len(data):
            break
        begin = text + text_bytes
        records.append(_Record(at, data[stream:text].decode(), data[text:begin]))
    return records, begin


def _events(record: _Record) -> Iterator[LogEvent]:
    for line in record.text.removesuffix(b"\n").split(b"\n"):
        yield LogEvent(record.at, record.stream, line.decode(errors="replace"))


__all__ = ["FileLogStore", "Group"]
