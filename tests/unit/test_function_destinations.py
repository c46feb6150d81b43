"""Functions as destinations, on a real queue.

Source of the rules: docs/aws-behaviour.md, async 2.3 and 2.7.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from tests.contract.event_queue import event, letter, target
from tests.contract.rig import ACCOUNT, REGION, make_head

from lambent.clock import ManualClock
from lambent.invocation.authorize import Authorizer
from lambent.invocation.delivery.functions import FunctionDestinations
from lambent.invocation.delivery.services import Outcome
from lambent.invocation.resolve import Resolved, Resolver
from lambent.invocation.sessions import Sessions
from lambent.model.errors import ResourceNotFoundException
from lambent.model.events import Event
from lambent.model.functions import FunctionKey
from lambent.storage.directory import DataDirectory
from lambent.storage.event_queue import SqliteEventQueue
from lambent.storage.sealing import open_sealer

GONE = f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


class Functions:
    """What the resolver finds: the destination alone; what the event was for is gone."""

    async def resolve(self, key: FunctionKey, qualifier: str | None) -> Resolved:
        if key.name != "destination":
            raise ResourceNotFoundException(GONE)
        return Resolved(make_head(key.name).latest, key.arn(qualifier))


@pytest.mark.parametrize(
    ("is_checked", "outcome"),
    [(False, Outcome()), (True, Outcome(f"ResourceNotFoundException: {GONE}"))],
    ids=["none", "sigv4"],
)
def test_a_function_that_is_gone_needs_no_role_where_nobody_does(
    tmp_path: Path, is_checked: bool, outcome: Outcome
) -> None:
    clock = ManualClock()
    noticed: list[Event] = []
    destination = target("destination").key.arn()

    async def main(directory: DataDirectory, queue: SqliteEventQueue) -> None:
        sessions = Sessions(open_sealer(directory, None), lambda _: None, clock)
        functions = FunctionDestinations(
            queue=queue,
            resolver=cast("Resolver", Functions()),
            authorizer=Authorizer(clock),
            notice=noticed.append,
            find_credential=sessions.credential_of if is_checked else None,
            clock=clock,
        )
        await queue.start()
        await queue.put(event("1"))
        (taken,), _ = await queue.take(target(), 1, 1e9)
        await queue.finish(taken, [letter("1", state="undelivered", destination=destination, error="")])
        ((number, waiting),) = await queue.undelivered(destination, None, after=0, limit=1, max_bytes=1)
        assert await functions.deliver(destination, number, waiting) == outcome
        left = await queue.undelivered(destination, None, after=0, limit=1, max_bytes=1)
        assert left == ([(number, waiting)] if outcome.error else [])
        assert [one.target for one in noticed] == ([] if outcome.error else [target("destination")])
        await queue.stop()

    directory = DataDirectory.open(str(tmp_path / "data"))
    try:
        asyncio.run(main(directory, SqliteEventQueue(directory, 10)))
    finally:
        directory.close()
