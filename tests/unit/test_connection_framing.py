"""What is one request and where it ends, in every shape that HTTP/1.1 has."""

from __future__ import annotations

import pytest
from tests.dialogue import OK, Handler, Peer


def test_a_chunked_body_is_joined(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert handler.requests[0][0].body == b"abcde"


def test_an_absolute_target_is_read_as_its_path(peer: Peer, handler: Handler) -> None:
    peer.sends(b"GET http://proxy:80/x/y?z=1 HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert handler.requests[0][0].path == b"/x/y"
    assert handler.requests[0][0].query == b"z=1"


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


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\0\0\0"]
)
def test_what_is_no_http_is_answered_400_and_closed(peer: Peer, handler: Handler, garbage: bytes) -> None:
    peer.sends(garbage)
    assert peer.transport.written == b"400"
    assert peer.is_refused
    assert not handler.requests


def test_connect_is_refused(peer: Peer, handler: Handler) -> None:
    peer.sends(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nrest")
    assert not handler.requests
    assert peer.transport.written == b"400"
    assert peer.is_refused


def test_a_head_over_one_megabyte_is_refused_with_431(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.1\r\n")
    for _ in range(18):
        peer.sends(b"a: " + b"x" * 65_000 + b"\r\n")
        if peer.transport.closed:
            break
    assert peer.transport.written == b"431"


# ---------------------------------------------------------------------------- versions and targets


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET /",
        b"GET / HTTP/1.2",
        b"GET / HTTP/3.0",
        b"GET / http/1.1",
        b"GET / HTTP/2.0\r\nConnection: keep-alive",
        b"GET / HTTP/0.9\r\nConnection: keep-alive",
        b"PRI * HTTP/2.0",
    ],
)
def test_other_versions_of_http_are_refused(peer: Peer, handler: Handler, head: bytes) -> None:
    peer.sends(head + b"\r\n\r\nSM\r\n\r\n")
    assert peer.transport.written == b"400"
    assert peer.is_refused
    assert not handler.requests


def test_http_1_0_may_ask_for_more_than_one_request(peer: Peer, handler: Handler) -> None:
    peer.sends(b"GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n")
    assert [request.target for request, _ in handler.requests] == [b"/1", b"/2"]
    assert peer.transport.closed


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://proxy:80/x/y?z=1", b"/x/y", b"z=1"),
        (b"HTTPS://proxy/x/?z=/1?2", b"/x/", b"z=/1?2"),
        (b"http://proxy", b"/", b""),
        (b"http://proxy?z=/1", b"/", b"z=/1"),
        (b"https://proxy/http://other/x", b"/http://other/x", b""),
        (b"//x/y", b"//x/y", b""),
        (b"*", b"/", b""),
        (b"/?", b"/", b""),
    ],
)
def test_every_form_of_a_target_is_read_as_path_and_query(
    peer: Peer, handler: Handler, target: bytes, path: bytes, query: bytes
) -> None:
    peer.sends(b"OPTIONS %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
    request, _ = handler.requests[0]
    assert (request.target, request.path, request.query) == (target, path, query)


def test_empty_lines_before_a_request_are_skipped(peer: Peer, handler: Handler) -> None:
    # RFC 9112, 2.2.
    peer.sends(b"\r\n\r\nGET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    assert [request.target for request, _ in handler.requests] == [b"/1", b"/2"]


def test_a_head_of_very_many_headers_is_read(peer: Peer, handler: Handler) -> None:
    peer.sends(
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(20_000)) + b"\r\n"
    )
    assert len(handler.requests[0][0].headers) == 20_000


# ---------------------------------------------------------------------------- where a request ends


@pytest.mark.parametrize(
    "lines",
    [
        # Two lengths: one reader takes the first, another the second.
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: 2\r\ncontent-length: 2",
        b"Content-Length: 2, 2",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2",
        b"Transfer-Encoding: identity\r\nContent-Length: 2",
        # A length that is none.
        b"Content-Length:",
        b"Content-Length: +2",
        b"Content-Length: 0x2",
        b"Content-Length: 2_0",
        b"Content-Length: 1.0",
        b"Content-Length: 99999999999999999999999",
        # A coding that is not understood, or not the last.
        b"Transfer-Encoding:",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        # Lines that one reader takes for a header and another does not.
        b"Content-Length : 2",
        b" Content-Length: 2",
        b"A: b\r\n c\r\nContent-Length: 2",
        b"A: b\nContent-Length: 2",
        b"A: b\rContent-Length: 2",
        b"A: b\0c",
        b"A\0: b",
        b"A: b\x0b",
        b"(A): b",
        b": b",
        b"A",
    ],
)
@pytest.mark.parametrize("offer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_framing_that_can_be_read_in_two_ways_is_refused(
    peer: Peer, handler: Handler, lines: bytes, offer: bytes
) -> None:
    peer.sends(b"POST / HTTP/1.1\r\n" + offer + lines + b"\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
    assert peer.transport.written == b"400"
    assert peer.is_refused
    assert not handler.requests


def test_http_1_0_has_no_chunks(peer: Peer, handler: Handler) -> None:
    # RFC 9112, 6.1: framing that the sender cannot have meant.
    peer.sends(
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    assert peer.transport.written == b"400"
    assert not handler.requests


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED ", b"\tchunked"])
@pytest.mark.parametrize(
    "chunks",
    [
        b"b\r\nhello world\r\n0\r\n\r\n",
        b"B\r\nhello world\r\n0\r\n\r\n",
        b"00000B\r\nhello world\r\n000\r\n\r\n",
        b'5;name;other=value;third="a \\" b"\r\nhello\r\n6\r\n world\r\n0;last\r\n\r\n',
        b"5\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\nHost: y\r\n\r\n",
    ],
)
def test_chunks_of_every_kind_are_joined(peer: Peer, handler: Handler, coding: bytes, chunks: bytes) -> None:
    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: %b\r\n\r\n" % coding + chunks
    for byte in request:
        peer.sends(bytes([byte]))
    peer.sends(request)
    assert [request.body for request, _ in handler.requests] == [b"hello world"] * 2


def test_a_body_of_no_chunks_is_empty(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert handler.requests[0][0].body == b""


@pytest.mark.parametrize(
    "chunks",
    [
        b"\r\n",
        b"-2\r\n",
        b"0x2\r\n",
        b"2 \r\n{}\r\n",
        b"2\n{}\n",
        b"2\r\n{}0\r\n\r\n",
        b"2\r\n{}\n0\r\n\r\n",
        b"2;\0\r\n",
        b'2;a="b\r\n',
        b"FFFFFFFFFFFFFFFFF\r\n",
        b"0\r\nA\0: b\r\n\r\n",
    ],
)
def test_broken_chunks_are_refused(peer: Peer, handler: Handler, chunks: bytes) -> None:
    peer.sends(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert peer.transport.written == b"400"
    assert peer.is_refused
    assert not handler.requests


def test_what_follows_the_last_request_is_nobodys(peer: Peer, handler: Handler) -> None:
    handler.at_once = False
    peer.sends(b"GET /1 HTTP/1.1\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    peer.sends(b"GET /3 HTTP/1.1\r\n\r\n")
    handler.answer_next()
    assert [request.target for request, _ in handler.requests] == [b"/1"]
    assert peer.transport.written == OK
    assert peer.transport.closed


# ---------------------------------------------------------------------------- offers of other protocols

# As curl --http2 and java.net.http send it with every first request over plain http.
_OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 7\r\n", b'{"a":1}'),
        (b"Content-Length: 1500\r\n", b"x" * 1500),
        (b"Transfer-Encoding: chunked\r\n", b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\nTrailer: x\r\n\r\n'),
        (b"Content-Length: 0\r\n", b""),
        (b"", b""),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_read(
    peer: Peer, handler: Handler, framing: bytes, body: bytes, size: int
) -> None:
    # RFC 9110, 7.8: a server may ignore it.
    offering = (
        b"POST /f?Q=1 HTTP/1.1\r\nHost: x\r\n" + _OFFER + framing + b"X-Amz-Log-Type: Tail\r\n\r\n" + body
    )
    data = offering + b"GET /plain HTTP/1.1\r\n\r\n" + offering * 2
    for start in range(0, len(data), size):
        peer.sends(data[start : start + size])
    plain = handler.requests.pop(1)[0]
    assert plain.target == b"/plain"
    assert len(handler.requests) == 3
    for request, _ in handler.requests:
        assert (request.method, request.target, request.keep_alive) == (b"POST", b"/f?Q=1", True)
        assert request.headers[b"host"] == b"x"
        assert request.headers[b"x-amz-log-type"] == b"Tail"
        assert request.body == (b'{"a":1}' if b"chunked" in framing else body)
    assert peer.transport.written == OK * 4


def test_offers_are_bounded_as_other_requests_are(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST / HTTP/1.1\r\n" + _OFFER + b"Content-Length: 2001\r\n\r\n")
    assert peer.transport.written == b"413"
    assert peer.is_refused
    assert not handler.requests


def test_very_many_offers_in_one_read_are_read_as_other_requests_are(peer: Peer) -> None:
    peer.sends(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" * 4000)
    assert peer.transport.written == OK * 4000


def test_an_offer_with_an_expectation_is_continued_once(peer: Peer, handler: Handler) -> None:
    peer.sends(b"POST / HTTP/1.1\r\n" + _OFFER + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert peer.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.sends(b"{}")
    assert handler.requests[0][0].body == b"{}"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_an_offer_does_not_keep_the_connection_open(peer: Peer, handler: Handler, head: bytes) -> None:
    peer.sends(head * 2)
    assert len(handler.requests) == 1
    assert peer.transport.written == OK
    assert peer.transport.closed
