"""The function's process as the server sees it: frames, output, end.

One :class:`FunctionProcess` is one process; the environment it belongs to may have
several after one another. It knows bytes and descriptors, and nothing of
invocations: it tells its owner what happened.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from collections.abc import Mapping
from contextlib import ExitStack
from io import BytesIO
from typing import Protocol

from lambent.execution.zygote import Exit, Zygote
from lambent.wire.frames import KINDS, REPLY_HEADER

_READ_BYTES = 1 << 16
_HEADER_BYTES = REPLY_HEADER.size
_NOTHING = bytes(4)
_READS_AT_ONCE = 64
# Beyond this a copy that joins head and payload costs more than a second write.
_JOIN_BYTES = 65_536


class Owner(Protocol):
    """Who is told what a process does."""

    def on_frame(self, kind: int, max_rss_kb: int, duration_us: int, payload: bytes | None) -> None:
        """Take a frame; ``payload`` is None when it was longer than allowed."""
        ...

    def on_output(self, data: bytes) -> None:
        """Take what the process wrote while nobody asked with :meth:`FunctionProcess.drain`."""
        ...

    def on_exit(self, ended: Exit) -> None:
        """The process is gone; called once, after its last frame."""
        ...


class _Pipe:
    """A pipe between server and function; each end is closed with its side's stack."""

    def __init__(self, ours: ExitStack, theirs: ExitStack, is_read: bool) -> None:  # noqa: FBT001
        read_end, write_end = os.pipe()
        self.ours, self.theirs = (read_end, write_end) if is_read else (write_end, read_end)
        ours.callback(os.close, self.ours)
        theirs.callback(os.close, self.theirs)


