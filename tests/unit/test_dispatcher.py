"""Queued events: who runs when, how often, and what is kept; on a real queue and a clock that stands still.

Source of the rules: docs/aws-behaviour.md, async 2.1, 2.2, 2.3 and 2.7.
"""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from tests.contract.event_queue import event, target
from tests.contract.rig import ACCOUNT, REGION, make_head

from lambent.clock import ManualClock
from lambent.execution.pool import EnvironmentPool, MachineFull
from lambent.invocation import dispatcher
from lambent.invocation.admission import Admission
from lambent.invocation.dispatcher import INTERRUPTIONS_MAX, Dispatcher
from lambent.invocation.invoker import Invoker
from lambent.invocation.resolve import Resolved, Resolver
from lambent.model.errors import ResourceConflictException, ResourceNotFoundException
from lambent.model.events import DeadLetter, EventInvokeConfig, EventTarget
from lambent.model.functions import FunctionHead, FunctionKey, FunctionVersion
from lambent.model.invocations import Invocation, InvocationResult
from lambent.side_process import SideProcess
from lambent.storage.contracts import Change, FunctionStore, OnChange, StorageFailed
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue
from lambent.tasks import Tasks

LARGE = b'"' + b"x" * 998 + b'"'
FAILED = InvocationResult(b'{"errorMessage":"boom","errorType":"E"}', "Unhandled", log_tail=b"tail")
FINE = InvocationResult(b'"fine"', log_tail=b"")


class World:
    """What the dispatcher asks of functions, as dictionaries; everything is there unless a test removes it.

    Attributes:
        versions: what a target resolves to, or the error.
        configs: EventInvokeConfigs by function and qualifier.
        heads: of ``$LATEST``, which alone say where events go that failed.
        running: invocations that have begun and not ended, in order.
        room: how many may run at a time on the machine.
    """

    def __init__(self) -> None:
        self.versions: dict[EventTarget, FunctionVersion | Exception] = {}
        self.configs: dict[tuple[FunctionKey, str], EventInvokeConfig] = {}
        self.heads: dict[FunctionKey, FunctionHead] = {}
        self.running: deque[tuple[Invocation, Callable[[InvocationResult], None]]] = deque()
        self.begun: list[str] = []
        self.room = 1000
        self._subscribers: list[OnChange] = []

    # FunctionStore

    def subscribe(self, on_change: OnChange) -> None:
        self._subscribers.append(on_change)

    async def reserved(self) -> list[FunctionHead]:
        return []

    async def load(self, key: FunctionKey) -> FunctionHead | None:
        return self.heads.get(key)

    async def load_event_config(self, key: FunctionKey, qualifier: str) -> EventInvokeConfig | None:
        return self.configs.get((key, qualifier))

    def tell(self, change: Change) -> None:
        for on_change in self._subscribers:
            on_change(change)

    # Resolver

    async def resolve(self, key: FunctionKey, qualifier: str | None) -> Resolved:
        found = self.versions.get(EventTarget(key, qualifier))
        if isinstance(found, Exception):
            raise found
        return Resolved(found or version(key.name), key.arn(qualifier))

    # EnvironmentPool

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        if len(self.running) >= self.room:
            raise MachineFull
        self.begun.append(invocation.request_id)
        self.running.append((invocation, done))

    def end(self, result: InvocationResult = FINE) -> None:
        """End the invocation that began first."""
        self.running.popleft()[1](result)


def version(name: str = "f", generation: str = "g", number: str = "$LATEST") -> FunctionVersion:
    return dataclasses.replace(make_head(name).latest, generation=generation, version=number)


