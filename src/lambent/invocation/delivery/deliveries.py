"""Letters until their destinations have them.

Letters wait on disk. Those of one destination form a *line*, which is served as long as there
are any: a window is read, sent in batches, and forgotten when it was taken. A destination that
fails is left alone for a while (1 s, doubling to 60 s), then asked with a single letter: all
others of it wait for that one. What is to blame on a letter alone makes that letter dead.

Where the destination is a function, the one that the event was for may lack what it takes to call
it. So each of those has a line of its own, and none waits for another one's rights.

A server that is killed between a delivery and the note of it delivers once more; so do most
services.

Source: docs/aws-behaviour.md, async 2.3, 2.4 and 2.7.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

from lambent.aws import NO_ENDPOINT
from lambent.clock import Clock
from lambent.invocation.delivery.functions import FunctionDestinations
from lambent.invocation.delivery.sender import Sender, SenderDied
from lambent.invocation.delivery.services import LETTERS_MAX, Outcome
from lambent.model.arns import parse_arn
from lambent.model.events import DeadLetter
from lambent.model.functions import FunctionKey
from lambent.model.observer import SILENT, Observer
from lambent.storage.contracts import EventQueue, StorageFailed
from lambent.tasks import Tasks

_WINDOW = 30 * LETTERS_MAX
_WINDOW_BYTES = 4 << 20
# When so many batches of a window are left, the next one is read.
_READ_AGAIN = 20
# Of one service, at a time: each holds a window in memory.
_LINES_AT_ONCE = 8
_WAIT_MAX_S = 60.0
_SETTLE_S = 2.0

_Numbered: TypeAlias = tuple[int, DeadLetter]
_logger = logging.getLogger("lambent.delivery")


class _Line:
    """The letters of one destination.

    Attributes:
        source: whose events alone are meant; None for all.
        has_more: whether letters may have come since it was last looked.
        failures: in a row.
        error: of the last one.
    """

    __slots__ = ("destination", "error", "failures", "has_more", "source")

    def __init__(self, destination: str, source: FunctionKey | None) -> None:
        self.destination = destination
        self.source = source
        self.has_more = False
        self.failures = 0
        self.error = ""


class Deliveries:
    """Serves every destination that has letters.

    Args:
        sender: calls other services; None where none is to be called.
        functions: for destinations that are functions.
        observer: told of each letter that was taken, or never will be.
    """

    def __init__(
        self,
        *,
        queue: EventQueue,
        sender: Sender | None,
        functions: FunctionDestinations,
        clock: Clock,
        tasks: Tasks,
        observer: Observer = SILENT,
    ) -> None:
        self._observer = observer
        self._queue = queue
        self._sender = sender
        self._functions = functions
        self._clock = clock
        self._tasks = tasks
        self._lines: dict[tuple[str, FunctionKey | None], _Line] = {}
        self._places = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(_LINES_AT_ONCE))
        self._under_way: set[asyncio.Task[bool]] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Take up what waits; once."""
        for destination, function in await self._queue.destinations():
            self._serve(destination, function)

    def notice(self, letter: DeadLetter) -> None:
        """Take note of a letter that is on disk."""
        if letter.state == "undelivered" and letter.destination is not None:
            self._serve(letter.destination, letter.function)

    def error_of(self, letter: DeadLetter) -> str:
        """Return why a letter is not delivered; "" if that is only a matter of time."""
        if letter.state != "undelivered" or letter.destination is None:
            return letter.delivery_error
        if not self._can_reach(letter.destination):
            return NO_ENDPOINT
        line = self._lines.get(_place_of(letter.destination, letter.function))
        return "" if line is None else line.error

    async def stop(self) -> None:
        """Send no more, and wait a moment for what is under way."""
        self._is_stopping = True
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_SETTLE_S)
        if self._sender is not None:
            await self._sender.close()

    def _can_reach(self, destination: str) -> bool:
        return self._sender is not None or parse_arn(destination).service == "lambda"

    def _serve(self, destination: str, function: FunctionKey) -> None:
        place = _place_of(destination, function)
        line = self._lines.get(place)
        if line is None:
            if not self._can_reach(destination) or self._is_stopping:
                return
            line = self._lines[place] = _Line(*place)
            self._tasks.start(self._run(line), f"deliveries to {destination}")
        line.has_more = True

    async def _run(self, line: _Line) -> None:
        """Deliver a line's letters until there are none."""
        try:
            while line.has_more and not self._is_stopping:
                line.has_more = False
                if not await self._deliver_all(line):
                    line.has_more = True
                    await self._clock.sleep(wait_s(line.failures))
                    line.failures += 1
        finally:
            del self._lines[line.destination, line.source]

    async def _deliver_all(self, line: _Line) -> bool:
        """Deliver window after window; return whether nothing is left and nothing failed."""
        async with self._places[parse_arn(line.destination).service]:
            under_way: set[asyncio.Task[bool]] = set()
            after = 0
            is_fine = True
            while is_fine and not self._is_stopping:
                letters = await self._read(line, after)
                if not letters or self._is_stopping:
                    is_fine = letters is not None
                    break
                after = letters[-1][0]
                batches = [letters[at : at + LETTERS_MAX] for at in range(0, len(letters), LETTERS_MAX)]
                under_way |= {self._start(line, batch) for batch in batches}
                # The next window is read while the rest of this one is on its way.
                while is_fine and len(under_way) > (0 if line.failures else _READ_AGAIN):
                    done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    is_fine = all(task.result() for task in done)
                if is_fine and line.failures:
                    _logger.info("deliveries to %s go on", line.destination)
                    line.failures, line.error = 0, ""
            return all(await asyncio.gather(*under_way)) and is_fine

    async def _read(self, line: _Line, after: int) -> list[_Numbered] | None:
        """Return a line's next letters, of one that fails a single one; None when that failed."""
        limit = 1 if line.failures else _WINDOW
        try:
            return await self._queue.undelivered(
                line.destination, line.source, after=after, limit=limit, max_bytes=_WINDOW_BYTES
            )
        except StorageFailed as error:
            _fail(line, f"storage failed: {error}")
            return None

    def _start(self, line: _Line, batch: Sequence[_Numbered]) -> asyncio.Task[bool]:
        task = self._tasks.start(self._deliver(line, batch), f"a delivery to {line.destination}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _deliver(self, line: _Line, batch: Sequence[_Numbered]) -> bool:
        """Deliver a batch and note what became of it; return False when the rest is to wait."""
        try:
            outcomes = await self._send(line.destination, batch)
            await self._note(line.destination, batch, outcomes)
        except StorageFailed as error:
            outcomes = [Outcome(f"storage failed: {error}")]
        except Exception as error:
            # A fault of ours must not end the line: its letters would wait for the next one.
            _logger.exception("a delivery to %s failed", line.destination)
            outcomes = [Outcome(f"{type(error).__name__}: {error}")]
        failed = [one.error for one in outcomes if one.error and not one.is_final]
        if failed:
            _fail(line, failed[0])
        return not failed

    async def _note(self, destination: str, batch: Sequence[_Numbered], outcomes: Sequence[Outcome]) -> None:
        taken = [number for (number, _), outcome in zip(batch, outcomes, strict=True) if not outcome.error]
        # A function's letter went as its event came.
        if taken and parse_arn(destination).service != "lambda":
            await self._queue.delivered(taken)
        for (number, letter), outcome in zip(batch, outcomes, strict=True):
            if not outcome.error:
                self._observer.event_happened(letter.function, "delivered")
            elif outcome.is_final:
                _logger.warning("%s will never take %s: %s", destination, letter.request_id, outcome.error)
                await self._queue.undeliverable(number, outcome.error)
                self._observer.event_happened(letter.function, "undeliverable")

    async def _send(self, destination: str, batch: Sequence[_Numbered]) -> Sequence[Outcome]:
        if parse_arn(destination).service == "lambda":
            made = (self._functions.deliver(destination, number, letter) for number, letter in batch)
            return await asyncio.gather(*made)
        assert self._sender is not None
        try:
            return await self._sender.deliver(destination, [letter for _, letter in batch])
        except (SenderDied, OSError) as error:
            return [Outcome(str(error))] * len(batch)


def _place_of(destination: str, function: FunctionKey) -> tuple[str, FunctionKey | None]:
    """Return the destination, and for a function as such whose letters have a line of their own."""
    return destination, function if parse_arn(destination).service == "lambda" else None


def wait_s(failures: int) -> float:
    """Return for how long a destination is left alone that has failed once more.

    Args:
        failures: before that, in a row.
    """
    # The power alone would be more than a number can be after a day.
    return min(_WAIT_MAX_S, 2.0 ** min(failures, 10))


def _fail(line: _Line, error: str) -> None:
    if error != line.error:
        _logger.warning("letters for %s wait: %s", line.destination, error)
    line.error = error


__all__ = ["Deliveries", "wait_s"]