class FunctionProcess(asyncio.Protocol):
    """A process forked from a zygote, and three pipes: invocations to it, replies and log from it.

    Two pipes for the frames because a socket pair costs a switch more: reading a reply
    from it wakes the function, which waits on the same socket, for nothing.

    Args:
        owner: told of frames, output and the end until :meth:`abandon`.
        max_payload: longest payload in bytes that is kept; longer ones are read and dropped.
    """

    def __init__(self, owner: Owner, max_payload: int) -> None:
        self._owner: Owner | None = owner
        self._max_payload = max_payload
        self._loop = asyncio.get_running_loop()
        self._requests: asyncio.WriteTransport | None = None
        self._replies: asyncio.ReadTransport | None = None
        # Of a frame that comes in pieces: its header as far as it came, then what the header
        # says, how much of the payload is to come and, unless it is too long, what came.
        self._is_collecting = False
        self._header = b""
        self._reply: tuple[int, int, int] | None = None
        self._missing = 0
        self._payload: BytesIO | None = None
        self._reply_end = -1
        self._log = -1
        self._zygote: Zygote | None = None
        self._id = 0

    async def start(self, zygote: Zygote, order: Mapping[str, object]) -> None:
        """Fork the process. Its first frame may come before this returns.

        Does nothing, or ends what it made, when the process was abandoned meanwhile.

        Raises:
            ZygoteDied: the zygote is gone.
        """
        if self._owner is None:
            return
        with ExitStack() as ours, ExitStack() as theirs:
            requests, replies, log = (_Pipe(ours, theirs, is_read) for is_read in (False, True, True))
            os.set_blocking(log.ours, False)
            os.set_blocking(replies.ours, False)
            self._reply_end = replies.ours
            self._zygote = zygote
            self._id = zygote.spawn(order, [requests.theirs, replies.theirs, log.theirs], self._exited)
            ours.pop_all()
        self._log = log.ours
        self._loop.add_reader(log.ours, self._readable)
        self._requests, _ = await self._loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(requests.ours, "wb", 0)
        )
        self._replies, _ = await self._loop.connect_read_pipe(lambda: self, os.fdopen(replies.ours, "rb", 0))
        if self._owner is None:
            self.abandon()

    def send(self, head: bytes, payload: bytes) -> None:
        """Write one frame, whose payload is not copied when it is large."""
        if self._requests is None:
            # The process ended before the loop had its pipes; its owner is told so next.
            return
        if len(payload) > _JOIN_BYTES:
            self._requests.write(head)
            self._requests.write(payload)
        else:
            self._requests.write(head + payload)

    def drain(self) -> bytes:
        """Return what the process wrote to its standard output and error and nobody read yet."""
        # Mostly there is nothing: asking costs a third of a read that raises BlockingIOError.
        if self._log < 0 or fcntl.ioctl(self._log, termios.FIONREAD, _NOTHING) == _NOTHING:
            return b""
        return self._read_log()

    def _read_log(self) -> bytes:
        parts = []
        # Bounded: a child of the function that floods the pipe must not hold the loop here.
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(self._log, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                self._close_log()
                break
            parts.append(data)
            if len(data) < _READ_BYTES:
                break
        return b"".join(parts)

    def kill(self) -> None:
        """End the process and its group now."""
        if self._zygote is not None and self._zygote.alive:
            self._zygote.kill(self._id)

    def abandon(self) -> None:
        """Kill the process and tell its owner nothing more."""
        self._owner = None
        self.kill()
        self._close()

    def data_received(self, data: bytes) -> None:
        """Cut frames out of the stream and hand them on."""
        size = len(data)
        if size >= _HEADER_BYTES and self._owner is not None and not self._is_collecting:
            length, kind, max_rss_kb, duration_us = REPLY_HEADER.unpack_from(data)
            if length == size - 4:
                self._owner.on_frame(kind, max_rss_kb, duration_us, data[_HEADER_BYTES:])
                return
        self._collect(data)
        self._is_collecting = bool(self._header) or self._reply is not None

    def _collect(self, data: bytes) -> None:
        """Do the same for frames that came in pieces, or several at once."""
        while data and self._owner is not None:
            if self._reply is None:
                data = self._read_header(data)
            if self._reply is None:
                return
            part = data[: self._missing]
            data = data[len(part) :]
            self._missing -= len(part)
            payload = self._payload
            if payload is not None:
                payload.write(part)
            if not self._missing:
                reply, self._reply, self._payload = self._reply, None, None
                # Not a copy: what was collected is given away.
                self._owner.on_frame(*reply, None if payload is None else payload.getvalue())

    def _read_header(self, data: bytes) -> bytes:
        """Take a frame's header from the start of ``data`` if it is whole now; return what follows it."""
        data, self._header = self._header + data, b""
        if len(data) < _HEADER_BYTES:
            self._header = data
            return b""
        length, kind, max_rss_kb, duration_us = REPLY_HEADER.unpack_from(data)
        self._missing = 4 + length - _HEADER_BYTES
        if self._missing < 0 or kind not in KINDS:
            if self._owner is not None:
                # Bytes that are no frame are a frame of no kind to the owner.
                self._owner.on_frame(0, 0, 0, None)
            return b""
        self._reply = kind, max_rss_kb, duration_us
        self._payload = BytesIO() if self._missing <= self._max_payload else None
        return data[_HEADER_BYTES:]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End a process that closed its end of the replies: it can answer nothing more.

        The exit report comes from the zygote and may still be under way; a process
        that has ended already keeps its own status.
        """
        self.kill()

    def _readable(self) -> None:
        data = self._read_log()
        if data and self._owner is not None:
            self._owner.on_output(data)

    def _exited(self, ended: Exit) -> None:
        self._drain_replies()
        owner, self._owner = self._owner, None
        self._zygote = None
        if owner is not None:
            owner.on_exit(ended)
        self._close()

    def _drain_replies(self) -> None:
        """Take what was answered before the end: the report of the end comes by another way."""
        # Without a transport the end came before the loop had one: then the descriptor is ours alone.
        if self._replies is not None and (
            self._replies.is_closing() or self._replies.get_extra_info("pipe").closed
        ):
            return
        try:
            while data := os.read(self._reply_end, _READ_BYTES):
                self.data_received(data)
        except BlockingIOError:
            return

    def _close(self) -> None:
        self._close_log()
        for transport in (self._requests, self._replies):
            if transport is not None:
                transport.close()

    def _close_log(self) -> None:
        if self._log >= 0:
            self._loop.remove_reader(self._log)
            os.close(self._log)
            self._log = -1
