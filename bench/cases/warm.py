"""Warm Invoke with 32 in flight: the rate beside the floor's."""

from bench.figures import Figure, Goal
from bench.rounds import Options, beside_floor


def run(options: Options) -> list[Figure]:
    """Return the ratio of rates; nobody is confined to a core."""
    floor, ours = beside_floor(32, None, options)
    return [Figure("warm Invoke, 32 in flight", "/s", floor.rps, ours.rps, Goal("≥", 0.45))]
