"""Tests of the function in ``examples/hello`` on a real server: ``pytest examples/test_hello.py``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lambent.client import AsyncLambda, FunctionError, Lambda
from lambent.client.pytest_plugin import LambentServer

HELLO = Path(__file__).parent / "hello"


@pytest.fixture(scope="module", autouse=True)
def deployed(lambent_server: LambentServer) -> None:
    lambent_server.deploy("hello", HELLO)


def test_greets_by_name(lambent_client: Lambda) -> None:
    assert lambent_client.function("hello")({"name": "Ada"})["greeting"] == "Hello, Ada!"


def test_logs_whom_it_greets(lambent_server: LambentServer, lambent_client: Lambda) -> None:
    lambent_client.invoke("hello", {"name": "Grace"})
    assert "greeting Grace" in lambent_server.logs("hello")


def test_fails_on_what_is_no_object(lambent_client: Lambda) -> None:
    with pytest.raises(FunctionError) as caught:
        lambent_client.function("hello")("Ada")
    assert caught.value.type == "AttributeError"


def test_many_at_once(lambent_async_client: AsyncLambda) -> None:
    async def greet() -> list[str]:
        names = [{"name": str(number)} for number in range(20)]
        return [each["greeting"] async for each in lambent_async_client.map("hello", names)]

    assert asyncio.run(greet()) == [f"Hello, {number}!" for number in range(20)]
