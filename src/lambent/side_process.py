"""A process beside the server for work on what is large.

To read six megabytes of JSON takes 3 to 100 ms, fifty of base64 five times as long, and the
interpreter's lock is held for all of it: on the loop, or in a thread, everybody would wait. The
process is this module run as a program. It starts when it is first needed, does one call after
another, and ends with its input, so that none outlives the server.

::

    to it     function, arguments
    from it   error or None, result

Such a message is a pickle; long byte strings follow it, so that nobody copies them::

    u32 number of parts | u64 length of each | the parts, the pickle first    (little-endian)
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

SMALL_BYTES = 65_536
"""What is not longer is worked on where it is: JSON so long is checked in 0.25 ms."""

# Longer byte strings stand outside of the pickle.
_APART_BYTES = 4096


class SideProcess:
    """Calls functions beside the event loop; :meth:`close` ends what it started."""

    def __init__(self) -> None:
        # Blocking reads and writes, which is where the lock is free; one thread, so one at a time.
        self._thread = ThreadPoolExecutor(1, "lambent-side")
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function of a module returns.

        Args:
            function: called perhaps twice: the system may end the process.
            args: of which it gets copies.
            kwargs: likewise.

        Raises:
            Exception: what the function raised.
            OSError: the process cannot be started.
            EOFError: it ended twice, or this is closed.
        """
        loop = asyncio.get_running_loop()
        error, result = await loop.run_in_executor(self._thread, self._ask, (function, args, kwargs))
        if error is not None:
            raise error
        return cast("T", result)

    def close(self) -> None:
        """End the process; a call that is under way fails."""
        self._is_closed = True
        if self._process is not None:
            self._process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _ask(self, call: object) -> Any:
        """Ask the process, and a second one if the first is gone: the system may have ended it."""
        try:
            return self._exchange(call)
        except (OSError, EOFError):
            if self._is_closed:
                raise
            self._end()
            return self._exchange(call)

    def _exchange(self, call: object) -> Any:
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
        _write(process.stdin, call)
        return _read(process.stdout)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()


class _Pickler(pickle.Pickler):
    """Leaves long byte strings out, each once."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.apart: list[bytes] = []
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: object) -> int | None:
        if type(value) is not bytes or len(value) <= _APART_BYTES:
            return None
        number = self._numbers.setdefault(id(value), len(self.apart))
        if number == len(self.apart):
            self.apart.append(value)
        return number


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], apart: Sequence[bytes]) -> None:
        super().__init__(file)
        self._apart = apart

    def persistent_load(self, number: int) -> bytes:
        return self._apart[number]


def _write(stream: IO[bytes], message: object) -> None:
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(message)
    parts = [pickled.getvalue(), *pickler.apart]
    stream.write(struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def _read(stream: IO[bytes]) -> Any:
    """Return the next message; the peer is ourselves.

    Raises:
        EOFError: the stream ends before.
    """
    (count,) = struct.unpack("<I", _read_part(stream, 4))
    lengths = struct.unpack(f"<{count}Q", _read_part(stream, 8 * count))
    pickled, *apart = [_read_part(stream, length) for length in lengths]
    return _Unpickler(io.BytesIO(pickled), apart).load()


def _read_part(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer calls until there are no more."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            # Nothing of a call is held while its reply is written, or while the next one is awaited.
            _write(replies, _answer(requests))


def _answer(requests: IO[bytes]) -> tuple[Exception | None, object]:
    function, args, kwargs = _read(requests)
    try:
        return None, function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the caller gets it
        return error, None


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)


__all__ = ["SMALL_BYTES", "SideProcess"]
