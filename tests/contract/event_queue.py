"""What every EventQueue promises, as tests that any engine can be put under.

Inherit :class:`EventQueueContract` and say how a queue is opened, and how one ends without
being closed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.rig import ACCOUNT, REGION

from lambent.model.events import Backlog, DeadLetter, Event, EventTarget, Waiting
from lambent.model.functions import FunctionKey
from lambent.storage.contracts import BacklogFull, EventQueue

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

Scenario = Callable[[EventQueue], Awaitable[None]]
MAX_BACKLOG = 50


def target(name: str = "f", qualifier: str | None = None) -> EventTarget:
    return EventTarget(FunctionKey(ACCOUNT, REGION, name), qualifier)


def event(request_id: str, of: EventTarget | None = None, **changes: Any) -> Event:
    given = {
        "request_id": request_id,
        "target": of or target(),
        "generation": "g",
        "payload": b'{"n": "\xc3\xa9"}',
        "trace_id": "Root=1",
        "accepted_at": 100.0,
    }
    return Event(**{**given, **changes})


def letter(request_id: str, name: str = "f", at: float = 100.0, **changes: Any) -> DeadLetter:
    given = {
        "request_id": request_id,
        "function": FunctionKey(ACCOUNT, REGION, name),
        "at": at,
        "record": {"requestContext": {"condition": "RetriesExhausted"}, "responsePayload": None},
        "error": "bööm \ud800",
        "payload": b"[1]",
    }
    return DeadLetter(**{**given, **changes})


async def ids(
    queue: EventQueue, of: EventTarget | None = None, limit: int = 100, now: float = 100.0
) -> list[str]:
    taken, _ = await queue.take(of or target(), limit, now)
    return [one.event.request_id for one in taken]


class EventQueueContract(ABC):
    """Promises of a queue."""

    @abstractmethod
    def open_queue(self) -> AbstractAsyncContextManager[EventQueue]:
        """Open an empty queue, or the same one again within a test, with room for MAX_BACKLOG events."""

    def run(self, *scenarios: Scenario) -> None:
        """Run scenarios one after another, each as a server of its own."""

        async def main(scenario: Scenario) -> None:
            async with self.open_queue() as queue:
                await scenario(queue)

        for scenario in scenarios:
            asyncio.run(main(scenario))

    def test_what_was_put_is_taken_as_it_was(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            given = event("1", target("f", "live"), attempts=1, payload=b"x" * 1_048_576)
            await queue.put(given)
            assert queue.count == 1
            (taken,), following = await queue.take(target("f", "live"), 5, 100.0)
            assert (taken.event, following) == (given, None)
            await queue.finish(taken)
            assert queue.count == 0

        self.run(scenario)

    def test_events_of_a_target_come_in_the_order_of_acceptance(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await asyncio.gather(*(queue.put(event(str(number))) for number in range(20)))
            for name, qualifier in (("g", None), ("f", "1")):
                await queue.put(event(f"{name}{qualifier}", target(name, qualifier)))
            assert await ids(queue, limit=8) == [str(number) for number in range(8)]
            assert await ids(queue, limit=100) == [str(number) for number in range(8, 20)]
            assert await ids(queue) == []
            assert await ids(queue, target("f", "1")) == ["f1"]

        self.run(scenario)

    def test_a_take_that_ends_after_a_put_tells_of_it(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            for number in range(MAX_BACKLOG // 2):
                # While another one is being written these two come together.
                before = queue.put(event("before", target("g")))
                of = target(f"f{number}")
                put = queue.put(event("1", of, accepted_at=300.0))
                _, following = await queue.take(of, 1, 100.0)
                assert following == 300.0 or not put.done()
                await before
                await put

        self.run(scenario)

    def test_what_waits_and_what_runs_is_listed_in_order_of_acceptance(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            for name, of in (("a", target("f")), ("b", target("g")), ("c", target("f", "live"))):
                await queue.put(event(name, of, payload=b"12345"))
            (taken,), _ = await queue.take(target("f"), 5, 100.0)
            failed = dataclasses.replace(taken.event, attempts=1, last_error="bööm")
            await queue.release(taken, failed, 160.0)
            await queue.take(target("g"), 5, 100.0)
            found = await queue.queued(ACCOUNT, REGION, None, after=0, limit=10)
            assert [(one.event.request_id, one.due, one.is_running) for one in found] == [
                ("a", 160.0, False),
                ("b", 100.0, True),
                ("c", 100.0, False),
            ]
            first, second, third = found
            assert first.event == dataclasses.replace(failed, payload=b"")
            assert first.payload_bytes == 5
            assert await queue.queued(ACCOUNT, REGION, None, after=first.number, limit=1) == [second]
            assert await queue.queued(ACCOUNT, REGION, "f", after=0, limit=10) == [first, third]
            assert sorted(await queue.summary(ACCOUNT, REGION), key=str) == [
                Waiting(target("f", "live"), 1, 0, 100.0),
                Waiting(target("f"), 1, 0, 100.0),
                Waiting(target("g"), 0, 1, 100.0),
            ]
            assert await queue.summary(ACCOUNT, "sa-east-1") == []
            assert await queue.queued(ACCOUNT, "sa-east-1", None, after=0, limit=10) == []
            assert await queue.queued(ACCOUNT, REGION, "", after=0, limit=10) == []

        self.run(scenario)

    def test_what_waits_can_be_cancelled_and_what_runs_cannot(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await queue.put(event("runs"))
            (taken,), _ = await queue.take(target(), 5, 100.0)
            await queue.put(event("waits"))
            cancelled = await queue.cancel(ACCOUNT, REGION, "waits")
            assert cancelled == event("waits")
            assert queue.count == 1
            for account, request_id in ((ACCOUNT, "waits"), (ACCOUNT, "runs"), ("111122223333", "runs")):
                assert await queue.cancel(account, REGION, request_id) is None
            assert await ids(queue) == []
            await queue.finish(taken)
            assert queue.count == 0

        self.run(scenario)

    def test_an_event_is_not_taken_before_it_is_due(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await queue.put(event("later", accepted_at=200.0))
            await queue.put(event("now"))
            taken, following = await queue.take(target(), 5, 100.0)
            assert ([one.event.request_id for one in taken], following) == (["now"], 200.0)
            assert await ids(queue, now=199.0) == []
            assert await ids(queue, now=200.0) == ["later"]

        self.run(scenario)

    def test_a_released_event_comes_back_when_it_is_due_with_its_counters(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await queue.put(event("1"))
            (taken,), _ = await queue.take(target(), 5, 100.0)
            changed = dataclasses.replace(taken.event, attempts=2)
            await queue.release(taken, changed, 160.0)
            taken_early, following = await queue.take(target(), 5, 159.0)
            assert (taken_early, following) == ([], 160.0)
            (again,), _ = await queue.take(target(), 5, 160.0)
            assert again.event == changed
            assert queue.count == 1

        self.run(scenario)

    def test_a_full_backlog_refuses_at_once_and_stores_nothing(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await asyncio.gather(*(queue.put(event(str(number))) for number in range(MAX_BACKLOG)))
            with pytest.raises(BacklogFull):
                queue.put(event("too much"))
            # Events that run count, those that have ended do not.
            (taken,), _ = await queue.take(target(), 1, 100.0)
            with pytest.raises(BacklogFull):
                queue.put(event("too much"))
            await queue.finish(taken)
            await queue.put(event("fits"))
            assert "too much" not in await ids(queue)

        self.run(scenario)

    def test_what_waits_is_there_after_a_restart_and_what_was_taken_comes_back_counted(self) -> None:
        async def before(queue: EventQueue) -> None:
            for number in range(4):
                await queue.put(event(str(number)))
            await queue.put(event("other", target("g", "1"), accepted_at=300.0))
            (first, second), _ = await queue.take(target(), 2, 100.0)
            await queue.finish(first)
            assert second.event.interruptions == 0

        async def after(queue: EventQueue) -> None:
            # Known at once: what is put before anybody asks is counted besides.
            assert queue.count == 4
            await queue.put(event("more", target("h")))
            assert await ids(queue, target("h")) == ["more"]
            backlogs = sorted(await queue.backlogs(), key=lambda one: one.target.key.name)
            assert backlogs[:2] == [Backlog(target(), 3, 100.0), Backlog(target("g", "1"), 1, 300.0)]
            assert queue.count == 5
            taken, _ = await queue.take(target(), 5, 100.0)
            assert [(one.event.request_id, one.event.interruptions) for one in taken] == [
                ("1", 1),
                ("2", 0),
                ("3", 0),
            ]

        self.run(before, after)

    def test_an_event_and_what_became_of_it_change_together(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await queue.put(event("1"))
            (taken,), _ = await queue.take(target(), 5, 100.0)
            kept = letter("1", response=b'{"n": "\xc3\xa9"}')
            await queue.finish(taken, [kept])
            assert queue.count == 0
            ((number, found),) = await queue.dead_letters(
                ACCOUNT, REGION, "f", after=0, limit=9, max_bytes=10**9
            )
            assert found == kept
            assert await queue.dead_letter(ACCOUNT, REGION, "1") == (number, kept)
            assert await queue.dead_letter(ACCOUNT, "elsewhere", "1") is None

        self.run(scenario)

    def test_dead_letters_are_listed_paged_and_purged_by_function(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            for number in range(6):
                await queue.put(event(str(number)))
            taken, _ = await queue.take(target(), 9, 100.0)
            for number, one in enumerate(taken):
                await queue.finish(one, [letter(str(number), "fg"[number % 2], at=float(number))])

            async def listed(name: str | None, after: int = 0, limit: int = 9) -> list[str]:
                found = await queue.dead_letters(
                    ACCOUNT, REGION, name, after=after, limit=limit, max_bytes=10**9
                )
                return [one.request_id for _, one in found]

            assert await listed(None) == ["0", "1", "2", "3", "4", "5"]
            assert await listed("g") == ["1", "3", "5"]
            found = await queue.dead_letters(ACCOUNT, REGION, None, after=0, limit=2, max_bytes=10**9)
            assert await listed(None, after=found[-1][0], limit=2) == ["2", "3"]
            assert await queue.purge(ACCOUNT, "elsewhere", None) == []
            assert await queue.purge(ACCOUNT, REGION, "g") == ["1", "3", "5"]
            assert await queue.expire(2.0) == 1
            assert await listed(None) == ["2", "4"]
            assert await queue.purge(ACCOUNT, REGION, None) == ["2", "4"]

        self.run(scenario)

    def test_large_dead_letters_are_read_a_few_at_a_time_and_at_least_one(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            for number in range(4):
                await queue.put(event(str(number)))
            taken, _ = await queue.take(target(), 9, 100.0)
            for number, one in enumerate(taken):
                await queue.finish(one, [letter(str(number), response=b"1" * 100_000)])

            async def listed(after: int, max_bytes: int) -> list[tuple[int, str]]:
                found = await queue.dead_letters(
                    ACCOUNT, REGION, "f", after=after, limit=9, max_bytes=max_bytes
                )
                return [(number, one.request_id) for number, one in found]

            first, second = await listed(0, 150_000)
            assert (first[1], second[1]) == ("0", "1")
            assert [name for _, name in await listed(second[0], 1)] == ["2"]
            assert [name for _, name in await listed(second[0], 1_000_000)] == ["2", "3"]

        self.run(scenario)

    def test_a_redriven_event_takes_the_place_of_its_dead_letter(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            await queue.put(event("1"))
            (taken,), _ = await queue.take(target(), 5, 100.0)
            await queue.finish(taken, [letter("1")])
            ((number, _),) = await queue.dead_letters(
                ACCOUNT, REGION, None, after=0, limit=9, max_bytes=10**9
            )
            waiting = [queue.put(event(str(each), target("g"))) for each in range(MAX_BACKLOG - 1)]
            await asyncio.gather(*waiting)
            redriven = await asyncio.gather(
                *(queue.redrive(number, event(each)) for each in "23"), return_exceptions=True
            )
            assert redriven[0] is True
            assert isinstance(redriven[1], BacklogFull)
            (taken,), _ = await queue.take(target("g"), 1, 100.0)
            await queue.finish(taken)
            assert await queue.redrive(number, event("3")) is False
            assert queue.count == MAX_BACKLOG - 1
            assert await ids(queue, now=math.inf) == ["2"]
            assert await queue.dead_letters(ACCOUNT, REGION, None, after=0, limit=9, max_bytes=10**9) == []

        self.run(scenario)

    def test_letters_wait_for_their_destination_until_it_has_taken_them(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            for number in range(6):
                await queue.put(event(str(number)))
            taken, _ = await queue.take(target(), 6, 100.0)
            for number, one in enumerate(taken):
                # Letters of one event: for either of two destinations, and one that stays.
                own = letter(str(number), payload=b"x" * 100)
                sent = dataclasses.replace(own, state="undelivered", destination="ab"[number % 2])
                await queue.finish(one, [sent, own])
            assert sorted(await queue.destinations()) == [("a", target().key), ("b", target().key)]
            found = await queue.undelivered("a", None, after=0, limit=2, max_bytes=10_000)
            assert [(one.request_id, one.destination) for _, one in found] == [("0", "a"), ("2", "a")]
            rest = await queue.undelivered("a", None, after=found[-1][0], limit=2, max_bytes=10_000)
            assert [one.request_id for _, one in rest] == ["4"]
            await queue.delivered([number for number, _ in found])
            await queue.delivered([found[0][0]])
            assert await queue.undelivered("a", None, after=0, limit=9, max_bytes=10_000) == rest

        async def again(queue: EventQueue) -> None:
            ((number, given),) = await queue.undelivered("a", None, after=0, limit=9, max_bytes=10_000)
            await queue.undeliverable(number, "böse")
            assert await queue.destinations() == [("b", target().key)]
            kept = [
                one
                for _, one in await queue.dead_letters(
                    ACCOUNT, REGION, "f", after=0, limit=100, max_bytes=10**9
                )
            ]
            assert dataclasses.replace(given, state="dead", delivery_error="böse") in kept
            assert len(kept) == 6 + 1 + 3

        self.run(scenario, again)

    def test_letters_of_one_function_are_read_without_those_of_others(self) -> None:
        names = ("f", "g", "f", "h", "g")

        async def scenario(queue: EventQueue) -> None:
            for number, name in enumerate(names):
                await queue.put(event(str(number)))
                (taken,), _ = await queue.take(target(), 1, 100.0)
                await queue.finish(taken, [letter(str(number), name, state="undelivered", destination="a")])
            of_each = [("a", target(name).key) for name in sorted(set(names))]
            assert sorted(await queue.destinations()) == of_each
            for name, given in (("f", ["0", "2"]), ("g", ["1", "4"]), ("h", ["3"]), ("i", [])):
                key = target(name).key
                found = await queue.undelivered("a", key, after=0, limit=9, max_bytes=10_000)
                assert [one.request_id for _, one in found] == given
            ((number, _),) = await queue.undelivered("a", target("g").key, after=0, limit=1, max_bytes=1)
            ((_, rest),) = await queue.undelivered("a", target("g").key, after=number, limit=9, max_bytes=1)
            assert rest.request_id == "4"

        self.run(scenario)

    def test_letters_are_read_up_to_a_size_but_never_none(self) -> None:
        async def scenario(queue: EventQueue) -> None:
            for number in range(4):
                await queue.put(event(str(number)))
            taken, _ = await queue.take(target(), 4, 100.0)
            for number, one in enumerate(taken):
                given = letter(str(number), state="undelivered", destination="a", payload=b"x" * 100_000)
                await queue.finish(one, [given])
            for max_bytes, count in ((1, 1), (150_000, 2), (250_000, 3), (10**9, 4)):
                found = await queue.undelivered("a", None, after=0, limit=10, max_bytes=max_bytes)
                assert len(found) == count

        self.run(scenario)
