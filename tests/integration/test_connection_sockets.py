"""Connections over real sockets of either event loop, and time from a clock that the tests move."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import trustme
import uvloop

from lambent.api.connection import LINGER_S, UNREAD_S, Listener
from lambent.api.exchange import Exchange
from lambent.api.request import Request
from lambent.clock import ManualClock
from tests.dialogue import Handler

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
HEAD = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class LargeAnswers(Handler):
    """Answers more than the buffers of a connection hold."""

    body = b"x" * (16 << 20)

    def handle(self, request: Request, exchange: Exchange) -> None:
        self.requests.append((request, exchange))
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.body)
        exchange.respond(head + self.body, keep_alive=request.keep_alive)


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds; it must within ten seconds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError


class Rig(NamedTuple):
    listener: Listener
    handler: LargeAnswers
    clock: ManualClock
    connect: Connect

    async def gone(self) -> None:
        """Return when the server has forgotten every connection."""
        await until(lambda: not self.listener.connections)


@asynccontextmanager
async def served(tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None) -> AsyncIterator[Rig]:
    """Serve one listener on loopback."""
    clock = ManualClock()
    handler = LargeAnswers()
    listener = Listener(handler, clock, max_connections=10, request_timeout_s=60)
    theirs, ours = tls or (None, None)
    server = await asyncio.get_running_loop().create_server(listener.accept, "127.0.0.1", 0, ssl=theirs)
    port = server.sockets[0].getsockname()[1]
    writers = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours)
        writers.append(writer)
        return reader, writer

    try:
        yield Rig(listener, handler, clock, connect)
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        server.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a scenario in an event loop."""

    def run(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scenario, 30))

    return run


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
def test_a_peer_that_does_not_read_its_answer_is_cut_off(run: Run, last: bytes) -> None:
    async def scenario() -> None:
        async with served() as rig:
            _, writer = await rig.connect()
            writer.write(HEAD + last + b"Content-Length: 0\r\n\r\n")
            await until(lambda: bool(rig.handler.requests))
            rig.clock.advance(UNREAD_S - 1)
            rig.listener.watch()
            await asyncio.sleep(0.02)
            assert rig.listener.connections
            rig.clock.advance(2)
            rig.listener.watch()
            await rig.gone()

    run(scenario())


def test_a_peer_that_reads_its_answer_late_gets_all_of_it(run: Run) -> None:
    async def scenario() -> None:
        async with served() as rig:
            reader, writer = await rig.connect()
            writer.write((HEAD + b"Content-Length: 0\r\n\r\n") * 2)
            await until(lambda: bool(rig.handler.requests))
            rig.clock.advance(UNREAD_S - 1)
            rig.listener.watch()
            for _ in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                assert await reader.readexactly(len(rig.handler.body)) == rig.handler.body

    run(scenario())


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_peer_that_sends_all_before_it_reads_gets_its_refusal(
    run: Run, tls: tuple[ssl.SSLContext, ssl.SSLContext], is_secure: bool
) -> None:
    async def scenario() -> None:
        async with served(tls if is_secure else None) as rig:
            reader, writer = await rig.connect()
            writer.write(HEAD + b"Content-Length: 8388608\r\n\r\n" + b"x" * (8 << 20))
            await writer.drain()
            assert await reader.readexactly(3) == b"413"
            writer.close()
            await rig.gone()

    run(scenario())


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_refused_peer_that_never_closes_is_cut_off(
    run: Run, tls: tuple[ssl.SSLContext, ssl.SSLContext], is_secure: bool
) -> None:
    async def scenario() -> None:
        async with served(tls if is_secure else None) as rig:
            reader, writer = await rig.connect()
            writer.write(HEAD + b"Content-Length: 8388608\r\n\r\n")
            assert await reader.readexactly(3) == b"413"
            rig.clock.advance(LINGER_S + 1)
            rig.listener.watch()
            await rig.gone()

    run(scenario())


def test_a_peer_that_ends_its_side_of_tls_is_closed(
    run: Run, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async def scenario() -> None:
        async with served(tls) as rig:
            _, writer = await rig.connect()
            writer.write(HEAD)
            await writer.drain()
            writer.close()
            await rig.gone()

    run(scenario())
