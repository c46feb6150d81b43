"""How a connection ends: time-outs, peers that leave, do not read, or send what nobody reads."""

from __future__ import annotations

import pytest
from tests.dialogue import OK, Handler, Peer

from lambent.api.connection import KEEP_ALIVE_S, LINGER_BYTES, LINGER_S, UNREAD_S, Listener
from lambent.clock import ManualClock


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


def test_a_pipelined_request_is_not_waited_for_once_it_is_whole(
    peer: Peer, clock: ManualClock, handler: Handler
) -> None:
    handler.at_once = False
    for _ in range(2):
        peer.sends(b"POST /f HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    for _ in range(2):
        handler.answer_next()
    clock.advance(KEEP_ALIVE_S - 1)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.written == OK * 2
    assert not peer.transport.closed


def test_an_idle_connection_is_kept_longer_than_the_pools_of_sdks_and_closed_at_last(
    peer: Peer, clock: ManualClock
) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    for _ in range(2):
        peer.sends(b"GET / HTTP/1.1\r\n\r\n")
        for _ in range(100):
            peer.connection.check_time(clock.monotonic())
            clock.advance(1)
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


def test_connection_close_is_honoured(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert peer.transport.written == OK
    assert peer.transport.closed


def test_http_1_0_closes_after_its_answer(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.transport.closed


def test_a_call_may_be_silent_for_fifteen_minutes(
    listener: Listener, peer: Peer, clock: ManualClock, handler: Handler
) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    handler.at_once = False
    peer.sends(b"POST /f HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    for _ in range(15 * 60):
        clock.advance(1)
        peer.connection.check_time(clock.monotonic())
    handler.answer_next()
    assert peer.transport.written == OK
    assert not peer.transport.closed


# ---------------------------------------------------------------------------- peers that do not read


def test_a_peer_that_stops_reading_its_answer_is_given_up(
    listener: Listener, peer: Peer, clock: ManualClock
) -> None:
    # Source: docs/aws-behaviour.md, concurrency 3.6.
    peer.sends(b"GET / HTTP/1.1\r\n\r\n")
    peer.connection.pause_writing()
    clock.advance(UNREAD_S)
    peer.connection.check_time(clock.monotonic())
    assert not peer.transport.closed
    clock.advance(1)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.aborted


def test_a_peer_that_reads_slowly_is_left_alone(peer: Peer, clock: ManualClock) -> None:
    for _ in range(5):
        peer.sends(b"GET / HTTP/1.1\r\n\r\n")
        peer.connection.pause_writing()
        clock.advance(UNREAD_S)
        peer.connection.resume_writing()
        peer.connection.check_time(clock.monotonic())
    assert not peer.transport.closed
    assert peer.transport.written == OK * 5


def test_the_time_in_which_a_peer_does_not_read_is_not_the_next_requests(
    peer: Peer, clock: ManualClock
) -> None:
    peer.sends(b"GET / HTTP/1.1\r\n\r\nGET /2 HT")
    peer.connection.pause_writing()
    clock.advance(200)
    peer.connection.check_time(clock.monotonic())
    peer.connection.resume_writing()
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.written == OK


@pytest.mark.parametrize(
    "ending",
    [b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"garbage\r\n\r\n"],
)
def test_a_peer_that_does_not_read_its_last_answer_is_given_up(
    peer: Peer, clock: ManualClock, ending: bytes
) -> None:
    peer.sends(ending)
    assert peer.is_refused
    assert not peer.transport.aborted
    clock.advance(UNREAD_S + 1)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.aborted


def test_an_idle_connection_that_cannot_be_closed_is_cut(peer: Peer, clock: ManualClock) -> None:
    peer.connection.check_time(clock.monotonic())
    for aborted in (False, True):
        clock.advance(KEEP_ALIVE_S + 1)
        peer.connection.check_time(clock.monotonic())
        assert (peer.transport.closed, peer.transport.aborted) == (True, aborted)


# ---------------------------------------------------------------------------- peers that go on sending

_TOO_LARGE = b"POST /f HTTP/1.1\r\nContent-Length: 2001\r\n\r\n"


@pytest.mark.parametrize("tls", [False, True])
def test_what_comes_after_a_refusal_is_dropped_until_the_peer_closes(
    listener: Listener, handler: Handler, tls: bool
) -> None:
    peer = Peer(listener, tls=tls)
    peer.sends(_TOO_LARGE)
    assert peer.transport.written == b"413"
    # TLS has no way to close one direction.
    assert peer.transport.ended is not tls
    peer.sends(b"x" * 2001 + b"GET / HTTP/1.1\r\n\r\n")
    assert not peer.transport.closed
    assert peer.connection.eof_received() is False
    assert peer.transport.closed
    assert not peer.transport.aborted
    assert peer.transport.written == b"413"
    assert not handler.requests
    assert listener.buffered == 0


def test_a_refused_peer_that_never_closes_is_cut(peer: Peer, clock: ManualClock) -> None:
    # Source: docs/aws-behaviour.md, concurrency 3.6.
    peer.sends(_TOO_LARGE)
    clock.advance(LINGER_S)
    peer.connection.check_time(clock.monotonic())
    assert not peer.transport.closed
    clock.advance(1)
    peer.connection.check_time(clock.monotonic())
    assert peer.transport.aborted


def test_a_refused_peer_that_sends_without_end_is_closed(peer: Peer) -> None:
    peer.sends(_TOO_LARGE)
    part = b"x" * (LINGER_BYTES // 4)
    for _ in range(4):
        peer.sends(part)
    assert not peer.transport.closed
    peer.sends(b"x")
    assert peer.transport.closed


def test_a_refusal_that_waits_for_its_turn_reads_nothing_until_then(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n" + _TOO_LARGE)
    assert not peer.transport.reading
    assert peer.transport.written == b""
    handler.answer_next()
    assert peer.transport.written == OK + b"413"
    assert peer.transport.reading
    assert peer.is_refused
    assert not peer.transport.closed


def test_a_shutdown_does_not_wait_for_refused_peers(listener: Listener, handler: Handler) -> None:
    handler.at_once = False
    before, after = Peer(listener), Peer(listener)
    before.sends(_TOO_LARGE)
    after.sends(b"GET / HTTP/1.1\r\n\r\n" + _TOO_LARGE)
    listener.drain()
    assert before.transport.closed
    handler.answer_next()
    assert after.transport.written == OK
    assert after.transport.closed


# ---------------------------------------------------------------------------- half-closed connections


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_peer_that_ends_its_side_and_is_owed_nothing_is_closed(peer: Peer, sent: bytes) -> None:
    peer.sends(sent)
    assert peer.connection.eof_received() is False
    assert peer.transport.closed


@pytest.mark.parametrize("ends_early", [True, False])
def test_whoever_waits_for_an_answer_without_an_end_and_ends_their_side_is_gone(
    peer: Peer, handler: Handler, ends_early: bool
) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n")
    exchange = handler.requests[0][1]
    told = []
    if ends_early:
        assert peer.connection.eof_received()
    exchange.call_when_gone(lambda: told.append("gone"))
    if not ends_early:
        assert not peer.connection.eof_received()
    assert peer.transport.closed
    peer.connection.connection_lost(None)
    assert told == ["gone"]


def test_all_requests_of_a_half_closed_connection_are_answered(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n" * 3)
    assert peer.connection.eof_received() is True
    for _ in range(3):
        assert not peer.transport.closed
        handler.answer_next()
    assert peer.transport.written == OK * 3
    assert peer.transport.closed


def test_a_half_closed_connection_is_not_lingered_on(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n" + _TOO_LARGE)
    peer.connection.eof_received()
    handler.answer_next()
    assert peer.transport.written == OK + b"413"
    assert peer.transport.closed


def test_tls_has_no_half_closed_connections(listener: Listener, handler: Handler) -> None:
    handler.at_once = False
    peer = Peer(listener, tls=True)
    peer.sends(b"GET / HTTP/1.1\r\n\r\n")
    assert peer.connection.eof_received() is False
    assert peer.transport.closed
    handler.answer_next()
    assert peer.transport.written == b""
