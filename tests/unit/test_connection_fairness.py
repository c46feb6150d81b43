"""No connection holds the others up: what one of them brings is taken in many turns, and held within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.dialogue import OK, Handler, Peer

from lambent.api import connection as connection_module
from lambent.api.connection import Listener
from lambent.clock import ManualClock

GET = b"GET / HTTP/1.1\r\n\r\n"


class Loop:
    """An event loop whose turns a test takes one by one."""

    def __init__(self, listener: Listener) -> None:
        self._steps: list[Callable[[], None]] = []
        self._listener = listener
        self.take_over()

    def take_over(self) -> None:
        """Have this loop called instead of the one that a peer brings with it."""
        self._listener.call_soon = self._steps.append

    def turn(self) -> int:
        """Do what waits for the next turn, and return how much that was."""
        steps, self._steps[:] = self._steps[:], []
        for step in steps:
            step()
        return len(steps)


@pytest.fixture
def peers(listener: Listener) -> list[Peer]:
    return [Peer(listener), Peer(listener)]


@pytest.fixture
def loop(listener: Listener, peers: list[Peer]) -> Loop:
    return Loop(listener)


def test_of_many_requests_in_one_read_each_has_a_turn_of_its_own(
    loop: Loop, peers: list[Peer], handler: Handler
) -> None:
    busy, calm = peers
    busy.connection.data_received(GET * 200)
    assert busy.transport.written == OK
    for answered in range(2, 12):
        assert loop.turn() == 1
        assert busy.transport.written == OK * answered
    calm.connection.data_received(GET)
    assert calm.transport.written == OK
    while loop.turn():
        pass
    assert busy.transport.written == OK * 200
    assert busy.transport.reading


def test_a_body_is_asked_for_after_the_answers_that_wait_for_their_turn(
    loop: Loop, peers: list[Peer]
) -> None:
    peers[0].sends(GET * 2 + b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    while loop.turn():
        pass
    assert peers[0].transport.written == OK * 2 + b"HTTP/1.1 100 Continue\r\n\r\n"


def test_connections_with_many_requests_take_turns(loop: Loop, peers: list[Peer]) -> None:
    for peer in peers:
        peer.connection.data_received(GET * 10)
    for answered in range(2, 11):
        loop.turn()
        assert [peer.transport.written for peer in peers] == [OK * answered] * 2


def test_bytes_that_come_although_reading_has_stopped_keep_their_order(
    loop: Loop, peers: list[Peer], handler: Handler
) -> None:
    # As over TLS, where what was decrypted already is still delivered.
    peers[0].connection.data_received(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    peers[0].connection.data_received(b"GET /3 HTTP/1.1\r\n\r\n")
    while loop.turn():
        pass
    assert [request.target for request, _ in handler.requests] == [b"/1", b"/2", b"/3"]


def test_a_shutdown_answers_what_waits_for_its_turn(
    loop: Loop, peers: list[Peer], listener: Listener
) -> None:
    busy, idle = peers
    busy.connection.data_received(GET * 3)
    listener.drain()
    assert idle.transport.closed
    while loop.turn():
        pass
    assert busy.transport.written == OK * 3
    assert busy.transport.closed


def test_garbage_behind_what_waits_for_its_turn_is_refused_after_it(loop: Loop, peers: list[Peer]) -> None:
    peers[0].connection.data_received(GET * 3 + b"\x00garbage\r\n\r\n")
    while loop.turn():
        pass
    assert peers[0].transport.written == OK * 3 + b"400"


def test_a_peer_that_hangs_up_leaves_nothing_to_the_next_turn(
    loop: Loop, peers: list[Peer], handler: Handler, listener: Listener
) -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 1500\r\n\r\n" + b"x" * 1500
    peers[0].connection.data_received(request * 3)
    peers[0].hangs_up()
    while loop.turn():
        pass
    assert len(handler.requests) == 1
    assert listener.buffered == 0


def test_a_peer_that_sends_a_long_body_is_read_once_a_turn(
    loop: Loop, peers: list[Peer], handler: Handler
) -> None:
    handler.body_limit = 1 << 20
    sender = peers[0]
    sender.connection.data_received(b"POST / HTTP/1.1\r\nContent-Length: 600000\r\n\r\n")
    for part in (b"a" * 200_000, b"b" * 200_000):
        sender.connection.data_received(part)
        assert not sender.transport.reading
        assert loop.turn() == 1
        assert sender.transport.reading
    sender.connection.data_received(b"c" * 200_000)
    assert handler.requests[0][0].body == b"a" * 200_000 + b"b" * 200_000 + b"c" * 200_000
    assert sender.transport.reading


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 20])
def test_a_body_of_any_length_is_put_together(
    listener: Listener, handler: Handler, size: int, piece: int
) -> None:
    handler.body_limit = 1 << 20
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    peer = Peer(listener)
    data = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
    for start in range(0, len(data), piece):
        peer.sends(data[start : start + piece])
    peer.sends(b"POST / HTTP/1.1\r\nContent-Length: 1500\r\n\r\n" + b"y" * 1500)
    assert [request.body for request, _ in handler.requests] == [body, b"y" * 1500]
    assert listener.buffered == 0


# ---------------------------------------------------------------------------- what nobody reads


def _leaves_unread(peer: Peer, size: int) -> None:
    peer.transport.unread = size
    peer.connection.pause_writing()


def test_answers_that_are_not_read_count_until_they_are_or_the_peer_is_gone(
    listener: Listener, peers: list[Peer]
) -> None:
    for peer in peers:
        _leaves_unread(peer, 1000)
    assert listener.buffered == 2000
    peers[0].connection.resume_writing()
    assert listener.buffered == 1000
    peers[1].hangs_up()
    assert listener.buffered == 0


def test_who_has_not_read_for_longest_is_cut_off_when_too_much_is_held(
    listener: Listener, peers: list[Peer], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BUFFERED_BYTES", 2500)
    third = Peer(listener)
    for peer in (*peers, third):
        _leaves_unread(peer, 1000)
        clock.advance(1)
    assert [peer.transport.aborted for peer in (*peers, third)] == [True, False, False]
    assert listener.buffered == 2000


def test_unread_answers_make_room_for_a_body(
    listener: Listener, peers: list[Peer], handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BUFFERED_BYTES", 2000)
    silent, sender = peers
    _leaves_unread(silent, 1000)
    sender.sends(b"POST / HTTP/1.1\r\nContent-Length: 1500\r\n\r\n" + b"x" * 1500)
    assert silent.transport.aborted
    assert sender.transport.written == OK
    silent.hangs_up()
    assert listener.buffered == 0


def test_the_answer_to_a_caller_that_was_cut_off_is_dropped(
    listener: Listener, peers: list[Peer], handler: Handler
) -> None:
    handler.at_once = False
    peers[0].sends(b"POST / HTTP/1.1\r\nContent-Length: 1500\r\n\r\n" + b"x" * 1500)
    _, exchange = handler.requests[0]
    exchange.abort()
    assert exchange.is_closed
    exchange.respond(OK, keep_alive=True)
    peers[0].hangs_up()
    assert peers[0].transport.written == b""
    assert listener.buffered == 0


def test_connections_that_were_told_to_slow_down_rest_and_go_on_a_few_at_a_time(
    handler: Handler, clock: ManualClock
) -> None:
    async def main() -> None:
        listener = Listener(handler, clock, max_connections=30, request_timeout_s=60)
        peers = [Peer(listener) for _ in range(20)]
        for peer in peers:
            handler.at_once = False
            peer.connection.data_received(GET + GET)
            handler.requests[-1][1].rest()
            handler.answer_next()
            assert peer.transport.written == OK
            assert not peer.transport.reading
        handler.at_once = True
        awake: list[Peer] = []
        while len(awake) < len(peers):
            await asyncio.sleep(0.001)
            woken = [peer for peer in peers if peer.transport.reading and peer not in awake]
            # In the order in which they were refused; those first who were first.
            assert woken == peers[len(awake) : len(awake) + len(woken)]
            awake += woken
        assert [peer.transport.written for peer in peers] == [OK * 2] * 20

    asyncio.run(main())
