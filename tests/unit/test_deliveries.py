"""Letters on their way: on a real queue, with a clock that stands still and services that do as they are told.

Source of the rules: docs/aws-behaviour.md, async 2.3, 2.4 and 2.7.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from tests.contract.event_queue import event, letter
from tests.contract.rig import ACCOUNT, REGION

from lambent.clock import ManualClock
from lambent.invocation.delivery.deliveries import Deliveries, wait_s
from lambent.invocation.delivery.functions import FunctionDestinations
from lambent.invocation.delivery.sender import Sender, SenderDied
from lambent.invocation.delivery.services import LETTERS_MAX, Outcome
from lambent.model.events import DeadLetter
from lambent.model.functions import FunctionKey
from lambent.model.observer import Observer
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue
from lambent.tasks import Tasks

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
OTHER = f"arn:aws:sqs:{REGION}:{ACCOUNT}:other"


class Services:
    """Stands in the sender's place: remembers what it is given, fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[str]]] = []
        self.error: Callable[[str, str], Outcome | Exception] = lambda _destination, _id: Outcome()
        self.held: asyncio.Event | None = None

    async def deliver(self, destination: str, letters: Sequence[DeadLetter]) -> list[Outcome]:
        self.sent.append((destination, [each.request_id for each in letters]))
        if self.held is not None:
            await self.held.wait()
        outcomes = [self.error(destination, each.request_id) for each in letters]
        for each in outcomes:
            if isinstance(each, Exception):
                raise each
        return [each for each in outcomes if isinstance(each, Outcome)]

    async def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return [one for _, ids in self.sent for one in ids]


class Counting(Observer):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.seen = Counter[str]()

    def event_happened(self, key: FunctionKey, what: str) -> None:
        self.seen[what] += 1


def was_asked(services: Services, times: int) -> bool:
    return len(services.sent) == times


