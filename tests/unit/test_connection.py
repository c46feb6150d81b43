"""Requests of one connection: whole, in order, within their bounds."""

from __future__ import annotations

import pytest
from tests.dialogue import OK, FakeTransport, Handler, Peer

from lambent.api import connection as connection_module
from lambent.api.connection import Listener
from lambent.clock import ManualClock
from lambent.model.invocations import Origin


def test_a_request_arrives_whole_with_lower_case_header_names(peer: Peer, handler: Handler) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    peer.sends(
        b"POST /a%3Ab?Q=1 HTTP/1.1\r\nHost: x\r\nX-AMZ-Log-Type: Tail\r\nContent-Length: 4\r\n\r\n{}{}"
    )
    request, _ = handler.requests[0]
    assert (request.method, request.path, request.query) == (b"POST", b"/a%3Ab", b"Q=1")
    assert request.headers[b"x-amz-log-type"] == b"Tail"
    assert request.body == b"{}{}"
    assert peer.transport.written == OK
    assert not peer.transport.closed


def test_white_space_around_a_value_is_no_part_of_it(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST / HTTP/1.1\r\nA:\t b c \t \r\nEmpty: \r\nNone:\r\nContent-Length: 2 \r\n\r\n{}")
    request, _ = handler.requests[0]
    assert request.headers == {b"a": b"b c", b"empty": b"", b"none": b"", b"content-length": b"2"}
    assert request.body == b"{}"


def test_of_a_repeated_header_the_last_one_counts(peer: Peer, handler: Handler) -> None:
    peer.sends(b"GET / HTTP/1.1\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n\r\n")
    assert handler.requests[0][0].headers == {b"x-a": b"3", b"x-b": b"2"}


def test_a_request_that_comes_byte_by_byte_is_the_same(peer: Peer, handler: Handler) -> None:
    for byte in b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc":
        peer.sends(bytes([byte]))
    assert handler.requests[0][0].target == b"/f"
    assert handler.requests[0][0].headers == {b"host": b"x", b"content-length": b"3"}
    assert handler.requests[0][0].body == b"abc"


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
    assert peer.is_refused


def test_expect_100_continue_is_answered_before_the_body(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert peer.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.sends(b"{}")
    assert peer.transport.written.endswith(OK)


def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nContent-Length: 2001\r\n\r\n")
    assert peer.transport.written == b"413"
    assert peer.is_refused
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


def test_garbage_behind_a_request_waits_for_that_requests_answer(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET / HTTP/1.1\r\n\r\n\x00garbage\r\n\r\n")
    assert peer.transport.written == b""
    handler.requests[0][1].respond(OK, keep_alive=True)
    assert peer.transport.written == OK + b"400"
    assert peer.is_refused


def test_expect_100_continue_of_a_request_that_is_whole_is_not_answered_any_more(
    peer: Peer, handler: Handler
) -> None:
    handler.at_once = False
    waiting = b"POST /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
    peer.sends(b"GET /1 HTTP/1.1\r\n\r\n" + waiting)
    handler.answer_next()
    handler.answer_next()
    assert peer.transport.written == OK * 2


@pytest.mark.parametrize(
    ("version", "expectation", "interim"),
    [
        (b"1.1", b"100-Continue ", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"1.1", b"something-else", b""),
        # RFC 9110, 10.1.1: it comes from a proxy that did not look.
        (b"1.0", b"100-continue", b""),
    ],
)
def test_only_what_http_1_1_defines_is_continued(
    peer: Peer, version: bytes, expectation: bytes, interim: bytes
) -> None:
    peer.sends(b"POST / HTTP/%b\r\nExpect: %b\r\nContent-Length: 2\r\n\r\n" % (version, expectation))
    assert peer.transport.written == interim
    peer.sends(b"{}")
    assert peer.transport.written == interim + OK


@pytest.mark.parametrize(("address", "tls"), [("127.0.0.1", False), ("2001:db8::1", True)])
def test_where_a_caller_is_stays_known_when_it_has_gone(
    listener: Listener, handler: Handler, address: str, tls: bool
) -> None:
    transport = FakeTransport(tls=tls, address=address)
    connection = listener.accept()
    connection.connection_made(transport)
    handler.at_once = False
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    transport.forget()
    connection.connection_lost(None)
    assert handler.requests[0][1].origin == Origin(address, is_secure=tls)


def test_who_has_gone_before_it_was_seen_is_not_served(listener: Listener) -> None:
    # A policy that denies an address must not depend on whether its peer waits for the answer.
    transport = FakeTransport(address=None)
    listener.accept().connection_made(transport)
    assert transport.aborted


def test_over_the_owners_socket_there_is_no_address(handler: Handler, clock: ManualClock) -> None:
    listener = Listener(handler, clock, max_connections=3, request_timeout_s=60, trusted=True)
    connection = listener.accept()
    connection.connection_made(FakeTransport(address=None))
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert handler.requests[0][1].origin == Origin("", is_secure=False)
