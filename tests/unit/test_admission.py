"""Slots: every limit is exact, and every slot comes back whatever becomes of its invocation."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.contract.rig import make_head

from lambent.clock import ManualClock
from lambent.execution.pool import EnvironmentPool, GrowsTooFast, MachineFull
from lambent.invocation.admission import Admission, Slot
from lambent.invocation.invoker import Invoker
from lambent.model.errors import TooManyRequestsException
from lambent.model.functions import FunctionHead, FunctionKey
from lambent.model.invocations import Invocation, InvocationResult
from lambent.storage.contracts import Change, FunctionStore, OnChange

ACCOUNT, OTHER = "111111111111", "222222222222"
REGION = "us-east-1"
LIMIT = 6
FITTING = 8
CONCURRENCY = "ConcurrentInvocationLimitExceeded"
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


def key(name: str = "f", account: str = ACCOUNT, region: str = REGION) -> FunctionKey:
    return FunctionKey(account, region, name)


def head_of(name: FunctionKey, reserved: int | None = None) -> FunctionHead:
    return make_head(name.name, account=name.account, region=name.region, reserved_concurrency=reserved)


class Feed:
    """Stands for the store: what is reserved at start, and the feed of changes."""

    def __init__(self, *heads: FunctionHead) -> None:
        self._heads = list(heads)
        self._subscribers: list[OnChange] = []

    def subscribe(self, on_change: OnChange) -> None:
        self._subscribers.append(on_change)

    async def reserved(self) -> list[FunctionHead]:
        return self._heads

    def reserve(self, name: FunctionKey, reserved: int | None) -> None:
        for on_change in self._subscribers:
            on_change(Change(name, "$LATEST", head_of(name, reserved)))

    def delete(self, name: FunctionKey) -> None:
        for on_change in self._subscribers:
            on_change(Change(name, None))


def admission_over(feed: Feed, limit: int = LIMIT, clock: ManualClock | None = None) -> Admission:
    admission = Admission(limit, clock or ManualClock())
    asyncio.run(admission.start(cast("FunctionStore", feed)))
    return admission


def refusal(admission: Admission, name: FunctionKey, version: str = "$LATEST") -> TooManyRequestsException:
    with pytest.raises(TooManyRequestsException) as caught:
        admission.acquire(name, version)
    return caught.value


def reason(admission: Admission, name: FunctionKey, version: str = "$LATEST") -> str:
    return refusal(admission, name, version).reason


def take(admission: Admission, name: FunctionKey, count: int, version: str = "$LATEST") -> list[Slot]:
    return [admission.acquire(name, version) for _ in range(count)]


# -- concurrency. Source: docs/aws-behaviour.md, concurrency 3.1, 3.2 and 3.6.


def test_the_accounts_limit_is_exact_and_tells_its_reason() -> None:
    admission = admission_over(Feed(), 2)
    take(admission, key("f"), 1)
    take(admission, key("g"), 1)
    refused = refusal(admission, key("f"))
    assert (refused.status, refused.reason, refused.limit) == (429, CONCURRENCY, "account")
    assert refused.headers == (("x-amz-retry-after", "1000"),)
    assert refused.body() == {"Reason": CONCURRENCY, "Type": "User", "message": "Rate Exceeded."}
    # Another region and another account have slots of their own.
    take(admission, key(region="eu-west-1"), 2)
    take(admission, key(account=OTHER), 2)
    assert admission.running(ACCOUNT, REGION) == 2


def test_reserved_slots_are_a_guarantee_and_a_ceiling() -> None:
    feed = Feed(head_of(key("mine"), 2))
    admission = admission_over(feed, 6)
    take(admission, key("others"), 4)
    assert reason(admission, key("others")) == CONCURRENCY
    slots = take(admission, key("mine"), 2)
    assert reason(admission, key("mine")) == RESERVED
    slots[0].release()
    assert reason(admission, key("others")) == CONCURRENCY
    take(admission, key("mine"), 1)


def test_reserved_zero_switches_a_function_off() -> None:
    admission = admission_over(Feed(head_of(key(), 0)))
    assert reason(admission, key()) == RESERVED
    take(admission, key("others"), LIMIT)


def test_a_change_holds_for_the_next_invocation_and_counts_what_runs_already() -> None:
    feed = Feed()
    admission = admission_over(feed, 6)
    running = take(admission, key(), 3)
    feed.reserve(key(), 2)
    assert reason(admission, key()) == RESERVED
    # Two are set aside, and the three that run no longer count among the others.
    take(admission, key("others"), 4)
    assert reason(admission, key("others")) == CONCURRENCY
    running.pop().release()
    assert reason(admission, key()) == RESERVED
    running.pop().release()
    running += take(admission, key(), 1)
    feed.reserve(key(), None)
    assert reason(admission, key()) == CONCURRENCY
    for slot in running:
        slot.release()
    take(admission, key(), 2)
    assert reason(admission, key()) == CONCURRENCY


def test_a_function_that_is_deleted_gives_back_what_was_reserved() -> None:
    feed = Feed(head_of(key(), 4))
    admission = admission_over(feed, 6)
    running = take(admission, key(), 2)
    feed.delete(key())
    take(admission, key("others"), 4)
    assert reason(admission, key("others")) == CONCURRENCY
    for slot in running:
        slot.release()
    take(admission, key("others"), 2)


# -- provisioned concurrency. Source: docs/aws-behaviour.md, concurrency 3.4.


def test_provisioned_slots_come_first_and_calls_spill_over() -> None:
    admission = admission_over(Feed(), 6)
    admission.provision(key(), "1", 2)
    take(admission, key("others"), 4)
    # Two are set aside for version 1, and for nobody else.
    assert reason(admission, key("others")) == CONCURRENCY
    assert reason(admission, key()) == CONCURRENCY
    slots = take(admission, key(), 2, "1")
    assert reason(admission, key(), "1") == CONCURRENCY
    slots[0].release()
    take(admission, key(), 1, "1")


def test_what_is_provisioned_is_part_of_what_is_reserved() -> None:
    admission = admission_over(Feed(head_of(key(), 2)), 6)
    admission.provision(key(), "1", 2)
    take(admission, key("others"), 4)
    assert reason(admission, key("others")) == CONCURRENCY
    # All of it is provisioned elsewhere.
    assert reason(admission, key()) == RESERVED
    take(admission, key(), 2, "1")
    assert reason(admission, key(), "1") == RESERVED


def test_slots_that_are_no_longer_provisioned_are_anybodys() -> None:
    admission = admission_over(Feed(), 4)
    admission.provision(key(), "1", 3)
    running = take(admission, key(), 3, "1")
    admission.provision(key(), "1", 1)
    take(admission, key("others"), 3)
    assert reason(admission, key("others")) == CONCURRENCY
    for slot in running:
        slot.release()
    admission.provision(key(), "1", 0)
    take(admission, key("others"), 1)


def test_who_waits_is_told_of_provisioned_slots_that_are_free_or_new() -> None:
    admission = admission_over(Feed(), 4)
    told: list[int] = []
    admission.on_free = lambda: told.append(admission.running(ACCOUNT, REGION))
    admission.provision(key(), "1", 1)
    (slot,) = take(admission, key(), 1, "1")
    admission.is_awaited = True
    slot.release()
    admission.provision(key(), "1", 2)
    assert told == [0, 0]


# -- rates. Source: docs/aws-behaviour.md, concurrency 3.1 and 3.6.


def test_calls_of_an_account_come_ten_times_its_limit_a_second() -> None:
    clock = ManualClock()
    admission = admission_over(Feed(), 3, clock)
    for _ in range(30):
        admission.acquire(key(), "$LATEST").release()
    refused = refusal(admission, key("another"))
    assert refused.reason == "FunctionInvocationRateLimitExceeded"
    assert refused.headers == (("x-amz-retry-after", "34"), ("Retry-After", "1"))
    # Who is refused uses up nothing.
    assert admission.running(ACCOUNT, REGION) == 0
    clock.advance(0.034)
    admission.acquire(key(), "$LATEST").release()
    assert reason(admission, key()) == "FunctionInvocationRateLimitExceeded"
    clock.advance(60)
    for _ in range(30):
        admission.acquire(key(), "$LATEST").release()
    assert reason(admission, key()) == "FunctionInvocationRateLimitExceeded"


def test_calls_of_a_function_come_ten_times_what_it_reserved_a_second() -> None:
    admission = admission_over(Feed(head_of(key(), 2)), 100)
    for _ in range(20):
        admission.acquire(key(), "$LATEST").release()
    refused = refusal(admission, key())
    assert refused.reason == "ReservedFunctionInvocationRateLimitExceeded"
    assert dict(refused.headers)["Retry-After"] == "1"
    admission.acquire(key("another"), "$LATEST").release()


def test_concurrency_is_looked_at_before_the_rate() -> None:
    clock = ManualClock()
    admission = admission_over(Feed(), 1, clock)
    for _ in range(9):
        admission.acquire(key(), "$LATEST").release()
    slot = admission.acquire(key(), "$LATEST")
    assert [reason(admission, key()) for _ in range(5)] == [CONCURRENCY] * 5
    slot.release()
    assert reason(admission, key()) == "FunctionInvocationRateLimitExceeded"


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 5))
def test_never_more_than_the_rate_in_any_time(gaps: list[float], limit: int) -> None:
    clock = ManualClock()
    admission = admission_over(Feed(), limit, clock)
    admitted = []
    for gap in gaps:
        clock.advance(gap / 50)
        try:
            admission.acquire(key(), "$LATEST").release()
        except TooManyRequestsException:
            continue
        admitted.append(clock.monotonic())
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            seconds = admitted[last] - admitted[first]
            assert last - first + 1 <= 10 * limit * (1 + seconds) + 1e-6


# -- all of it together


class FakePool:
    """Runs as many as fit; ends them, or breaks, when it is told to."""

    def __init__(self) -> None:
        self.running: list[Callable[[InvocationResult], None]] = []
        self.error: Exception | None = None

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        if self.error is not None:
            raise self.error
        if len(self.running) >= FITTING:
            raise MachineFull
        self.running.append(done)


NAMES = st.sampled_from([key("a"), key("b"), key("a", OTHER)])
VERSIONS = st.sampled_from(["$LATEST", "1", "2"])


class AnyMix(RuleBasedStateMachine):
    """Invocations that begin, end, fail to begin; limits that change; functions that go.

    The model: which invocations run, of which function; what is reserved and provisioned.
    Rates are left out: time passes between the steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.feed = Feed()
        self.admission = admission_over(self.feed, LIMIT, self.clock)
        self.pool = FakePool()
        self.invoker = Invoker(self.admission, cast("EnvironmentPool", self.pool))
        self.running: list[FunctionKey] = []
        self.done = 0

    @rule(name=NAMES, version=VERSIONS)
    def start(self, name: FunctionKey, version: str) -> None:
        self.clock.advance(10)
        head = head_of(name)
        document = head.latest if version == "$LATEST" else _published(head, version)
        before = len(self.running)
        try:
            self.invoker.run(Invocation("id", document, name.arn(), b"{}"), self._done)
        except TooManyRequestsException:
            return
        except OSError:
            assert self.pool.error is not None
            return
        assert self.pool.error is None
        assert len(self.running) == before
        self.running.append(name)

    def _done(self, _: InvocationResult) -> None:
        self.done += 1

    @precondition(lambda self: self.running)
    @rule(number=st.integers(0, FITTING))
    def finish(self, number: int) -> None:
        number %= len(self.running)
        self.running.pop(number)
        self.pool.running.pop(number)(InvocationResult(b"null"))

    @rule(error=st.sampled_from([None, OSError("no descriptor is left"), MachineFull(), GrowsTooFast(5)]))
    def break_pool(self, error: Exception | None) -> None:
        self.pool.error = error

    @rule(name=NAMES, reserved=st.none() | st.integers(0, 3))
    def reserve(self, name: FunctionKey, reserved: int | None) -> None:
        self.feed.reserve(name, reserved)

    @rule(name=NAMES, version=st.sampled_from(["1", "2"]), count=st.integers(0, 2))
    def provision(self, name: FunctionKey, version: str, count: int) -> None:
        self.admission.provision(name, version, count)

    @rule(name=NAMES)
    def delete(self, name: FunctionKey) -> None:
        self.feed.delete(name)

    @invariant()
    def no_counter_is_out_of_place(self) -> None:
        for (account, _), scope in self.admission.scopes().items():
            assert 0 <= scope.running <= len([name for name in self.running if name.account == account])
            slots = [each for each in self.admission.snapshot().values() if each.scope is scope]
            aside = sum(
                each.reserved
                if each.reserved is not None
                else sum(provisioned.limit for provisioned in each.provisioned.values())
                for each in slots
            )
            assert scope.limit == LIMIT - aside
        for name, slots_of in self.admission.snapshot().items():
            assert 0 <= slots_of.busy <= self.running.count(name)

    def teardown(self) -> None:
        while self.running:
            self.finish(0)
        assert all(scope.running == 0 for scope in self.admission.scopes().values())
        assert all(slots.busy == 0 for slots in self.admission.snapshot().values())


