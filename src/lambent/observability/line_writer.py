"""Lines to a file descriptor, written by a thread: whoever has something to say never waits.

A pipe that nobody reads, or a slow disk, holds up that thread alone. What waits for it has a
bound; lines beyond are lost, and their number is written as soon as there is room again.
"""

from __future__ import annotations

import logging
import os
import queue
import threading

# Of lines that wait to be written.
_WAITING_BYTES = 4 << 20
# How long the end of the server waits for whoever reads the lines.
_CLOSE_S = 1.0


class LineWriter:
    """Writes whole lines in their order; :meth:`write` is called by one thread at a time.

    Args:
        descriptor: usually 2; it is not closed.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._thread: threading.Thread | None = None
        self._batches: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        # Each is counted up by one side only, so none needs a lock.
        self._taken_bytes = 0
        self._done_bytes = 0
        self._dropped = 0
        self._failed = 0
        self._told = 0

    def write(self, data: bytes, count: int) -> None:
        """Take ``count`` lines; those that cannot be written are lost."""
        lost = self._dropped + self._failed
        untold = lost - self._told
        if untold:
            data += b"%d lines were lost: more came than could be written\n" % untold
        if self._taken_bytes - self._done_bytes + len(data) > _WAITING_BYTES:
            self._dropped += count
            return
        self._told = lost
        self._taken_bytes += len(data)
        # Should this fail, what it tells is still to be told.
        self._batches.put((data, count + untold))
        if self._thread is None:
            # A daemon: a pipe that nobody reads must not hold up the end of the process either.
            self._thread = threading.Thread(target=self._serve, name="lambent-lines", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Return when everything is written, but after a second at the latest; may be called again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._batches.put(None)
            thread.join(_CLOSE_S)

    def _serve(self) -> None:
        while (batch := self._batches.get()) is not None:
            data, count = batch
            size = len(data)
            try:
                while data:
                    data = data[os.write(self.descriptor, data) :]
            except OSError:
                self._failed += count
            self._done_bytes += size


class LineHandler(logging.Handler):
    """Gives what the server logs to a :class:`LineWriter`."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; it may have several lines."""
        try:
            self._writer.write(f"{self.format(record)}\n".encode(errors="replace"), 1)
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)

    def close(self) -> None:
        """Write what is waiting; called at the end of the process by :mod:`logging`."""
        self._writer.close()
        super().close()
