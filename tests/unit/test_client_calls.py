"""Bound functions, the fluent form, maps' book-keeping, waiters, progress and logging, without a network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client_steps import World, answer, core

from lambent.client import (
    UNSET,
    AsyncLambda,
    CallTimeout,
    FunctionError,
    InvocationType,
    InvokeRequest,
    Lambda,
    LogType,
    ServiceError,
    ValidationError,
)
from lambent.client.fan import Fan, Outcome


def echo(event: Any, context: Any) -> Any:
    if event == "fail":
        raise ValueError("boom")
    return [event, context.function_version]


@pytest.fixture
def lam() -> Iterator[Lambda]:
    with Lambda.local({"hello": echo}) as made:
        yield made


def test_a_bound_function_is_called_like_one_of_pythons(lam: Lambda) -> None:
    hello = lam.function("hello", qualifier="7")
    assert (hello.name, hello.qualifier) == ("hello", "7")
    assert repr(hello) == "Function('hello', qualifier='7')"
    assert hello({"a": 1}) == [{"a": 1}, "7"]
    assert hello.with_options(qualifier="8")(1) == [1, "8"]
    assert hello(1, qualifier="9") == [1, "9"]
    assert hello.invoke(1).executed_version == "7"
    assert hello.send(1)
    hello.check()
    assert list(hello.map([1, 2])) == [[1, "7"], [2, "7"]]
    assert sorted(hello.map_unordered([1, 2])) == [(0, [1, "7"]), (1, [2, "7"])]
    assert list(hello.stream(1).json_lines()) == [[1, "7"]]
    with pytest.raises(FunctionError, match="boom"):
        hello("fail")


def test_a_bound_function_has_a_type() -> None:
    with Lambda.local({"hello": lambda event, _: event}) as lam:
        hello = lam.function("hello", returns=int)
        assert hello(1) == 1
        assert list(hello.map([1, 2])) == [1, 2]
        with pytest.raises(ValueError, match="not int"):
            hello("x")
        assert hello.send("x")


def test_options_of_a_bound_function_are_checked_when_it_is_made(lam: Lambda) -> None:
    with pytest.raises(TypeError, match="qualifer"):
        lam.function("hello", qualifer="1")  # type: ignore[call-arg]


def test_asynchronous_functions_are_awaited() -> None:
    async def run() -> None:
        async with AsyncLambda.local({"hello": echo}) as lam:
            hello = lam.function("hello", qualifier="7")
            assert await hello(1) == [1, "7"]
            assert (await hello.invoke(1)).executed_version == "7"
            assert await hello.send(1)
            await hello.check()
            assert [each async for each in hello.map([1, 2])] == [[1, "7"], [2, "7"]]
            assert sorted([each async for each in hello.map_unordered([1])]) == [(0, [1, "7"])]
            assert [chunk async for chunk in hello.stream(1)] == [b'[1, "7"]']
            assert (await lam.invocation("hello").payload(2).send()).value() == [2, "$LATEST"]
            await lam.wait_until_active("hello")
            with lam.record() as sent:
                await lam.invoke("hello")
            assert len(sent) == 1

    asyncio.run(run())


def test_the_fluent_form_builds_a_request(lam: Lambda) -> None:
    builder = (
        lam.invocation()
        .function_name("hello")
        .payload_json(b"x".decode())
        .qualifier("7")
        .invocation_type(InvocationType.REQUEST_RESPONSE)
        .log_type(LogType.TAIL)
        .client_context({"custom": {}})
        .tenant_id("t")
        .durable_execution_name("d")
    )
    request = builder.as_request()
    assert request == InvokeRequest(
        function="hello",
        payload=b'"x"',
        qualifier="7",
        invocation_type="RequestResponse",
        log_type="Tail",
        client_context={"custom": {}},
        tenant_id="t",
        durable_execution_name="d",
    )
    names = ("function_name", "qualifier", "invocation_type", "log_type", "client_context", "tenant_id")
    for name in (*names, "durable_execution_name"):
        assert getattr(builder, f"get_{name}")() is not None
        getattr(builder, f"set_{name}")(None)
        assert getattr(builder, f"get_{name}")() is None
    assert builder.get_payload() == b'"x"'
    assert builder.set_payload(None).get_payload() is UNSET
    assert builder.as_request() == InvokeRequest()


def test_the_fluent_form_sends(lam: Lambda) -> None:
    result = lam.invocation("hello").payload(1).set_qualifier("7").customize(timeout=5).send()
    assert result.value() == [1, "7"]
    with pytest.raises(TypeError, match="nothing"):
        lam.invocation("hello").customize(nothing=1)  # type: ignore[call-arg]


@given(st.integers(0, 40), st.integers(1, 6), st.booleans(), st.randoms(use_true_random=False))
def test_a_map_gives_every_result_once_and_keeps_its_bounds(
    count: int, concurrency: int, ordered: bool, random: Any
) -> None:
    taken = 0

    def payloads() -> Iterator[int]:
        nonlocal taken
        for number in range(count):
            taken += 1
            yield number

    fan = Fan(payloads(), concurrency=concurrency, ordered=ordered)
    running: list[int] = []
    given: list[int] = []
    while True:
        started = [number for number, _ in fan.starts()]
        running += started
        assert len(running) == fan.in_flight <= concurrency
        assert taken - len(given) <= 2 * concurrency
        before = len(given)
        while random.random() < 0.7 and (outcome := fan.ready()) is not None:
            given.append(outcome.number)
        if running:
            fan.ended(Outcome(running.pop(random.randrange(len(running))), None))
        elif not started and not fan.has_ready and len(given) == before:
            break
    assert sorted(given) == list(range(count))
    if ordered:
        assert given == list(range(count))


def test_a_map_needs_at_least_one_call_at_a_time(lam: Lambda) -> None:
    with pytest.raises(ValidationError):
        lam.map("hello", [], concurrency=0)


def test_payloads_that_cannot_be_sent_fail_at_their_place(lam: Lambda) -> None:
    found = list(lam.map("hello", [1, {1, 2}, 3], return_exceptions=True))
    assert [type(each) for each in found] == [list, ValidationError, list]


def test_an_iterable_that_raises_ends_the_map(lam: Lambda) -> None:
    def payloads() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError):
        list(lam.map("hello", payloads()))


def test_progress_is_told(lam: Lambda) -> None:
    told: list[int] = []
    list(lam.map("hello", range(5), progress=told.append))
    assert told == [1, 2, 3, 4, 5]
    assert list(lam.map("hello", range(2), progress=True)) == [[0, "$LATEST"], [1, "$LATEST"]]


def configured(**members: str) -> Any:
    import json

    return answer(200, json.dumps(members).encode())


def test_waiting_ends_when_the_state_is_reached() -> None:
    pending = [configured(State="Pending") for _ in range(7)]
    world = World(core(), *pending, configured(State="Active"))
    world.run(world.core.wait_until("hello", "State", "Active", 300))
    assert world.sent[0].target == "/2015-03-31/functions/hello/configuration"
    assert (world.sent[0].method, world.sent[0].body) == ("GET", b"")
    assert world.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_waiting_survives_an_error_of_the_service() -> None:
    world = World(core(), answer(500, b"{}"), configured(State="Active"))
    world.run(world.core.wait_until("hello", "State", "Active", 300))


def test_waiting_ends_when_there_is_nothing_to_wait_for() -> None:
    failed = configured(State="Failed", StateReason="disk", StateReasonCode="DiskFull")
    world = World(core(), failed)
    with pytest.raises(ServiceError, match="disk") as caught:
        world.run(world.core.wait_until("hello", "State", "Active", 300))
    assert caught.value.code == "DiskFull"
    world = World(core(), *[configured(LastUpdateStatus="InProgress") for _ in range(20)])
    with pytest.raises(CallTimeout, match="InProgress"):
        world.run(world.core.wait_until("hello", "LastUpdateStatus", "Successful", 5))
    assert sum(world.slept) < 5


def test_logs_tell_calls_and_retries_but_neither_keys_nor_payloads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lambent.client")
    secret = core()
    World(secret, answer(429, b"{}"), answer(200, b'"result"')).invoke(payload=b'"payload"')
    levels = {record.levelname for record in caplog.records}
    assert levels == {"DEBUG", "INFO"}
    assert "attempt 1" in caplog.text
    assert "status 429" in caplog.text
    for hidden in ("secret", "Signature", '"payload"', '"result"'):
        assert hidden not in caplog.text
    caplog.set_level(logging.DEBUG, "lambent.client.payloads")
    World(secret, answer(200, b'"result"')).invoke(payload=b'"payload"')
    assert '"payload"' in caplog.text
    assert '"result"' in caplog.text
