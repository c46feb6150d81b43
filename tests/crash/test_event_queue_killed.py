"""SIGKILL at random instants while producers send events at full speed: whatever got a 202 runs, or is kept.

The function writes each run into a ledger that no server touches; the producers note what
was accepted. At the end the two are compared: nothing accepted is missing, nothing ran that
nobody sent, and each repeated run has a failure or a kill behind it.

The long run is ``python -m bench.crash``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.integration.conftest import ROLE, RUNTIME, RunningServer, pack, running_server, wait_until_active

from lambent.model.events import Condition
from lambent.model.functions import FunctionKey
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue

KILLS = int(os.environ.get("CRASH_KILLS", "8"))
EVENTS = int(os.environ.get("CRASH_EVENTS", "6000"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)

PRODUCERS = 16
ATTEMPTS = 3
# So often an event is one that always fails.
_FAILING = 20
# Functions of a dead server end within this time (docs/aws-behaviour.md, async 2.7).
_ORPHANS_S = 2.0
_SETTLE_S = 60.0 + EVENTS / 200

_FUNCTION = """
import os, time

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def handler(event, context):
    os.write(ledger, f"{event['n']} {context.aws_request_id} {os.getpid()} {time.monotonic()}\\n".encode())
    if event["fails"]:
        raise RuntimeError("as it was asked to")
"""


class Run(NamedTuple):
    """A line of the ledger."""

    number: int
    request_id: str
    pid: int
    at: float


class Kill(NamedTuple):
    """A SIGKILL: to the server, or to one of its descendants."""

    at: float
    of_server: bool


class Producers:
    """Callers on keep-alive connections that send event after event, each once.

    Attributes:
        sent: how many a server may have seen; they are numbered from 0.
        accepted: number → request id of those that were answered with 202.
        refused: other answers, by status.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.accepted: dict[int, str] = {}
        self.refused: Counter[int] = Counter()

    async def send(self, port: int, until: int) -> None:
        """Send until so many are accepted, or the server is gone."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(self._send(port, until))

    async def _send(self, port: int, until: int) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                while len(self.accepted) < until:
                    await self._send_one(reader, writer)

    async def _send_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.sent
        self.sent += 1
        body = json.dumps({"n": number, "fails": is_failing(number)}).encode()
        head = (
            "POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"x-amz-invocation-type: Event\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(_header(answer, "content-length")))
        status = int(answer.split(" ", 2)[1])
        if status == 202:
            self.accepted[number] = _header(answer, "x-amzn-requestid")
        else:
            self.refused[status] += 1
            await asyncio.sleep(0.01)


def _header(head: str, name: str) -> str:
    return head.partition(f"\r\n{name}: ")[2].partition("\r\n")[0]


def is_failing(number: int) -> bool:
    """Tell whether the function fails at this event, at every attempt."""
    return number % _FAILING == 0


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process that are alive: zygotes and functions."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name may hold spaces and brackets; the parent is the second field after it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children[parent].append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children[parent]
    return found[1:]


async def send_and_kill(
    server: RunningServer, producers: Producers, until: int, chance: random.Random, kills: list[Kill]
) -> None:
    """Let a server work under load for a random while, kill some of its processes, and then itself."""
    sending = asyncio.create_task(producers.send(server.port, until))
    for _ in range(chance.choice((0, 0, 1, 2))):
        await asyncio.sleep(chance.uniform(0, 0.2))
        if victims := descendants(server.process.pid):
            kills.append(Kill(time.monotonic(), of_server=False))
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
    await asyncio.sleep(chance.uniform(0, 0.4))
    kills.append(Kill(time.monotonic(), of_server=True))
    server.stop(signal.SIGKILL)
    await sending


def waiting(data_dir: Path) -> int:
    """Return how many events have not come to their end."""
    with contextlib.closing(
        sqlite3.connect(f"file:{data_dir / 'events.db'}?mode=ro", uri=True)
    ) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


async def drained(data_dir: Path) -> None:
    """Return when no event waits or runs."""
    end = time.monotonic() + _SETTLE_S
    while left := waiting(data_dir):
        assert time.monotonic() < end, f"{left} events were not run"
        await asyncio.sleep(0.05)


async def letters_of(data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what the dead letters tell of their requests, by request id."""
    directory = DataDirectory.open(data_dir)
    queue = SqliteEventQueue(directory, 1)
    found = defaultdict(list)
    await queue.start()
    for _, letter in await queue.dead_letters("000000000000", "us-east-1", "f", after=0, limit=1 << 40):
        assert letter.function == FunctionKey("000000000000", "us-east-1", "f")
        found[letter.request_id].append(dict(letter.record["requestContext"]))
    await queue.stop()
    directory.close()
    return found


