"""What one function costs must not grow with the number of functions or of its versions.

The same function in a server that has only it, and in one that has 10,000 functions and
1,000 versions of this one. One caller on one core: there the cost is not blurred by what
runs in parallel. Of the management operations those are measured that list nothing.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.figures import Figure, Goal
from bench.rounds import Options, Round, alternate, last_core
from bench.servers import Server

FUNCTIONS = 10_000
VERSIONS = 1_000
CALLS = 60


def run(options: Options) -> list[Figure]:
    """Return CPU, median latency and times of management operations in a crowd beside those alone."""
    core = last_core()
    with Server(core) as small, Server(core) as large:
        small.create()
        large.create(["f", *(f"f{i}" for i in range(1, FUNCTIONS))])
        _publish(small.client(), 1)
        _publish(large.client(), VERSIONS)
        one, many = map(Round.median, alternate([small, large], 1, options))
        operations = [_operations(server.client()) for server in (small, large)]
    crowd = f"{FUNCTIONS:,} functions, {VERSIONS:,} versions to 1"
    return [
        Figure(f"CPU per invocation, {crowd}", "µs", one.cpu_us, many.cpu_us, Goal("≤", 1.3)),
        Figure(f"p50 on one core, {crowd}", "µs", one.p50_us, many.p50_us, Goal("≤", 1.3)),
        *(
            Figure(f"{name}, {crowd}", "µs", alone, crowded, Goal("≤", 1.3))
            for (name, alone), crowded in zip(operations[0].items(), operations[1].values(), strict=True)
        ),
    ]


def _publish(client: Any, count: int) -> None:
    """Publish versions of ``f``, each with another configuration."""
    updated = client.get_waiter("function_updated_v2")
    for number in range(count):
        client.update_function_configuration(FunctionName="f", Description=str(number))
        updated.wait(FunctionName="f", WaiterConfig={"Delay": 0.001, "MaxAttempts": 10_000})
        client.publish_version(FunctionName="f")


def _operations(client: Any) -> dict[str, float]:
    """Return the median time of each operation in µs, as boto3 sees it."""
    version = client.publish_version(FunctionName="f")["Version"]
    client.create_alias(FunctionName="f", Name="live", FunctionVersion=version)
    return {
        "GetFunction": _median(lambda: client.get_function(FunctionName="f", Qualifier=version)),
        "PublishVersion": _median(lambda: client.publish_version(FunctionName="f")),
        "UpdateAlias": _median(lambda: client.update_alias(FunctionName="f", Name="live")),
        "Invoke by alias": _median(lambda: client.invoke(FunctionName="f", Qualifier="live")),
    }


def _median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e6)
    return median(times)
