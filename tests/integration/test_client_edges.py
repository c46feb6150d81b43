"""Both clients where something is left half done: stalled uploads, forks, abandoned maps and streams."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from lambent.client import (
    AsyncLambda,
    CallTimeout,
    ConfigurationError,
    HttpRequest,
    HttpResponse,
    Lambda,
    LambentError,
    Timeout,
    TooManyRequestsException,
    TransportError,
    ValidationError,
)
from lambent.client.aio_requests import watch
from lambent.client.pytest_plugin import LambentServer
from tests.client_faults.callers import OPTIONS, SyncCaller, caller
from tests.scripted_server import Talk, answering, scripted, whole

KINDS = ("sync", "async")
# More than the buffers of both sockets take.
LARGE = b"0" * (16 << 20)
LONG_S = 8.0


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def finishes(work: Any, limit: float = LONG_S) -> Any:
    """Return what ``work`` does in a thread, which a test that fails leaves behind."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((work(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    assert found, "it did not end"
    value, error = found[0]
    if error is not None:
        raise error
    return value


@pytest.mark.parametrize(
    ("timeout", "phase"), [(0.3, "total"), (Timeout(read=0.3), "read")], ids=["total", "read"]
)
def test_upload_that_nobody_reads_ends(kind: str, timeout: Any, phase: str) -> None:
    release = threading.Event()

    def read_nothing(_: Talk) -> None:
        release.wait(LONG_S)

    def call(url: str) -> None:
        with caller(kind, url) as made:
            made.invoke("hello", LARGE, timeout=timeout)

    with scripted(read_nothing) as server:
        try:
            with pytest.raises(CallTimeout) as caught:
                finishes(lambda: call(server.url), 4)
        finally:
            release.set()
    assert (caught.value.phase, caught.value.may_have_run) == (phase, True)


def test_upload_may_take_longer_than_the_service_may_be_silent(kind: str) -> None:
    def read_slowly(talk: Talk) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += talk.socket.recv(1000)
        left = len(LARGE) - len(data.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(talk.socket.recv(1 << 20))
            if left > len(LARGE) // 2:
                time.sleep(0.1)
        talk.send(whole(b"1"))

    with scripted(read_slowly) as server, caller(kind, server.url) as made:
        assert made.invoke("hello", LARGE, timeout=Timeout(read=0.5)).value() == 1


def test_upload_that_is_given_up_leaves_no_task_and_no_connection() -> None:
    given_up = threading.Event()
    received: list[int] = []

    def read_late(talk: Talk) -> None:
        given_up.wait(LONG_S)
        count = 0
        try:
            while data := talk.socket.recv(1 << 20):
                count += len(data)
        except OSError:
            pass
        received.append(count)

    async def run(url: str) -> None:
        async with AsyncLambda(**OPTIONS | {"endpoint_url": url}) as lam:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await lam.invoke("hello", LARGE)
            if left := asyncio.all_tasks() - {asyncio.current_task()}:
                assert not (await asyncio.wait(left, timeout=2))[1]
            given_up.set()

    with scripted(read_late) as server:
        asyncio.run(run(server.url))
    assert received[0] < len(LARGE)


def test_proxy_that_is_silent_is_a_timeout_of_connecting(kind: str) -> None:
    def be_silent(talk: Talk) -> None:
        while talk.socket.recv(100):
            pass

    def call(proxy: str) -> None:
        with caller(kind, "https://lambda.test", proxy=proxy, retries=1) as made:
            made.invoke("hello", timeout=Timeout(connect=0.3))

    with scripted(be_silent) as server, pytest.raises(CallTimeout) as caught:
        finishes(lambda: call(server.url), 4)
    assert (caught.value.phase, caught.value.may_have_run) == ("connect", False)


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1", "127.0.0.1:1", "http://[bad", "http://", "http://h:x"]
)
def test_proxy_that_is_none_is_an_error_of_the_configuration(kind: str, proxy: str) -> None:
    with caller(kind, "https://lambda.test", proxy=proxy) as made, pytest.raises(ConfigurationError):
        made.invoke("hello")


def test_clients_of_the_fixtures_use_no_proxy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with scripted(answering(whole(b"1"))) as server:
        options = LambentServer(server.url).client_options()
        with caller(kind, options.pop("endpoint_url"), **options) as made:
            assert made.invoke("hello").value() == 1


