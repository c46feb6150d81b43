"""What several files of unit tests stand on: scenarios over ``control``, and one end of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.rig import Rig, Run, open_rig
from tests.dialogue import Handler, Peer

from lambent.api.connection import Listener
from lambent.clock import ManualClock


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a scenario with services in a fresh data directory."""

    def run(scenario: Callable[[Rig], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_rig(tmp_path / "data") as rig:
                await scenario(rig)

        asyncio.run(main())

    return run


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def handler() -> Handler:
    """What stands behind the connections."""
    return Handler()


@pytest.fixture
def listener(handler: Handler, clock: ManualClock) -> Listener:
    """A listener for three connections."""
    return Listener(handler, clock, max_connections=3, request_timeout_s=60)


@pytest.fixture
def peer(listener: Listener) -> Peer:
    """One end of a connection."""
    return Peer(listener)
