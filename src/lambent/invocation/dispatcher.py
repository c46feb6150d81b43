"""Queued events that are due: take, attempt, obey the decision.

Events wait in *lines*, one for each target (a function and the qualifier it was called
by). Lines take turns: in its turn a line gets slots, as many as it has use for and there
are, takes as many events, and starts them. So the next slot that is given back goes to the
line that has waited longest, however long another one is.

A line whose function is throttled is left alone for a while (1 s, doubling to 5 min), or
until a slot of its account is given back; nothing is written for that. Code and
configuration are those of the moment at which an event runs, and so is what an alias means.

While an outcome cannot be written nothing more is taken: the event would run again.

Source: docs/aws-behaviour.md, async 2.1, 2.2 and 2.7.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import itertools
import logging
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ParamSpec, TypeVar

from lambent import limits
from lambent.clock import Clock
from lambent.invocation.admission import Admission, Slot
from lambent.invocation.invoker import Invoker
from lambent.invocation.outcomes import end_of, message_of
from lambent.invocation.recursion import check_recursion
from lambent.invocation.resolve import Resolved, Resolver
from lambent.model.errors import (
    RecursiveInvocationException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceError,
    TooManyRequestsException,
)
from lambent.model.events import Condition, DeadLetter, Event, EventInvokeConfig, EventTarget
from lambent.model.functions import LATEST, FunctionVersion
from lambent.model.invocations import Invocation, InvocationResult
from lambent.model.observer import SILENT, Observer
from lambent.side_process import SMALL_BYTES, SideProcess
from lambent.storage.contracts import Change, EventQueue, FunctionStore, StorageFailed, TakenEvent
from lambent.tasks import Tasks

P = ParamSpec("P")
T = TypeVar("T")

INTERRUPTIONS_MAX = 10
"""So often the server may end while an event runs, before the event is blamed for it."""

_BATCH = 32
_TURNS_AT_ONCE = 32
# Payloads of events that run at the same time, together, with those that turns may take.
_RUNNING_BYTES = 256 << 20
_THROTTLED_S = (1.0, 300.0)
_UNWRITABLE_S = 1.0
_SWEEP_S = 3600.0
# Of an error that waits with its event for the next attempt.
_ERROR_CHARACTERS = 500
_SETTLE_S = 2.0

_logger = logging.getLogger("lambent.events")


class _Line:
    """The events of one target.

    Attributes:
        next_due: when the first one that nobody has taken is due; infinite without one.
        blocked_until: no turn before; throttled.
        throttles: refusals in a row.
        is_queued: whether it waits for its turn, or has it.
        running: how many of its events run.
        is_gone: its function was deleted: whatever waits has no hope.
        listed_at: the instant under which it is in the list of lines that are due later.
        waiting: about how many events there are that nobody has taken.
        largest: none of its payloads has more bytes.
    """

    __slots__ = (
        "blocked_until",
        "is_gone",
        "is_queued",
        "largest",
        "listed_at",
        "next_due",
        "running",
        "target",
        "throttles",
        "waiting",
    )

    def __init__(self, target: EventTarget) -> None:
        self.target = target
        self.next_due = math.inf
        self.blocked_until = -math.inf
        self.throttles = 0
        self.waiting = 0
        self.largest = 0
        self.running = 0
        self.listed_at = math.inf
        self.is_queued = False
        self.is_gone = False


class Dispatcher:
    """Runs what is queued.

    Attributes:
        on_letter: told of each letter when it is on disk.

    Args:
        retry_delays: seconds after the first and the second error of a function.
        retention_s: how long dead letters are kept.
        side_process: reads large results.
        observer: told what becomes of events.
        draw: as for the API: which version of an alias with weights runs.
    """

    def __init__(
        self,
        *,
        queue: EventQueue,
        store: FunctionStore,
        resolver: Resolver,
        admission: Admission,
        invoker: Invoker,
        clock: Clock,
        tasks: Tasks,
        retry_delays: Sequence[float],
        retention_s: float,
        side_process: SideProcess,
        observer: Observer = SILENT,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._observer = observer
        self._queue = queue
        self._store = store
        self._resolver = resolver
        self._admission = admission
        self._invoker = invoker
        self._clock = clock
        self._tasks = tasks
        self._retry_delays = retry_delays
        self._retention_s = retention_s
        self._side_process = side_process
        self._draw = draw
        self._lines: dict[EventTarget, _Line] = {}
        self._ready: deque[_Line] = deque()
        # Throttled lines, in the order in which they were.
        self._blocked: dict[_Line, None] = {}
        # Lines that are due later, and when; the first one is slept for.
        self._later: list[tuple[float, int, _Line]] = []
        self.on_letter: Callable[[DeadLetter], object] = lambda _: None
        self._numbers = itertools.count()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._outcomes: set[asyncio.Task[None]] = set()
        self._turns = 0
        self._running_bytes = 0
        self._unwritten = 0
        self._is_stopping = False
        self._freed_soon = False

    async def start(self) -> None:
        """Take up what waits; once, before the first event is accepted."""
        for backlog in await self._queue.backlogs():
            line = self._line(backlog.target)
            line.waiting = backlog.waiting
            line.largest = limits.ASYNC_REQUEST_BYTES
            self._due(line, backlog.next_due)
        self._store.subscribe(self._changed)
        self._admission.on_free = self._freed
        self._tasks.start(self._expire_letters(), "sweep of dead letters")

    def stop(self) -> None:
        """Take no more; what runs ends, or goes back with its attempt not counted."""
        self._is_stopping = True
        if self._alarm is not None:
            self._alarm.cancel()

    async def settle(self) -> None:
        """Return when every outcome is written, or cannot be in time; after :meth:`stop`."""
        if self._outcomes:
            await asyncio.wait(self._outcomes, timeout=_SETTLE_S)

    def accept(self, event: Event) -> asyncio.Future[None]:
        """Queue an event; when the future is done, it is on disk and will run.

        Raises:
            BacklogFull: at once; nothing was stored.
        """
        stored = self._queue.put(event)
        stored.add_done_callback(partial(self._accepted, event))
        return stored

    def notice(self, event: Event) -> None:
        """Take note of an event that came into the queue by another way."""
        self._observer.event_happened(event.target.key, "received")
        self._add(event, event.accepted_at)

    def _accepted(self, event: Event, stored: asyncio.Future[None]) -> None:
        if not stored.cancelled() and stored.exception() is None:
            self.notice(event)

    # -- lines

    def _add(self, event: Event, due: float) -> None:
        line = self._line(event.target)
        line.waiting += 1
        line.largest = max(line.largest, len(event.payload))
        self._due(line, due)

    def _line(self, target: EventTarget) -> _Line:
        line = self._lines.get(target)
        if line is None:
            line = self._lines[target] = _Line(target)
        return line

    def _due(self, line: _Line, due: float) -> None:
        line.next_due = min(line.next_due, due)
        self._enqueue(line)

    def _enqueue(self, line: _Line) -> None:
        """Let a line wait for its turn, or for its time; forget it when it has no event."""
        if line.is_queued:
            return
        at = -math.inf if line.is_gone else max(line.next_due, line.blocked_until)
        if at == math.inf:
            if not line.running and self._lines.get(line.target) is line:
                del self._lines[line.target]
        elif at <= self._clock.now():
            line.is_queued = True
            self._ready.append(line)
            self._pump()
        elif at < line.listed_at:
            line.listed_at = at
            heapq.heappush(self._later, (at, next(self._numbers), line))
            self._set_alarm()

    def _set_alarm(self) -> None:
        at = self._later[0][0] if self._later else math.inf
        if at < self._alarm_at and not self._is_stopping:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = at
            self._alarm = self._tasks.start(self._sleep_until(at), "alarm of the event queue")

    async def _sleep_until(self, at: float) -> None:
        await self._clock.sleep(max(0.0, at - self._clock.now()))
        self._alarm, self._alarm_at = None, math.inf
        now = self._clock.now()
        while self._later and self._later[0][0] <= now:
            line = heapq.heappop(self._later)[2]
            line.listed_at = math.inf
            self._enqueue(line)
        self._set_alarm()

    def _changed(self, change: Change) -> None:
        if change.qualifier is None:
            for target in [target for target in self._lines if target.key == change.key]:
                self._lines[target].is_gone = True
                self._enqueue(self._lines[target])

    def _freed(self) -> None:
        """A slot was given back: look at throttled lines anew, once for all slots of one turn of the loop."""
        if not self._freed_soon:
            self._freed_soon = True
            asyncio.get_running_loop().call_soon(self._unblock)

    def _unblock(self) -> None:
        """Let throttled lines try again, those first of which the fewest events run."""
        self._freed_soon = False
        self._admission.is_awaited = False
        blocked, self._blocked = self._blocked, {}
        for line in sorted(blocked, key=lambda line: line.running):
            line.blocked_until = -math.inf
            self._enqueue(line)

    # -- turns

    def _pump(self) -> None:
        while (
            self._ready
            and self._turns < _TURNS_AT_ONCE
            and self._running_bytes < _RUNNING_BYTES
            and not self._unwritten
            and not self._is_stopping
        ):
            line = self._ready.popleft()
            self._turns += 1
            may_take_bytes = _BATCH * line.largest
            self._running_bytes += may_take_bytes
            self._tasks.start(self._turn(line, may_take_bytes), f"turn of {line.target.arn}")

    async def _turn(self, line: _Line, may_take_bytes: int) -> None:
        try:
            await self._serve(line)
        except StorageFailed as error:
            _logger.error("events of %s wait for storage: %s", line.target.arn, error)
            line.blocked_until = self._clock.now() + _UNWRITABLE_S
        except Exception:
            _logger.exception("events of %s could not be run", line.target.arn)
            self._back_off(line)
        finally:
            self._turns -= 1
            self._running_bytes -= may_take_bytes
            line.is_queued = False
            self._enqueue(line)
            self._pump()

    async def _serve(self, line: _Line) -> None:
        """Give the line's first events slots and start them, or bury them, or leave it alone for a while."""
        target = line.target
        try:
            resolved = await self._resolver.resolve(*target)
        except ResourceNotFoundException as error:
            await self._bury(line, Condition.RESOURCE_NOT_FOUND, error)
            return
        except ResourceConflictException:
            self._back_off(line)
            return
        if line.is_gone:
            # It was created anew: the events of its former life are told by their generation.
            line.is_gone = False
        # Before anything is held that a failure would leave behind.
        config = await self._config(target) or _DEFAULT
        places: list[tuple[Slot, FunctionVersion]] = []
        try:
            while len(places) < min(_BATCH, max(1, line.waiting)):
                version = self._version(resolved)
                places.append((self._invoker.acquire(version, is_rated=False), version))
        except TooManyRequestsException as refused:
            if not places:
                if self._admission.is_switched_off(target.key):
                    await self._bury(line, Condition.ZERO_RESERVED_CONCURRENCY, refused)
                else:
                    self._back_off(line)
                return
        line.throttles = 0
        try:
            taken, following = await self._queue.take(target, len(places), self._clock.now())
        except BaseException:
            for slot, _ in places:
                slot.release()
            raise
        line.next_due = math.inf if following is None else following
        line.waiting = max(0, line.waiting - len(taken)) if following is not None else 0
        for slot, _ in places[len(taken) :]:
            slot.release()
        for one, (slot, version) in zip(taken, places, strict=False):
            await self._start(line, one, slot, version, resolved, config)

    def _version(self, resolved: Resolved) -> FunctionVersion:
        if resolved.other is not None and self._draw() < resolved.other_share:
            return resolved.other
        return resolved.version

    def _back_off(self, line: _Line) -> None:
        first, most = _THROTTLED_S
        line.blocked_until = self._clock.now() + min(most, first * 2.0**line.throttles)
        line.throttles = min(line.throttles + 1, 16)
        self._blocked[line] = None
        self._admission.is_awaited = True

    async def _bury(self, line: _Line, condition: Condition, error: ServiceError) -> None:
        """Give up whatever is due, or all of a function that is gone."""
        is_gone = condition is Condition.RESOURCE_NOT_FOUND
        now = self._clock.now()
        taken, following = await self._queue.take(line.target, _BATCH, math.inf if is_gone else now)
        # Together: they share a commit.
        why = error.message or error.code
        await asyncio.gather(*(self._give_up(one, condition, error=why) for one in taken))
        line.next_due = math.inf if following is None else (now if is_gone else following)
        if following is None:
            line.waiting = 0
            line.is_gone = False

    async def _config(self, target: EventTarget) -> EventInvokeConfig | None:
        """Return how a target's events are tried."""
        return await self._load(
            target, lambda: self._store.load_event_config(target.key, target.qualifier or LATEST)
        )

    async def _dead_letter_queue(self, event: Event) -> str | None:
        """Return the ARN of the queue or topic that the function has for events that failed.

        Source: docs/aws-behaviour.md, async 2.4: versions have that of ``$LATEST``.
        """
        head = await self._load(event.target, lambda: self._store.load(event.target.key))
        if head is None or head.generation != event.generation:
            return None
        target: str | None = head.latest.kept.get("DeadLetterConfig", {}).get("TargetArn")
        return target

    async def _load(self, target: EventTarget, read: Callable[[], Awaitable[T]]) -> T:
        """Read, however long that takes: an event may depend on it."""
        while True:
            try:
                return await read()
            except StorageFailed as error:
                _logger.error("events of %s wait for storage: %s", target.arn, error)
                await self._clock.sleep(_UNWRITABLE_S)

    # -- attempts

    async def _start(
        self,
        line: _Line,
        taken: TakenEvent,
        slot: Slot,
        version: FunctionVersion,
        resolved: Resolved,
        config: EventInvokeConfig,
    ) -> None:
        event = taken.event
        hopeless = self._hopeless(event, version, config, may_loop=resolved.may_loop)
        if hopeless is not None:
            slot.release()
            condition, error = hopeless
            await self._give_up(taken, condition, error=error)
            return
        invocation = Invocation(
            event.request_id, version, resolved.invoked_arn, event.payload, "", event.trace_id, tail=True
        )
        self._running_bytes += len(event.payload)
        line.running += 1
        try:
            self._invoker.start(slot, invocation, partial(self._ended, line, taken, version))
        except Exception as error:  # noqa: BLE001 - a throttle, or a fault of ours: the event waits, both are told
            self._running_bytes -= len(event.payload)
            line.running -= 1
            if not isinstance(error, TooManyRequestsException):
                _logger.error("event %s could not be started: %s", event.request_id, error)
            self._back_off(line)
            await self._put_back(taken, event, line.blocked_until)

    def _hopeless(
        self, event: Event, version: FunctionVersion, config: EventInvokeConfig, *, may_loop: bool
    ) -> tuple[Condition, str] | None:
        """Return why an event is not to be run at all."""
        if event.generation != version.generation:
            return Condition.RESOURCE_NOT_FOUND, f"Function not found: {event.target.arn}"
        if event.interruptions >= INTERRUPTIONS_MAX:
            return (
                Condition.INTERRUPTED,
                f"The server ended {event.interruptions} times while this event ran.",
            )
        if not may_loop:
            try:
                check_recursion(event.trace_id)
            except RecursiveInvocationException as error:
                return Condition.RECURSIVE_INVOCATION, error.message or error.code
        age_s = self._clock.now() - event.accepted_at
        if age_s > config.age_s:
            return Condition.EVENT_AGE_EXCEEDED, f"The event waited for {age_s:.0f} s."
        return None

    def _ended(
        self, line: _Line, taken: TakenEvent, version: FunctionVersion, result: InvocationResult
    ) -> None:
        self._running_bytes -= len(taken.event.payload)
        line.running -= 1
        self._enqueue(line)
        self._pump()
        outcome = self._tasks.start(
            self._record(taken, version, result), f"outcome of {taken.event.request_id}"
        )
        self._outcomes.add(outcome)
        outcome.add_done_callback(self._outcomes.discard)

    async def _record(self, taken: TakenEvent, version: FunctionVersion, result: InvocationResult) -> None:
        event = taken.event
        if result.function_error is not None and self._is_stopping and b"signal: killed" in result.payload:
            # The server ended it: that is no attempt.
            await self._put_back(taken, event, event.accepted_at)
            return
        event = dataclasses.replace(event, attempts=event.attempts + 1)
        config = await self._config(event.target) or _DEFAULT
        if result.function_error is None:
            condition = Condition.SUCCESS
        elif event.attempts > config.retries:
            condition = Condition.RETRIES_EXHAUSTED
        else:
            due = self._clock.now() + self._retry_delays[event.attempts - 1]
            if due - event.accepted_at <= config.age_s:
                # Halves of surrogate pairs can be in JSON and nowhere else.
                message = await self._read(result, message_of, result)
                error = message[:_ERROR_CHARACTERS].encode("utf-8", "replace").decode()
                await self._put_back(taken, dataclasses.replace(event, last_error=error), due)
                self._observer.event_happened(event.target.key, "retried")
                return
            condition = Condition.EVENT_AGE_EXCEEDED
        letters: Sequence[DeadLetter] = ()
        if condition is not Condition.SUCCESS or config.on_success is not None:
            letters = await self._read(
                result,
                end_of,
                event,
                condition,
                config,
                await self._dead_letter_queue(event) if condition is not Condition.SUCCESS else None,
                now=self._clock.now(),
                executed_version=version.version,
                result=result,
            )
        await self._finish(taken, letters, condition)

    async def _read(
        self, result: InvocationResult, read: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what a function that reads a result returns; a large one is read beside the loop."""
        if len(result.payload) > SMALL_BYTES:
            try:
                return await self._side_process.run(read, *args, **kwargs)
            except (OSError, EOFError) as error:
                # An event must come to its end, however long that takes.
                _logger.error("a result could not be read beside the loop: %r", error)
        return read(*args, **kwargs)

    async def _give_up(self, taken: TakenEvent, condition: Condition, *, error: str) -> None:
        """End an event that is not run again."""
        event = taken.event
        # What is gone has no configuration any more; one that is there is of what was created anew.
        is_gone = condition is Condition.RESOURCE_NOT_FOUND
        config = None if is_gone else await self._config(event.target)
        queue = await self._dead_letter_queue(event)
        letters = end_of(event, condition, config, queue, now=self._clock.now(), error=error)
        await self._finish(taken, letters, condition)

    # -- what must be written

    async def _put_back(self, taken: TakenEvent, event: Event, due: float) -> None:
        await self._write(lambda: self._queue.release(taken, event, due), event)
        self._add(event, due)

    async def _finish(self, taken: TakenEvent, letters: Sequence[DeadLetter], condition: Condition) -> None:
        await self._write(lambda: self._queue.finish(taken, letters), taken.event)
        key = taken.event.target.key
        is_success = condition is Condition.SUCCESS
        self._observer.event_happened(key, "succeeded" if is_success else "dropped")
        for letter in letters:
            if letter.state == "dead":
                self._observer.event_happened(key, "dead")
            self.on_letter(letter)

    async def _write(self, write: Callable[[], Awaitable[object]], event: Event) -> None:
        """Write an outcome, however long that takes; nothing is taken meanwhile."""
        is_late = False
        while True:
            try:
                await write()
            except StorageFailed as error:
                if not is_late:
                    is_late = True
                    self._unwritten += 1
                _logger.error("the outcome of event %s waits for storage: %s", event.request_id, error)
                await self._clock.sleep(_UNWRITABLE_S)
            else:
                break
        if is_late:
            self._unwritten -= 1
            self._pump()

    async def _expire_letters(self) -> None:
        while True:
            try:
                await self._queue.expire(self._clock.now() - self._retention_s)
            except StorageFailed as error:
                _logger.error("old dead letters could not be removed: %s", error)
            await self._clock.sleep(_SWEEP_S)


_DEFAULT = EventInvokeConfig(target=EventTarget(None, None), modified_at=0.0)  # type: ignore[arg-type]


__all__ = ["INTERRUPTIONS_MAX", "Dispatcher"]