@pytest.mark.parametrize("where", ["endpoint_url", "proxy"])
def test_host_that_cannot_be_is_an_error_of_the_client(kind: str, where: str) -> None:
    options: Any = {"endpoint_url": "https://lambda.test"} | {where: "http://a b:1"}
    with caller(kind, options.pop("endpoint_url"), retries=1, **options) as made, pytest.raises(LambentError):
        made.invoke("hello")


def test_client_may_be_used_after_it_was_closed() -> None:
    def slow(talk: Talk) -> None:
        talk.receive()
        time.sleep(0.1)
        talk.send(whole(b"1"))

    async def run(url: str) -> None:
        lam = AsyncLambda(**OPTIONS | {"endpoint_url": url})
        await lam.invoke("hello")
        await lam.aclose()
        assert (await lam.invoke("hello")).value() == 1
        await lam.aclose()

    with scripted(answering(whole(b"1")), slow) as server:
        asyncio.run(run(server.url))


def test_wrong_clock_is_corrected_for_calls_at_the_same_time(kind: str) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    refusal = json.dumps({"message": "Signature expired"}).encode()
    refused = whole(
        refusal,
        "403 Forbidden",
        headers=f"x-amzn-ErrorType: InvalidSignatureException\r\nDate: {format_datetime(ahead, usegmt=True)}\r\n",
    )
    all_wait = threading.Barrier(4)

    def judge(talk: Talk) -> None:
        while (request := talk.receive()) is not None:
            told = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if abs(told - ahead) < timedelta(minutes=5):
                talk.send(whole(b"1"))
            else:
                all_wait.wait(LONG_S)
                talk.send(refused)

    with scripted(judge) as server, caller(kind, server.url) as made:
        assert made.map("hello", range(4), concurrency=4) == [1] * 4


def test_stream_that_is_dropped_unread_gives_its_place_back(kind: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r\r\nContent-Type: application/vnd.amazon.eventstream\r\n"

    def stream(talk: Talk) -> None:
        talk.receive()
        talk.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        talk.receive()

    with (
        scripted(stream, answering(whole(b"1"))) as server,
        caller(kind, server.url, max_connections=1) as made,
    ):
        if isinstance(made, SyncCaller):
            made.client.stream("hello")
        else:
            made.runner.run(open_and_drop(made.client))
        assert made.invoke("hello", timeout=2).value() == 1


async def open_and_drop(client: AsyncLambda) -> None:
    await client.stream("hello")
    # It holds the generator that reads it, which holds it.
    gc.collect()


def test_leaving_a_map_sends_nothing_more() -> None:
    arrived = threading.Event()

    def be_silent(talk: Talk) -> None:
        talk.receive()
        arrived.set()
        talk.receive()

    def leave(url: str) -> None:
        def payloads() -> Any:
            yield 1
            yield 2
            assert arrived.wait(LONG_S)
            raise ZeroDivisionError

        with caller("sync", url, max_connections=1) as made:
            made.map("hello", payloads(), concurrency=3)

    with scripted(be_silent) as server:
        with pytest.raises(ZeroDivisionError):
            finishes(lambda: leave(server.url), 4)
        assert len(server.requests) == 1


class _OutcomeError(BaseException):
    """As what pytest's ``fail`` and ``skip`` raise."""


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_what_is_no_exception_ends_a_map(kind: str, return_exceptions: bool) -> None:
    def handler(_event: Any, _context: Any) -> None:
        raise _OutcomeError

    def take() -> None:
        if kind == "sync":
            list(Lambda.local({"f": handler}).map("f", [1, 2], return_exceptions=return_exceptions))
            return

        async def run() -> None:
            lam = AsyncLambda.local({"f": handler})
            async for _ in lam.map("f", [1, 2], return_exceptions=return_exceptions):
                pass

        asyncio.run(run())

    with pytest.raises(_OutcomeError):
        finishes(take, 4)


def test_child_of_a_fork_has_connections_of_its_own() -> None:
    with scripted(answering(whole(b"1"))) as server, caller("sync", server.url) as made:
        made.invoke("hello")
        with warnings.catch_warnings():
            # Later Pythons warn of the server's threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            try:
                made.invoke("hello", timeout=5)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        # The parent's is still good.
        made.invoke("hello")
        assert len(server.requests) == 3
        assert server.connections == 2


def test_hook_that_refuses_an_answer_does_not_deny_that_the_function_ran(kind: str) -> None:
    def refuse(_request: HttpRequest, _response: HttpResponse) -> None:
        raise ValidationError("not liked")

    with scripted(answering(whole(b"1"))) as server, caller(kind, server.url) as made:
        with pytest.raises(LambentError) as caught:
            made.invoke("hello", after_response=refuse)
        assert (caught.value.may_have_run, caught.value.attempts) == (True, 1)


def test_closing_leaves_no_call_waiting_for_a_connection() -> None:
    arrived, release = threading.Event(), threading.Event()

    def answer_late(talk: Talk) -> None:
        while talk.receive() is not None:
            arrived.set()
            release.wait(LONG_S)
            talk.send(whole(b"1"))

    with scripted(answer_late) as server:
        lam = Lambda(**OPTIONS | {"endpoint_url": server.url, "max_connections": 1})
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(lam.invoke("hello").value()), daemon=True)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        assert arrived.wait(LONG_S)
        time.sleep(0.05)
        lam.close()
        release.set()
        for thread in threads:
            thread.join(3)
        assert found == [1] * 3


