"""Time as a value: whoever decides by time is given a clock.

The rest of the package may not call ``time.time`` or ``asyncio.sleep`` (the
linter forbids it), so that tests move time instead of waiting for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Clock(Protocol):
    """What a part may ask about time."""

    def now(self) -> float:
        """Return the instant in seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when ``seconds`` have passed."""
        ...


class SystemClock:
    """The machine's own time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Sleep in real time."""
        # Who has no event loop, as the synchronous client, does not wait for its import.
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(seconds)


class ManualClock:
    """Time that stands still until :meth:`advance` moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the instant that was set."""
        return self._now

    def monotonic(self) -> float:
        """Return the same instant: nothing runs backwards here."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been advanced far enough."""
        import asyncio  # noqa: PLC0415

        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move time on and wake every sleeper that is due."""
        self._now += seconds
        due = [woken for at, woken in self._sleepers if at <= self._now]
        self._sleepers = [(at, woken) for at, woken in self._sleepers if at > self._now]
        for woken in due:
            if not woken.done():
                woken.set_result(None)
