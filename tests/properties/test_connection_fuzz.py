"""Whatever bytes a peer sends: answers that are HTTP, in order, and never a fault of ours.

In a normal run the bytes are always the same; for a long run with other ones:
``FUZZ_EXAMPLES=20000 pytest tests/properties/test_connection_fuzz.py``.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import httptools
import pytest
from hypothesis import example, given
from tests.dialogue import Handler, Peer
from tests.integration.conftest import Functions, RunningServer, running_server
from tests.properties.fuzzed import EXAMPLES, fuzzed
from tests.properties.raw_requests import pieces, sizes, streams

from lambent.api.answers import Answers
from lambent.api.connection import Listener
from lambent.api.exchange import Exchange
from lambent.api.request import Request
from lambent.clock import ManualClock
from lambent.model.errors import RequestEntityTooLargeException, ServiceError
from lambent.wire.headers import request_ids

Check = TypeVar("Check", bound=Callable[..., None])
HEALTH = b"GET /_lambent/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Reader:
    """Reads answers as an independent parser does, and checks what every answer must carry."""

    def __init__(self, sent: bytes) -> None:
        self.answers: list[Answer] = []
        self._headers: list[tuple[str, str]] = []
        self._body = b""
        # Answers to HEAD announce a body that they do not have; only whoever asked can tell them apart.
        self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(sent)
        except httptools.HttpParserError as error:
            raise AssertionError((error, sent)) from error
        assert not self._headers, "the last answer was cut off"

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode().lower(), value.decode("ascii")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        headers = dict(self._headers)
        if status != 100:
            assert len(headers) == len(self._headers)
            assert {"x-amzn-requestid", "date", "connection"} <= headers.keys()
            assert status < 500
            if status >= 400:
                assert {"message", "Message"} & json.loads(self._body).keys()
                assert headers["x-amzn-errortype"]
            self.answers.append(Answer(status, headers, self._body))
        self._headers.clear()
        self._body = b""


class AnsweringHandler(Handler):
    """Answers every request with its own bytes."""

    def __init__(self, clock: ManualClock, *, at_once: bool) -> None:
        super().__init__()
        self.at_once = at_once
        self.refusals = 0
        self._answers = Answers(clock)
        self._ids = request_ids()

    def handle(self, request: Request, exchange: Exchange) -> None:
        self.requests.append((request, exchange))
        if self.at_once:
            self.answer_next()

    def answer_next(self) -> None:
        request, exchange = self.requests[-1]
        body = json.dumps([request.target.decode(), request.body.decode("latin-1")]).encode()
        response = self._answers.render(200, next(self._ids), body, keep_alive=request.keep_alive)
        exchange.respond(response, keep_alive=request.keep_alive)

    def too_large(self, request: Request) -> bytes:
        return self.broken(RequestEntityTooLargeException("too large"))

    def broken(self, error: ServiceError) -> bytes:
        self.refusals += 1
        return self._answers.render_error(error, next(self._ids), keep_alive=False)


class Outcome(NamedTuple):
    requests: list[tuple[bytes, bytes, dict[bytes, bytes], bytes]]
    statuses: list[int]
    is_refused: bool


def converse(parts: list[bytes], *, at_once: bool) -> Outcome:
    """Send bytes to a connection, answer what it hands over, and check what came back."""
    clock = ManualClock()
    handler = AnsweringHandler(clock, at_once=at_once)
    listener = Listener(handler, clock, max_connections=1, request_timeout_s=60)
    peer = Peer(listener)
    answered = 0
    for part in parts:
        peer.sends(part)
    while not at_once and answered < len(handler.requests):
        answered = len(handler.requests)
        handler.answer_next()
    answers = Reader(peer.transport.written).answers
    assert [answer.status for answer in answers[: len(handler.requests)]] == [200] * len(handler.requests)
    refusals = answers[len(handler.requests) :]
    assert len(refusals) <= 1
    for refusal in refusals:
        assert refusal.status in {400, 413, 431}
        assert refusal.headers["connection"] == "close"
        assert peer.is_refused
    for answer in answers[:-1]:
        assert answer.headers["connection"] == "keep-alive"
    peer.hangs_up()
    assert listener.buffered == 0
    assert not listener.connections
    return Outcome(
        [(each.method, each.target, each.headers, each.body) for each, _ in handler.requests],
        [answer.status for answer in answers],
        peer.is_refused,
    )


# Cases that went wrong once, and the statuses of their answers.
PINNED = {
    # What follows a request that was to be the last was answered, with a 400.
    b"GET /1 HTTP/1.0\r\n\r\n\0\0\0": [200],
    b"GET /1 HTTP/1.1\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n": [200],
    # The body of an offer to upgrade was taken for the next request.
    b"PUT / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n": [200, 200],
    # A refusal of such a request was lost on its way out of the parser.
    b"PUT / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 7000000\r\n\r\n": [413],
    # The parser lets these versions and codings pass.
    b"GET / HTTP/0.9\r\nConnection: keep-alive\r\n\r\n": [400],
    b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": [400],
}  # fmt: skip


def pinned(check: Check) -> Check:
    """Check the pinned cases too, byte by byte."""
    for sent in PINNED:
        check = example(sent=sent, sizes=[1])(check)
    return check


@pinned
@fuzzed(800)
@given(sent=streams(), sizes=sizes())
def test_bytes_are_read_in_pieces_as_in_one_and_answered_at_once_as_later(
    sent: bytes, sizes: list[int]
) -> None:
    whole = converse([sent], at_once=True)
    assert whole.statuses == PINNED.get(sent, whole.statuses)
    assert converse(pieces(sent, sizes), at_once=True) == whole
    assert converse([sent], at_once=False) == whole


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own with one function."""
    with running_server(tmp_path_factory.mktemp("fuzz")) as running:
        Functions(running.client())("def handler(event, context): return event", FunctionName="fuzzed")
        yield running


def exchange(port: int, parts: list[bytes]) -> bytes:
    """Send, end the sending side and return all that the server says until it closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        # Who sends on after a request that was to be the last is cut off.
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                received += part
    return received


@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_a_server_answers_any_bytes_and_goes_on(server: RunningServer) -> None:
    @pinned
    @fuzzed(250)
    @given(sent=streams().filter(lambda sent: b"HEAD" not in sent), sizes=sizes())
    def ask(sent: bytes, sizes: list[int]) -> None:
        Reader(exchange(server.port, pieces(sent, sizes)))

    ask()
    answers = Reader(exchange(server.port, [HEALTH])).answers
    assert [answer.status for answer in answers] == [200]
    assert server.process.poll() is None
    assert "Traceback" not in server.errors.read_text()
