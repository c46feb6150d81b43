"""HTTP over urllib3's pools, for the synchronous client.

urllib3 does the work; here is what it leaves open: whether the first byte of a request was written,
that a deadline holds for answers that trickle, and that no connection is used again on which more came
than the answer.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import queue
import socket
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import EmptyPoolError, HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as UrllibTimeout

from lambent.client.errors import ConfigurationError, TransportError
from lambent.client.exchanges import Exchange, shorter, total_timeout
from lambent.client.messages import Headers, HttpResponse
from lambent.client.routes import Routes
from lambent.client.settings import Endpoint, Settings
from lambent.client.sockets import keep_alive_options, tls_context
from lambent.clock import Clock, SystemClock

_CHUNK_BYTES = 65_536
# After the last event nothing but the end of the body is to come.
_END_OF_STREAM_S = 1.0


class _Now(threading.local):
    """What a thread is in the middle of."""

    exchange: Exchange | None = None


_now = _Now()


class _Incoming(io.RawIOBase):
    """A socket's bytes, each wait for them no longer than what is left of the deadline."""

    def __init__(self, sock: socket.socket, exchange: Exchange | None, clock: Clock) -> None:
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._sock = sock
        self._exchange = exchange
        self._clock = clock
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.ended:
            return 0
        if self._exchange is not None and self._exchange.deadline is not None:
            left = self._exchange.deadline - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(shorter(self._exchange.read, left))
        return self._raw.readinto(buffer)  # type: ignore[no-any-return]

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Reader(io.BufferedReader):
    """Notices when more came than belongs to the answer, which closes this at its end."""

    def __init__(self, incoming: _Incoming, connection: _Tracked, exchange: Exchange | None) -> None:
        super().__init__(incoming, _CHUNK_BYTES)
        self._incoming = incoming
        self._exchange = exchange
        self._connection = connection

    def close(self) -> None:
        if not self.closed:
            self._incoming.ended = True
            if self._exchange is not None:
                self._exchange.finished()
            if self.peek(1):
                self._connection.is_spoilt = True
                if self._exchange is not None:
                    self._exchange.overrun = True
        super().close()


class _Receiving(NamedTuple):
    """As much of a socket as an answer needs."""

    sock: socket.socket
    connection: _Tracked

    def makefile(self, _mode: str) -> _Reader:
        """Return the file from which the answer is read."""
        connection, exchange = self.connection, _now.exchange
        return _Reader(_Incoming(self.sock, exchange, connection.clock), connection, exchange)


