"""One caller, everything on one core: what an invocation costs when nothing overlaps.

Caller, front, function and floor are confined to the same core from outside, so
that no wake-up crosses cores: such wake-ups cost more than the work, and vary.
"""

from bench.figures import Figure, Goal
from bench.rounds import Options, beside_floor, last_core


def run(options: Options) -> list[Figure]:
    """Return the ratio of median latencies."""
    floor, ours = beside_floor(1, last_core(), options)
    return [Figure("p50, one caller, one core", "µs", floor.p50_us, ours.p50_us, Goal("≤", 3))]
