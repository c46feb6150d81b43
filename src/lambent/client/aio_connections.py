"""HTTP over aiohttp, for the asynchronous client."""

from __future__ import annotations

import asyncio
import contextlib
import io
import select
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from lambent.client.errors import TransportError
from lambent.client.exchanges import Exchange
from lambent.client.messages import Headers, HttpResponse
from lambent.client.settings import Endpoint, Settings
from lambent.client.sockets import keep_alive_options, proxy_headers, tls_context
from lambent.clock import Clock

_LARGE_BYTES = 65_536
# Shorter than the 350 s after which firewalls forget a connection, longer than a pause between calls.
_KEEP_IDLE_S = 90.0
_END_OF_STREAM_S = 1.0
# aiohttp would add its own; what is sent is what was signed.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _StaleError(Exception):
    """A kept connection was found closed, or bytes of nobody's answer on it; nothing was written."""


_used: WeakSet[Any] = WeakSet()


class _Request(aiohttp.ClientRequest):
    """Looks at a kept connection before it writes: the loop may not have had the time to see its end."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        protocol = conn.protocol
        if protocol not in _used:
            _used.add(protocol)
        elif protocol is None or protocol.should_close or _is_readable(conn.transport):
            raise _StaleError
        return await super().send(conn)


def _is_readable(transport: asyncio.Transport | None) -> bool:
    if transport is None or transport.is_closing():
        return True
    waiting = select.poll()
    waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(waiting.poll(0))


class _Route(NamedTuple):
    """How an endpoint is reached."""

    ssl: ssl.SSLContext | bool
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] = {}


class AsyncConnections:
    """Kept connections of a client, for the tasks of one loop; see :class:`Connections` for the arguments."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        max_connections: int = 64,
        verify: bool | str | ssl.SSLContext = True,
        proxy: str | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._max_connections = max_connections
        self._verify = verify
        self._proxy = proxy
        self._routes: dict[Endpoint, _Route] = {}
        self._session: aiohttp.ClientSession | None = None
        self._end: AsyncIterator[None] | None = None

    async def exchange(self, exchange: Exchange) -> HttpResponse:
        """Return the whole answer; of a streamed 200 its head, and where the rest is read from.

        Raises:
            TransportError: there is none. Its ``may_have_run`` tells whether the first byte can have been
                written.
        """
        endpoint = exchange.endpoint
        route = self._routes.get(endpoint)
        if route is None:
            # Certificates are files.
            route = self._routes[endpoint] = await asyncio.to_thread(self._make_route, endpoint)
        session = self._session or await self._make_session()
        response: aiohttp.ClientResponse | None = None
        try:
            while True:
                # Each that is stale leaves the pool, so there is an end.
                with contextlib.suppress(_StaleError):
                    response = await session.request(**self._arguments(exchange, route))
                    break
            streamed = exchange.streamed and response.status == 200
            content = b"" if streamed else await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _failure(error, exchange, self._clock) from error
        except BaseException:
            # Cancelled: what else comes over it is the answer to nobody.
            if response is not None:
                response.close()
            raise
        answer = HttpResponse(
            response.status, Headers(response.headers.items()), content, response.reason or ""
        )
        if streamed:
            answer.source = _Source(response, exchange, self._clock)
        return answer

    def _arguments(self, exchange: Exchange, route: _Route) -> dict[str, Any]:
        endpoint, body, headers = exchange.endpoint, exchange.body, exchange.headers
        now = self._clock.monotonic()
        connect, read = exchange.timeouts(now)
        total = None if exchange.deadline is None else exchange.deadline - now
        is_plain = endpoint.scheme == "http"
        return {
            "method": exchange.method,
            "url": URL(f"{endpoint.scheme}://{endpoint.netloc}{exchange.target}", encoded=True),
            # Large ones are written piece by piece.
            "data": io.BytesIO(body) if len(body) > _LARGE_BYTES else body or None,
            "headers": {**headers, **route.proxy_headers} if is_plain and route.proxy_headers else headers,
            "allow_redirects": False,
            "timeout": _timeout(total, connect, read),
            "ssl": route.ssl,
            "proxy": route.proxy,
            "proxy_headers": None if is_plain else route.proxy_headers,
        }

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _closed_with_the_loop(self) -> AsyncIterator[None]:
        """Close at the end of the loop what nobody has closed: ``asyncio.run`` ends open generators."""
        try:
            yield
        finally:
            await self.close()

    async def _make_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._max_connections, keepalive_timeout=_KEEP_IDLE_S, socket_factory=_make_socket
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
            skip_auto_headers=_NOT_ADDED,
            auto_decompress=False,
            trust_env=False,
        )
        session = self._session
        self._end = self._closed_with_the_loop()
        await anext(self._end)
        return session

    def _make_route(self, endpoint: Endpoint) -> _Route:
        context: ssl.SSLContext | bool = True
        if endpoint.scheme == "https":
            context = tls_context(self._settings, verify=self._verify)
        proxy = self._proxy or self._settings.proxy(endpoint)
        if proxy is None:
            return _Route(context)
        return _Route(context, URL(proxy).with_user(None), proxy_headers(proxy))


# Nearly all calls have those of their client.
@lru_cache(16)
def _timeout(total: float | None, connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=read)


class _Source:
    """The rest of a streamed answer."""

    def __init__(self, response: aiohttp.ClientResponse, exchange: Exchange, clock: Clock) -> None:
        self._response = response
        self._exchange = exchange
        self._clock = clock

    async def read(self) -> bytes:
        """Return what has come, at least a byte; nothing at the end.

        Raises:
            TransportError: the connection broke, or nothing came in time.
        """
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.close()
            raise _failure(error, self._exchange, self._clock, sent=True) from error

    async def finish(self) -> None:
        """Give the connection back if nothing but the end of the body comes now."""
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(_END_OF_STREAM_S):
                await self.read()
        # At its end the connection has been given back already.
        self.close()

    def close(self) -> None:
        """Close the connection, if it is not at its end."""
        self._response.close()


def _make_socket(address: Any) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    for level, option, value in keep_alive_options():
        made.setsockopt(level, option, value)
    return made


def _failure(
    error: Exception, exchange: Exchange, clock: Clock, *, sent: bool | None = None
) -> TransportError:
    """Return the error for what aiohttp met."""
    if isinstance(error, TransportError):
        return error
    if sent is None:
        sent = not isinstance(
            error,
            aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError,
        )
    if isinstance(error, TimeoutError):
        return exchange.timed_out(clock.monotonic(), sent=sent)
    can_help = not isinstance(error, aiohttp.ClientSSLError)
    text = str(error) or "the connection was closed"
    return TransportError(f"{type(error).__name__}: {text}", may_have_run=sent, retryable=can_help)
