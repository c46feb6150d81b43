"""Large events are checked beside the loop, with the same outcome as small ones on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from lambent.api.large_events import LargeEventCheck
from lambent.api.payload import check_event
from lambent.model.errors import InvalidRequestContentException

SIZE = 6_291_456
# Of all JSON of this length, it takes longest to check.
DIGITS = b"[" + b"1," * (SIZE // 2 - 1) + b"1]"


def _play(scenario: Callable[[LargeEventCheck], Awaitable[None]]) -> None:
    async def main() -> None:
        check = LargeEventCheck()
        try:
            await scenario(check)
        finally:
            check.close()

    asyncio.run(main())


def test_refusals_are_those_of_small_events() -> None:
    async def scenario(check: LargeEventCheck) -> None:
        for event in (
            DIGITS,
            b" " * 100_000,
            b'"' + b"x" * 100_000,
            b'{"a":\n"' + b"\xff" * 100_000,
            b'"' + "é".encode() * 100_000 + b'" 1',
            b"[" * 200_000 + b"]" * 200_000,
            b"{}",
        ):
            problem = ""
            try:
                check_event(event)
            except InvalidRequestContentException as error:
                problem = str(error.message)
            assert await check.find_problem(event) == problem

    _play(scenario)


def test_several_at_a_time_each_get_their_own_verdict() -> None:
    async def scenario(check: LargeEventCheck) -> None:
        events = [b'"%b"%b' % (b"x" * 300_000, b"}" * (number % 2)) for number in range(10)]
        problems = await asyncio.gather(*map(check.find_problem, events))
        assert [bool(problem) for problem in problems] == [False, True] * 5

    _play(scenario)


def test_the_loop_does_little_of_the_work() -> None:
    async def scenario(check: LargeEventCheck) -> None:
        await check.find_problem(b"1")
        started = time.thread_time()
        check_event(DIGITS)
        on_the_loop = time.thread_time() - started
        started = time.thread_time()
        for _ in range(3):
            assert await check.find_problem(DIGITS) == ""
        # CPU of this thread alone, so that a busy machine changes nothing; it is a thousandth.
        assert time.thread_time() - started < on_the_loop

    _play(scenario)
