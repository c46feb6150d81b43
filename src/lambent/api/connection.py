"""One HTTP/1.1 connection: parse, hold back, hand over, write answers in order.

httptools parses, asyncio does TLS, the rest is here: limits, time-outs, pipelining,
``Expect: 100-continue``, draining. What a request means is not known here: a
:class:`Handler` gets it whole and answers with bytes.

Requests of one connection are handled one after another. Reading stops as soon as one
waits for the one before it; what that same read brought waits too, the rest stays in
the kernel's buffer.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, cast

import httptools

from lambent import limits
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.model.errors import BadRequestException, ServiceError

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Pools of the SDKs keep connections for up to 90 s; closing sooner shows them resets.
KEEP_ALIVE_S = 300.0
# Requests that wait for the one before them: reading stops here …
_PIPELINED = 1
# … and the connection is given up here.
_PIPELINED_AT_MOST = 256
# A body whose length has three digits is within every limit, and is not worth counting.
_SHORT_DIGITS = 3
# Bodies that are held over all connections together, before anybody is authenticated too.
BUFFERED_BYTES = 1 << 30


class Exchange(Protocol):
    """The way back to the caller of one request."""

    @property
    def is_closed(self) -> bool:
        """Whether the caller is gone; answers are dropped then."""
        ...

    @property
    def is_congested(self) -> bool:
        """Whether the caller reads more slowly than is written."""
        ...

    def write(self, part: bytes) -> None:
        """Send a part of the response; :meth:`respond` sends the last."""
        ...

    def respond(self, response: bytes, *, keep_alive: bool) -> None:
        """Send the response, or its last part, and say whether the connection may stay open."""
        ...


class Handler(Protocol):
    """What stands behind the connections."""

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer ``request`` by calling ``exchange.respond`` once, now or later."""
        ...

    def max_body_bytes(self, request: Request) -> int:
        """Return how long the body of such a request may be."""
        ...

    def too_large(self, request: Request) -> bytes:
        """Return the response to a request whose body is longer than that."""
        ...

    def broken(self, error: ServiceError) -> bytes:
        """Return the response to what is no request."""
        ...