def unexplained(runs: list[Run], kills: Iterable[Kill], failures: int) -> int:
    """Count the repeated runs of one event that neither a failure nor a kill accounts for."""
    alone = 0
    for run, again in itertools.pairwise(runs):
        # A process of a killed server may have run on for a moment.
        slack = {True: _ORPHANS_S, False: 0.0}
        alone += not any(run.at - slack[kill.of_server] <= kill.at <= again.at for kill in kills)
    return max(0, alone - failures)


def compare(
    producers: Producers,
    runs: dict[int, list[Run]],
    letters: dict[str, list[dict[str, Any]]],
    kills: list[Kill],
) -> dict[str, int]:
    """Hold the ledger against what was accepted; return the counts."""
    server_kills = sum(kill.of_server for kill in kills)
    assert runs.keys() <= set(range(producers.sent))
    conditions: Counter[str] = Counter()
    repeated = 0
    for number in runs.keys() | producers.accepted.keys():
        mine = runs.get(number, [])
        request_id = producers.accepted.get(number) or mine[0].request_id
        dead = letters.get(request_id, [])
        told = (number, mine, dead, kills)
        assert {run.request_id for run in mine} <= {request_id}, told
        assert len(dead) <= 1, told
        conditions.update(one["condition"] for one in dead)
        if number in producers.accepted:
            interrupted = any(one["condition"] == Condition.INTERRUPTED for one in dead)
            assert mine or interrupted, told
            if is_failing(number):
                assert dead, told
        for one in dead:
            if one["condition"] == Condition.RETRIES_EXHAUSTED:
                assert one["approximateInvokeCount"] == ATTEMPTS, told
                assert not is_failing(number) or len(mine) >= ATTEMPTS - len(kills), told
        assert len(mine) <= ATTEMPTS + server_kills, told
        assert unexplained(mine, kills, ATTEMPTS - 1 if is_failing(number) else 0) == 0, told
        repeated += max(0, len(mine) - (ATTEMPTS if is_failing(number) else 1))
    return {
        "sent": producers.sent,
        "accepted": len(producers.accepted),
        "ran": len(runs),
        "ran without an answer": len(runs.keys() - producers.accepted.keys()),
        "runs": sum(map(len, runs.values())),
        "repeated": repeated,
        "kills of the server": server_kills,
        "kills of its processes": len(kills) - server_kills,
        **{f"dead: {condition}": count for condition, count in conditions.items()},
    }


@pytest.mark.timeout(60 + KILLS * 5 + 2 * _SETTLE_S)
def test_nothing_accepted_is_lost_when_server_and_functions_are_killed(tmp_path: Path) -> None:
    print(f"CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    ledger = tmp_path / "ledger"
    settings = {"LAMBENT_ASYNC_RETRY_DELAYS": "0.05,0.1", "LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": "16"}
    producers, kills = Producers(), list[Kill]()
    with running_server(tmp_path, **settings) as server:
        client = server.client()
        client.create_function(
            FunctionName="f",
            Runtime=RUNTIME,
            Role=ROLE,
            Handler="index.handler",
            Code={"ZipFile": pack(index=_FUNCTION)},
            Environment={"Variables": {"LEDGER": str(ledger)}},
        )
        wait_until_active(client, "f")
    for life in range(KILLS):
        with running_server(tmp_path, **settings) as server:
            # Producers never wait for the next life: each has its share of the events.
            share = EVENTS * (life + 1) // (KILLS + 1)
            asyncio.run(send_and_kill(server, producers, share, chance, kills))
    with running_server(tmp_path, **settings) as server:
        asyncio.run(producers.send(server.port, EVENTS))
        asyncio.run(drained(server.data_dir))
        assert server.stop() == 0
        data_dir = server.data_dir
    runs: dict[int, list[Run]] = defaultdict(list)
    for line in ledger.read_text().splitlines():
        number, request_id, pid, at = line.split()
        runs[int(number)].append(Run(int(number), request_id, int(pid), float(at)))
    counts = compare(producers, runs, asyncio.run(letters_of(data_dir)), kills)
    print(json.dumps(counts))
    assert producers.refused == Counter()
    assert counts["accepted"] >= EVENTS
    with contextlib.closing(sqlite3.connect(data_dir / "events.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