class Stage:
    """A dispatcher and everything around it."""

    def __init__(self, folder: Path, account_limit: int, max_backlog: int = 1000) -> None:
        self.clock = ManualClock(100.0)
        self.world = World()
        self.tasks = Tasks()
        self.side_process = SideProcess()
        self.directory = DataDirectory.open(folder)
        self.queue = SqliteEventQueue(self.directory, max_backlog)
        self.admission = Admission(account_limit, self.clock)
        self.dispatcher = Dispatcher(
            queue=self.queue,
            store=cast("FunctionStore", self.world),
            resolver=cast("Resolver", self.world),
            admission=self.admission,
            invoker=Invoker(self.admission, cast("EnvironmentPool", self.world)),
            clock=self.clock,
            tasks=self.tasks,
            retry_delays=(60.0, 120.0),
            retention_s=1000.0,
            side_process=self.side_process,
        )

    async def open(self) -> None:
        self.came_back = await self.queue.start()
        await self.admission.start(cast("FunctionStore", self.world))
        await self.dispatcher.start()

    async def close(self) -> None:
        self.dispatcher.stop()
        await self.tasks.close()
        self.side_process.close()
        await self.queue.stop()
        self.directory.close()

    async def accept(self, *names: str, of: EventTarget | None = None, **changes: Any) -> None:
        for name in names:
            given = event(name, of, accepted_at=self.clock.now(), **changes)
            await self.dispatcher.accept(given)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the dispatcher and the disk work until something holds."""
        for _ in range(5000):
            if condition():
                return
            await asyncio.sleep(0.001)
        pytest.fail(f"running {[one.request_id for one, _ in self.world.running]}, begun {self.world.begun}")

    async def rests(self) -> None:
        """Let everything that can happen at this instant happen."""
        for _ in range(10):
            await asyncio.sleep(0.002)
        # An outcome may be on its way to a busy disk.
        for _ in range(100):
            queued = await self.queue.queued(ACCOUNT, REGION, None, after=0, limit=100)
            if sum(one.is_running for one in queued) <= len(self.world.running):
                return
            await asyncio.sleep(0.002)

    async def begins(self, *names: str) -> None:
        await self.until(lambda: len(self.world.running) >= len(names))
        await self.rests()
        assert [one.request_id for one, _ in self.world.running] == list(names)

    async def letters(self, name: str | None = None) -> list[DeadLetter]:
        found = await self.queue.dead_letters(ACCOUNT, REGION, name, after=0, limit=100, max_bytes=10**9)
        return [letter for _, letter in found]

    async def letter(self) -> DeadLetter:
        await self.until(lambda: self.queue.count == 0)
        (letter,) = await self.letters()
        return letter


Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run scripts, each with a server of its own on the same directory."""

    def play(*scripts: Callable[[Stage], Awaitable[None]], account_limit: int = 100, **options: int) -> None:
        async def main(script: Callable[[Stage], Awaitable[None]]) -> None:
            stage = Stage(tmp_path / "data", account_limit, **options)
            await stage.open()
            try:
                await script(stage)
            finally:
                await stage.close()

        for script in scripts:
            asyncio.run(main(script))

    return play


# -- one event


