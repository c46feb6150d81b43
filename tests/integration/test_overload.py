"""Callers that are many, slow, greedy or gone: everybody else is still served."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Functions, RunningServer, running_server
from tests.integration.wire import INVOKE, Answer, Peer, request
from tests.waiting import wait_for

HEALTH = request("GET", "/_lambent/health")
# Waits for a file that its event names, so that a test says for how long it runs.
WAITS = """
import os, time
def handler(event, context):
    open(event + '.began', 'w').close()
    while not os.path.exists(event):
        time.sleep(0.005)
    return 'done'
"""
ECHO = "def handler(event, context): return event"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that gives a request half a second to arrive, and an account two slots."""
    with running_server(
        tmp_path_factory.mktemp("hasty"),
        LAMBENT_SERVER_REQUEST_TIMEOUT="0.5",
        LAMBENT_CONCURRENCY_ACCOUNT_LIMIT="2",
    ) as running:
        functions = Functions(running.client())
        functions(WAITS, FunctionName="waits", Timeout=60)
        functions(ECHO, FunctionName="echo")
        yield running


def _ask(server: RunningServer, data: bytes = HEALTH) -> Answer:
    peer = Peer(server.port)
    peer.send(data)
    answer = peer.receive()
    peer.close()
    return answer


def _invoke(server: RunningServer, name: str, event: object) -> Answer:
    return _ask(server, request("POST", INVOKE.format(name), json.dumps(event).encode()))


# ---------------------------------------------------------------------------- slow


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Slow: header\r\n" * 1000),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n", b"x" * 100_000),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 20_000),
        (
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"A: b\r\n" * 1000,
        ),
    ],
    ids=["head", "body", "chunks", "trailers"],
)
def test_a_request_that_drips_is_a_408_although_it_never_pauses(
    hasty: RunningServer, begin: bytes, drop: bytes
) -> None:
    # Source: docs/aws-behaviour.md, concurrency 3.6.
    peer = Peer(hasty.port)
    peer.send(begin)
    sent = 0
    while not peer.has_data(0.02):
        peer.send(drop[sent : sent + 1])
        sent += 1
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (408, "BadRequestException")
    assert answer.header("connection") == "close"
    assert peer.is_at_end()
    peer.close()


