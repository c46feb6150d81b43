"""Clients under measurement, each in a process of its own: ``python -m bench.callers KIND PORT SECONDS``.

Prints one line of JSON: calls, and the CPU and wall time that they took, in seconds. Of the kinds
``import-…`` it is the way from a bare interpreter to the answer of the first call. Tasks run on uvloop,
with ``BENCH_LOOP=asyncio`` on asyncio's own loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

EVENT = b'{"key1": "value1", "key2": "value2", "key3": "value3"}'
ANSWER = b'{"ok": true}'
IN_FLIGHT = 64
WARM_UP = 50
REGION = "us-east-1"
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}


def boto3_call(url: str) -> Callable[[], bytes]:
    """Return a call of boto3's client as most people make it."""
    import boto3

    client = boto3.client("lambda", endpoint_url=url, region_name=REGION, **KEYS)
    return lambda: client.invoke(FunctionName="f", Payload=EVENT)["Payload"].read()


def lambent_call(url: str) -> Callable[[], bytes]:
    """Return the same call of ours."""
    from lambent.client import Credentials, Lambda

    client = Lambda(endpoint_url=url, region_name=REGION, credentials=Credentials(*KEYS.values()))
    return lambda: client.invoke("f", EVENT).payload


def run(call: Callable[[], bytes], seconds: float) -> dict[str, float]:
    """Call one after the other."""
    for _ in range(WARM_UP):
        assert call() == ANSWER
    calls, cpu, started = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - started < seconds:
        assert call() == ANSWER
        calls += 1
    return {"calls": calls, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - started}


async def run_async(call: Callable[[], Awaitable[bytes]], seconds: float) -> dict[str, float]:
    """Call from as many tasks as are in flight."""
    calls, cpu, started = 0, 0.0, 0.0

    async def work() -> None:
        nonlocal calls
        while time.perf_counter() - started < seconds:
            assert await call() == ANSWER
            calls += 1

    await asyncio.gather(*[call() for _ in range(IN_FLIGHT)])
    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*[work() for _ in range(IN_FLIGHT)])
    return {"calls": calls, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - started}


async def aiobotocore(url: str, seconds: float) -> dict[str, float]:
    """Measure aiobotocore's client, with as many connections as are in flight."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    options: Any = {"endpoint_url": url, "region_name": REGION, **KEYS}
    config = AioConfig(max_pool_connections=IN_FLIGHT)
    async with get_session().create_client("lambda", config=config, **options) as client:

        async def call() -> bytes:
            answer = await client.invoke(FunctionName="f", Payload=EVENT)
            async with answer["Payload"] as payload:
                return await payload.read()  # type: ignore[no-any-return]

        return await run_async(call, seconds)


async def lambent(url: str, seconds: float) -> dict[str, float]:
    """Measure ours."""
    from lambent.client import AsyncLambda, Credentials

    keys = Credentials(*KEYS.values())
    async with AsyncLambda(endpoint_url=url, region_name=REGION, credentials=keys) as client:

        async def call() -> bytes:
            return (await client.invoke("f", EVENT)).payload

        return await run_async(call, seconds)


def first(make: Callable[[str], Callable[[], bytes]], url: str) -> dict[str, float]:
    """Import, make a client, call once."""
    cpu, started = time.process_time(), time.perf_counter()
    assert make(url)() == ANSWER
    return {"calls": 1, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - started}


def main() -> None:
    """Measure one kind."""
    kind, url, seconds = sys.argv[1], f"http://127.0.0.1:{sys.argv[2]}", float(sys.argv[3])
    made = {"boto3": boto3_call, "lambent": lambent_call}
    if kind.startswith("import-"):
        found = first(made[kind.removeprefix("import-")], url)
    elif kind in made:
        found = run(made[kind](url), seconds)
    else:
        run_loop = asyncio.run if os.environ.get("BENCH_LOOP") == "asyncio" else uvloop.run
        found = run_loop({"aiobotocore": aiobotocore, "lambent-async": lambent}[kind](url, seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
