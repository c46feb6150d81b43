"""One HTTP/1.1 connection: parse, hold back, hand over, write answers in order.

httptools parses, asyncio does TLS, the rest is here: limits, time-outs, pipelining,
``Expect: 100-continue``, ``Upgrade``, draining. What a request means is not known here:
a :class:`Handler` gets it whole and answers with bytes.

Requests of one connection are handled one after another, one in each turn of the event
loop, so that many in one read hold nobody else up. Reading stops as soon as one waits;
what that same read brought waits too, the rest stays in the kernel's buffer.

After a refusal nothing more is understood, but it is still read for a while: closing
while the peer sends would reset the connection, and the peer might never see its answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import NoReturn, cast

import httptools

from lambent import limits
from lambent.api.exchange import Handler
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.model.errors import BadRequestException, ServiceError
from lambent.model.invocations import Origin

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Pools of the SDKs keep connections for up to 90 s; closing sooner shows them resets.
KEEP_ALIVE_S = 300.0
# A peer that does not read what it was answered is given up after so long.
UNREAD_S = 300.0
# What a peer sends after its refusal is read and dropped for so long, up to so much.
LINGER_S = 30.0
LINGER_BYTES = 128 << 20
# Requests that wait for the one before them: reading stops here …
_PIPELINED = 1
# … and the connection is given up here.
_PIPELINED_AT_MOST = 256
# A body whose length has three digits is within every limit, and is not worth counting.
_SHORT_DIGITS = 3
# Longer bodies are put together while they come: to join six megabytes at once takes milliseconds.
_JOIN_BYTES = 65_536
# After a longer read it is others' turn: uvloop goes on up to 32 times while a peer keeps sending.
_LONG_READ_BYTES = 65_536
_SLASH = ord("/")
_VERSIONS = frozenset(("1.0", "1.1"))
# Stands for the request before the first.
_NO_REQUEST = Request(b"", b"/", {})
_NOWHERE = Origin("", is_secure=False)
# Of the callers that were throttled, so many may ask again in so long: they do at once, and
# answering all of them would leave no turn to anybody else.
_RESTED_AT_ONCE = 4
_REST_S = 0.002
# Bodies and unread answers that are held over all connections together, before anybody is
# authenticated too.
BUFFERED_BYTES = 1 << 30


def _call_soon(step: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(step)


@dataclass
class Listener:
    """What all connections share.

    Attributes:
        buffered: bytes of bodies and unread answers that are held over all connections.
        trusted: whether callers came over the owner's own socket.
        call_soon: has something done in the next turn of the event loop.
    """

    handler: Handler
    clock: Clock
    max_connections: int
    request_timeout_s: float
    trusted: bool = False
    connections: set[Connection] = field(default_factory=set)
    buffered: int = 0
    draining: bool = False
    call_soon: Callable[[Callable[[], None]], object] = _call_soon
    _resting: deque[Connection] = field(default_factory=deque)
    _sweep: asyncio.TimerHandle | None = None

    def accept(self) -> Connection:
        """Return the protocol for a new connection."""
        return Connection(self)

    def make_room(self) -> bool:
        """Return whether no more is held than allowed.

        If there is, those are cut off who have not read their answers for the longest time.
        """
        if self.buffered > BUFFERED_BYTES:
            debtors = [connection for connection in self.connections if connection.unread_bytes]
            for connection in sorted(debtors, key=Connection.congested_since):
                connection.abort()
                if self.buffered <= BUFFERED_BYTES:
                    break
        return self.buffered <= BUFFERED_BYTES

    def rest(self, connection: Connection) -> None:
        """Wake a connection up again in its turn."""
        self._resting.append(connection)
        if len(self._resting) == 1:
            asyncio.get_running_loop().call_later(_REST_S, self._wake)

    def _wake(self) -> None:
        for _ in range(min(len(self._resting), _RESTED_AT_ONCE)):
            self._resting.popleft().wake()
        if self._resting:
            asyncio.get_running_loop().call_later(_REST_S, self._wake)

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
        return any(
            not (connection.is_streaming or connection.is_owed_nothing) for connection in self.connections
        )

    def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    # Per connection: listener, transport, parser, what waits, flags, its end. Per request
    # being read: target, raw headers, request, body and its bounds, head size, start.
    __slots__ = (
        "_active",
        "_body",
        "_body_bytes",
        "_body_limit",
        "_closing",
        "_congested_at",
        "_current",
        "_dropped",
        "_ends_at",
        "_eof",
        "_head_bytes",
        "_idle_since",
        "_is_advancing",
        "_is_complete",
        "_is_resting",
        "_is_short",
        "_large_body",
        "_listener",
        "_on_gone",
        "_owes_continue",
        "_parser",
        "_paused",
        "_plain_head",
        "_raw_headers",
        "_refused",
        "_request",
        "_started_at",
        "_target",
        "_transport",
        "_waiting",
        "is_owed_nothing",
        "is_streaming",
        "on_header",
        "origin",
        "unread_bytes",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything can be received
        self._waiting: deque[Request] = deque()
        self.origin = _NOWHERE
        self.is_owed_nothing = False
        self._active = False
        self._paused = False
        self._congested_at: float | None = None
        # Of answers, as counted against the server's bound.
        self.unread_bytes = 0
        self._closing = False
        # When the connection is cut, whatever is still to be sent or received.
        self._ends_at: float | None = None
        self._dropped = 0
        self._eof = False
        self._on_gone: Callable[[], object] | None = None
        # When a sweep first found nothing to wait for; an answer begins it anew.
        self._idle_since: float | None = None
        # Named as received; a method of dict takes each header without a frame of Python.
        self._raw_headers: dict[bytes, bytes] = {}
        self.on_header = self._raw_headers.__setitem__
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        # Of a request that offers another protocol: its head without the offer.
        self._plain_head = b""
        # Being read, and being handled.
        self._request = _NO_REQUEST
        self._current = _NO_REQUEST
        self._owes_continue = False
        self.is_streaming = False
        self._is_advancing = False
        self._is_resting = False
        self._is_complete = False
        self._is_short = False
        self._body: list[bytes] = []
        self._large_body: BytesIO | None = None
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
        # Now, because a transport forgets it when the peer cuts the connection, and policies ask later.
        peer = transport.get_extra_info("peername")
        is_secure = transport.get_extra_info("sslcontext") is not None
        self.origin = Origin(peer[0] if isinstance(peer, tuple) else "", is_secure)
        # A peer that has cut it already has no address; only over a socket of this machine is there none.
        is_nowhere = not self.origin.address and not listener.trusted
        if len(listener.connections) >= listener.max_connections or listener.draining or is_nowhere:
            transport.abort()
            return
        listener.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; requests that are complete are handled or wait their turn."""
        if self._closing:
            self._drop(len(data))
            return
        while True:
            self._is_complete = False
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._decline(data[offer.args[0] :])
                continue
            except httptools.HttpParserCallbackError as error:
                refusal = error.__context__
                if not isinstance(refusal, _Refused):
                    raise
                self._finish_reading(refusal.response)
            except httptools.HttpParserError:
                # What comes after a request that was to be the last is nobody's.
                if self._head_bytes != 0 or self._request.keep_alive:
                    self._break(BadRequestException("The request is not valid HTTP/1.1."))
            else:
                if not self._is_complete:
                    self._note_unfinished(len(data))
            return

    def eof_received(self) -> bool:
        """Keep a half-closed connection open until its requests are answered, unless that may be never."""
        self._eof = True
        if (self._active or self._waiting) and self._on_gone is None and self._transport.can_write_eof():
            return True
        self._close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; what runs goes on, its answer is dropped."""
        self._closing = True
        self._refused = None
        listener = self._listener
        listener.connections.discard(self)
        self._drop_body()
        self._count_unread(0)
        listener.buffered -= sum(request.held_bytes for request in self._waiting)
        self._waiting.clear()
        if self._active:
            listener.buffered -= self._current.held_bytes
            self._current.held_bytes = 0
        if self._on_gone is not None:
            self._on_gone()

    def pause_writing(self) -> None:
        """Take no further request from a peer that does not read its answers."""
        self._congested_at = self._listener.clock.monotonic()
        self._pause()
        self._count_unread(self._transport.get_write_buffer_size())
        self._listener.make_room()

    def resume_writing(self) -> None:
        """Go on reading."""
        self._congested_at = None
        self._count_unread(0)
        if self._started_at is not None:
            self._started_at = self._listener.clock.monotonic()
        if self._waiting and not self._active:
            self._advance_soon()
        self._resume()

    # -- httptools

    def on_url(self, url: bytes) -> None:
        """Collect the request's target, which may come in pieces."""
        self._target += url

    def on_headers_complete(self) -> None:
        """Decide what body is allowed before any of it is kept."""
        parser = self._parser
        raw = self._raw_headers
        # The parser leaves white space behind a value, which is no part of it (RFC 9110, 5.5).
        headers = dict(zip(map(bytes.lower, raw), map(bytes.strip, raw.values()), strict=True))
        raw.clear()
        listener = self._listener
        target = self._target
        keep_alive = parser.should_keep_alive()
        request = self._request = Request(
            parser.get_method(),
            target,
            headers,
            keep_alive=keep_alive,
            trusted=listener.trusted,
        )
        self._target = b""
        self._head_bytes = -1
        # Whatever is unusual has this header, cannot stay open (another version) or no path (CONNECT).
        if b"connection" in headers or not keep_alive or target[0] != _SLASH:
            self._check_unusual(request)
            if self._plain_head:
                return
        declared = headers.get(b"content-length")
        self._is_short = declared is not None and len(declared) <= _SHORT_DIGITS
        if not self._is_short:
            self._body_limit = listener.handler.max_body_bytes(request)
            if declared is not None and int(declared) > self._body_limit:
                raise _Refused(listener.handler.too_large(request))
            if declared is None and b"transfer-encoding" in headers:
                self._check_coding(headers[b"transfer-encoding"])
        # A client of HTTP/1.0 cannot mean it: it knows no interim answers.
        if (
            b"expect" in headers
            and headers[b"expect"].lower() == b"100-continue"
            and parser.get_http_version() == "1.1"
        ):
            if self._active or self._waiting:
                self._owes_continue = True
            else:
                self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body within the request's and the server's bounds."""
        if self._is_short:
            self._request.body += body
            return
        listener = self._listener
        self._body_bytes += len(body)
        listener.buffered += len(body)
        if self._body_bytes <= _JOIN_BYTES:
            self._body.append(body)
        else:
            self._append_to_large(body)
        if self._body_bytes > self._body_limit:
            raise _Refused(listener.handler.too_large(self._request))
        if listener.buffered > BUFFERED_BYTES and not listener.make_room():
            self._refuse("The server holds too many request bodies at the moment.", 503)

    def on_message_complete(self) -> None:
        """Hand the request over, or let it wait for the one before it."""
        if self._plain_head:
            return
        request = self._request
        if self._body_bytes:
            large = self._large_body
            # Not a copy: what was collected is given away.
            request.body = b"".join(self._body) if large is None else large.getvalue()
            # Counted until the answer, not only until it is whole.
            request.held_bytes = self._body_bytes
            self._body_bytes = 0
            self._body = []
            self._large_body = None
        if self._raw_headers:
            # Trailers come the same way as headers; they are nobody's.
            self._raw_headers.clear()
        self._head_bytes = 0
        self._started_at = None
        request.received_at = self._listener.clock.monotonic()
        if self._active or self._is_complete or self._waiting:
            self._is_complete = True
            self._owes_continue = False
            self._waiting.append(request)
            if not self._active:
                # What came before it in the same read has been answered: its turn is the next.
                self._advance_soon()
            if len(self._waiting) >= _PIPELINED:
                self._pause()
            if len(self._waiting) >= _PIPELINED_AT_MOST:
                # What one read brought is parsed to its end, paused or not.
                self._refuse("Too many requests were sent without waiting for an answer.")
        else:
            self._is_complete = True
            self._active = True
            self._current = request
            self._listener.handler.handle(request, self)

    # -- ours

    def check_time(self, now: float) -> None:
        """Close when a request takes too long to arrive, nothing arrives or nothing is read for long.

        The time in which a function runs is never counted.
        """
        congested_at = self._congested_at
        if self._ends_at is not None and now > self._ends_at:
            self._transport.abort()
        elif congested_at is not None:
            if now - congested_at > UNREAD_S:
                self._transport.abort()
        elif self._active or self._closing:
            return
        elif self._started_at is not None:
            if now - self._started_at > self._listener.request_timeout_s:
                self._break(BadRequestException("The request did not arrive in time.", status=408))
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > KEEP_ALIVE_S:
            self._close()

    def drain(self) -> None:
        """Close now if nothing is being handled, else say so in the last answer."""
        if self._active or self._waiting:
            (self._waiting[-1] if self._waiting else self._current).keep_alive = False
        else:
            # Over TLS the peer's goodbye is waited for, which may take long.
            self.is_owed_nothing = True
            self._close()

    def abort(self) -> None:
        """Close without waiting for anything; what is still to be sent is dropped."""
        self._closing = True
        self._refused = None
        self._count_unread(0)
        self._transport.abort()

    def _note_unfinished(self, size: int) -> None:
        """Watch size and time of a request that did not come in one piece."""
        if size > _LONG_READ_BYTES and not self._paused:
            self._pause()
            self._listener.call_soon(self._resume)
        if self._started_at is None:
            self._started_at = self._listener.clock.monotonic()
        # What is collected after the head was complete are trailers.
        if self._head_bytes >= 0 or self._raw_headers:
            self._head_bytes += size
            if self._head_bytes > limits.REQUEST_HEAD_BYTES:
                self._break(BadRequestException("Request line and headers are too large.", status=431))

    def congested_since(self) -> float:
        """Return since when the peer has not read its answers; now, if it has."""
        return self._listener.clock.monotonic() if self._congested_at is None else self._congested_at

    # -- Exchange

    @property
    def is_closed(self) -> bool:
        """Whether the peer is gone."""
        return self._closing and self._refused is None

    @property
    def is_congested(self) -> bool:
        """Whether the transport's buffer is above its mark."""
        return self._congested_at is not None

    def write(self, part: bytes) -> None:
        """Send a part of the response."""
        self.is_streaming = True
        if not self.is_closed:
            self._transport.write(part)

    def begin(self, head: bytes) -> None:
        """Send the response's first bytes; :meth:`respond` follows at once."""
        if not self.is_closed:
            self._transport.write(head)

    def call_when_gone(self, step: Callable[[], object]) -> None:
        """Have something done when the peer closes, or ends its side."""
        self._on_gone = step
        if self._eof:
            self._close()

    def rest(self) -> None:
        """Read no further after the response for a moment."""
        if not self._is_resting:
            self._is_resting = True
            self._pause()
            self._listener.rest(self)

    def wake(self) -> None:
        """Go on after a rest."""
        self._is_resting = False
        if self._waiting and not self._active:
            self._advance_soon()
        self._resume()

    def respond(self, response: bytes, *, keep_alive: bool) -> None:
        """Send the response's last bytes, then handle the next request or close."""
        self._active = False
        self._listener.buffered -= self._current.held_bytes
        if self._closing and self._refused is None:
            return
        self._transport.write(response)
        self._idle_since = None
        if self._started_at is not None:
            # The next request's time begins when it is its turn.
            self._started_at = self._listener.clock.monotonic()
        if self._owes_continue and not self._waiting:
            self._owes_continue = False
            self._transport.write(_CONTINUE)
        if self._waiting and keep_alive:
            if not self._is_resting:
                self._advance_soon()
        elif self._refused is not None and keep_alive:
            refused, self._refused = self._refused, None
            self._transport.write(refused)
            self._linger()
        elif not keep_alive or self._eof or self._listener.draining:
            self._close()

    def _advance_soon(self) -> None:
        """Have the next of those that wait handled in a turn of its own: between them it is others' turn."""
        if not self._is_advancing:
            self._is_advancing = True
            self._listener.call_soon(self._advance)

    def _advance(self) -> None:
        self._is_advancing = False
        if self._waiting and not (self._active or self.is_congested or self.is_closed):
            self._active = True
            self._current = self._waiting.popleft()
            self._listener.handler.handle(self._current, self)
        if not self._waiting:
            self._resume()

    def _break(self, error: ServiceError) -> None:
        self._finish_reading(self._listener.handler.broken(error))

    def _finish_reading(self, response: bytes) -> None:
        """Answer what cannot be read further, after the answers that are still due."""
        self._closing = True
        self._drop_body()
        if self._active or self._waiting:
            self._refused = response
            self._pause()
        else:
            self._transport.write(response)
            self._linger()

    def _linger(self) -> None:
        """Send no more, and drop what still comes until the peer has read its answer and closes."""
        transport = self._transport
        if self._eof or self._listener.draining:
            self._close()
            return
        self._ends_at = self._listener.clock.monotonic() + LINGER_S
        # TLS cannot close one direction; the answer says that it is the last one.
        if transport.can_write_eof():
            transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        """Close as soon as the peer has read what was written, or not in time."""
        self._closing = True
        self._refused = None
        self._ends_at = self._listener.clock.monotonic() + UNREAD_S
        self._transport.close()

    def _refuse(self, message: str, status: int = 400) -> NoReturn:
        """Stop the parser from inside a callback."""
        raise _Refused(self._listener.handler.broken(BadRequestException(message, status=status)))

    def _check_coding(self, coding: bytes) -> None:
        """Refuse a body whose framing or coding is not understood (RFC 9112, 6.1)."""
        if coding.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
            self._refuse("Transfer-Encoding must be chunked, and HTTP/1.0 has none.")

    def _check_unusual(self, request: Request) -> None:
        """Refuse what is no HTTP/1, and note the head of an offer for :meth:`_decline`."""
        version = self._parser.get_http_version()
        if version not in _VERSIONS or request.method == b"CONNECT":
            self._refuse("The request is not valid HTTP/1.1.")
        if self._parser.should_upgrade():
            lines = [
                b"%b %b HTTP/%b" % (request.method, request.target, version.encode()),
                *(b"%b: %b" % header for header in request.headers.items() if header[0] != b"upgrade"),
            ]
            self._plain_head = b"\r\n".join([*lines, b"", b""])

    def _decline(self, rest: bytes) -> bytes:
        """Return a request that offers another protocol, and what follows it, without the offer.

        Whoever is asked may ignore it (RFC 9110, 7.8), but the parser takes what follows
        such a head for the other protocol's bytes. curl and Java offer HTTP/2 with every
        first request, whether it has a body or not.
        """
        self._parser = httptools.HttpRequestParser(self)
        head, self._plain_head = self._plain_head, b""
        return head + rest

    def _drop_body(self) -> None:
        self._listener.buffered -= self._body_bytes
        self._body_bytes = 0
        self._body = []
        self._large_body = None

    def _append_to_large(self, body: bytes) -> None:
        large = self._large_body
        if large is None:
            large = self._large_body = BytesIO()
            large.write(b"".join(self._body))
            self._body = []
        large.write(body)

    def _count_unread(self, size: int) -> None:
        self._listener.buffered += size - self.unread_bytes
        self.unread_bytes = size

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not (self._closing or self.is_congested or self._waiting or self._is_resting):
            self._paused = False
            self._transport.resume_reading()


class _Refused(Exception):
    """Stops the parser inside a callback; carries the response to close with."""

    def __init__(self, response: bytes) -> None:
        super().__init__()
        self.response = response
