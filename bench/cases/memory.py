"""Memory with 1,000 functions beside the same server with one.

PSS over the server and all its descendants, after the same invocations.  The
servers run one after the other: side by side they would share the pages of
their libraries, and each would look smaller than it is.
"""

import time
from statistics import median

from bench import processes
from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import Server

FUNCTIONS = 1000
INVOCATIONS = 5000


def run(_: Options) -> list[Figure]:
    """Return megabytes with one function and with many."""
    one, many = _megabytes(1), _megabytes(FUNCTIONS)
    return [Figure(f"memory (PSS), {FUNCTIONS:,} functions to 1", "MB", one, many, Goal("≤", 1.5))]


def _megabytes(functions: int) -> float:
    with Server() as server:
        server.create(["f", *(f"f{i}" for i in range(1, functions))])
        # One caller: one environment, whatever the speed.
        server.load(1, count=INVOCATIONS)
        samples = []
        for _ in range(5):
            time.sleep(0.5)
            samples.append(processes.pss_bytes(server.pid))
    return median(samples) / 1e6
