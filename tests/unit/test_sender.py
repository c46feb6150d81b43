"""The sender's process as the server sees it: it may end at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop
from tests.contract.event_queue import letter
from tests.contract.rig import ACCOUNT, REGION

from lambent.invocation.delivery.sender import Sender, SenderDied
from lambent.tasks import Tasks

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
# Nobody listens there: an outcome comes back all the same.
NOWHERE = "http://127.0.0.1:1"

Play = Callable[[Callable[[Sender], Awaitable[None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Play]:
    """Play a scenario with a sender that has sent once, on either loop; nothing fails unseen."""

    def run(scenario: Callable[[Sender], Awaitable[None]]) -> None:
        async def main() -> None:
            tasks = Tasks()
            sender = Sender(NOWHERE, tasks)
            try:
                await send(sender)
                await scenario(sender)
            finally:
                await sender.close()
                await tasks.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    yield run
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def send(sender: Sender) -> str:
    async with asyncio.timeout(20):
        (outcome,) = await sender.deliver(QUEUE, [letter("1")])
    return outcome.error


async def send_until_taken(sender: Sender) -> str:
    while True:
        with contextlib.suppress(SenderDied):
            return await send(sender)
        await asyncio.sleep(0)


def kill(sender: Sender) -> None:
    """End the process, and return when it has ended: before the loop can have noticed."""
    process = sender._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    # Else asyncio's own thread was first.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_whenever_its_end_is_noticed_letters_wait_and_the_next_go_by_a_new_one(play: Play) -> None:
    async def scenario(sender: Sender) -> None:
        for turns in range(4):
            kill(sender)
            for _ in range(turns):
                await asyncio.sleep(0)
            assert "connect" in await send_until_taken(sender)

    play(scenario)


def test_one_that_has_ended_can_be_closed_twice(play: Play) -> None:
    async def scenario(sender: Sender) -> None:
        kill(sender)
        await asyncio.sleep(0)
        await sender.close()
        await sender.close()

    play(scenario)