def _published(head: FunctionHead, version: str) -> Any:
    return dataclasses.replace(head.latest, version=version)


TestAnyMix = AnyMix.TestCase


def test_a_function_that_calls_itself_from_its_answer_finds_its_slot_free() -> None:
    admission = admission_over(Feed(), 1)
    pool = FakePool()
    invoker = Invoker(admission, cast("EnvironmentPool", pool))
    seen: list[int] = []
    invocation = Invocation("id", head_of(key()).latest, key().arn(), b"{}")

    def done(_: InvocationResult) -> None:
        seen.append(admission.running(ACCOUNT, REGION))
        if len(seen) < 10:
            invoker.run(invocation, done)

    invoker.run(invocation, done)
    while pool.running:
        pool.running.pop()(InvocationResult(b"null"))
    assert seen == [0] * 10


@pytest.mark.parametrize(
    ("error", "limit", "retry_after"),
    [(MachineFull(), "machine", "1000"), (GrowsTooFast(250), "account", "250")],
)
def test_a_machine_that_has_no_room_looks_like_the_accounts_limit(
    error: Exception, limit: str, retry_after: str
) -> None:
    pool = FakePool()
    pool.error = error
    admission = admission_over(Feed())
    invoker = Invoker(admission, cast("EnvironmentPool", pool))
    with pytest.raises(TooManyRequestsException) as caught:
        invoker.run(Invocation("id", head_of(key()).latest, key().arn(), b"{}"), lambda _: None)
    assert (caught.value.reason, caught.value.limit) == (CONCURRENCY, limit)
    assert dict(caught.value.headers) == {"x-amz-retry-after": retry_after}
    assert admission.running(ACCOUNT, REGION) == 0