@pytest.mark.parametrize("can_start", [True, False], ids=["beside the loop", "where no process can start"])
def test_large_results_are_in_the_letter_whole_and_the_beginning_of_the_error_beside_them(
    play: Play, monkeypatch: pytest.MonkeyPatch, *, can_start: bool
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("no more processes")

    if not can_start:
        monkeypatch.setattr(subprocess, "Popen", refuse)
    failed = InvocationResult(b'{"errorMessage":"%b"}' % (b"x" * 200_000), "Unhandled")

    async def script(stage: Stage) -> None:
        given = EventInvokeConfig(target=target(), maximum_retry_attempts=1, modified_at=0.0)
        stage.world.configs[target().key, "$LATEST"] = given
        await stage.accept("1")
        await stage.begins("1")
        stage.world.end(failed)
        await stage.until(lambda: bool(stage.dispatcher._later))
        await stage.rests()
        stage.clock.advance(60)
        await stage.begins("1")
        stage.world.end(failed)
        letter = await stage.letter()
        assert (letter.error, letter.response) == ("x" * 4096, failed.payload)
        assert (stage.side_process._process is not None) is can_start

    play(script)


def test_an_event_runs_once_and_is_gone(play: Play) -> None:
    async def script(stage: Stage) -> None:
        await stage.accept("1", of=target("f", "live"))
        await stage.begins("1")
        ((invocation, _),) = stage.world.running
        assert invocation.payload == event("1").payload
        assert (invocation.trace_id, invocation.client_context) == ("Root=1", "")
        assert invocation.invoked_arn.endswith(":function:f:live")
        stage.world.end()
        await stage.until(lambda: stage.queue.count == 0)
        assert await stage.letters() == []

    play(script)


def test_an_error_is_tried_again_after_one_and_after_two_minutes_under_the_same_id(play: Play) -> None:
    async def script(stage: Stage) -> None:
        await stage.accept("1")
        for delay in (60.0, 120.0):
            await stage.begins("1")
            stage.world.end(FAILED)
            await stage.rests()
            stage.clock.advance(delay - 1)
            await stage.rests()
            assert not stage.world.running
            stage.clock.advance(1)
        await stage.begins("1")
        stage.world.end(FAILED)
        letter = await stage.letter()
        assert stage.world.begun == ["1"] * 3
        assert letter.record["requestContext"] == {
            "requestId": "1",
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        }
        assert letter.record["responseContext"] == {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
        assert letter.response == FAILED.payload
        assert (letter.error, letter.log_tail, letter.payload) == ("boom", "tail", event("1").payload)
        assert (letter.state, letter.destination) == ("dead", None)

    play(script)


def test_an_attempt_that_succeeds_ends_the_retries(play: Play) -> None:
    async def script(stage: Stage) -> None:
        await stage.accept("1")
        await stage.begins("1")
        stage.world.end(FAILED)
        await stage.rests()
        stage.clock.advance(60)
        await stage.begins("1")
        stage.world.end()
        await stage.until(lambda: stage.queue.count == 0)
        assert await stage.letters() == []

    play(script)


@pytest.mark.parametrize(
    ("retries", "age_s", "attempts", "condition"),
    [
        (0, None, 1, "RetriesExhausted"),
        (1, None, 2, "RetriesExhausted"),
        # Whether the next attempt would come too late is asked before it is waited for.
        (2, 60, 1, "EventAgeExceeded"),
        (2, 90, 2, "EventAgeExceeded"),
    ],
)
def test_attempts_and_age_are_configured(
    play: Play, retries: int, age_s: int | None, attempts: int, condition: str
) -> None:
    async def script(stage: Stage) -> None:
        of = target("f", "live")
        stage.world.configs[of.key, "live"] = EventInvokeConfig(
            target=of, maximum_retry_attempts=retries, maximum_event_age_s=age_s, modified_at=0.0
        )
        await stage.accept("1", of=of)
        for _ in range(attempts):
            await stage.begins("1")
            stage.clock.advance(1)
            stage.world.end(FAILED)
            await stage.rests()
            stage.clock.advance(60)
        letter = await stage.letter()
        assert len(stage.world.begun) == attempts
        context = letter.record["requestContext"]
        assert (context["condition"], context["approximateInvokeCount"]) == (condition, attempts)

    play(script)


def test_an_event_that_waited_too_long_never_runs(play: Play) -> None:
    async def script(stage: Stage) -> None:
        await stage.accept("busy", of=target("other"))
        await stage.begins("busy")
        await stage.accept("old")
        await stage.rests()
        stage.clock.advance(21_601)
        stage.world.end()
        letter = await stage.letter()
        context = letter.record["requestContext"]
        assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 0)
        assert "responseContext" not in letter.record
        assert stage.world.begun == ["busy"]

    play(script, account_limit=1)


def test_what_is_to_be_sent_somewhere_is_kept_and_names_where(play: Play) -> None:
    async def script(stage: Stage) -> None:
        stage.world.configs[target().key, "$LATEST"] = EventInvokeConfig(
            target=target(), on_success="arn:aws:sqs:r:1:well", modified_at=0.0
        )
        await stage.accept("1")
        await stage.begins("1")
        stage.world.end()
        letter = await stage.letter()
        assert (letter.state, letter.destination) == ("undelivered", "arn:aws:sqs:r:1:well")
        assert letter.record["requestContext"]["condition"] == "Success"
        assert letter.response == b'"fine"'

    play(script)


# -- throttles and functions that are not there


def test_a_throttled_event_uses_up_no_attempt_and_runs_when_a_slot_is_given_back(play: Play) -> None:
    async def script(stage: Stage) -> None:
        slot = stage.admission.acquire(target("sync").key, "$LATEST")
        await stage.accept("1")
        await stage.rests()
        assert not stage.world.running
        # No time passes: the slot itself wakes the event.
        slot.release()
        await stage.begins("1")
        stage.world.end(FAILED)
        await stage.rests()
        stage.clock.advance(60)
        await stage.begins("1")

    play(script, account_limit=1)


def test_reserved_zero_is_told_at_once(play: Play) -> None:
    async def script(stage: Stage) -> None:
        head = make_head("f", reserved_concurrency=0)
        stage.world.tell(Change(head.key, "$LATEST", head))
        await stage.accept("1", "2")
        await stage.until(lambda: stage.queue.count == 0)
        contexts = [letter.record["requestContext"] for letter in await stage.letters()]
        assert [(one["condition"], one["approximateInvokeCount"]) for one in contexts] == [
            ("ZeroReservedConcurrency", 0)
        ] * 2
        assert not any("responseContext" in letter.record for letter in await stage.letters())
        assert stage.world.begun == []

    play(script)


def test_a_machine_that_is_full_lets_events_wait(play: Play) -> None:
    async def script(stage: Stage) -> None:
        stage.world.room = 1
        await stage.accept("1")
        await stage.begins("1")
        await stage.accept("2")
        await stage.rests()
        stage.world.end()
        await stage.until(lambda: stage.queue.count == 1)
        stage.clock.advance(1)
        await stage.begins("2")
        stage.world.end()
        await stage.until(lambda: stage.queue.count == 0)

    play(script)


@pytest.mark.parametrize("waits", [False, True])
def test_events_of_a_function_that_is_gone_are_dead(play: Play, waits: bool) -> None:
    async def script(stage: Stage) -> None:
        if waits:
            await stage.accept("1")
            await stage.begins("1")
            stage.world.end(FAILED)
            await stage.rests()
        stage.world.versions[target()] = ResourceNotFoundException("Function not found: f")
        if waits:
            stage.world.tell(Change(target().key, None))
        else:
            await stage.accept("1")
        letter = await stage.letter()
        context = letter.record["requestContext"]
        assert (context["condition"], context["approximateInvokeCount"]) == ("ResourceNotFound", int(waits))
        assert letter.error == "Function not found: f"

    play(script)


def test_events_for_a_former_function_of_the_name_are_nothing_to_the_new_one(play: Play) -> None:
    async def script(stage: Stage) -> None:
        stage.world.versions[target()] = version(generation="another")
        stage.world.configs[target().key, "$LATEST"] = EventInvokeConfig(
            target=target(), on_failure="arn:aws:sqs:r:1:of-the-new-one", modified_at=0.0
        )
        await stage.accept("1")
        letter = await stage.letter()
        assert letter.record["requestContext"]["condition"] == "ResourceNotFound"
        assert (letter.state, letter.destination) == ("dead", None)
        assert stage.world.begun == []

    play(script)


def test_events_wait_for_a_function_that_is_not_active(play: Play) -> None:
    async def script(stage: Stage) -> None:
        stage.world.versions[target()] = ResourceConflictException("Pending")
        await stage.accept("1")
        await stage.rests()
        assert not stage.world.running
        stage.world.versions.clear()
        stage.clock.advance(1)
        await stage.begins("1")

    play(script)


# -- many


def test_the_next_free_slot_goes_to_who_has_waited_longest(play: Play) -> None:
    async def script(stage: Stage) -> None:
        await stage.accept(*(f"flood-{number}" for number in range(20)), of=target("flood"))
        await stage.until(lambda: len(stage.world.running) == 2)
        await stage.accept("calm", of=target("calm"))
        await stage.rests()
        stage.world.end()
        await stage.until(lambda: len(stage.world.begun) == 3)
        assert stage.world.begun == ["flood-0", "flood-1", "calm"]

    play(script, account_limit=2)


def test_every_event_of_a_flood_runs_once_in_order(play: Play) -> None:
    async def script(stage: Stage) -> None:
        names = [str(number) for number in range(200)]
        await asyncio.gather(*(stage.accept(name) for name in names))
        while len(stage.world.begun) < len(names) or stage.world.running:
            await stage.until(lambda: bool(stage.world.running))
            stage.world.end()
        await stage.until(lambda: stage.queue.count == 0)
        assert sorted(stage.world.begun, key=int) == names
        assert stage.admission.running(ACCOUNT, REGION) == 0

    play(script, account_limit=7)


def test_the_events_of_many_functions_that_run_at_a_time_have_a_bound_in_bytes(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A turn may take 32 events.
    monkeypatch.setattr(dispatcher, "_RUNNING_BYTES", 40_000)

    async def script(stage: Stage) -> None:
        targets = [target(f"f{number}") for number in range(30)]
        for one in targets:
            await asyncio.gather(
                *(stage.accept(f"{one.key.name}-{n}", of=one, payload=LARGE) for n in range(5))
            )
        while len(stage.world.begun) < 150 or stage.world.running:
            await stage.until(lambda: bool(stage.world.running))
            running = sum(len(one.payload) for one, _ in stage.world.running)
            assert running <= 40_000 + 32 * len(LARGE)
            stage.world.end()

    play(script, account_limit=200)


# -- restarts and storage


def test_what_waits_runs_after_a_restart_and_what_ran_runs_again_under_the_same_number(play: Play) -> None:
    async def first(stage: Stage) -> None:
        await stage.accept("1")
        await stage.begins("1")
        stage.world.end(FAILED)
        await stage.rests()
        await stage.accept("2")
        await stage.begins("2")

    async def second(stage: Stage) -> None:
        assert stage.came_back == 1
        await stage.begins("2")
        stage.world.end(FAILED)
        await stage.rests()
        stage.clock.advance(60)
        await stage.until(lambda: len(stage.world.running) == 2)
        assert sorted(one.request_id for one, _ in stage.world.running) == ["1", "2"]

    play(first, second)


def test_an_event_that_ends_the_server_again_and_again_is_blamed_for_it(play: Play) -> None:
    async def interrupted(stage: Stage) -> None:
        await stage.begins("1")

    async def first(stage: Stage) -> None:
        await stage.accept("1")
        await stage.begins("1")

    async def last(stage: Stage) -> None:
        letter = await stage.letter()
        assert letter.record["requestContext"]["condition"] == "Interrupted"
        assert stage.world.begun == []

    play(first, *[interrupted] * (INTERRUPTIONS_MAX - 1), last)


def test_an_event_that_the_server_ends_at_shutdown_has_made_no_attempt(play: Play) -> None:
    async def first(stage: Stage) -> None:
        await stage.accept("1")
        await stage.begins("1")
        stage.dispatcher.stop()
        killed = b'{"errorMessage":"RequestId: 1 Error: Runtime exited with error: signal: killed"}'
        stage.world.end(InvocationResult(killed, "Unhandled"))
        await stage.rests()

    async def second(stage: Stage) -> None:
        assert stage.came_back == 0
        await stage.begins("1")
        ((invocation, _),) = stage.world.running
        assert invocation.request_id == "1"

    play(first, second)


def test_nothing_is_taken_while_an_outcome_cannot_be_written(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stage: Stage) -> None:
        is_full = True
        finish = stage.queue.finish

        async def failing(*arguments: Any) -> None:
            if is_full:
                raise StorageFailed("the disk is full")
            await finish(*arguments)

        monkeypatch.setattr(stage.queue, "finish", failing)
        await stage.accept("1")
        await stage.begins("1")
        stage.world.end()
        await stage.rests()
        await stage.accept("2")
        await stage.rests()
        assert not stage.world.running
        is_full = False
        stage.clock.advance(1)
        await stage.begins("2")
        stage.world.end()
        await stage.until(lambda: stage.queue.count == 0)

    play(script)


def test_an_outcome_waits_for_a_configuration_that_cannot_be_read(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stage: Stage) -> None:
        await stage.accept("1")
        await stage.begins("1")
        load = stage.world.load_event_config
        is_broken = True

        async def failing(*arguments: Any) -> Any:
            if is_broken:
                raise StorageFailed("the file is gone")
            return await load(*arguments)

        monkeypatch.setattr(stage.world, "load_event_config", failing)
        stage.world.end()
        await stage.rests()
        assert stage.queue.count == 1
        is_broken = False
        stage.clock.advance(1)
        await stage.until(lambda: stage.queue.count == 0)

    play(script)


def test_a_dead_letter_that_cannot_be_written_at_once_is_written_later(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stage: Stage) -> None:
        finish = stage.queue.finish
        failures = [StorageFailed("the disk is full")]

        async def failing(*arguments: Any) -> None:
            if failures:
                raise failures.pop()
            await finish(*arguments)

        monkeypatch.setattr(stage.queue, "finish", failing)
        stage.world.versions[target()] = ResourceNotFoundException("Function not found: f")
        await stage.accept("1")
        await stage.rests()
        stage.clock.advance(1)
        letter = await stage.letter()
        assert letter.record["requestContext"]["condition"] == "ResourceNotFound"

    play(script)


def test_old_dead_letters_are_removed(play: Play) -> None:
    async def script(stage: Stage) -> None:
        stage.world.versions[target()] = version(generation="another")
        await stage.accept("1")
        await stage.letter()
        stage.clock.advance(3600)
        await stage.rests()
        assert await stage.letters() == []

    play(script)
