"""Uses of the client as type checkers read them: never run, see tests/unit/test_client_types.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, assert_type

from lambent.client import (
    UNSIGNED,
    AsyncFunction,
    AsyncLambda,
    AsyncResponseStream,
    Credentials,
    Function,
    HttpRequest,
    InvocationType,
    InvokeRequest,
    InvokeResult,
    Lambda,
    LogType,
    ResponseStream,
    Retries,
    Timeout,
    TooManyRequestsException,
)


@dataclass
class Order:
    id: int


class Person(TypedDict):
    name: str


def change(request: HttpRequest) -> HttpRequest:
    return replace(request, url="http://elsewhere/")


def sync_uses(lam: Lambda) -> None:
    assert_type(lam.invoke("f"), InvokeResult[Any])
    assert_type(lam.invoke("f", {"a": 1}, returns=Order), InvokeResult[Order])
    assert_type(lam.invoke("f", returns=Order).value(), Order)
    assert_type(lam.invoke("f", returns=bytes).value(), bytes)
    assert_type(lam.invoke("f", returns=Person).value(), Person)
    assert_type(lam.invoke(InvokeRequest(function="f", payload=b""), log_tail=True).logs, str)
    assert_type(lam.send("f", Path("event.json"), timeout=3, retries=1), str)
    assert_type(lam.check("f", qualifier="1"), None)
    hello = lam.function("f", returns=Order, qualifier="prod", idempotent=True)
    assert_type(hello, Function[Order])
    assert_type(hello({"a": 1}), Order)
    assert_type(hello.with_options(timeout=5)(), Order)
    assert_type(hello.invoke(None), InvokeResult[Order])
    assert_type(hello.map([1, 2], concurrency=4), Iterator[Order])
    assert_type(lam.function("f")(), Any)
    assert_type(
        lam.map("f", range(3), returns=Order, return_exceptions=True, progress=print), Iterator[Order]
    )
    assert_type(lam.map_unordered("f", range(3), returns=bytes), Iterator[tuple[int, bytes]])
    with lam.stream("f", b"", client_context={"custom": {}}) as stream:
        assert_type(stream, ResponseStream)
        assert_type(list(stream), list[bytes])
        assert_type(list(stream.lines()), list[str])
        assert_type(list(stream.json_lines(Order)), list[Order])
    builder = lam.invocation("f").payload_json({"a": 1}).log_type(LogType.TAIL).set_qualifier(None)
    assert_type(builder.send(), InvokeResult[Any])
    assert_type(builder.as_request(), InvokeRequest)
    with lam.record() as sent:
        assert_type(sent, list[HttpRequest])
    try:
        lam.wait_until_active("f", timeout=5)
    except TooManyRequestsException as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.may_have_run, bool)


def made() -> None:
    Lambda(credentials=Credentials("a", "b"), timeout=Timeout(connect=1), retries=Retries(max_attempts=5))
    Lambda(credentials=lambda: Credentials("a", "b"), retries=1, timeout=3, before_sign=change)
    Lambda(credentials=UNSIGNED, endpoint_url="http://h")
    Lambda.local({"hello": lambda event, context: event}, idempotent=True)
    Lambda().invoke("f", invocation_type=InvocationType.EVENT)
    Lambda().invoke("f", invocation_type="Later")


async def async_uses(lam: AsyncLambda) -> None:
    assert_type(await lam.invoke("f", returns=Order), InvokeResult[Order])
    assert_type(await lam.send("f"), str)
    hello = lam.function("f", returns=Order)
    assert_type(hello, AsyncFunction[Order])
    assert_type(await hello(), Order)
    assert_type(lam.map("f", range(3), returns=Order), AsyncIterator[Order])
    async for index, value in lam.map_unordered("f", range(3), returns=Order):
        assert_type(index, int)
        assert_type(value, Order)
    async with lam.stream("f") as stream:
        assert_type(stream, AsyncResponseStream)
        async for line in stream.lines():
            assert_type(line, str)
    assert_type(await lam.invocation("f").send(), InvokeResult[Any])
