"""Rounds of load that alternate between targets, so that both see the same machine.

A machine's speed drifts within minutes (neighbours, heat, caches); side by side
the drift hits all targets alike, and the median forgets the odd bad round.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import processes
from bench.servers import Floor, Server, Target

# The request log and the log store write in batches; what a round caused must
# be paid within it.
SETTLE_SECONDS = 0.3

# Above this part of one core the load generator may be what is measured.
LOAD_SHARE_MAX = 0.9


@dataclass(frozen=True)
class Options:
    """How long to measure: rounds per target, seconds per round."""

    rounds: int = 5
    seconds: float = 2.0


@dataclass(frozen=True)
class Round:
    """What one round showed, or the median of several, member by member."""

    rps: float
    p50_us: float
    cpu_us: float

    @classmethod
    def median(cls, rounds: Sequence[Round]) -> Round:
        """Return the median of each member."""
        return cls(
            median(each.rps for each in rounds),
            median(each.p50_us for each in rounds),
            median(each.cpu_us for each in rounds),
        )


def last_core() -> int:
    """Return the core to confine to: the first one gets most of the machine's interrupts."""
    return max(os.sched_getaffinity(0))


def measure(target: Target, connections: int, seconds: float) -> Round:
    """Load a target once; CPU is that of the target and all its descendants, per answer."""
    before = processes.cpu_seconds(target.pid)
    report = target.load(connections, seconds=seconds)
    time.sleep(SETTLE_SECONDS)
    cpu = processes.cpu_seconds(target.pid) - before
    if target.core is None and report["cpu_share"] > LOAD_SHARE_MAX:
        print(f"warning: the load generator used {report['cpu_share']:.0%} of a core", file=sys.stderr)
    return Round(report["rps"], report["p50_us"], cpu / report["requests"] * 1e6)


def alternate(targets: Sequence[Target], connections: int, options: Options) -> list[list[Round]]:
    """Warm each target up, then measure them in turns; return the rounds of each."""
    for target in targets:
        target.load(connections, seconds=min(1.0, options.seconds))
    rounds: list[list[Round]] = [[] for _ in targets]
    for _ in range(options.rounds):
        for target, own in zip(targets, rounds, strict=True):
            own.append(measure(target, connections, options.seconds))
    return rounds


@functools.cache
def beside_floor(connections: int, core: int | None, options: Options) -> tuple[Round, Round]:
    """Return the medians of the floor and of a server with one function, placed the same way.

    Cached, so that figures of the same load come from the same rounds.
    """
    with Floor(core) as floor, Server(core) as server:
        server.create()
        floors, ours = alternate([floor, server], connections, options)
    return Round.median(floors), Round.median(ours)
