"""Event invocations: what it costs to accept them, to run them, and to have many of them.

The queue alone beside the least that durability costs on this disk; the server beside its own
synchronous invocations, same function, same callers.
"""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median

from bench import processes
from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import ROOT, Server
from lambent.model.events import Event, EventTarget
from lambent.model.functions import FunctionKey
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue

PRODUCERS = 32
CALLERS = 32
BACKLOG = int(os.environ.get("BENCH_BACKLOG", "100000"))
BATCH = 32
CALLS = 300
PAYLOAD = b'{"key1": "value1", "key2": "value2", "key3": "value3"}'
TARGET = EventTarget(FunctionKey("000000000000", "us-east-1", "f"), None)
DRAIN_S = 120.0
# What waits, and what waits to be delivered.
TABLES = ("events", "dead_letters")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
SLACK_S = 1.0
# While it sleeps in the one slot that it may have, its other events wait.
HANDLER = (
    'import time\ndef handler(event, context):\n    time.sleep(event.get("s", 0))\n    return {"ok": True}\n'
)


def run(options: Options) -> list[Figure]:
    """Return the figures of the queue, and then those of a server."""
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        figures = asyncio.run(_queue(Path(folder), options))
    return [*figures, *_server(options), *_deliveries(options)]


# ------------------------------------------------------------------ the queue


async def _queue(folder: Path, options: Options) -> list[Figure]:
    singles, rates, appends, accepts = [], [], [], []
    async with _opened(folder / "few") as few, _opened(folder / "many") as many:
        for _ in range(options.rounds):
            singles.append(_commit_one_by_one(folder / "single.db"))
            rates.append(await _produce(few, options.seconds / 2))
            appends.append(_append(folder / "appended"))
            accepts.append(await _accept_alone(few))
        await _empty(few)
        before_mb = processes.pss_bytes(os.getpid()) / 1e6
        for start in range(0, BACKLOG, 1000):
            await asyncio.gather(*(many.put(_event(start + number)) for number in range(1000)))
        after_mb = processes.pss_bytes(os.getpid()) / 1e6
        alone, crowded = await _costs(few, many)
    crowd = f"{BACKLOG:,} waiting to 1"
    return [
        Figure(f"EventQueue.put, {PRODUCERS} producers", "/s", median(singles), median(rates), Goal("≥", 7)),
        Figure("p50 of EventQueue.put, one caller", "µs", median(appends), median(accepts), Goal("≤", 3)),
        Figure(f"put, take and finish, {crowd}", "µs", alone, crowded, Goal("≤", 1.3)),
        Figure(f"memory (PSS) of the queue, {crowd}", "MB", before_mb, after_mb, Goal("≤", 1.3)),
    ]


@contextlib.asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[SqliteEventQueue]:
    directory = DataDirectory.open(folder)
    queue = SqliteEventQueue(directory, 1 << 40)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.stop()
        directory.close()


def _event(number: int) -> Event:
    return Event(
        request_id=f"3f2b1c9e-5a0e-4c55-9b1e-{number:012x}",
        target=TARGET,
        generation="g" * 32,
        payload=PAYLOAD,
        trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
        accepted_at=1_700_000_000.0 + number,
    )


def _commit_one_by_one(path: Path) -> float:
    """Return rows a second, each in a commit of its own, in a table like that of the queue."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("PRAGMA synchronous = FULL")
        store.execute(
            "CREATE TABLE IF NOT EXISTS event (n INTEGER PRIMARY KEY, t TEXT, d REAL, e TEXT, p BLOB)"
        )
        store.execute("CREATE INDEX IF NOT EXISTS due ON event (t, d, n)")
        started = time.perf_counter()
        for number in range(CALLS):
            row = ("t" * 40, float(number), "e" * 260, PAYLOAD)
            store.execute("INSERT INTO event (t, d, e, p) VALUES (?, ?, ?, ?)", row)
        return CALLS / (time.perf_counter() - started)


def _append(path: Path) -> float:
    """Return the median time of a synced append of one event, in µs."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        return _median(_synced(descriptor))
    finally:
        os.close(descriptor)


def _synced(descriptor: int) -> Iterator[None]:
    while True:
        os.write(descriptor, bytes(400))
        os.fdatasync(descriptor)
        yield


def _median(steps: Iterator[None]) -> float:
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        next(steps)
        times.append((time.perf_counter() - started) * 1e6)
    return median(times)


