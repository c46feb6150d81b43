"""Lives of a server under load, each of which SIGKILL ends at a random instant.

Producers send events to the function ``f`` at full speed and note what was accepted. How many
kills and events there are, and the seed of the instants, may be given as ``CRASH_KILLS``,
``CRASH_EVENTS`` and ``CRASH_SEED``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.integration.conftest import RunningServer
from tests.processes import descendants

KILLS = int(os.environ.get("CRASH_KILLS", "8"))
EVENTS = int(os.environ.get("CRASH_EVENTS", "6000"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SETTLE_S = 60.0 + EVENTS / 200
SETTINGS = {"LAMBENT_ASYNC_RETRY_DELAYS": "0.05,0.1", "LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": "16"}

PRODUCERS = 16
# So often an event is one that always fails.
_FAILING = 20


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


def count(data_dir: Path, table: str) -> int:
    """Return how many rows a table of the event queue has."""
    with contextlib.closing(sqlite3.connect(f"file:{data_dir / 'events.db'}?mode=ro", uri=True)) as found:
        return int(found.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def drained(data_dir: Path) -> None:
    """Return when no event waits or runs."""
    end = time.monotonic() + SETTLE_S
    while left := count(data_dir, "events"):
        assert time.monotonic() < end, f"{left} events were not run"
        await asyncio.sleep(0.05)
