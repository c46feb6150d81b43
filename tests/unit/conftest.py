"""Scenarios over the operations of ``control``, each in a data directory of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.rig import Rig, Run, open_rig


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a scenario with services in a fresh data directory."""

    def run(scenario: Callable[[Rig], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_rig(tmp_path / "data") as rig:
                await scenario(rig)

        asyncio.run(main())

    return run
