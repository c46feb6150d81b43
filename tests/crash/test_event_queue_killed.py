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
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.crash.lives import (
    EVENTS,
    KILLS,
    SEED,
    SETTINGS,
    SETTLE_S,
    Kill,
    Producers,
    drained,
    is_failing,
    send_and_kill,
)
from tests.integration.conftest import Functions, running_server

from lambent.model.events import Condition
from lambent.model.functions import FunctionKey
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue

ATTEMPTS = 3
# Functions of a dead server end within this time (docs/aws-behaviour.md, async 2.7).
_ORPHANS_S = 2.0

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


async def letters_of(data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what the dead letters tell of their requests, by request id."""
    directory = DataDirectory.open(data_dir)
    queue = SqliteEventQueue(directory, 1)
    found = defaultdict(list)
    await queue.start()
    for _, letter in await queue.dead_letters(
        "000000000000", "us-east-1", "f", after=0, limit=1 << 40, max_bytes=10**9
    ):
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


@pytest.mark.timeout(60 + KILLS * 5 + 2 * SETTLE_S)
def test_nothing_accepted_is_lost_when_server_and_functions_are_killed(tmp_path: Path) -> None:
    print(f"CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    ledger = tmp_path / "ledger"
    producers, kills = Producers(), list[Kill]()
    with running_server(tmp_path, **SETTINGS) as server:
        variables = {"LEDGER": str(ledger)}
        Functions(server.client())(_FUNCTION, FunctionName="f", Environment={"Variables": variables})
    for life in range(KILLS):
        with running_server(tmp_path, **SETTINGS) as server:
            # Producers never wait for the next life: each has its share of the events.
            share = EVENTS * (life + 1) // (KILLS + 1)
            asyncio.run(send_and_kill(server, producers, share, chance, kills))
    with running_server(tmp_path, **SETTINGS) as server:
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
