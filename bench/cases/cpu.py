"""CPU of one warm invocation, front and functions together.

It says where the rate comes from, and moves less than the rate does when the
machine is shared.  No goal: the rate has one.
"""

from bench.figures import Figure
from bench.rounds import Options, beside_floor


def run(options: Options) -> list[Figure]:
    """Return CPU per invocation in the rounds of the case ``warm``."""
    floor, ours = beside_floor(32, None, options)
    return [Figure("CPU per invocation, 32 in flight", "µs", floor.cpu_us, ours.cpu_us)]
