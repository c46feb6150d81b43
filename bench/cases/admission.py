"""What a slot costs an invocation: taken and given back, with nothing refused.

In this process, not over HTTP: there the cost would be lost in that of everything else. The
yardstick is the least that counting by name can cost in Python: a look into a dictionary,
and a counter that goes up and down.
"""

import time
from collections.abc import Callable
from statistics import median

from bench.figures import Figure, Goal
from bench.rounds import Options
from lambent.clock import SystemClock
from lambent.invocation.admission import Admission
from lambent.model.functions import LATEST, FunctionKey

CALLS = 50_000
GOAL_US = 5.0
# So high that neither concurrency nor rate ever refuses.
NO_LIMIT = 10**12


class _Counter:
    count = 0


def run(options: Options) -> list[Figure]:
    """Return the cost of a slot of the account's, as most invocations have it."""
    key = FunctionKey("000000000000", "us-east-1", "f")
    counters = {key: _Counter()}
    admission = Admission(NO_LIMIT, SystemClock())

    def count() -> None:
        counter = counters[key]
        counter.count += 1
        counter.count -= 1

    def admit() -> None:
        admission.acquire(key, LATEST).release()

    rounds = [(_cost_us(count), _cost_us(admit)) for _ in range(options.rounds)]
    yardstick, ours = (median(costs) for costs in zip(*rounds, strict=True))
    return [Figure("admission: a slot", "µs", yardstick, ours, Goal("≤", GOAL_US, of="ours"))]


def _cost_us(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1e6