def test_a_call_runs_longer_than_a_request_may_take_to_arrive(hasty: RunningServer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    waiting = Peer(hasty.port)
    # The next request is on its way already, and must wait for its turn as well.
    body = json.dumps(str(go)).encode()
    waiting.send(request("POST", INVOKE.format("waits"), body) + b"GET /_lambent/health HTTP/1.1\r\n")
    wait_for(Path(f"{go}.began").exists)
    slow = Peer(hasty.port)
    slow.send(b"GET / HTT")
    assert slow.receive().status == 408
    slow.close()
    go.touch()
    assert waiting.receive().json == "done"
    waiting.send(b"Host: 127.0.0.1\r\n\r\n")
    assert waiting.receive().json["status"] == "ok"
    waiting.close()


# ---------------------------------------------------------------------------- many


def test_thousands_of_idle_connections_cost_the_others_nothing(server: RunningServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(3000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    idle = []
    try:
        for number in range(count):
            peer = socket.create_connection(("127.0.0.1", server.port))
            # Half of them have begun a request.
            if number % 2:
                peer.sendall(b"POST /")
            idle.append(peer)
        for _ in range(20):
            assert _ask(server).status == 200
    finally:
        for peer in idle:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _ask(server).status == 200


def test_connections_beyond_the_limit_are_closed_and_there_is_room_again(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_SERVER_MAX_CONNECTIONS="5") as server:
        kept = [Peer(server.port) for _ in range(5)]
        for peer in kept:
            peer.send(HEALTH)
            assert peer.receive().status == 200
        beyond = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        # Closed at once, which the kernel may tell as a reset.
        with beyond, contextlib.suppress(ConnectionResetError):
            assert beyond.recv(1) == b""
        kept.pop().close()
        wait_for(lambda: _is_served(server))
        for peer in kept:
            peer.close()


def _is_served(server: RunningServer) -> bool:
    try:
        return _ask(server).status == 200
    except (OSError, ValueError):
        return False


def test_a_connection_with_256_pipelined_requests_leaves_others_their_turn(
    hasty: RunningServer,
) -> None:
    # Refused at once, each: nothing but fairness lets anybody else in between.
    refused = request("POST", INVOKE.format("no!"), b"1")
    calm = Peer(hasty.port)
    greedy = [Peer(hasty.port) for _ in range(8)]
    for peer in greedy:
        peer.send(refused * 256)
    calm.send(HEALTH)
    assert calm.receive().status == 200
    for peer in greedy:
        assert {peer.receive().status for _ in range(256)} == {400}
        peer.close()
    calm.close()


def test_a_function_that_floods_leaves_the_server_to_others(hasty: RunningServer, tmp_path: Path) -> None:
    go = [str(tmp_path / str(number)) for number in range(2)]
    with ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(_invoke, hasty, "waits", each) for each in go]
        for each in go:
            wait_for(Path(each + ".began").exists)
        answers = [_invoke(hasty, "echo", 1) for _ in range(50)]
        assert {answer.header("x-amzn-errortype") for answer in answers} == {"TooManyRequestsException"}
        assert _ask(hasty).status == 200
        for each in go:
            Path(each).touch()
        assert [call.result().json for call in calls] == ["done", "done"]
    assert _invoke(hasty, "echo", 1).json == 1


# ---------------------------------------------------------------------------- gone


def test_a_caller_that_hangs_up_keeps_its_slot_until_the_function_ends(
    hasty: RunningServer, tmp_path: Path
) -> None:
    # Source: docs/aws-behaviour.md, concurrency 3.6.
    go = [str(tmp_path / str(number)) for number in range(2)]
    before = _sockets(hasty)
    for each in go:
        gone = Peer(hasty.port)
        gone.send(request("POST", INVOKE.format("waits"), json.dumps(each).encode()))
        wait_for(Path(each + ".began").exists)
        gone.reset()
    wait_for(lambda: _sockets(hasty) <= before)
    assert _invoke(hasty, "echo", 1).header("x-amzn-errortype") == "TooManyRequestsException"
    for each in go:
        Path(each).touch()
    wait_for(lambda: _invoke(hasty, "echo", 1).status == 200)


def _sockets(server: RunningServer) -> int:
    """Return how many sockets the server has open."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    count = 0
    for link in folder.iterdir():
        try:
            count += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


# ---------------------------------------------------------------------------- memory


def _resident_mb(server: RunningServer) -> float:
    (line,) = [
        line
        for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def test_memory_of_half_sent_bodies_is_given_back(server: RunningServer) -> None:
    half = 3 << 20
    head = request("POST", INVOKE.format("absent"), Content_Length="6291456")
    before = _resident_mb(server)
    peers = [Peer(server.port) for _ in range(40)]
    for peer in peers:
        peer.send(head + b"x" * half)
    wait_for(lambda: _resident_mb(server) > before + 40)
    for peer in peers:
        peer.close()
    # 120 MB were held; some rest is the allocator's.
    wait_for(lambda: _resident_mb(server) < before + 30)
    assert _ask(server).status == 200


def test_answers_that_nobody_reads_hold_no_slot(hasty: RunningServer) -> None:
    event = "x" * 1_000_000
    silent = []
    for _ in range(10):
        peer = Peer(hasty.port)
        peer.send(request("POST", INVOKE.format("echo"), json.dumps(event).encode()))
        silent.append(peer)
        assert peer.has_data(20)
    assert _invoke(hasty, "echo", 1).json == 1
    for peer in silent:
        assert peer.receive().json == event
        peer.close()


def test_a_standard_error_that_nobody_reads_holds_up_no_request(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBENT_", "AWS_"))}
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        port = int(process.stdout.readline().rsplit(b":", 1)[1])
        peer = Peer(port)
        # About 250 bytes a line: several times what the pipe holds.
        for _ in range(1500):
            peer.send(HEALTH)
            assert peer.receive().status == 200
        peer.close()
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
