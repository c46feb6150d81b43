"""How aiohttp writes a request of ours: what was signed and nothing else, in one piece."""

from __future__ import annotations

import asyncio
import io
import select
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.connector import Connection
from multidict import CIMultiDict

_LARGE_BYTES = 65_536
# aiohttp adds this one later than the others, to every method that has a body.
_NOT_ADDED: CIMultiDict[None] = CIMultiDict({"Content-Type": None})
# Of each connection that was used, what tells whether there is something to read.
_used: WeakKeyDictionary[Any, Callable[[], object]] = WeakKeyDictionary()


class StaleError(Exception):
    """A kept connection was found closed, or bytes of nobody's answer on it; nothing was written."""


class _Upload(io.BytesIO):
    """A large body: each piece that is taken of it tells that the one before has been written."""

    progressed: Callable[[], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next piece."""
        if self.progressed is not None:
            self.progressed()
        return super().read(size)


class Request(aiohttp.ClientRequest):
    """A request whose headers are whole, and whose body of bytes is written together with them.

    aiohttp looks through the headers for those that are missing, and starts a task for each body:
    together a sixth of what a small call costs.
    """

    _small_body = b""
    _upload: _Upload | None = None

    def update_headers(self, headers: Any) -> None:
        """Take all headers, the host's among them."""
        self.headers = CIMultiDict(headers)

    def update_auto_headers(self, skip_auto_headers: Any) -> None:  # noqa: ARG002 - none are wanted
        """Add nothing to what was signed."""
        self._skip_auto_headers = _NOT_ADDED

    def update_body_from_data(self, body: bytes | None, *_: Any) -> None:
        """Keep bytes for :meth:`send`; large ones are written piece by piece."""
        if body is None or len(body) <= _LARGE_BYTES:
            self._small_body = body or b""
            super().update_body_from_data(None)
        else:
            self._upload = _Upload(body)
            super().update_body_from_data(self._upload)

    def update_expect_continue(self, *_: Any) -> None:
        """Wait for no ``100 Continue``, also when a hook asks for it: the body goes with the head."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request.

        Raises:
            StaleError: nobody will answer over this connection.
        """
        protocol, transport = conn.protocol, conn.transport
        assert protocol is not None
        is_gone = transport is None or transport.is_closing()
        incoming = _used.get(protocol)
        if incoming is not None:
            # The loop may not have had the time to see it.
            if is_gone or protocol.should_close or incoming():
                raise StaleError
        elif transport is not None and not is_gone:
            _used[protocol] = watch(transport.get_extra_info("socket").fileno())
        if self._upload is not None:
            # aiohttp begins to count when all is written, which nobody may ever read.
            self._upload.progressed = protocol.start_timeout
        body = self._small_body
        if not body or transport is None or protocol.writing_paused:
            if body:
                super().update_body_from_data(body)
            return await super().send(conn)
        protocol.transport = _Joining(transport, body)
        try:
            return await super().send(conn)
        finally:
            protocol.transport = transport


class _Joining(asyncio.Transport):
    """Stands for a transport while a request's head is written, and writes the body with it."""

    def __init__(self, transport: asyncio.Transport, body: bytes) -> None:
        super().__init__()
        self._transport = transport
        self._body = body

    def is_closing(self) -> bool:
        """Tell whether nothing can be written any more."""
        return self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Write the head and the body."""
        self._transport.write(data + self._body)
        self._body = b""


def watch(descriptor: int) -> Callable[[], object]:
    """Return what tells whether there is something to read."""
    if not hasattr(select, "poll"):
        # Windows
        return lambda: select.select([descriptor], [], [], 0)[0]
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return partial(waiting.poll, 0)
