"""HTTP over aiohttp, for the asynchronous client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from lambent.client.aio_requests import Request, StaleError
from lambent.client.errors import TransportError
from lambent.client.exchanges import Exchange
from lambent.client.messages import Headers, HttpResponse
from lambent.client.routes import Routes
from lambent.client.settings import Endpoint, Settings
from lambent.client.sockets import keep_alive_options, tls_context
from lambent.clock import Clock

# Shorter than the 350 s after which firewalls forget a connection, longer than a pause between calls.
_KEEP_IDLE_S = 90.0
_END_OF_STREAM_S = 1.0


class _Connector(aiohttp.TCPConnector):
    """Limits the time to make a connection as a whole.

    aiohttp limits its steps but one: that a proxy says whether it goes on.
    """

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: Any,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - theirs
    ) -> Any:
        async with asyncio.timeout(timeout.sock_connect):
            return await super()._create_connection(req, traces, timeout)


class _Route(NamedTuple):
    """How an endpoint is reached."""

    ssl: ssl.SSLContext | bool
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] = {}


class AsyncConnections(Routes[_Route]):
    """Kept connections of a client, for the tasks of one loop."""

    def __init__(self, settings: Settings, clock: Clock, **limits: Any) -> None:
        super().__init__(settings, clock, **limits)
        self._connector: aiohttp.TCPConnector | None = None
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
            route = await asyncio.to_thread(self._route, endpoint)
        connector = self._connector
        if connector is None or connector.closed:
            connector = await self._make_connector()
        try:
            if exchange.deadline is None:
                return await self._answer(connector, exchange, route)
            async with asyncio.timeout(exchange.deadline - self._clock.monotonic()):
                return await self._answer(connector, exchange, route)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _failure(error, exchange, self._clock) from error

    async def close(self) -> None:
        """Close all connections."""
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    async def _make_connector(self) -> aiohttp.TCPConnector:
        connector = self._connector = _Connector(
            limit=0,
            limit_per_host=self._max_connections,
            keepalive_timeout=_KEEP_IDLE_S,
            socket_factory=_make_socket,
        )
        self._end = _closed_with_the_loop(connector)
        await anext(self._end)
        return connector

    def _make_route(self, endpoint: Endpoint) -> _Route:
        context: ssl.SSLContext | bool = True
        if endpoint.scheme == "https":
            context = tls_context(self._settings, verify=self._verify)
        proxy = self._proxy_to(endpoint)
        return _Route(context) if proxy is None else _Route(context, URL(proxy.url), proxy.headers)

    async def _answer(
        self, connector: aiohttp.TCPConnector, exchange: Exchange, route: _Route
    ) -> HttpResponse:
        response = None
        while response is None:
            # Each that is stale leaves the pool, so there is an end.
            with contextlib.suppress(StaleError):
                response = await self._send(connector, exchange, route)
        try:
            streamed = exchange.streamed and response.status == 200
            content = b"" if streamed else await response.read()
        except BaseException:
            # What else comes over it is the answer to nobody.
            response.close()
            raise
        answer = HttpResponse(
            response.status, Headers(response.headers.items()), content, response.reason or ""
        )
        if streamed:
            answer.source = _Source(response, exchange, self._clock)
        return answer

    async def _send(
        self, connector: aiohttp.TCPConnector, exchange: Exchange, route: _Route
    ) -> aiohttp.ClientResponse:
        """Write the request and return the head of its answer.

        Without aiohttp's session, whose redirects, cookies and middlewares no call wants.
        """
        endpoint, headers = exchange.endpoint, exchange.headers
        is_plain = endpoint.scheme == "http"
        exchange.sent = False
        connect, read = exchange.timeouts(self._clock.monotonic())
        request = Request(
            exchange.method,
            _url(endpoint, exchange.target),
            data=exchange.body or None,
            headers={**headers, **route.proxy_headers} if is_plain and route.proxy_headers else headers,
            loop=asyncio.get_running_loop(),
            ssl=route.ssl,
            proxy=route.proxy,
            proxy_headers=None if is_plain else route.proxy_headers,
        )
        try:
            connection = await connector.connect(request, [], _connect_timeout(connect))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if connector.closed and task is not None and not task.cancelling():
                # Nobody cancelled this call: so end all that wait for a connection of what is closed.
                raise TransportError("the client was closed") from None
            raise
        response = None
        try:
            protocol = connection.protocol
            assert protocol is not None
            protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=read)
            exchange.sent = True
            response = await request.send(connection)
            await response.start(connection)
        except BaseException:
            # Closing alone would wait until the rest of the request is written.
            if connection.transport is not None:
                connection.transport.abort()
            if response is not None:
                response.close()
            connection.close()
            raise
        return response


# A client calls a few functions again and again.
@lru_cache(1024)
def _url(endpoint: Endpoint, target: str) -> URL:
    return URL(f"{endpoint.scheme}://{endpoint.netloc}{target}", encoded=True)


# Nearly all calls have that of their client.
@lru_cache(16)
def _connect_timeout(seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=seconds)


async def _closed_with_the_loop(connector: aiohttp.TCPConnector) -> AsyncIterator[None]:
    """Close at the end of the loop what nobody has closed: ``asyncio.run`` ends open generators."""
    try:
        yield
    finally:
        await connector.close()


class _Source:
    """The rest of a streamed answer."""

    def __init__(self, response: aiohttp.ClientResponse, exchange: Exchange, clock: Clock) -> None:
        self._response = response
        self._exchange = exchange
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        """Return what has come, at least a byte; nothing at the end.

        Raises:
            TransportError: the connection broke, or nothing came in time.
        """
        deadline = self._exchange.deadline
        try:
            if deadline is None:
                return await self._response.content.readany()
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.close()
            raise _failure(error, self._exchange, self._clock) from error

    async def finish(self) -> None:
        """Give the connection back if nothing but the end of the body comes now."""
        try:
            with contextlib.suppress(TransportError, TimeoutError):
                async with asyncio.timeout(_END_OF_STREAM_S):
                    await self.read()
        finally:
            # At its end the connection has been given back already.
            self.close()

    def close(self) -> None:
        """Close the connection, if it is not at its end."""
        self._response.close()

    def __del__(self) -> None:
        # A stream that nobody read or closed would keep its place for ever. Any thread may come here.
        if not self._response.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._response.close)


def _make_socket(address: Any) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    for level, option, value in keep_alive_options():
        made.setsockopt(level, option, value)
    return made


def _failure(error: Exception, exchange: Exchange, clock: Clock) -> TransportError:
    """Return the error for what aiohttp met."""
    if isinstance(error, TransportError):
        return error
    if isinstance(error, TimeoutError):
        return exchange.timed_out(clock.monotonic())
    can_help = not isinstance(error, aiohttp.ClientSSLError)
    text = str(error) or "the connection was closed"
    return TransportError(f"{type(error).__name__}: {text}", may_have_run=exchange.sent, retryable=can_help)
