"""The sender: a process of its own that calls other services, as the server sees it.

It starts with the first letter, and anew when it has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Sequence

from lambent.invocation.delivery import process
from lambent.invocation.delivery.services import Outcome
from lambent.model.events import DeadLetter
from lambent.tasks import Tasks

_DIED = "the process that sends ended unexpectedly"


class SenderDied(Exception):
    """The process is gone; what became of the letters that it had is not known."""


class Sender:
    """Hands letters to its process.

    Args:
        endpoint_url: where the services are: a URL, or ``aws``.
        tasks: for what reads its answers.
    """

    def __init__(self, endpoint_url: str, tasks: Tasks) -> None:
        self._endpoint_url = endpoint_url
        self._tasks = tasks
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[list[Outcome]]] = {}

    async def deliver(self, destination: str, letters: Sequence[DeadLetter]) -> list[Outcome]:
        """Send letters; return what became of each.

        Raises:
            SenderDied: that is not known.
            OSError: the process cannot be started.
        """
        async with self._starting:
            if self._process is None:
                await self._start()
        assert self._process is not None
        stdin = self._process.stdin
        assert stdin is not None
        number = next(self._numbers)
        outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = outcomes
        try:
            stdin.write(process.encode((number, destination, letters)))
            await stdin.drain()
            return await outcomes
        except (OSError, RuntimeError) as error:
            # Its end has not been noticed yet; a RuntimeError is how uvloop tells of a pipe that is gone.
            raise SenderDied(_DIED) from error
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End the process; may be called twice."""
        if self._process is not None:
            await _end(self._process)

    async def _start(self) -> None:
        # A session of its own: Ctrl-C is for the server, which still waits for outcomes.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            process.__name__,
            self._endpoint_url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._tasks.start(self._read(self._process), "outcomes of deliveries")

    async def _read(self, sender: asyncio.subprocess.Process) -> None:
        assert sender.stdout is not None
        try:
            while True:
                (length,) = process.LENGTH.unpack(await sender.stdout.readexactly(process.LENGTH.size))
                number, outcomes = process.decode(await sender.stdout.readexactly(length))
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(outcomes)
        except asyncio.IncompleteReadError:
            self._process = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(SenderDied(_DIED))
            await _end(sender)


async def _end(sender: asyncio.subprocess.Process) -> None:
    # It may have ended by itself.
    with contextlib.suppress(ProcessLookupError):
        sender.kill()
    await sender.wait()


__all__ = ["Sender", "SenderDied"]
