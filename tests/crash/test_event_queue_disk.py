"""A disk that is full, or that fails: refused is not kept, kept is not lost, and all goes on by itself afterwards.

One server's disk is made to fail (``failing_server.py`` runs in the place of ``lambent``),
another one has its data on a small file system of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.crash.disk import needs_watched_files
from tests.integration.conftest import Functions, RunningServer, running_server
from tests.integration.wire import Peer, request
from tests.waiting import wait_for

PATH = "/2015-03-31/functions/f/invocations"
REFUSAL = {"Message": "The event could not be stored; it may run nevertheless.", "Type": "Service"}

# Ends when the gate is open.
_FUNCTION = """
import os, time

def handler(event, context):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{event}\\n")
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.005)
"""


class Stage:
    """A server, one function of which one event runs at a time, and its ledger."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server = server
        self.ledger = folder / "ledger"
        self.gate = folder / "gate"
        self.ledger.touch()
        client = server.client()
        variables = {"LEDGER": str(self.ledger), "GATE": str(self.gate)}
        Functions(client)(_FUNCTION, FunctionName="f", Environment={"Variables": variables})
        client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
        self.peer = Peer(server.port)

    def send(self, event: object) -> bool:
        """Send an event; tell whether it was accepted, any answer but the two right ones is an error."""
        body = json.dumps(event).encode()
        self.peer.send(request("POST", PATH, body, **{"x-amz-invocation-type": "Event"}))
        answer = self.peer.receive()
        if answer.status != 202:
            assert (answer.status, answer.header("x-amzn-errortype")) == (500, "ServiceException")
            assert answer.json == REFUSAL
        return answer.status == 202

    def ran(self) -> list[str]:
        return self.ledger.read_text().split()

    def says(self, text: str) -> bool:
        return text in self.server.errors.read_text()


@contextmanager
def stage(folder: Path, command: list[str], **environ: str) -> Iterator[Stage]:
    with running_server(folder, command=command, **environ) as server:
        found = Stage(server, folder)
        yield found
        found.peer.close()


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Stage]:
    """A server whose disk cannot sync the queue from one SIGUSR1 to the next."""
    command = [sys.executable, "-m", "tests.crash.failing_server"]
    with stage(tmp_path, command, PYTHONPATH=str(Path(__file__).parents[2])) as found:
        yield found


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[Stage]:
    """A server with all of its data on 64 MB of memory."""
    (tmp_path / "data").mkdir()
    namespace = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    mount = f"mount -t tmpfs -o size=64m tmpfs {tmp_path / 'data'} && "
    if subprocess.run([*namespace, "sh", "-c", f"{mount}:"], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    command = [*namespace, "sh", "-c", f'{mount}exec "$@"', "sh", sys.executable, "-m", "lambent"]
    with stage(tmp_path, command) as found:
        yield found


@needs_watched_files
def test_a_queue_that_cannot_be_synced_accepts_nothing_and_goes_on_when_it_can(failing: Stage) -> None:
    assert failing.send("before")
    wait_for(lambda: failing.ran() == ["before"])
    failing.server.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: failing.says("syncs fail"))
    assert not any(failing.send(f"refused-{number}") for number in range(20))
    failing.server.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: failing.says("syncs succeed"))
    assert failing.send("after")
    failing.gate.touch()
    wait_for(lambda: failing.ran() == ["before", "after"])
    assert failing.says("the database is opened anew: disk I/O error")


@needs_watched_files
def test_nothing_is_taken_while_an_outcome_cannot_be_written(failing: Stage) -> None:
    assert failing.send("first")
    assert failing.send("second")
    wait_for(lambda: failing.ran() == ["first"])
    failing.server.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: failing.says("syncs fail"))
    failing.gate.touch()
    wait_for(lambda: failing.says("waits for storage"))
    assert failing.ran() == ["first"]
    failing.server.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: failing.ran() == ["first", "second"])
    assert failing.server.stop() == 0


def test_on_a_full_disk_nothing_is_accepted_what_was_accepted_runs_and_with_room_all_goes_on(
    confined: Stage,
) -> None:
    events = iter(range(100_000))
    accepted = [number for number in (next(events) for _ in range(300)) if confined.send(number)]
    assert len(accepted) == 300
    filler = Path(f"/proc/{confined.server.process.pid}/root") / str(confined.server.data_dir)[1:] / "filler"
    fill(filler)
    # The log of the database may have some room left.
    accepted += iter_until_refused(confined, events)
    confined.gate.touch()
    wait_for(lambda: len(confined.ran()) >= len(accepted))
    assert not confined.send("refused")
    filler.unlink()
    wait_for(lambda: confined.send("after"))
    wait_for(lambda: "after" in confined.ran())
    assert confined.ran() == [*map(str, accepted), "after"]
    assert confined.server.stop() == 0


def fill(path: Path) -> None:
    """Leave no byte free where ``path`` is."""
    with path.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return


def iter_until_refused(stage: Stage, events: Iterator[int]) -> Iterator[int]:
    """Yield events that are accepted until one is not."""
    for event in events:
        if not stage.send(event):
            return
        yield event
