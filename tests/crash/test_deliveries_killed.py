"""SIGKILL at random instants to the server, its sender and the queue that it delivers to.

Each event of a function with destinations ends in exactly one outcome, and that is delivered,
once or more: what was delivered twice has a kill behind it.

The long run is ``python -m bench.crash``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from tests.crash.lives import (
    EVENTS,
    KILLS,
    SEED,
    SETTINGS,
    Kill,
    Producers,
    count,
    drained,
    is_failing,
    send_and_kill,
)
from tests.integration.conftest import Functions, running_server
from tests.waiting import wait_for

_ENDPOINT = Path(__file__).parents[1] / "queue_endpoint.py"
_QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
_FUNCTION = "def handler(event, context): return 1 / (not event['fails'])\n"
# So many letters of a destination are on their way at a time.
_ON_THEIR_WAY = 500
_EVENTS = EVENTS // 3
_LIVES = max(1, KILLS // 2)


class QueueService:
    """The queue that only counts; killed and started again on the same port."""

    def __init__(self, ledger: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._ledger = ledger
        self.kills = 0
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_ENDPOINT), str(self.port), str(self._ledger)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        """End it, unless it has ended."""
        if self.is_running:
            self.kills += 1
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()


async def kill_now_and_then(queue: QueueService, chance: random.Random) -> None:
    """End the queue service and start it again, over and over."""
    while True:
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        queue.kill()
        await asyncio.sleep(chance.uniform(0, 0.2))
        queue.start()


@pytest.mark.timeout(120 + KILLS * 5 + EVENTS / 50)
def test_every_outcome_is_delivered_when_server_sender_and_queue_are_killed(tmp_path: Path) -> None:
    print(f"CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    ledger = tmp_path / "ledger"
    queue = QueueService(ledger)
    settings = {**SETTINGS, "LAMBENT_AWS_ENDPOINT_URL": f"http://127.0.0.1:{queue.port}"}
    producers, kills = Producers(), list[Kill]()
    with running_server(tmp_path, **settings) as server:
        client = server.client()
        Functions(client)(_FUNCTION, FunctionName="f")
        sides = {side: {"Destination": _QUEUE} for side in ("OnSuccess", "OnFailure")}
        client.put_function_event_invoke_config(FunctionName="f", DestinationConfig=sides)

    async def a_life(share: int) -> None:
        killing = asyncio.create_task(kill_now_and_then(queue, chance))
        await send_and_kill(server, producers, share, chance, kills)
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
        if not queue.is_running:
            queue.start()

    for life in range(_LIVES):
        with running_server(tmp_path, **settings) as server:
            asyncio.run(a_life(_EVENTS * (life + 1) // (_LIVES + 1)))
    with running_server(tmp_path, **settings) as server:
        asyncio.run(producers.send(server.port, _EVENTS))
        asyncio.run(drained(server.data_dir))
        wait_for(lambda: count(server.data_dir, "dead_letters") == 0)
        assert server.stop() == 0
    queue.kill()

    conditions: dict[str, Counter[str]] = defaultdict(Counter)
    torn = 0
    for line in ledger.read_text().splitlines():
        try:
            told = json.loads(line)["requestContext"]
        except ValueError:
            # Of a batch that was being written when the queue was killed.
            torn += 1
            continue
        conditions[told["requestId"]][told["condition"]] += 1
    for number, request_id in producers.accepted.items():
        allowed = {"RetriesExhausted"} if is_failing(number) else {"Success", "RetriesExhausted"}
        assert conditions[request_id], number
        # One outcome; a repeated run after a kill has the same one.
        assert conditions[request_id].keys() <= allowed | {"Interrupted"}, (number, conditions[request_id])
        assert len(conditions[request_id]) == 1, (number, conditions[request_id])
    deliveries = sum(sum(each.values()) for each in conditions.values())
    repeated = deliveries - len(conditions)
    counts = {
        "accepted": len(producers.accepted),
        "delivered": deliveries,
        "repeated": repeated,
        "torn": torn,
    }
    print(json.dumps({**counts, "kills": len(kills), "of the queue": queue.kills}))
    assert producers.refused == Counter()
    assert repeated <= (len(kills) + queue.kills) * _ON_THEIR_WAY