@dataclass
class Listener:
    """What all connections share.

    Attributes:
        buffered: bytes of bodies that are held over all connections.
        trusted: whether callers came over the owner's own socket.
    """

    handler: Handler
    clock: Clock
    max_connections: int
    request_timeout_s: float
    trusted: bool = False
    connections: set[Connection] = field(default_factory=set)
    buffered: int = 0
    draining: bool = False
    _sweep: asyncio.TimerHandle | None = None

    def accept(self) -> Connection:
        """Return the protocol for a new connection."""
        return Connection(self)

    def watch(self, interval_s: float = 1.0) -> None:
        """Start closing slow and idle connections, and go on until :meth:`close`."""
        now = self.clock.monotonic()
        for connection in list(self.connections):
            connection.check_time(now)
        self._sweep = asyncio.get_running_loop().call_later(interval_s, self.watch, interval_s)

    def drain(self) -> None:
        """Close idle connections; the others close with their answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()

    @property
    def is_owing(self) -> bool:
        """Whether an answer is still to be sent; those who follow a log are owed none."""
        return any(not connection.is_streaming for connection in self.connections)

    def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    # Per connection: listener, transport, parser, what waits, flags. Per request being
    # read: target, raw headers, request, body and its bounds, head size, start.
    __slots__ = (
        "_active",
        "_body",
        "_body_bytes",
        "_body_limit",
        "_closing",
        "_congested",
        "_current",
        "_eof",
        "_head_bytes",
        "_idle_since",
        "_is_advancing",
        "_is_complete",
        "_is_short",
        "_listener",
        "_owes_continue",
        "_parser",
        "_paused",
        "_raw_headers",
        "_refused",
        "_request",
        "_started_at",
        "_target",
        "_transport",
        "_waiting",
        "is_streaming",
        "on_header",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything can be received
        self._waiting: deque[Request] = deque()
        self._active = False
        self._paused = False
        self._congested = False
        self._closing = False
        self._eof = False
        self._idle_since = listener.clock.monotonic()
        # Named as received; a method of dict takes each header without a frame of Python.
        self._raw_headers: dict[bytes, bytes] = {}
        self.on_header = self._raw_headers.__setitem__
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._request: Request = None  # type: ignore[assignment]  # set before a body or an end can come
        self._current: Request = None  # type: ignore[assignment]  # set while a request is being handled
        self._owes_continue = False
        self.is_streaming = False
        self._is_advancing = False
        self._is_complete = False
        self._is_short = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_limit = 0
        self._head_bytes = 0
        self._refused: bytes | None = None
        self._started_at: float | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or close it at once beyond the limit."""
        # A cast: uvloop's transports do not inherit from asyncio's.
        transport = self._transport = cast("asyncio.Transport", transport)
        listener = self._listener
        if len(listener.connections) >= listener.max_connections or listener.draining:
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            # A sync call may wait 15 minutes in silence; the kernel tells when the peer is gone.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; requests that are complete are handled or wait their turn."""
        if self._closing:
            return
        self._is_complete = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            refusal = error.__context__
            if not isinstance(refusal, _Refused):
                raise
            self._finish_reading(refusal.response)
        except httptools.HttpParserError:
            self._break(BadRequestException("The request is not valid HTTP/1.1."))
        else:
            if not self._is_complete:
                self._note_unfinished(len(data))

    def eof_received(self) -> bool:
        """Keep a half-closed connection open until its requests are answered."""
        self._eof = True
        return self._active or bool(self._waiting)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; what runs goes on, its answer is dropped."""
        self._closing = True
        self._refused = None
        listener = self._listener
        listener.connections.discard(self)
        self._drop_body()
        listener.buffered -= sum(request.held_bytes for request in self._waiting)
        self._waiting.clear()
        if self._active:
            listener.buffered -= self._current.held_bytes

    def pause_writing(self) -> None:
        """Take no further request from a peer that does not read its answers."""
        self._congested = True
        self._pause()

    def resume_writing(self) -> None:
        """Go on reading."""
        self._congested = False
        if self._waiting and not self._active:
            self._advance()
        self._resume()

    # -- httptools

    def on_url(self, url: bytes) -> None:
        """Collect the request's target, which may come in pieces."""
        self._target += url

    def on_headers_complete(self) -> None:
        """Decide what body is allowed before any of it is kept."""
        parser = self._parser
        raw = self._raw_headers
        headers = dict(zip(map(bytes.lower, raw), raw.values(), strict=True))
        raw.clear()
        listener = self._listener
        request = self._request = Request(
            parser.get_method(),
            self._target,
            headers,
            keep_alive=parser.should_keep_alive(),
            trusted=listener.trusted,
        )
        self._target = b""
        self._head_bytes = -1
        if parser.should_upgrade():
            # The parser would take the body for another protocol's bytes.
            error = BadRequestException("Protocol upgrades are not supported.")
            raise _Refused(listener.handler.broken(error))
        declared = headers.get(b"content-length")
        self._is_short = declared is not None and len(declared) <= _SHORT_DIGITS
        if not self._is_short:
            self._body_limit = listener.handler.max_body_bytes(request)
            if declared is not None and int(declared) > self._body_limit:
                raise _Refused(listener.handler.too_large(request))
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            if self._active:
                self._owes_continue = True
            else:
                self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body within the request's and the server's bounds."""
        if self._is_short:
            self._request.body += body
            return
        listener = self._listener
        self._body.append(body)
        self._body_bytes += len(body)
        listener.buffered += len(body)
        if self._body_bytes > self._body_limit:
            raise _Refused(listener.handler.too_large(self._request))
        if listener.buffered > BUFFERED_BYTES:
            error = BadRequestException("The server holds too many request bodies at the moment.", status=503)
            raise _Refused(listener.handler.broken(error))

    def on_message_complete(self) -> None:
        """Hand the request over, or let it wait for the one before it."""
        request = self._request
        if self._body_bytes:
            request.body = b"".join(self._body)
            # Counted until the answer, not only until it is whole.
            request.held_bytes = self._body_bytes
            self._body_bytes = 0
            self._body = []
        # Trailers come the same way as headers; they are nobody's.
        self._raw_headers.clear()
        self._is_complete = True
        self._head_bytes = 0
        self._started_at = None
        request.received_at = self._listener.clock.monotonic()
        if self._active:
            self._waiting.append(request)
            if len(self._waiting) >= _PIPELINED:
                self._pause()
            if len(self._waiting) >= _PIPELINED_AT_MOST:
                # What one read brought is parsed to its end, paused or not.
                error = BadRequestException("Too many requests were sent without waiting for an answer.")
                raise _Refused(self._listener.handler.broken(error))
        else:
            self._active = True
            self._current = request
            self._listener.handler.handle(request, self)

    # -- ours

    def check_time(self, now: float) -> None:
        """Close when a request takes too long to arrive or nothing arrives for long.

        The time in which a function runs is never counted.
        """
        if self._active or self._closing:
            return
        if self._started_at is not None:
            if now - self._started_at > self._listener.request_timeout_s:
                self._break(BadRequestException("The request did not arrive in time.", status=408))
        elif now - self._idle_since > KEEP_ALIVE_S:
            self._transport.close()

    def drain(self) -> None:
        """Close now if nothing is being handled, else say so in the last answer."""
        if not self._active:
            self._transport.close()
        else:
            (self._waiting[-1] if self._waiting else self._current).keep_alive = False

    def abort(self) -> None:
        """Close without waiting for anything."""
        self._transport.abort()

    def _note_unfinished(self, size: int) -> None:
        """Watch size and time of a request that did not come in one piece."""
        if self._started_at is None:
            self._started_at = self._listener.clock.monotonic()
        # What is collected after the head was complete are trailers.
        if self._head_bytes >= 0 or self._raw_headers:
            self._head_bytes += size
            if self._head_bytes > limits.REQUEST_HEAD_BYTES:
                self._break(BadRequestException("Request line and headers are too large.", status=431))

    # -- Exchange

    @property
    def is_closed(self) -> bool:
        """Whether the peer is gone."""
        return self._closing and self._refused is None

    @property
    def is_congested(self) -> bool:
        """Whether the transport's buffer is above its mark."""
        return self._congested

    def write(self, part: bytes) -> None:
        """Send a part of the response."""
        self.is_streaming = True
        if not self.is_closed:
            self._transport.write(part)

    def respond(self, response: bytes, *, keep_alive: bool) -> None:
        """Send the response's last bytes, then handle the next request or close."""
        self._active = False
        if self.is_closed:
            return
        self._listener.buffered -= self._current.held_bytes
        self._transport.write(response)
        self._idle_since = now = self._listener.clock.monotonic()
        if self._started_at is not None:
            # The next request's time begins when it is its turn.
            self._started_at = now
        if self._owes_continue and not self._waiting:
            self._owes_continue = False
            self._transport.write(_CONTINUE)
        if self._waiting and keep_alive:
            if not self._is_advancing:
                self._advance()
        elif self._refused is not None:
            self._transport.write(self._refused)
            self._transport.close()
        elif not keep_alive or self._eof or self._listener.draining:
            self._closing = True
            self._transport.close()

    def _advance(self) -> None:
        """Handle what waits until one of them is not answered at once; a loop, not a recursion."""
        self._is_advancing = True
        try:
            while self._waiting and not (self._active or self._congested or self.is_closed):
                self._active = True
                self._current = self._waiting.popleft()
                self._listener.handler.handle(self._current, self)
        finally:
            self._is_advancing = False
        if not self._waiting:
            self._resume()

    def _break(self, error: ServiceError) -> None:
        self._finish_reading(self._listener.handler.broken(error))

    def _finish_reading(self, response: bytes) -> None:
        """Answer what cannot be read further, after the answers that are still due."""
        self._closing = True
        self._drop_body()
        if self._active:
            self._refused = response
        else:
            self._transport.write(response)
            self._transport.close()

    def _drop_body(self) -> None:
        self._listener.buffered -= self._body_bytes
        self._body_bytes = 0
        self._body = []

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not (self._closing or self._congested or self._waiting):
            self._paused = False
            self._transport.resume_reading()


class _Refused(Exception):
    """Stops the parser inside a callback; carries the response to close with."""

    def __init__(self, response: bytes) -> None:
        super().__init__()
        self.response = response