def test_waiting_for_a_connection_of_a_client_that_is_closed_is_no_cancellation() -> None:
    arrived = threading.Event()

    def be_silent(talk: Talk) -> None:
        talk.receive()
        arrived.set()
        talk.receive()

    async def run(url: str) -> None:
        lam = AsyncLambda(**OPTIONS | {"endpoint_url": url, "max_connections": 1, "retries": 1})
        calls = [asyncio.create_task(lam.invoke("hello")) for _ in range(2)]
        await asyncio.to_thread(arrived.wait)
        await lam.aclose()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, TransportError) for each in ends] == [True, True], ends

    with scripted(be_silent) as server:
        asyncio.run(run(server.url))


def test_limit_of_connections_is_that_of_one_endpoint() -> None:
    both = threading.Barrier(2)

    def meet(talk: Talk) -> None:
        talk.receive()
        both.wait(2)
        talk.send(whole(b"1"))

    async def run(*urls: str) -> None:
        async with AsyncLambda(**OPTIONS | {"max_connections": 1}) as lam:
            await asyncio.gather(*(lam.invoke("hello", endpoint_url=url) for url in urls))

    with scripted(meet) as one, scripted(meet) as other:
        asyncio.run(run(one.url, other.url))


@pytest.mark.parametrize("change", ["no length", "expect"])
def test_hook_and_the_headers_of_a_body(kind: str, change: str) -> None:
    def hook(request: HttpRequest) -> HttpRequest:
        if change == "expect":
            request.headers["expect"] = "100-continue"
        else:
            del request.headers["content-length"]
        return request

    with scripted(answering(whole(b"1"))) as server, caller(kind, server.url) as made:
        assert made.invoke("hello", {"a": 1}, before_sign=hook, timeout=2).value() == 1
        assert server.requests[0].body == b'{"a":1}'


def test_first_calls_at_the_same_time_share_what_they_find(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_contexts: list[Any] = []
    from lambent.client import aio_connections, connections
    from lambent.client.sockets import tls_context

    def count(*args: Any, **options: Any) -> Any:
        time.sleep(0.05)
        made_contexts.append(1)
        return tls_context(*args, **options)

    for module in (aio_connections, connections):
        monkeypatch.setattr(module, "tls_context", count)
    with caller(kind, "https://127.0.0.1:1", retries=1) as made:
        made.map("hello", range(4), return_exceptions=True)
    assert len(made_contexts) == 1


def test_call_of_a_map_waits_for_others_no_longer_than_its_own_time(kind: str) -> None:
    headers = "x-amzn-ErrorType: TooManyRequestsException\r\nx-amz-retry-after: 5000\r\n"
    throttle = whole(b"{}", "429 Too Many Requests", headers=headers)
    with scripted(answering(throttle)) as server, caller(kind, server.url) as made:
        one, other = finishes(
            lambda: made.map("hello", [1, 2], concurrency=1, timeout=0.3, return_exceptions=True), 3
        )
        assert isinstance(one, TooManyRequestsException)
        assert (type(other), other.phase, other.may_have_run) == (CallTimeout, "total", False)
        assert len(server.requests) == 1


def test_client_that_was_closed_still_waits_between_attempts() -> None:
    throttle = whole(b"{}", "429 Too Many Requests", headers="x-amz-retry-after: 100\r\n")
    with scripted(answering(throttle, whole(b"1"))) as server, caller("sync", server.url) as made:
        made.close()
        started = time.monotonic()
        assert made.invoke("hello").attempts == 2
        assert time.monotonic() - started >= 0.1


def test_where_there_is_no_poll_a_stale_connection_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.poll")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        is_readable = watch(ours.fileno())
        assert not is_readable()
        theirs.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert is_readable()
