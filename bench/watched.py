"""``python -m bench.watched ARGUMENTS``: the command ``lambent`` with a watch on its event loop.

Each time that the server gets SIGUSR1 it writes the stalls since the last time to the file
``stalls.json`` in its working directory.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from lambent import server
from lambent.cli.main import main
from lambent.config import Settings

TICK_S = 0.001
REPORT = "stalls.json"


class Watch:
    """Asks to be called every millisecond, and keeps by how much it was called too late.

    The time by the clock tells what a caller waits; it counts as well that another process had
    the core. The CPU time of the loop's thread between two calls tells what the loop itself did.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch."""
        self._loop = loop
        self._wall: list[float] = []
        self._cpu: list[float] = []
        self._begin()

    def report(self) -> None:
        """Write the longest stalls since the last report, in ms, longest first."""
        text = json.dumps({"wall_ms": _longest(self._wall), "cpu_ms": _longest(self._cpu)})
        unfinished = Path(REPORT + ".new")
        unfinished.write_text(text)
        unfinished.rename(REPORT)
        self._wall, self._cpu = [], []

    def _begin(self) -> None:
        self._due = time.perf_counter() + TICK_S
        self._used = time.thread_time()
        self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._wall.append(time.perf_counter() - self._due)
        self._cpu.append(time.thread_time() - self._used)
        self._begin()


def _longest(seconds: list[float]) -> list[float]:
    return [round(each * 1000, 3) for each in sorted(seconds, reverse=True)[:20]]


_serve = server.serve


async def _serve_watched(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, Watch(loop).report)
    await _serve(settings)


if __name__ == "__main__":
    server.serve = _serve_watched
    sys.exit(main())
