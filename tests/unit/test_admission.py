"""Slots: the limit is exact, and every slot comes back whatever becomes of its invocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.execution.pool import EnvironmentPool, MachineFull
from lambent.invocation.admission import Admission
from lambent.invocation.invoker import Invoker
from lambent.model.errors import TooManyRequestsException
from lambent.model.functions import CodePackage, FunctionKey, FunctionVersion, LoggingConfig
from lambent.model.invocations import Invocation, InvocationResult

ACCOUNTS = ("111111111111", "222222222222")
REGIONS = ("us-east-1", "eu-west-1")
LIMIT = 3
FITTING = 5


def _invocation(account: str, region: str) -> Invocation:
    key = FunctionKey(account, region, "f")
    version = FunctionVersion(
        key=key,
        document_id="d",
        generation="g",
        code=CodePackage("00" * 32, 1),
        runtime="python3.13",
        handler="index.handler",
        role="r",
        logging=LoggingConfig("g"),
        modified_at=0.0,
    )
    return Invocation("id", version, key.arn(), b"{}")


class FakePool:
    """Runs as many as fit; ends them, or breaks, when it is told to."""

    def __init__(self) -> None:
        self.running: list[Callable[[InvocationResult], None]] = []
        self.is_broken = False

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        if self.is_broken:
            raise OSError("no descriptor is left")
        if len(self.running) >= FITTING:
            raise MachineFull
        self.running.append(done)


class House:
    """An invoker over a fake pool, and what we think is running."""

    def __init__(self) -> None:
        self.admission = Admission(LIMIT)
        self.pool = FakePool()
        self.invoker = Invoker(self.admission, cast("EnvironmentPool", self.pool))
        self.expected: dict[tuple[str, str], int] = {}
        self.scopes: list[tuple[str, str]] = []

    def start(self, scope: tuple[str, str]) -> None:
        def done(_: InvocationResult) -> None:
            # The slot is back before the caller hears of it, so that the next call finds it.
            assert self.admission.running(*scope) == self.expected[scope] - 1

        outcome = "started"
        try:
            self.invoker.run(_invocation(*scope), done)
        except TooManyRequestsException as refusal:
            outcome = refusal.limit
        except OSError:
            outcome = "broken"
        if self.expected.get(scope, 0) == LIMIT:
            assert outcome == "account"
        elif self.pool.is_broken:
            assert outcome == "broken"
        elif outcome == "machine":
            assert len(self.pool.running) == FITTING
        else:
            assert outcome == "started"
            self.scopes.append(scope)
            self.expected[scope] = self.expected.get(scope, 0) + 1

    def finish(self, number: int) -> None:
        if self.pool.running:
            number %= len(self.pool.running)
            scope = self.scopes.pop(number)
            self.pool.running.pop(number)(InvocationResult(b"null"))
            self.expected[scope] -= 1

    def check(self) -> None:
        for account in ACCOUNTS:
            for region in REGIONS:
                running = self.admission.running(account, region)
                assert running == self.expected.get((account, region), 0) <= LIMIT


_STEPS = st.one_of(
    st.tuples(st.just("start"), st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(REGIONS))),
    st.tuples(st.just("finish"), st.integers(0, FITTING)),
    st.tuples(st.just("break"), st.booleans()),
)


@given(st.lists(_STEPS, max_size=60))
def test_slots_are_never_more_than_the_limit_and_return_to_zero(steps: list[tuple[str, object]]) -> None:
    house = House()
    for action, argument in steps:
        if action == "start":
            house.start(cast("tuple[str, str]", argument))
        elif action == "finish":
            house.finish(cast("int", argument))
        else:
            house.pool.is_broken = bool(argument)
        house.check()
    while house.pool.running:
        house.finish(0)
        house.check()
    assert not any(house.admission.running(account, region) for account in ACCOUNTS for region in REGIONS)


def test_the_limit_is_exact_and_tells_its_reason() -> None:
    admission = Admission(2)
    admission.acquire("1", "r")
    admission.acquire("1", "r")
    with pytest.raises(TooManyRequestsException) as caught:
        admission.acquire("1", "r")
    assert (caught.value.reason, caught.value.limit) == ("ConcurrentInvocationLimitExceeded", "account")
    assert caught.value.status == 429
    # Another region has slots of its own.
    admission.acquire("1", "other")
    assert [admission.running("1", region) for region in ("r", "other", "third")] == [2, 1, 0]


def test_a_function_that_calls_itself_from_its_answer_finds_its_slot_free() -> None:
    house = House()
    scope = (ACCOUNTS[0], REGIONS[0])
    seen: list[int] = []

    def done(_: InvocationResult) -> None:
        seen.append(house.admission.running(*scope))
        if len(seen) < 10:
            house.invoker.run(_invocation(*scope), done)

    house.invoker.run(_invocation(*scope), done)
    while house.pool.running:
        house.pool.running.pop()(InvocationResult(b"null"))
    assert seen == [0] * 10
