"""How long the event loop is held up by what is large, several at a time.

Everybody else waits for that long. Events and answers are the largest that pass, of three kinds:
one long string, objects, and bare digits, the JSON that takes longest to check. Packages have
50 MB. Records tell of asynchronous invocations whose results have 6 MB: of successes, which are
sent to a queue, and of errors, which are kept and read as dead letters.
"""

import base64
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import sqlite3
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from bench.cases.events import QUEUE, queue_service
from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import ROOT, Server
from bench.watched import REPORT

CALLERS = 4
CALLS = 6
BYTES = 6_291_456
# Answers with as much as may be answered.
HANDLER = "def handler(event, context):\n    return 'x' * 6_291_554\n"
# Answers with objects, or fails with an error as long.
RECORDED = """def handler(event, context):
    if event == "fail":
        raise ValueError("x" * 6_000_000)
    return [{"id": i, "name": "x" * 20, "value": i / 7} for i in range(85_000)]
"""
PACKAGE_BYTES = 52_000_000
UPLOADS = 3
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
    """Return the longest stalls of each kind; the yardstick is the server at rest."""
    figures = []
    with queue_service() as url, WatchedServer(LAMBENT_AWS_ENDPOINT_URL=url) as server:
        server.create(handler=HANDLER)
        _invoke(server, b"{}")
        for kind, event in _events().items():
            figures += _stalls(server, f"{CALLERS} times 6 MB of {kind}", partial(_call, server, event))
        body = json.dumps({"ZipFile": base64.b64encode(_package()).decode()}).encode()
        # The process that reads large bodies starts with the first one.
        _upload(server, body)
        figures += _stalls(server, "a package of 50 MB", partial(_upload, server, body))
        figures += _stalls(server, "a package of 50 MB, fetched", partial(_fetch, server))
        server.create(["recorded"], RECORDED)
        server.client().put_function_event_invoke_config(
            FunctionName="recorded",
            MaximumRetryAttempts=0,
            DestinationConfig={"OnSuccess": {"Destination": QUEUE}},
        )
        _record(server, b"{}", CALLERS)
        figures += _stalls(server, f"{CALLERS} records of 6 MB", partial(_record, server, b"{}", CALLERS))
        figures += _stalls(server, f"{CALLERS} dead letters", partial(_bury, server))
        figures += _stalls(server, f"{CALLERS} dead letters, listed", partial(_list_dead_letters, server))
    return figures


def _stalls(server: WatchedServer, what: str, work: Callable[[], object]) -> list[Figure]:
    time.sleep(REST_S)
    server.longest_stalls_ms()
    time.sleep(REST_S)
    quiet, quiet_cpu = server.longest_stalls_ms()
    work()
    wall, cpu = server.longest_stalls_ms()
    return [
        Figure(f"longest stall, {what}", "ms", quiet, wall, Goal("≤", GOAL_MS, of="ours")),
        Figure(f"longest stall, {what}, CPU", "ms", quiet_cpu, cpu, Goal("≤", GOAL_MS, of="ours")),
    ]


def _call(server: Server, event: bytes) -> None:
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lambda _: _invoke(server, event), range(CALLERS * CALLS)))


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


def _package() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("app.py", HANDLER)
        files.writestr("data", os.urandom(PACKAGE_BYTES))
    return archive.getvalue()


def _upload(server: Server, body: bytes) -> None:
    """Give the function a package, several times; the last file is another one each time."""
    client = server.client()
    for _ in range(UPLOADS):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("PUT", "/2015-03-31/functions/f/code", body)
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {told[:200]!r}")
        client.get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})


def _fetch(server: Server) -> None:
    link = urlsplit(server.client().get_function(FunctionName="f")["Code"]["Location"])
    for _ in range(UPLOADS):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", f"{link.path}?{link.query}")
        size = len(connection.getresponse().read())
        connection.close()
        if size < PACKAGE_BYTES:
            raise RuntimeError(f"the package has {size} bytes")


def _record(server: Server, event: bytes, count: int) -> None:
    """Run events, and wait until nothing is left of them but dead letters."""
    client = server.client()
    for _ in range(count):
        client.invoke(FunctionName="recorded", InvocationType="Event", Payload=event)
    path = server.directory / "data" / "events.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:
        left = "SELECT (SELECT count(*) FROM events) + count(destination) FROM dead_letters"
        while found.execute(left).fetchone()[0]:
            time.sleep(0.02)


def _bury(server: Server) -> None:
    _record(server, b'"fail"', CALLERS)


def _list_dead_letters(server: Server) -> None:
    """Read all of them, page by page, over the owner's socket."""
    seen, after = 0, 0
    while after is not None:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(server.directory / "data" / "control.sock"))
        connection.request("GET", f"/_lambent/dead-letters?after={after}")
        page = json.loads(connection.getresponse().read())
        connection.close()
        seen, after = seen + len(page["deadLetters"]), page["next"]
    if seen != CALLERS:
        raise RuntimeError(f"{seen} dead letters")
