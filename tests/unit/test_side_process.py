"""Calls of functions in a process beside the server, and what of requests is read there."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from lambent.api.codec import Codec, parse_request
from lambent.model.errors import ServiceError
from lambent.side_process import SideProcess

CODEC = Codec()
PARTS: tuple[str, dict[str, str], list[tuple[str, str]], dict[str, str]] = ("CreateFunction", {}, [], {})
LONG = bytes(range(256)) * 1000
LETTERS = b"A" * 400_000
PACKAGE = b"PK" + bytes(1_000_000)
CREATE = {
    "FunctionName": "f",
    "Role": "arn:aws:iam::000000000000:role/r",
    "Code": {"ZipFile": base64.b64encode(PACKAGE).decode()},
}
REFUSED = [
    b'{"Code": {"ZipFile": "%b"' % LETTERS,
    b'{"Code": {"ZipFile":\n"%b" "Role"}}' % LETTERS,
    b'{"Code": {"ZipFile": "%b\xff"}}' % LETTERS,
    b'{"Code": {"ZipFile": "%b\\ud800"}}' % LETTERS,
    b'{"Code": {"ZipFile": "%b="}}' % LETTERS,
    b'{"Code": {"ZipFile": "%b!"}}' % LETTERS,
    b'{"Code": {"ZipFile": ["%b"]}}' % LETTERS,
    b'{"Code": {"ZipFile": "%b"}, "Timeout": "3"}' % LETTERS,
    b'{"Code": {"ZipFile": "%b"}, "Timeout": 0, "Role": "r"}' % LETTERS,
    b'["%b"]' % LETTERS,
    b"[" * 200_000 + b"]" * 200_000,
]


def _play(scenario: Callable[[SideProcess], Awaitable[None]]) -> None:
    async def main() -> None:
        side = SideProcess()
        try:
            await scenario(side)
        finally:
            side.close()

    asyncio.run(main())


def _process(side: SideProcess) -> int:
    assert side._process is not None
    return side._process.pid


def test_arguments_and_results_of_any_length_come_as_they_are() -> None:
    async def scenario(side: SideProcess) -> None:
        assert await side.run(os.getpid) == _process(side)
        assert await side.run(dict, [("a", LONG), ("b", b"short")], c=LONG, d=None) == {
            "a": LONG,
            "b": b"short",
            "c": LONG,
            "d": None,
        }
        assert await side.run(bytes.upper, b"") == b""

    _play(scenario)


def test_calls_at_the_same_time_each_get_their_own_result() -> None:
    async def scenario(side: SideProcess) -> None:
        calls = (side.run(bytes.count, b"x" * number, b"x") for number in range(0, 100_000, 9_999))
        assert await asyncio.gather(*calls) == list(range(0, 100_000, 9_999))

    _play(scenario)


def test_what_a_function_raises_is_raised_here() -> None:
    async def scenario(side: SideProcess) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            await side.run(int, "x")
        assert await side.run(int, "7") == 7

    _play(scenario)


def test_another_process_takes_the_place_of_one_that_is_gone() -> None:
    async def scenario(side: SideProcess) -> None:
        first = await side.run(os.getpid)
        os.kill(first, signal.SIGKILL)
        assert await side.run(len, LONG) == len(LONG)
        assert _process(side) != first

    _play(scenario)


def test_a_call_that_ends_every_process_fails() -> None:
    async def scenario(side: SideProcess) -> None:
        with pytest.raises(EOFError):
            await side.run(os.abort)
        assert await side.run(len, LONG) == len(LONG)

    _play(scenario)


def test_nothing_runs_before_it_is_needed_nor_after_the_end() -> None:
    async def scenario(side: SideProcess) -> None:
        assert side._process is None
        process = await side.run(os.getpid)
        side.close()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

    _play(scenario)


def test_a_call_that_is_under_way_at_the_end_fails_and_does_not_hold_it_up() -> None:
    async def scenario(side: SideProcess) -> None:
        os.kill(await side.run(os.getpid), signal.SIGSTOP)
        waiting = asyncio.ensure_future(side.run(len, LONG))
        await asyncio.sleep(0)
        side.close()
        with pytest.raises((OSError, EOFError, asyncio.CancelledError)):
            await waiting

    _play(scenario)


def test_large_requests_are_read_and_refused_as_small_ones_are() -> None:
    async def scenario(side: SideProcess) -> None:
        read = await side.run(parse_request, *PARTS, json.dumps(CREATE).encode())
        assert read == CREATE | {"Code": {"ZipFile": PACKAGE}}
        for body in REFUSED:
            with pytest.raises(ServiceError) as expected:
                CODEC.parse(*PARTS, body)
            with pytest.raises(type(expected.value)) as refused:
                await side.run(parse_request, *PARTS, body)
            assert refused.value.body() == expected.value.body()
            assert refused.value.status == expected.value.status

    _play(scenario)


def test_the_loop_does_little_of_the_work() -> None:
    async def scenario(side: SideProcess) -> None:
        body = json.dumps(CREATE | {"Code": {"ZipFile": base64.b64encode(PACKAGE * 10).decode()}}).encode()
        await side.run(len, b"")
        started = time.thread_time()
        CODEC.parse(*PARTS, body)
        on_the_loop = time.thread_time() - started
        started = time.thread_time()
        for _ in range(3):
            await side.run(parse_request, *PARTS, body)
        # CPU of this thread alone, so that a busy machine changes nothing; it is a thousandth.
        assert time.thread_time() - started < on_the_loop

    _play(scenario)