class Stage:
    """A queue, deliveries over it, and what they meet."""

    def __init__(self, queue: SqliteEventQueue, clock: ManualClock, services: Services, tasks: Tasks) -> None:
        self.queue, self.clock, self.services = queue, clock, services
        self.deliveries = Deliveries(
            queue=queue,
            sender=cast("Sender", services),
            functions=cast("FunctionDestinations", None),
            clock=clock,
            tasks=tasks,
        )

    async def bury(
        self, *request_ids: str, destination: str = QUEUE, notice: bool = True, **more: Any
    ) -> None:
        """End events with letters for a destination."""
        for request_id in request_ids:
            await self.queue.put(event(request_id))
            (taken,), _ = await self.queue.take(event(request_id).target, 1, 1e9)
            made = letter(request_id, state="undelivered", destination=destination, **more)
            await self.queue.finish(taken, [made])
            if notice:
                self.deliveries.notice(made)

    async def left(self) -> list[DeadLetter]:
        found = await self.queue.dead_letters(ACCOUNT, REGION, None, after=0, limit=1000, max_bytes=10**9)
        return [one for _, one in found]

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - it may be about anything
                await asyncio.sleep(0.001)

    async def seconds_until(self, condition: Callable[[], bool]) -> float:
        """Let time pass until a condition holds; return how much did."""
        seconds = 0.0
        while True:
            await self.wait(lambda: condition() or bool(self.clock._sleepers))
            if condition():
                return seconds
            self.clock.advance(1)
            seconds += 1
            await asyncio.sleep(0)

    async def wait_until_left(self, *request_ids: str) -> None:
        async with asyncio.timeout(20):
            while [one.request_id for one in await self.left()] != list(request_ids):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def play(tmp_path: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        directory = DataDirectory.open(str(tmp_path / "data"))
        queue = SqliteEventQueue(directory, 1000)
        tasks = Tasks()
        try:
            await queue.start()
            await scenario(Stage(queue, ManualClock(), Services(), tasks))
        finally:
            await tasks.close()
            await queue.stop()
            directory.close()

    asyncio.run(main())


def test_what_was_taken_is_gone(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.bury("1", "2", "3")
        await stage.bury("4", destination=OTHER)
        await stage.wait_until_left()
        assert sorted(stage.services.ids) == ["1", "2", "3", "4"]

    play(tmp_path, scenario)


def test_letters_that_wait_go_together(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        ids = [str(number) for number in range(25)]
        await stage.bury(*ids, notice=False)
        await stage.deliveries.start()
        await stage.wait_until_left()
        assert [len(batch) for _, batch in stage.services.sent] == [LETTERS_MAX, LETTERS_MAX, 5]
        assert stage.services.ids == ids

    play(tmp_path, scenario)


def test_a_destination_that_fails_is_asked_with_one_letter_after_longer_and_longer_waits(
    tmp_path: Path,
) -> None:
    async def scenario(stage: Stage) -> None:
        services = stage.services
        services.error = lambda _destination, _id: Outcome("down")
        await stage.bury("1", "2", "3", notice=False)
        await stage.deliveries.start()
        await stage.wait(lambda: len(services.sent) == 1)
        waits = [await stage.seconds_until(partial(was_asked, services, times)) for times in range(2, 11)]
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert [batch for _, batch in services.sent] == [["1", "2", "3"], *[["1"]] * 9]
        (first, *_) = await stage.left()
        assert stage.deliveries.error_of(first) == "down"
        services.error = lambda _destination, _id: Outcome()
        await stage.wait(lambda: bool(stage.clock._sleepers))
        stage.clock.advance(60)
        await stage.wait_until_left()
        assert services.sent[-2:] == [(QUEUE, ["1"]), (QUEUE, ["2", "3"])]

    play(tmp_path, scenario)


def test_one_destination_that_fails_holds_no_other_up(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.services.error = lambda destination, _id: Outcome("down" if destination == QUEUE else "")
        await stage.bury("1", "2")
        await stage.bury("3", "4", destination=OTHER)
        await stage.wait_until_left("1", "2")

    play(tmp_path, scenario)


def test_no_function_waits_for_the_right_of_another_to_call_a_third(tmp_path: Path) -> None:
    destination = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:d"

    class Functions:
        """Takes what comes of any function but one."""

        def __init__(self, queue: SqliteEventQueue) -> None:
            self._queue = queue

        async def deliver(self, destination: str, number: int, letter: DeadLetter) -> Outcome:
            if letter.function.name == "forbidden":
                return Outcome("AccessDeniedException")
            await self._queue.delivered([number])
            return Outcome()

    async def scenario(stage: Stage) -> None:
        stage.deliveries._functions = cast("FunctionDestinations", Functions(stage.queue))
        forbidden = FunctionKey(ACCOUNT, REGION, "forbidden")
        await stage.bury("1", destination=destination, function=forbidden)
        await stage.bury("2", destination=destination)
        await stage.wait_until_left("1")
        await stage.bury("3", "4", destination=destination, notice=False)
        await stage.deliveries.start()
        await stage.wait_until_left("1")
        (waiting,) = await stage.left()
        assert stage.deliveries.error_of(waiting) == "AccessDeniedException"

    play(tmp_path, scenario)


def test_a_letter_that_will_never_be_taken_is_dead_and_holds_no_other_up(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        counted = Counting()
        stage.deliveries._observer = counted
        stage.services.error = lambda _destination, name: (
            Outcome("too long", is_final=True) if name == "2" else Outcome()
        )
        await stage.bury("1", "2", "3", notice=False)
        await stage.deliveries.start()
        await stage.wait_until_left("2")
        await stage.wait(lambda: not stage.deliveries._lines)
        (dead,) = await stage.left()
        assert counted.seen == {"delivered": 2, "undeliverable": 1}
        assert (dead.state, dead.delivery_error, dead.destination) == ("dead", "too long", QUEUE)
        assert stage.deliveries.error_of(dead) == "too long"
        # Not tried again, by the next server either.
        await stage.deliveries.start()
        assert not stage.deliveries._lines
        assert sorted(stage.services.ids) == ["1", "2", "3"]

    play(tmp_path, scenario)


def test_what_a_dead_sender_had_is_sent_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.services.error = lambda _destination, _id: SenderDied("it is gone")
        await stage.bury("1")
        await stage.wait(lambda: bool(stage.services.sent) and bool(stage.clock._sleepers))
        assert [one.request_id for one in await stage.left()] == ["1"]
        stage.services.error = lambda _destination, _id: Outcome()
        stage.clock.advance(1)
        await stage.wait_until_left()
        assert stage.services.ids == ["1", "1"]

    play(tmp_path, scenario)


def test_letters_outlive_a_fault_of_the_servers_own(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.services.error = lambda _destination, _id: RecursionError("too deep")
        await stage.bury("1")
        await stage.wait(lambda: bool(stage.services.sent) and bool(stage.clock._sleepers))
        (waiting,) = await stage.left()
        assert stage.deliveries.error_of(waiting) == "RecursionError: too deep"
        stage.services.error = lambda _destination, _id: Outcome()
        stage.clock.advance(1)
        await stage.wait_until_left()

    play(tmp_path, scenario)


def test_what_comes_while_others_are_sent_is_sent_too(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.services.held = asyncio.Event()
        await stage.bury("1")
        await stage.wait(lambda: bool(stage.services.sent))
        await stage.bury("2", "3")
        stage.services.held.set()
        await stage.wait_until_left()
        assert stage.services.ids == ["1", "2", "3"]

    play(tmp_path, scenario)


def test_nothing_is_sent_once_the_server_stops(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.deliveries.stop()
        await stage.bury("1")
        await asyncio.sleep(0.01)
        assert (stage.services.sent, [one.request_id for one in await stage.left()]) == ([], ["1"])

    play(tmp_path, scenario)


def test_what_is_being_read_when_the_server_stops_is_not_sent(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.bury("1", notice=False)
        read, is_read, goes_on = stage.queue.undelivered, asyncio.Event(), asyncio.Event()

        async def held(*given: Any, **named: Any) -> Any:
            found = await read(*given, **named)
            is_read.set()
            await goes_on.wait()
            return found

        stage.queue.undelivered = held  # type: ignore[method-assign]
        await stage.deliveries.start()
        await is_read.wait()
        await stage.deliveries.stop()
        goes_on.set()
        await stage.wait(lambda: not stage.deliveries._lines)
        assert stage.services.sent == []

    play(tmp_path, scenario)


def test_a_destination_may_fail_for_as_long_as_letters_are_kept() -> None:
    assert [wait_s(failures) for failures in (0, 1, 5, 6, 100, 50_000)] == [1, 2, 32, 60, 60, 60]
