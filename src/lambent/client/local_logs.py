"""The log tail of functions that run in this process: what they print and log, each invocation apart.

Other code of the process, other threads above all, writes to the same streams. Whose
invocation a piece belongs to is told by a context variable, so that invocations that run
at the same time do not mix; what is written goes where it would have gone besides.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from lambent.execution.bootstrap.faults import TaskPaths
from lambent.execution.bootstrap.jsontext import Encoder
from lambent.execution.bootstrap.logs import FunctionLog, LogSink, Streams, TextFormatter

# Source: docs/aws-behaviour.md, invoke 1.2.
TAIL_BYTES = 4096


class InvocationLog(LogSink):
    """What one invocation wrote, in the order in which it did.

    Args:
        request_id: of the invocation.
        paths: how files are shown in stack traces.
        encoder: of error objects.
    """

    def __init__(self, request_id: str, paths: TaskPaths, encoder: Encoder) -> None:
        super().__init__(-1, Streams(), has_frames=False)
        self.request_id = request_id
        self._errors = FunctionLog(self, paths, encoder, {})
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        """Add a piece as it is."""
        self._parts.append(text)

    def log(self, message: str, frame_type: int = 0) -> None:  # noqa: ARG002 - text has no frames
        """Add one message of the runtime, which is a line at least."""
        self.write(message if message.endswith("\n") else f"{message}\n")

    def write_error(self, error: dict[str, Any]) -> None:
        """Add the lines that AWS's runtime writes about an error object."""
        self._errors.write_error(error)

    def tail(self) -> bytes:
        """Return the last 4 KB."""
        return "".join(self._parts).encode("utf-8", "surrogatepass")[-TAIL_BYTES:]


_running: ContextVar[InvocationLog | None] = ContextVar("_running", default=None)


class _Stream:
    """A standard stream that also writes into the log of the running invocation."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        log = _running.get()
        if log is not None:
            log.write(text)
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Handler(logging.Handler):
    """Formats records as AWS's runtime does, into the log of the running invocation."""

    def __init__(self, paths: TaskPaths) -> None:
        super().__init__()
        formatter = TextFormatter(paths)
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    @property
    def log_sink(self) -> InvocationLog | None:
        """Where ``context.log`` of this thread's invocation writes."""
        return _running.get()

    def emit(self, record: logging.LogRecord) -> None:
        log = _running.get()
        if log is not None:
            record.aws_request_id = log.request_id
            log.log(self.format(record))


class _Taps:
    """Listens at the standard streams and the root logger while an invocation wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._streams: dict[str, _Stream] = {}
        self._handler = _Handler(TaskPaths("/var/task"))

    def open(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._streams = {name: _Stream(getattr(sys, name)) for name in ("stdout", "stderr")}
                for name, stream in self._streams.items():
                    setattr(sys, name, stream)
                logging.getLogger().addHandler(self._handler)

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                logging.getLogger().removeHandler(self._handler)
                for name, stream in self._streams.items():
                    # Whoever put another stream there meanwhile takes it away again.
                    if getattr(sys, name) is stream:
                        setattr(sys, name, stream.stream)


_taps = _Taps()


@contextmanager
def written_to(log: InvocationLog) -> Iterator[None]:
    """Write into ``log`` too what this thread prints and logs until the block ends."""
    token = _running.set(log)
    _taps.open()
    try:
        yield
    finally:
        _taps.close()
        _running.reset(token)