class _Tracked(HTTPConnection):
    """A connection that knows whether the first byte of a request was written."""

    clock: Clock = SystemClock()
    is_connecting = False
    is_spoilt = False

    def connect(self) -> None:
        # What a proxy is told is not the request.
        self.is_connecting = True
        try:
            super().connect()
        finally:
            self.is_connecting = False

    @property
    def is_connected(self) -> bool:
        return not self.is_spoilt and super().is_connected

    def close(self) -> None:
        super().close()
        self.is_spoilt = False

    def send(self, data: Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()
        exchange = _now.exchange
        if self.is_connecting or exchange is None or not isinstance(data, bytes):
            super().send(data)
            return
        exchange.begins(self.sock)
        left = memoryview(data)
        while left:
            # The time to make a connection is not the time to send a large body.
            _, read = exchange.timeouts(self.clock.monotonic())
            self.sock.settimeout(read)
            # If the first one fails nothing was sent.
            left = left[self.sock.send(left) :]
            exchange.sent = True

    def response_class(  # type: ignore[override] # it is only called
        self, sock: socket.socket, *_: Any, **options: Any
    ) -> http.client.HTTPResponse:
        """Return the answer that is to be read."""
        return http.client.HTTPResponse(cast("socket.socket", _Receiving(sock, self)), **options)


class _TrackedTls(_Tracked, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Tracked


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TrackedTls


class Connections(Routes["_Route"]):
    """Kept connections of a client, to all endpoints that it calls; shared by threads."""

    def __init__(self, settings: Settings, clock: Clock, **limits: Any) -> None:
        super().__init__(settings, clock, **limits)
        _of_all_clients.add(self)

    def exchange(self, exchange: Exchange) -> HttpResponse:
        """Return the whole answer; of a streamed 200 its head, and where the rest is read from.

        Raises:
            TransportError: there is none. Its ``may_have_run`` tells whether the first byte was written.
        """
        route = self._routes.get(exchange.endpoint) or self._route(exchange.endpoint)
        now = self._clock.monotonic()
        connect, read = exchange.timeouts(now)
        # A signal's handler may call in the middle of a call.
        before, _now.exchange = _now.exchange, exchange
        try:
            response = route.pool.urlopen(
                exchange.method,
                route.before_target + exchange.target,
                body=exchange.body,
                headers={**exchange.headers, **route.headers} if route.headers else exchange.headers,
                retries=False,
                redirect=False,
                # A proxy's pool is asked for what is elsewhere.
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=connect, read=read),
                pool_timeout=cast("int | None", exchange.deadline and exchange.deadline - now),
                preload_content=not exchange.streamed,
                decode_content=False,
            )
            if not exchange.sent:
                # It answers an earlier request, or none at all.
                response.close()
                raise TransportError("the connection was found closed")
            body = b"" if exchange.streamed and response.status == 200 else response.data
            if exchange.overrun:
                raise TransportError("more came than the answer: its length is wrong", may_have_run=True)
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise failure_of(error, exchange, self._clock) from error
        finally:
            _now.exchange = before
        answer = HttpResponse(response.status, Headers(response.headers.items()), body, response.reason or "")
        if exchange.streamed and response.status == 200:
            answer.source = _Source(response, exchange, self._clock)
        return answer

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            routes, self._routes = list(self._routes.values()), {}
        for route in routes:
            _close_idle(route.pool)

    def _make_route(self, endpoint: Endpoint) -> _Route:
        try:
            return self._make_pool(endpoint)
        except (HTTPError, ValueError) as error:
            raise ConfigurationError(f"endpoint or proxy: {_told(_innermost(error))}") from error

    def _make_pool(self, endpoint: Endpoint) -> _Route:
        options: dict[str, Any] = {
            "maxsize": self._max_connections,
            "block": True,
            "socket_options": [*HTTPConnection.default_socket_options, *keep_alive_options()],
        }
        if endpoint.scheme == "https":
            options["ssl_context"] = tls_context(self._settings, verify=self._verify)
        proxy = self._proxy_to(endpoint)
        if proxy is None:
            made = _TlsPool if endpoint.scheme == "https" else _Pool
            return _Route(made(endpoint.host, endpoint.port, **options))
        manager = urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        pool = manager.connection_from_host(endpoint.host, endpoint.port, endpoint.scheme)
        if endpoint.scheme == "https":
            return _Route(pool, manager=manager)
        # A proxy is told the whole URL of what is not encrypted.
        return _Route(pool, proxy.headers, f"http://{endpoint.netloc}", manager)


_of_all_clients: WeakSet[Connections] = WeakSet()


def _forget_connections() -> None:
    """In the child of a fork: its parent goes on to use them, and would get its answers."""
    for each in list(_of_all_clients):
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


def _close_idle(pool: HTTPConnectionPool) -> None:
    """Close the connections of a pool that are not in use.

    Closing the pool itself would leave those that wait for a connection waiting for ever. It goes with the
    last call that uses it, and the rest of its connections with it.
    """
    places: Any = pool.pool
    taken: list[Any] = []
    with contextlib.suppress(queue.Empty):
        while True:
            taken.append(places.get(block=False))
    for each in taken:
        if each is not None:
            each.close()
        places.put(None)


class _Route(NamedTuple):
    """How an endpoint is reached."""

    pool: HTTPConnectionPool
    headers: Mapping[str, str] = {}
    before_target: str = ""
    manager: urllib3.ProxyManager | None = None


class _Source:
    """The rest of a streamed answer."""

    def __init__(self, response: Any, exchange: Exchange, clock: Clock) -> None:
        self._response = response
        self._exchange = exchange
        self._clock = clock

    def read(self) -> bytes:
        """Return what has come, at least a byte; nothing at the end.

        Raises:
            TransportError: the connection broke, or nothing came in time.
        """
        try:
            return bytes(self._response.read1(_CHUNK_BYTES))
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise failure_of(error, self._exchange, self._clock) from error

    def finish(self) -> None:
        """Give the connection back if nothing but the end of the body comes now."""
        self._exchange.deadline = self._clock.monotonic() + _END_OF_STREAM_S
        with contextlib.suppress(TransportError):
            if not self.read():
                response, self._response = self._response, None
                response.release_conn()
        self.close()

    def close(self) -> None:
        """Close the connection, unless it was given back."""
        response, self._response = self._response, None
        if response is not None:
            response.close()
            response.release_conn()

    def __del__(self) -> None:
        # A stream that nobody read or closed would keep its place in the pool for ever.
        with contextlib.suppress(Exception):
            self.close()


def failure_of(error: Exception, exchange: Exchange, clock: Clock) -> TransportError:
    """Return the error for what urllib3 met."""
    reason = _innermost(error)
    if isinstance(reason, TransportError):
        return reason
    if isinstance(error, EmptyPoolError):
        return total_timeout()
    # To urllib3 a refused connection is a kind of timeout, and a body that nobody reads is none.
    if isinstance(error, UrllibTimeout) and not isinstance(error, NewConnectionError):
        return exchange.timed_out(clock.monotonic())
    if isinstance(reason, TimeoutError):
        return exchange.timed_out(clock.monotonic())
    can_help = not isinstance(error, urllib3.exceptions.SSLError)
    return TransportError(_told(reason), may_have_run=exchange.sent, retryable=can_help)


def _innermost(error: BaseException) -> BaseException:
    """Return the reason of an error: those around it repeat its text with addresses of objects."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (each for each in error.args if isinstance(each, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            return error
        error = inner


def _told(error: BaseException) -> str:
    text = str(error)
    if "object at 0x" in text:
        text = text.rpartition("object at 0x")[2].partition(": ")[2] or text
    return f"{type(error).__name__}: {text}"
