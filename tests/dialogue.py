"""The other end of a connection, without sockets: a transport, a handler and a peer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from lambent.api.connection import Connection, Listener
from lambent.api.exchange import Exchange
from lambent.api.request import Request
from lambent.model.errors import ServiceError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FakeTransport(asyncio.Transport):
    """Keeps what is written; reads nothing.

    Args:
        tls: whether it is one that cannot close a single direction.
        address: of the peer; None as when it has gone already.
    """

    def __init__(self, *, tls: bool = False, address: str | None = "127.0.0.1") -> None:
        super().__init__({"peername": address and (address, 40000), "sslcontext": tls or None})
        self.written = b""
        self.closed = False
        self.aborted = False
        self.ended = False
        self.reading = True
        self.unread = 0
        self._tls = tls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        assert not self.ended
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def can_write_eof(self) -> bool:
        return not self._tls

    def write_eof(self) -> None:
        assert not self._tls
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def forget(self) -> None:
        """Tell nothing of the peer any more, as uvloop's do when it has gone."""
        self._extra: dict[str, object] = {}


class Handler:
    """Remembers requests; answers at once, or when the test says so."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, Exchange]] = []
        self.at_once = True
        self.body_limit = 2000

    def handle(self, request: Request, exchange: Exchange) -> None:
        self.requests.append((request, exchange))
        if self.at_once:
            exchange.respond(OK, keep_alive=request.keep_alive)

    def answer_next(self) -> None:
        """Answer the request that was handed over last."""
        request, exchange = self.requests[-1]
        exchange.respond(OK, keep_alive=request.keep_alive)

    def max_body_bytes(self, request: Request) -> int:
        return self.body_limit

    def too_large(self, request: Request) -> bytes:
        return b"413"

    def broken(self, error: ServiceError) -> bytes:
        return str(error.status).encode()


class Turns:
    """The event loop's next turns: they come at once, but never while a peer's bytes are read."""

    def __init__(self) -> None:
        self.count = 0
        self._steps: deque[Callable[[], None]] = deque()
        self._is_busy = False

    def __call__(self, step: Callable[[], None]) -> None:
        self._steps.append(step)
        if not self._is_busy:
            self.after(lambda: None)

    def after(self, first: Callable[[], None]) -> None:
        """Do something, and then what it leaves to later turns."""
        self._is_busy = True
        try:
            first()
            while self._steps:
                self.count += 1
                self._steps.popleft()()
        finally:
            self._is_busy = False


class Peer:
    """A caller on the other end."""

    def __init__(self, listener: Listener, *, tls: bool = False) -> None:
        self.transport = FakeTransport(tls=tls)
        if not isinstance(listener.call_soon, Turns):
            listener.call_soon = Turns()
        self.turns = listener.call_soon
        self.connection: Connection = listener.accept()
        self.connection.connection_made(self.transport)

    def sends(self, data: bytes) -> None:
        """Deliver bytes, as the event loop would: not to a transport that is closed."""
        if not self.transport.closed:
            self.turns.after(lambda: self.connection.data_received(data))

    def hangs_up(self) -> None:
        """End the connection from this side."""
        self.connection.connection_lost(None)

    @property
    def is_refused(self) -> bool:
        """Whether nothing more is sent to this peer after what was."""
        return self.transport.ended or self.transport.closed
