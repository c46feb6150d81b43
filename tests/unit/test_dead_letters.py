"""Dead letters as a person has them redriven, on a real queue.

Source of the rules: docs/aws-behaviour.md, async 2.7.
"""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import cast

import pytest
from tests.contract.event_queue import event, letter, target
from tests.contract.rig import ACCOUNT, REGION, make_head

from lambent.api.dead_letters import DeadLetters
from lambent.api.request import Request
from lambent.clock import ManualClock
from lambent.invocation.delivery.deliveries import Deliveries
from lambent.invocation.dispatcher import Dispatcher
from lambent.invocation.resolve import Resolved, Resolver
from lambent.model.events import Event
from lambent.model.functions import FunctionKey
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue

PLACE = (ACCOUNT, REGION)


class Everything:
    """A resolver that finds every function, and a dispatcher that is only told."""

    def __init__(self) -> None:
        self.noticed: list[Event] = []

    async def resolve(self, key: FunctionKey, qualifier: str | None) -> Resolved:
        return Resolved(make_head(key.name).latest, key.arn(qualifier))

    def notice(self, event: Event) -> None:
        self.noticed.append(event)


@pytest.mark.filterwarnings("error")
def test_an_event_with_two_letters_is_redriven_once(tmp_path: Path) -> None:
    async def main(directory: DataDirectory) -> None:
        queue, other = SqliteEventQueue(directory, 10), Everything()
        dead_letters = DeadLetters(
            queue=queue,
            dispatcher=cast("Dispatcher", other),
            deliveries=cast("Deliveries", None),
            resolver=cast("Resolver", other),
            clock=ManualClock(),
        )
        await queue.start()
        await queue.put(event("1"))
        (taken,), _ = await queue.take(target(), 1, 1e9)
        both = [letter("1", state="undelivered", destination=f"arn:aws:sqs:r:1:{name}") for name in "ab"]
        await queue.finish(taken, both)
        request = Request(b"POST", b"/_lambent/dead-letters/redrive", {})
        request.body = b'{"function": "f"}'
        answer = json.loads(await dead_letters.answer(request, b"redrive", {}, PLACE))
        assert ([one["redrivenFrom"] for one in answer["redriven"]], answer["refused"]) == (["1"], [])
        assert [one.redriven_from for one in other.noticed] == ["1"]
        ((_, left),) = await queue.dead_letters(*PLACE, None, after=0, limit=10, max_bytes=1000)
        assert left == both[0]
        await queue.stop()

    directory = DataDirectory.open(str(tmp_path / "data"))
    try:
        asyncio.run(main(directory))
    finally:
        directory.close()
    # What was begun and never awaited would be told of here.
    gc.collect()
