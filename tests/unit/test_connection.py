"""One HTTP/1.1 connection, as a dialogue of bytes without sockets."""

from __future__ import annotations

import asyncio

import pytest

from lambent.api import connection as connection_module
from lambent.api.connection import KEEP_ALIVE_S, Connection, Exchange, Listener
from lambent.api.request import Request
from lambent.clock import ManualClock
from lambent.model.errors import ServiceError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FakeTransport(asyncio.Transport):
    """Keeps what is written; reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


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

    def max_body_bytes(self, request: Request) -> int:
        return self.body_limit

    def too_large(self, request: Request) -> bytes:
        return b"413"

    def broken(self, error: ServiceError) -> bytes:
        return str(error.status).encode()


class Peer:
    """A caller on the other end."""

    def __init__(self, listener: Listener) -> None:
        self.transport = FakeTransport()
        self.connection: Connection = listener.accept()
        self.connection.connection_made(self.transport)

    def sends(self, data: bytes) -> None:
        self.connection.data_received(data)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def listener(handler: Handler, clock: ManualClock) -> Listener:
    return Listener(handler, clock, max_connections=3, request_timeout_s=60)


@pytest.fixture
def peer(listener: Listener) -> Peer:
    return Peer(listener)


def test_a_request_arrives_whole_with_lower_case_header_names(peer: Peer, handler: Handler) -> None:
    peer.sends(
        b"POST /a%3Ab?Q=1 HTTP/1.1\r\nHost: x\r\nX-AMZ-Log-Type: Tail\r\nContent-Length: 4\r\n\r\n{}{}"
    )
    request, _ = handler.requests[0]
    assert (request.method, request.path, request.query) == (b"POST", b"/a%3Ab", b"Q=1")
    assert request.headers[b"x-amz-log-type"] == b"Tail"
    assert request.body == b"{}{}"
    assert peer.transport.written == OK
    assert not peer.transport.closed


def test_a_request_that_comes_byte_by_byte_is_the_same(peer: Peer, handler: Handler) -> None:
    for byte in b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc":
        peer.sends(bytes([byte]))
    assert handler.requests[0][0].target == b"/f"
    assert handler.requests[0][0].headers == {b"host": b"x", b"content-length": b"3"}
    assert handler.requests[0][0].body == b"abc"


def test_a_chunked_body_is_joined(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert handler.requests[0][0].body == b"abcde"


def test_an_absolute_target_is_read_as_its_path(peer: Peer, handler: Handler) -> None:
    peer.sends(b"GET http://proxy:80/x/y?z=1 HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert handler.requests[0][0].path == b"/x/y"
    assert handler.requests[0][0].query == b"z=1"


def test_pipelined_requests_are_handled_one_after_another_and_answered_in_order(
    peer: Peer, handler: Handler
) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    assert [request.target for request, _ in handler.requests] == [b"/1"]
    handler.requests[0][1].respond(b"one", keep_alive=True)
    assert [request.target for request, _ in handler.requests] == [b"/1", b"/2"]
    handler.requests[1][1].respond(b"two", keep_alive=True)
    assert peer.transport.written == b"onetwo"


def test_reading_stops_when_many_requests_wait_and_goes_on_when_they_are_answered(
    peer: Peer, handler: Handler
) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n" * 20)
    assert not peer.transport.reading
    while len(handler.requests) < 20:
        handler.requests[-1][1].respond(b".", keep_alive=True)
    assert peer.transport.reading


def test_trailers_are_nobodys_headers(peer: Peer, handler: Handler) -> None:
    peer.sends(
        b"POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Amz-Invocation-Type: DryRun\r\n\r\n"
        b"POST /2 HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    )
    for request, _ in handler.requests:
        assert b"x-amz-invocation-type" not in request.headers


def test_trailers_are_bounded_as_headers_are(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    for _ in range(18):
        peer.sends(b"a: " + b"x" * 65_000 + b"\r\n")
        if peer.transport.closed:
            break
    assert peer.transport.written == b"431"
    assert not handler.requests


def test_an_offer_to_upgrade_is_refused_before_anything_runs(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}")
    assert not handler.requests
    assert peer.transport.written == b"400"
    assert peer.transport.closed


def test_nothing_further_is_handled_for_a_peer_that_does_not_read(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n" * 3)
    peer.connection.pause_writing()
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert len(handler.requests) == 1
    assert not peer.transport.reading
    handler.at_once = True
    peer.connection.resume_writing()
    assert peer.transport.written == OK * 3
    assert peer.transport.reading


def test_a_body_is_counted_until_its_answer_or_until_the_caller_hangs_up(
    listener: Listener, handler: Handler
) -> None:
    handler.at_once = False
    body = b"Content-Length: 1500\r\n\r\n" + b"x" * 1500
    for hangs_up in (False, True):
        peer = Peer(listener)
        peer.sends((b"POST /f HTTP/1.1\r\n" + body) * 2)
        assert listener.buffered == 3000
        if hangs_up:
            peer.connection.connection_lost(None)
        handler.requests[-1][1].respond(OK, keep_alive=True)
        if not hangs_up:
            assert listener.buffered == 1500
            handler.requests[-1][1].respond(OK, keep_alive=True)
        assert listener.buffered == 0


def test_the_time_of_a_request_begins_when_it_is_its_turn(
    peer: Peer, handler: Handler, clock: ManualClock
) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n")
    peer.sends(b"GET /2 HT")
    clock.advance(900)
    handler.requests[0][1].respond(OK, keep_alive=True)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.written == OK
    clock.advance(61)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.written == OK + b"408"


def test_expect_100_continue_of_a_pipelined_request_is_answered_in_its_turn(
    peer: Peer, handler: Handler
) -> None:
    handler.at_once = False
    peer.sends(
        b"GET /1 HTTP/1.1\r\n\r\nPOST /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert peer.transport.written == b""
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == OK + b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.sends(b"{}")
    assert handler.requests[1][0].body == b"{}"


def test_many_requests_that_are_answered_at_once_do_not_pile_up(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n" * 256)
    handler.at_once = True
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == OK * 256
    assert peer.transport.reading


def test_requests_beyond_any_use_are_refused_after_the_answers_that_are_due(
    peer: Peer, handler: Handler
) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n" * 1000)
    handler.at_once = True
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == OK * 257 + b"400"
    assert peer.transport.closed


def test_expect_100_continue_is_answered_before_the_body(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert peer.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.sends(b"{}")
    assert peer.transport.written.endswith(OK)


def test_connection_close_is_honoured(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert peer.transport.written == OK
    assert peer.transport.closed


def test_http_1_0_closes_after_its_answer(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.transport.closed


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\0\0\0"]
)
def test_what_is_no_http_is_answered_400_and_closed(peer: Peer, handler: Handler, garbage: bytes) -> None:
    peer.sends(garbage)
    assert peer.transport.written == b"400"
    assert peer.transport.closed
    assert not handler.requests


def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nContent-Length: 2001\r\n\r\n")
    assert peer.transport.written == b"413"
    assert peer.transport.closed
    assert not handler.requests


def test_a_body_of_exactly_the_limit_passes(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
    assert len(handler.requests[0][0].body) == 2000


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(peer: Peer, listener: Listener) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n")
    assert peer.transport.written == b""
    peer.sends(b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert peer.transport.written == b"413"
    assert listener.buffered == 0


def test_a_head_over_one_megabyte_is_refused_with_431(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.1\r\n")
    for _ in range(18):
        peer.sends(b"a: " + b"x" * 65_000 + b"\r\n")
        if peer.transport.closed:
            break
    assert peer.transport.written == b"431"


def test_bodies_of_all_connections_together_are_bounded(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BUFFERED_BYTES", 1500)
    first, second = Peer(listener), Peer(listener)
    first.sends(b"POST /f HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"x" * 900)
    second.sends(b"POST /f HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"x" * 900)
    assert second.transport.written == b"503"
    first.connection.connection_lost(None)
    assert listener.buffered == 0


def test_a_slow_request_is_answered_408_and_one_that_runs_is_left_alone(
    listener: Listener, clock: ManualClock, handler: Handler
) -> None:
    handler.at_once = False
    slow, waiting = Peer(listener), Peer(listener)
    slow.sends(b"POST /f HTTP/1.1\r\nContent-Le")
    waiting.sends(b"GET / HTTP/1.1\r\n\r\n")
    clock.advance(901)
    for each in (slow, waiting):
        each.connection.check_time(clock.monotonic())
    assert slow.transport.written == b"408"
    assert not waiting.transport.closed
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert waiting.transport.written == OK


def test_an_idle_connection_is_kept_longer_than_the_pools_of_sdks_and_closed_at_last(
    peer: Peer, clock: ManualClock
) -> None:
    peer.sends(b"GET / HTTP/1.1\r\n\r\n")
    clock.advance(100)
    peer.connection.check_time(clock.monotonic())
    assert not peer.transport.closed
    clock.advance(KEEP_ALIVE_S)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.closed


def test_connections_beyond_the_limit_are_closed_at_once(listener: Listener) -> None:
    kept = [Peer(listener) for _ in range(3)]
    assert Peer(listener).transport.closed
    kept[0].connection.connection_lost(None)
    assert not Peer(listener).transport.closed


def test_a_half_closed_connection_still_gets_its_answer(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n")
    assert peer.connection.eof_received() is True
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == OK
    assert peer.transport.closed


def test_the_answer_for_a_caller_that_hung_up_is_dropped(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n")
    peer.connection.connection_lost(None)
    assert handler.requests[0][1].is_closed
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == b""


def test_draining_closes_idle_connections_now_and_others_with_their_answer(
    listener: Listener, handler: Handler
) -> None:
    handler.at_once = False
    idle, busy = Peer(listener), Peer(listener)
    busy.sends(b"GET / HTTP/1.1\r\n\r\n")
    listener.drain()
    assert idle.transport.closed
    assert not busy.transport.closed
    # Whoever renders the answer is told to say that it is the last one.
    assert not handler.requests[0][0].keep_alive
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert busy.transport.written == OK
    assert busy.transport.closed


def test_garbage_behind_a_request_waits_for_that_requests_answer(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n\x00garbage\r\n\r\n")
    assert peer.transport.written == b""
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == OK + b"400"
    assert peer.transport.closed


def test_connect_is_refused(peer: Peer, handler: Handler) -> None:
    peer.sends(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nrest")
    assert not handler.requests
    assert peer.transport.written == b"400"
    assert peer.transport.closed
