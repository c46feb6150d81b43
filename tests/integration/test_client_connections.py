"""Both clients over real sockets: connections, timeouts, streams, proxies and certificates."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from lambent.client import (
    AsyncLambda,
    CallTimeout,
    Credentials,
    DecodingError,
    FunctionError,
    Lambda,
    Timeout,
    TooManyRequestsException,
    TransportError,
)
from lambent.wire.eventstream import CHUNK, COMPLETE, encode
from tests.client_faults.callers import Caller, caller
from tests.scripted_server import Talk, answering, scripted, whole

KINDS = ("sync", "async")
EVENT_STREAM = "Content-Type: application/vnd.amazon.eventstream\r\n"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def values(made: Caller, count: int) -> list[Any]:
    return [made.invoke("hello", number).value() for number in range(count)]


def test_connections_are_kept(kind: str) -> None:
    with scripted(answering(whole(b"1"))) as server, caller(kind, server.url) as made:
        assert values(made, 5) == [1] * 5
        assert server.connections == 1
        assert [each.body for each in server.requests] == [b"0", b"1", b"2", b"3", b"4"]


def test_what_is_sent_is_what_was_signed_and_nothing_else(kind: str) -> None:
    with scripted(answering(whole())) as server, caller(kind, server.url) as made:
        with made.client.record() as signed:
            made.invoke("a:b", {"x": 1}, qualifier="$LATEST")
            made.invoke("a")
        for request, sent in zip(signed, server.requests, strict=True):
            assert sent.line == f"POST {request.url.removeprefix(server.url)} HTTP/1.1"
            assert sent.headers == request.headers
            assert sent.body == request.body


def test_a_kept_connection_that_was_closed_is_replaced_unseen(kind: str) -> None:
    closed = threading.Event()

    def once(talk: Talk) -> None:
        talk.receive()
        talk.send(whole(b"1"))
        talk.socket.close()
        closed.set()

    with scripted(once, answering(whole(b"2"))) as server, caller(kind, server.url) as made:
        assert made.invoke("hello").value() == 1
        assert closed.wait(5)
        result = made.invoke("hello")
        assert (result.value(), result.attempts) == (2, 1)


def test_a_connection_that_is_reset_after_the_request_is_not_used_again_for_it(kind: str) -> None:
    def leave(talk: Talk) -> None:
        talk.receive()

    with scripted(leave, answering(whole(b"1"))) as server, caller(kind, server.url) as made:
        with pytest.raises(TransportError) as caught:
            made.invoke("hello")
        assert (caught.value.may_have_run, caught.value.attempts) == (True, 1)
        assert made.invoke("hello").value() == 1
        assert len(server.requests) == 2


def test_an_idempotent_call_is_sent_again_after_a_reset(kind: str) -> None:
    def leave(talk: Talk) -> None:
        talk.receive()

    with scripted(leave, answering(whole(b"1"))) as server, caller(kind, server.url, idempotent=True) as made:
        assert made.invoke("hello").attempts == 2


@pytest.mark.parametrize("extra", [b"x", whole(b'"of nobody"')])
def test_no_answer_comes_from_what_was_left_on_a_connection(kind: str, extra: bytes) -> None:
    with (
        scripted(answering(whole(b"1") + extra), answering(whole(b"2"))) as server,
        caller(kind, server.url) as made,
    ):
        # Whether the answer before it is taken depends on when the rest arrives.
        with suppress(TransportError):
            assert made.invoke("hello").value() == 1
        assert made.invoke("hello").value() == 2


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r\r\n",
        whole(b"12345")[:-1],
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123",
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n123",
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r\r\n\r\n123",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_half_an_answer_is_none(kind: str, half: bytes) -> None:
    def send_half(talk: Talk) -> None:
        talk.receive()
        talk.send(half)

    with scripted(send_half) as server, caller(kind, server.url) as made:
        with pytest.raises(TransportError) as caught:
            made.invoke("hello")
        assert caught.value.may_have_run
        assert len(server.requests) == 1


def test_waiting_for_an_answer_ends(kind: str) -> None:
    release = threading.Event()

    def be_silent(talk: Talk) -> None:
        talk.receive()
        release.wait(20)

    with scripted(be_silent) as server, caller(kind, server.url) as made:
        with pytest.raises(CallTimeout) as caught:
            made.invoke("hello", timeout=Timeout(read=0.1))
        assert (caught.value.phase, caught.value.may_have_run) == ("read", True)
        with pytest.raises(CallTimeout) as caught:
            made.invoke("hello", timeout=0.1)
        assert (caught.value.phase, caught.value.may_have_run) == ("total", True)
        release.set()


def test_an_answer_that_trickles_does_not_outlast_the_call(kind: str) -> None:
    stop = threading.Event()

    def trickle(talk: Talk) -> None:
        talk.receive()
        talk.send(whole(b"x" * 10_000)[:-10_000])
        while not stop.wait(0.02):
            talk.send(b"x")

    with scripted(trickle) as server, caller(kind, server.url) as made:
        with pytest.raises(CallTimeout) as caught:
            made.invoke("hello", timeout=0.3)
        assert caught.value.phase == "total"
        stop.set()


def test_a_large_payload_takes_longer_than_making_a_connection(kind: str) -> None:
    proceed = threading.Event()

    def read_late(talk: Talk) -> None:
        proceed.wait(0.5)
        talk.receive()
        talk.send(whole(b"1"))

    with scripted(read_late) as server, caller(kind, server.url) as made:
        result = made.invoke("hello", b"x" * 6_000_000, timeout=Timeout(connect=0.1, read=20))
        assert result.value() == 1
        assert len(server.requests[0].body) == 6_000_000


def test_nobody_there(kind: str) -> None:
    with scripted(answering(whole())) as server:
        url = server.url
    with caller(kind, url, retries=2) as made, pytest.raises(TransportError) as caught:
        made.invoke("hello")
    assert (caught.value.may_have_run, caught.value.attempts) == (False, 2)


def test_redirects_are_not_followed(kind: str) -> None:
    away = whole(
        b"", "307 Temporary Redirect", headers="Location: /2015-03-31/functions/other/invocations\r\n"
    )
    with scripted(answering(away)) as server, caller(kind, server.url, idempotent=True) as made:
        with pytest.raises(TransportError, match="redirect"):
            made.invoke("hello")
        assert len(server.requests) == 1


def test_no_more_connections_than_allowed(kind: str) -> None:
    with scripted(answering(whole(b"1"))) as server, caller(kind, server.url, max_connections=2) as made:
        assert made.map("hello", range(20), concurrency=8) == [1] * 20
        assert server.connections <= 2


# ---------------------------------------------------------------- maps


def test_a_map_is_in_order_and_the_error_is_at_its_place(kind: str) -> None:
    def answer(talk: Talk) -> None:
        while (received := talk.receive()) is not None:
            number = json.loads(received.body)
            failed = "X-Amz-Function-Error: Unhandled\r\n" if number == 5 else ""
            talk.send(whole(received.body, headers=failed))

    with scripted(answer) as server, caller(kind, server.url) as made:
        found = made.map("hello", range(10), concurrency=4, return_exceptions=True)
        assert isinstance(found.pop(5), FunctionError)
        assert found == [0, 1, 2, 3, 4, 6, 7, 8, 9]
        with pytest.raises(FunctionError):
            made.map("hello", range(10), concurrency=4)


def test_a_throttle_holds_the_whole_map_and_is_survived(kind: str) -> None:
    throttle = whole(b"{}", "429 Too Many Requests", headers="x-amzn-ErrorType: TooManyRequestsException\r\n")
    refused = iter(range(3))

    def answer(talk: Talk) -> None:
        while talk.receive() is not None:
            talk.send(whole(b"1") if next(refused, None) is None else throttle)

    with scripted(answer) as server, caller(kind, server.url) as made:
        made.client._core.random = lambda: 0.01
        assert made.map("hello", range(8), concurrency=4) == [1] * 8
        refused = iter(range(100))
        with pytest.raises(TooManyRequestsException):
            made.map("hello", range(8), concurrency=4, retries=1)


def test_leaving_a_map_breaks_off_what_is_in_flight() -> None:
    release = threading.Event()

    def answer(talk: Talk) -> None:
        while (received := talk.receive()) is not None:
            if received.body != b"0":
                release.wait(20)
            talk.send(whole(received.body))

    with (
        scripted(answer) as server,
        Lambda(endpoint_url=server.url, region_name="r", credentials=KEYS) as lam,
    ):
        outcomes: Any = lam.map("hello", iter(int, 1), concurrency=1)
        assert next(outcomes) == 0
        outcomes.close()
        pairs: Any = lam.map_unordered("hello", [1, 0, 1], concurrency=3)
        assert next(pairs) == (1, 0)
        pairs.close()
        release.set()


def test_a_map_reads_no_further_ahead_than_twice_its_concurrency() -> None:
    taken: list[int] = []

    def payloads() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with (
        scripted(answering(whole(b"1"))) as server,
        Lambda(endpoint_url=server.url, region_name="r", credentials=KEYS) as lam,
    ):
        outcomes: Any = lam.map("hello", payloads(), concurrency=3)
        for given in range(1, 20):
            next(outcomes)
            assert len(taken) <= given + 6
        outcomes.close()


KEYS = Credentials("AKIDEXAMPLE", "secret")


# ---------------------------------------------------------------- streams


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


HEAD = f"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r\r\n{EVENT_STREAM}Transfer-Encoding: chunked\r\n\r\n".encode()
END = encode(COMPLETE, b"{}")


def test_a_stream_is_read_as_it_comes() -> None:
    seen = threading.Event()

    def stream(talk: Talk) -> None:
        while talk.receive() is not None:
            talk.send(HEAD + chunked(encode(CHUNK, "é".encode()[:1])))
            assert seen.wait(5)
            rest = encode(CHUNK, "é\nx".encode()[1:]) + END
            talk.send(chunked(rest[:5], rest[5:]) + b"0\r\n\r\n")

    with (
        scripted(stream) as server,
        Lambda(endpoint_url=server.url, region_name="r", credentials=KEYS) as lam,
    ):
        opened = lam.stream("hello")
        assert (opened.status_code, opened.request_id) == (200, "r")
        chunks = iter(opened)
        assert next(chunks) == b"\xc3"
        seen.set()
        assert list(chunks) == [b"\xa9\nx"]
        assert list(lam.stream("hello").text()) == ["é\nx"]
        assert list(lam.stream("hello").lines()) == ["é", "x"]
        assert server.connections == 1
        assert (
            server.requests[0].line.split()[1] == "/2021-11-15/functions/hello/response-streaming-invocations"
        )


def test_asynchronous_streams() -> None:
    data = HEAD + chunked(encode(CHUNK, b'{"a":1}\n2'), END) + b"0\r\n\r\n"

    async def run(url: str) -> None:
        async with AsyncLambda(endpoint_url=url, region_name="r", credentials=KEYS) as lam:
            assert [chunk async for chunk in lam.stream("hello")] == [b'{"a":1}\n2']
            async with lam.stream("hello") as stream:
                assert (stream.status_code, stream.request_id, stream.executed_version) == (200, "r", None)
                assert [each async for each in stream.json_lines()] == [{"a": 1}, 2]
                assert stream.logs == ""
            stream = await lam.function("hello").stream()
            assert [line async for line in stream.lines()] == ['{"a":1}', "2"]
            unused = lam.stream("hello")
            with pytest.raises(RuntimeError, match="not open"):
                _ = unused.status_code
            await unused.aclose()

    with scripted(answering(data)) as server:
        asyncio.run(run(server.url))
        assert (len(server.requests), server.connections) == (3, 1)


def test_a_stream_that_breaks_off_is_half_an_answer(kind: str) -> None:
    def stream(talk: Talk) -> None:
        talk.receive()
        talk.send(HEAD + chunked(encode(CHUNK, b"a")))

    with scripted(stream) as server, caller(kind, server.url) as made:
        with pytest.raises(TransportError) as caught:
            made.read_stream("hello")
        assert caught.value.may_have_run


def test_a_stream_that_ends_too_early_or_is_broken(kind: str) -> None:
    early = HEAD + chunked(encode(CHUNK, b"a")) + b"0\r\n\r\n"
    broken = HEAD + chunked(encode(CHUNK, b"a")[:-1] + b"x", END) + b"0\r\n\r\n"
    for data, error in ((early, TransportError), (broken, DecodingError)):
        with scripted(answering(data)) as server, caller(kind, server.url) as made, pytest.raises(error):
            made.read_stream("hello")


def test_leaving_a_stream_closes_its_connection(kind: str) -> None:
    left = threading.Event()

    def stream(talk: Talk) -> None:
        talk.receive()
        talk.send(HEAD + chunked(encode(CHUNK, b"a")))
        talk.receive()
        left.set()

    with scripted(stream) as server, caller(kind, server.url, max_connections=1) as made:
        assert made.leave_stream("hello") == b"a"
        assert left.wait(5)
        assert made.leave_stream("hello") == b"a"


def test_a_refused_stream_raises_when_it_is_opened(kind: str) -> None:
    refusal = whole(b"{}", "404 Not Found", headers="x-amzn-ErrorType: ResourceNotFoundException\r\n")
    with scripted(answering(refusal)) as server, caller(kind, server.url) as made:
        for _ in range(2):
            with pytest.raises(Exception, match="ResourceNotFoundException"):
                made.read_stream("hello")
        assert server.connections == 1


# ---------------------------------------------------------------- the way there


def test_a_proxy_carries_what_is_not_encrypted(kind: str) -> None:
    with scripted(answering(whole(b"1"))) as proxy:
        address = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
        with caller(kind, "http://lambda.test:3001", proxy=address) as made:
            assert made.invoke("hello").value() == 1
        sent = proxy.requests[0]
        assert sent.line == "POST http://lambda.test:3001/2015-03-31/functions/hello/invocations HTTP/1.1"
        assert sent.headers["host"] == "lambda.test:3001"
        assert sent.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"


def test_certificates_are_checked(kind: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    with scripted(answering(whole(b"1")), tls=context) as server:
        url = f"https://localhost:{server.port}"
        with caller(kind, url, verify=str(file)) as made:
            assert values(made, 2) == [1, 1]
        with caller(kind, url) as made, pytest.raises(TransportError) as caught:
            made.invoke("hello")
        assert (caught.value.may_have_run, caught.value.attempts) == (False, 1)


def test_a_client_is_used_by_threads(kind: str) -> None:
    if kind == "async":
        pytest.skip("of one loop")
    with (
        scripted(answering(whole(b"1"))) as server,
        Lambda(endpoint_url=server.url, region_name="r", credentials=KEYS, max_connections=4) as lam,
    ):
        found: list[Any] = []

        def call() -> None:
            found.extend(lam.invoke("hello").value() for _ in range(20))

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1] * 160
        assert server.connections <= 4


def test_cancelling_a_call_closes_its_connection() -> None:
    arrived = threading.Event()

    def be_silent(talk: Talk) -> None:
        talk.receive()
        arrived.set()
        talk.receive()

    async def run(url: str) -> None:
        async with AsyncLambda(endpoint_url=url, region_name="r", credentials=KEYS, max_connections=1) as lam:
            call = asyncio.get_running_loop().create_task(lam.invoke("hello"))
            await asyncio.to_thread(arrived.wait)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await lam.invoke("hello")).value() == 2

    with scripted(be_silent, answering(whole(b"2"))) as server:
        asyncio.run(run(server.url))