async def _produce(queue: SqliteEventQueue, seconds: float) -> float:
    """Return accepted events a second, from producers that each wait for the answer."""
    started = time.perf_counter()
    accepted = 0

    async def produce() -> None:
        nonlocal accepted
        while time.perf_counter() < started + seconds:
            await queue.put(_event(accepted))
            accepted += 1

    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
    return accepted / (time.perf_counter() - started)


async def _accept_alone(queue: SqliteEventQueue) -> float:
    times = []
    for number in range(CALLS):
        started = time.perf_counter()
        await queue.put(_event(number))
        times.append((time.perf_counter() - started) * 1e6)
    return median(times)


async def _empty(queue: SqliteEventQueue) -> None:
    while taken := (await queue.take(TARGET, 500, 1e12))[0]:
        await asyncio.gather(*(queue.finish(one) for one in taken))


async def _costs(*queues: SqliteEventQueue) -> list[float]:
    """Return µs for one event through each queue, with whatever waits behind it; in turns."""
    # What filled the backlog must not be on its way to the disk any more.
    os.sync()
    times: list[list[float]] = [[] for _ in queues]
    for number in range(CALLS):
        for queue, taken in zip(queues, times, strict=True):
            started = time.perf_counter()
            await _pass_through(queue, number)
            taken.append((time.perf_counter() - started) / BATCH * 1e6)
    return [median(of_queue) for of_queue in times]


async def _pass_through(queue: SqliteEventQueue, number: int) -> None:
    """Put a batch, take one, and end it."""
    await asyncio.gather(*(queue.put(_event(number)) for _ in range(BATCH)))
    taken, _ = await queue.take(TARGET, BATCH, 1e12)
    await asyncio.gather(*(queue.finish(one) for one in taken))


# ------------------------------------------------------------------ the server


def _server(options: Options) -> list[Figure]:
    """Return the rates of accepting and of draining beside that of synchronous invocations."""
    syncs, accepts, drains = [], [], []
    with Server() as server:
        server.create(handler=HANDLER)
        server.load(CALLERS, seconds=min(1.0, options.seconds))
        for _ in range(options.rounds):
            syncs.append(server.load(CALLERS, seconds=options.seconds)["rps"])
            accepted, drained = _accept_and_drain(server, options.seconds)
            accepts.append(accepted)
            drains.append(drained)
    return [
        Figure("accept over HTTP to sync", "/s", median(syncs), median(accepts), Goal("≥", 0.7)),
        Figure("drain to sync", "/s", median(syncs), median(drains), Goal("≥", 0.7)),
    ]


@contextlib.contextmanager
def queue_service() -> Iterator[str]:
    """Start a queue service that only counts."""
    command = [sys.executable, str(ROOT / "tests" / "queue_endpoint.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def _deliveries(options: Options) -> list[Figure]:
    """Return the rate of draining when each success goes to a queue, until the last one is there."""
    plain, delivered = [], []
    with queue_service() as url, Server(LAMBENT_AWS_ENDPOINT_URL=url) as server:
        server.create(handler=HANDLER)
        client = server.client()
        for _ in range(options.rounds):
            plain.append(_accept_and_drain(server, options.seconds)[1])
            destination = {"OnSuccess": {"Destination": QUEUE}}
            client.put_function_event_invoke_config(FunctionName="f", DestinationConfig=destination)
            delivered.append(_accept_and_drain(server, options.seconds)[1])
            client.delete_function_event_invoke_config(FunctionName="f")
    return [Figure("drain into a queue to drain", "/s", median(plain), median(delivered), Goal("≥", 0.5))]


def _accept_and_drain(server: Server, seconds: float) -> tuple[float, float]:
    """Return the rate of accepting events while none runs, and of running them while none arrives."""
    client = server.client()
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
    client.invoke(FunctionName="f", InvocationType="Event", Payload=f'{{"s": {seconds + SLACK_S}}}')
    accepted = server.load(CALLERS, "--event", seconds=seconds)["rps"]
    path = server.directory / "data" / "events.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:

        def left() -> int:
            return sum(found.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)

        # From the first end of a waiting event on; the sleeper is the first of all.
        many = left()
        client.delete_function_concurrency(FunctionName="f")
        while (before := left()) >= many - 1:
            time.sleep(0.002)
        started = time.perf_counter()
        while remaining := left():
            if time.perf_counter() > started + DRAIN_S:
                raise RuntimeError(f"{remaining} of {many} events were not run in {DRAIN_S:.0f} s")
            time.sleep(0.01)
    return accepted, before / (time.perf_counter() - started)
