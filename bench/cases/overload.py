"""Ten times as many callers as slots, none of whom ever rests, and a calm neighbour.

The flood is a thousand keep-alive callers of one function that sleeps; a hundred slots are
free for it. Whoever is refused asks again at once, so front and load generator are busy all
the time. The neighbour is another function with reserved concurrency, called at a steady
rate below its own limit; it must hardly notice.

Every answer is checked: the function's, or the 429 with its body. Anything else, a slot that
is not given back or a process that is left over ends the case without figures.
"""

import contextlib
import http.client
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from bench import processes
from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import HANDLER, Server

# As many must stay unreserved.
SLOTS = 100
CALLERS = 10 * SLOTS
SLEEP_S = 0.2
FLOODED = f'import time\ndef handler(event, context):\n    time.sleep({SLEEP_S})\n    return {{"ok": True}}\n'
THROTTLED = '{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'

RESERVED = 10
# Below the ten a second that each reserved slot allows. On as many connections that one late
# answer holds up nothing but the next one of its own.
RATE = 80
NEIGHBOUR_CALLERS = 8
NEIGHBOUR = ("--path", "/2015-03-31/functions/neighbour/invocations", "--rate", str(RATE))
QUIET_S = 3.0
# The neighbour is connected before the flood begins, and measured from here on until it ends.
EDGE_S = 1.0
GOAL_MS = 10.0
# Within a second after the flood all is as before: that is looked at in the second half of it.
REST_S = 0.5
LEFT_OVER_S = 5.0
RESERVE_S = 1.0


class SmallServer(Server):
    """A server with few slots, and room for an environment in each."""

    def environment(self) -> dict[str, str]:
        """Return that of a server, with the small limits."""
        limit = SLOTS + RESERVED
        return super().environment() | {
            "LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": str(limit),
            "LAMBENT_CONCURRENCY_MACHINE_LIMIT": str(limit),
        }


def run(options: Options) -> list[Figure]:
    """Return what the slots did, and the neighbour's latency; the flood is as long as all rounds together."""
    seconds = max(options.rounds * options.seconds, 3 * EDGE_S)
    with _leaving_nothing_behind() as server:
        server.create(["f"], FLOODED)
        server.create(["neighbour"], HANDLER)
        has_neighbour = _reserve(server.client(), "neighbour", RESERVED)
        calm = _Neighbour(server if has_neighbour else None)
        quiet = calm.load(QUIET_S)
        first_ms = [_first_answer_ms(server)]
        with ThreadPoolExecutor(2) as pool:
            neighbour = pool.submit(calm.load, seconds, 2 * EDGE_S)
            time.sleep(EDGE_S)
            flood = pool.submit(server.load, CALLERS, "--throttled", THROTTLED, seconds=seconds)
            time.sleep(seconds / 2)
            first_ms.append(_first_answer_ms(server))
            report, flooded = flood.result(), neighbour.result()
        time.sleep(REST_S)
        after = calm.load(1 - REST_S)
        _check_counts(server.stats(), report)
    print(
        f"overload: {report['requests']:,} admitted, {report['throttled']:,} refused in {seconds:.0f} s",
        file=sys.stderr,
    )
    figures = [
        Figure(f"admitted of {CALLERS:,} callers, to slots", "/s", SLOTS / SLEEP_S, report["rps"]),
        Figure("first answer on a new connection, to quiet", "ms", first_ms[0], first_ms[1]),
    ]
    if quiet and flooded and after:
        allowed_ms = max(3 * quiet["p99_us"] / 1000, GOAL_MS)
        goal = Goal("≤", round(allowed_ms, 1), of="ours")
        before_ms, in_flood_ms = quiet["p99_us"] / 1000, flooded["p99_us"] / 1000
        figures += [
            Figure("neighbour's p99 in the flood, to quiet", "ms", before_ms, in_flood_ms, goal),
            Figure("neighbour's p50 in the flood, to quiet", "µs", quiet["p50_us"], flooded["p50_us"]),
            Figure(
                "neighbour's p50 a second later, to quiet",
                "µs",
                quiet["p50_us"],
                after["p50_us"],
                Goal("≤", 1.5),
            ),
        ]
    return figures


class _Neighbour:
    """The calm caller; none where concurrency cannot be reserved."""

    def __init__(self, server: Server | None) -> None:
        self._server = server

    def load(self, seconds: float, settle: float = 0) -> dict[str, Any] | None:
        """Call at the steady rate, and measure all but the first ``settle`` seconds; a 429 is an error."""
        if self._server is None:
            time.sleep(seconds)
            return None
        return self._server.load(NEIGHBOUR_CALLERS, *NEIGHBOUR, "--settle", str(settle), seconds=seconds)


def _first_answer_ms(server: Server) -> float:
    """Connect, ask for what needs no function, and return how long the answer took to come."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/_lambent/health")
    connection.getresponse().read()
    connection.close()
    return (time.perf_counter() - started) * 1000


def _reserve(client: Any, name: str, count: int) -> bool:
    """Reserve concurrency; return False, and say so, where the server does not offer that."""
    try:
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=count)
    except ClientError as error:
        if "is not served" not in str(error):
            raise
        print(f"overload: there is no neighbour: {error}", file=sys.stderr)
        return False
    return True


def _check_counts(stats: dict[str, Any], report: dict[str, Any]) -> None:
    """Compare what the server counted with what callers saw: no call lost, no slot lost."""
    (flooded,) = (each for each in stats["Functions"] if each["FunctionName"] == "f")
    counted = flooded["Invocations"], flooded["Throttles"], flooded["Errors"]
    if counted != (report["requests"], report["throttled"], 0):
        raise RuntimeError(f"the callers saw {report}, the server {flooded}")
    running = [each["ConcurrentExecutions"] for each in (*stats["Functions"], *stats["Accounts"])]
    if any(running) or stats["Environments"]["Busy"]:
        raise RuntimeError(f"slots are lost: {stats}")


@contextlib.contextmanager
def _leaving_nothing_behind() -> Iterator[Server]:
    """Run a server; its processes must be those of its environments, and end with it."""
    with SmallServer() as server:
        server.create(["warm"], HANDLER)
        server.client().invoke(FunctionName="warm")
        # The zygote has a child in reserve, which is made a moment after the last one was taken.
        time.sleep(RESERVE_S)
        others = len(processes.tree(server.pid)) - _environments(server)
        yield server
        deadline = time.monotonic() + LEFT_OVER_S
        while (left := len(processes.tree(server.pid)) - _environments(server) - others) > 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} processes are left over")
            time.sleep(0.1)
        members = processes.tree(server.pid)
    if alive := [each for each in members if (processes.PROC / str(each)).exists()]:
        raise RuntimeError(f"{alive} outlived the server")


def _environments(server: Server) -> int:
    environments = server.stats()["Environments"]
    return int(environments["Busy"] + environments["Idle"])
