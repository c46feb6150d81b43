"""Large events are checked in a process of their own.

To check six megabytes takes 3 to 25 ms, and msgspec holds the interpreter's lock for all of
it: on the loop, or in a thread, everybody would wait. The process is this module run as a
program. It starts with the first large event, does one after another, and ends with its input,
so that none outlives the server.

::

    to it     u32 length | event                          (little-endian)
    from it   u32 length | what is wrong in UTF-8, empty when nothing is
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from lambent.api.payload import check_event
from lambent.model.errors import InvalidRequestContentException

# What is checked where it is: up to a quarter of a millisecond.
SMALL_EVENT_BYTES = 65_536

_LENGTH = struct.Struct("<I")


class LargeEventCheck:
    """Checks events beside the event loop; :meth:`close` ends what it started."""

    def __init__(self) -> None:
        # Blocking reads and writes, which is where the lock is free; one thread, so one at a time.
        self._thread = ThreadPoolExecutor(1, "lambent-events")
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    async def find_problem(self, event: bytes) -> str:
        """Return what :func:`lambent.api.payload.check_event` refuses an event for, or ""."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, event)

    def close(self) -> None:
        """End the process; an event that is being checked fails."""
        self._is_closed = True
        if self._process is not None:
            self._process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _ask(self, event: bytes) -> str:
        """Ask the process, and a second one if the first is gone: the system may have ended it."""
        try:
            return self._exchange(event)
        except (OSError, EOFError):
            if self._is_closed:
                raise
            self._end()
            return self._exchange(event)

    def _exchange(self, event: bytes) -> str:
        process = self._process
        if process is None:
            # A session of its own: Ctrl-C is for the server, which still answers what it accepted.
            process = self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_LENGTH.pack(len(event)))
        process.stdin.write(event)
        process.stdin.flush()
        return _read(process.stdout).decode()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()


def _read(stream: IO[bytes]) -> bytes:
    """Return what stands behind the next length.

    Raises:
        EOFError: the stream ends before.
    """
    head = stream.read(_LENGTH.size)
    if len(head) == _LENGTH.size:
        (size,) = _LENGTH.unpack(head)
        data = stream.read(size)
        if len(data) == size:
            return data
    raise EOFError


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Check events until there are no more."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            problem = b""
            try:
                check_event(_read(requests))
            except InvalidRequestContentException as error:
                problem = str(error.message).encode()
            replies.write(_LENGTH.pack(len(problem)) + problem)
            replies.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
