"""The cost of an invocation must not grow with the number of functions.

One function is invoked, in a server that has only it and in one that has 1,000.
One caller on one core: there the cost is not blurred by what runs in parallel.
"""

from bench.figures import Figure, Goal
from bench.rounds import Options, Round, alternate, last_core
from bench.servers import Server

FUNCTIONS = 1000


def run(options: Options) -> list[Figure]:
    """Return CPU and median latency with many functions beside those with one."""
    core = last_core()
    with Server(core) as small, Server(core) as large:
        small.create()
        large.create(["f", *(f"f{i}" for i in range(1, FUNCTIONS))])
        one, many = map(Round.median, alternate([small, large], 1, options))
    crowd = f"{FUNCTIONS:,} functions to 1"
    return [
        Figure(f"CPU per invocation, {crowd}", "µs", one.cpu_us, many.cpu_us, Goal("≤", 1.3)),
        Figure(f"p50 on one core, {crowd}", "µs", one.p50_us, many.p50_us, Goal("≤", 1.3)),
    ]
