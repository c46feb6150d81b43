"""Cold start of a trivial function beside the bare start of the same Python.

A cold start is the first Invoke after UpdateFunctionConfiguration is Successful,
less a warm Invoke right after it; both on a new connection, so that connecting
and our own client's time cancel out.  The function says whether it was cold, so
that an environment left over from before the update cannot pass for a fast start.
"""

import http.client
import json
import os
import time
from statistics import median
from typing import Any

from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import Server

STARTS_MIN = 15

# /proc/self/exe is the interpreter itself, past every link and virtual environment.
HANDLER = """\
import os
cold = True
def handler(event, context):
    global cold
    was, cold = cold, False
    return {"cold": was, "python": os.readlink("/proc/self/exe")}
"""


def run(options: Options) -> list[Figure]:
    """Return the ratio of medians over at least 15 starts of each, in turns."""
    cold_ms, bare_ms = [], []
    with Server() as server:
        server.create(handler=HANDLER)
        client = server.client()
        python = _invoke(server)[1]["python"]
        for start in range(max(STARTS_MIN, options.rounds)):
            client.update_function_configuration(
                FunctionName="f", Environment={"Variables": {"START": str(start)}}
            )
            updated = client.get_waiter("function_updated_v2")
            updated.wait(FunctionName="f", WaiterConfig={"Delay": 0.02, "MaxAttempts": 3000})
            first_ms, first = _invoke(server)
            warm_ms, second = _invoke(server)
            if not first["cold"] or second["cold"]:
                raise RuntimeError(f"expected a cold and a warm start, got {first} and {second}")
            cold_ms.append(first_ms - warm_ms)
            bare_ms.append(_start_bare(python))
    return [Figure("cold start, trivial handler", "ms", median(bare_ms), median(cold_ms), Goal("≤", 0.5))]


def _invoke(server: Server) -> tuple[float, dict[str, Any]]:
    """Invoke once on a connection of its own; return milliseconds and the function's answer."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", server.path, b"{}")
    reply = connection.getresponse()
    answer = reply.read()
    took = (time.perf_counter() - started) * 1000
    connection.close()
    if reply.status != 200 or reply.getheader("X-Amz-Function-Error"):
        raise RuntimeError(f"Invoke answered {reply.status}: {answer!r}")
    return took, json.loads(answer)


def _start_bare(python: str) -> float:
    """Start the bare interpreter and wait for its end; return milliseconds.

    ``posix_spawn``, because ``subprocess`` would add a millisecond of its own.
    """
    started = time.perf_counter()
    pid = os.posix_spawn(python, [python, "-I", "-S", "-c", "pass"], {})
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter() - started) * 1000
    if status:
        raise RuntimeError(f"{python} ended with {status}")
    return took
