"""How long the event loop is held up by 6 MB events and answers, several at a time.

Everybody else waits for that long. The events are the largest that pass, of three kinds: one
long string, objects, and bare digits, the JSON that takes longest to check.
"""

import http.client
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import ROOT, Server
from bench.watched import REPORT

CALLERS = 4
CALLS = 6
BYTES = 6_291_456
# Answers with as much as may be answered.
HANDLER = "def handler(event, context):\n    return 'x' * 6_291_554\n"
GOAL_MS = 15.0
REST_S = 0.5


class WatchedServer(Server):
    """A server that tells how long its event loop was held up."""

    def command(self) -> list[str]:
        """Return the command of a server, with the watch around it."""
        python, flag, _, *rest = super().command()
        return [python, flag, "bench.watched", *rest]

    def environment(self) -> dict[str, str]:
        """Return that of a server, in which the watch is found."""
        ours = super().environment()
        return ours | {"PYTHONPATH": f"{ours['PYTHONPATH']}:{ROOT}"}

    def longest_stalls_ms(self) -> tuple[float, float]:
        """Return the longest stall since the last time: by the clock, and in CPU of the loop."""
        path = self.directory / REPORT
        path.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        while not path.exists():
            time.sleep(0.01)
        report = json.loads(path.read_text())
        return report["wall_ms"][0], report["cpu_ms"][0]


def run(options: Options) -> list[Figure]:  # noqa: ARG001 - the number of calls is fixed
    """Return the longest stalls for each kind of event; the yardstick is the server at rest."""
    figures = []
    with WatchedServer() as server:
        server.create(handler=HANDLER)
        _invoke(server, b"{}")
        for kind, event in _events().items():
            time.sleep(REST_S)
            server.longest_stalls_ms()
            time.sleep(REST_S)
            quiet, quiet_cpu = server.longest_stalls_ms()
            with ThreadPoolExecutor(CALLERS) as callers:
                list(callers.map(lambda _, event=event: _invoke(server, event), range(CALLERS * CALLS)))
            wall, cpu = server.longest_stalls_ms()
            name = f"longest stall, {CALLERS} times 6 MB of {kind}"
            figures += [
                Figure(name, "ms", quiet, wall, Goal("≤", GOAL_MS, of="ours")),
                Figure(f"{name}, CPU", "ms", quiet_cpu, cpu, Goal("≤", GOAL_MS, of="ours")),
            ]
    return figures


def _events() -> dict[str, bytes]:
    objects = json.dumps([{"id": i, "name": "x" * 20, "value": i / 7} for i in range(85_000)]).encode()
    return {
        "text": b'"%b"' % (b"a" * (BYTES - 2)),
        "objects": objects[:-1] + b" " * (BYTES - len(objects)) + b"]",
        "digits": b"[%b1 ]" % (b"1," * (BYTES // 2 - 2)),
    }


def _invoke(server: Server, event: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", server.path, event)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or len(body) != 6_291_556:
        raise RuntimeError(f"{answer.status}: {body[:200]!r}")
