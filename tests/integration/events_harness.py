"""Event invocations as tests see them: a function that tells of each run in a file, and the owner's controls."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.conftest import RunningServer
from tests.waiting import wait_for

# Tells that it runs, waits for a gate if it is given one, and fails if it is asked to.
TELLING = """
import json, os, time

def handler(event, context):
    told = {"id": context.aws_request_id, "version": context.function_version, "event": event,
            "arn": context.invoked_function_arn, "context": context.client_context is not None,
            "mark": os.environ.get("MARK"), "pid": os.getpid()}
    with open(event["out"], "a") as out:
        out.write(json.dumps(told) + "\\n")
    while "gate" in event and not os.path.exists(event["gate"]):
        time.sleep(0.005)
    if "fails" in event:
        print("about to fail")
        raise ValueError(event["fails"])
"""


class Told:
    """The file in which a function tells of its runs."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"told-{os.urandom(4).hex()}"

    def event(self, **members: object) -> bytes:
        """Return an event that makes the function write here."""
        return json.dumps({"out": str(self._path), **members}).encode()

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What each run told, in order."""
        text = self._path.read_text() if self._path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    @property
    def ids(self) -> list[str]:
        """The request id of each run."""
        return [run["id"] for run in self.runs]

    def wait(self, count: int) -> list[dict[str, Any]]:
        """Return the runs when there are so many, or more."""
        wait_for(lambda: len(self.runs) >= count)
        return self.runs


class Reply(NamedTuple):
    """What a control answered."""

    status: int
    json: Any


class OwnersConnection(http.client.HTTPConnection):
    """HTTP over the socket in a server's data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def control(
    server: RunningServer, method: str, rest: str, body: bytes | None = None, *, name: str = "dead-letters"
) -> Reply:
    """Ask ``/_lambent/``, the control's name and ``rest`` over the owner's socket."""
    connection = OwnersConnection(server.data_dir / "control.sock")
    try:
        connection.request(method, f"/_lambent/{name}{rest}", body)
        response = connection.getresponse()
        return Reply(response.status, json.loads(response.read()))
    finally:
        connection.close()


def letters(server: RunningServer, function: str, count: int = 0) -> list[dict[str, Any]]:
    """Return the dead letters of a function, when there are at least so many."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = control(server, "GET", f"?function={function}").json["deadLetters"]
        return len(found) >= count

    wait_for(are_there)
    return found


def accept(client: Any, name: str, payload: bytes, **members: Any) -> str:
    """Invoke with type Event and return the request id."""
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=payload, **members)
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert "ExecutedVersion" not in answer
    return str(answer["ResponseMetadata"]["RequestId"])
