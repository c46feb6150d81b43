"""What the server counts, seen through its control and through ``lambent top``, as processes of their own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Functions, RunningServer, running_server

ECHO = "def handler(event, context): return event\n"
FAILING = "def handler(event, context): raise KeyError('customer')\n"
# Says that it runs, and goes on until it is let.
HELD = """\
import os, time
def handler(event, context):
    open(event["began"], "w").close()
    while not os.path.exists(event["let"]):
        time.sleep(0.01)
"""
TOKEN = "a-token-of-some-length"


class Top:
    """Runs ``lambent top`` against a server, with nothing configured but where that is."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.deploy = Functions(server.client())

    @property
    def environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LAMBENT_"))}
        return {
            **kept,
            "HOME": str(self.folder),
            "LAMBENT_ENDPOINT": self.server.url,
            "LAMBENT_SERVER_DATA_DIR": str(self.server.data_dir),
        }

    def line(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "lambent", "top", *options]

    def __call__(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line("--interval", "0.05", *options),
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def json(self, *options: str) -> dict[str, Any]:
        done = self("--json", *options)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def function(self, name: str) -> dict[str, Any]:
        """What is told of ``$LATEST`` of one function."""
        (found,) = [each for each in self.json()["Functions"] if each["FunctionName"] == name]
        return dict(found)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Keep an invocation of a function made of ``HELD`` running."""
        began, let = self.folder / f"{name}.began", self.folder / f"{name}.let"
        event = json.dumps({"began": str(began), "let": str(let)})
        caller = threading.Thread(
            target=self.server.client().invoke, kwargs={"FunctionName": name, "Payload": event}
        )
        caller.start()
        try:
            while not began.exists():
                caller.join(0.01)
                assert caller.is_alive()
            yield
        finally:
            let.touch()
            caller.join(20)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of which nothing was asked before."""
    with running_server(tmp_path_factory.mktemp("top"), LAMBENT_SERVER_ADMIN_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture
def top(shared: RunningServer, tmp_path: Path) -> Top:
    return Top(shared, tmp_path)


# -- what is counted -------------------------------------------------------------


def test_invocations_errors_and_cold_starts_are_those_of_the_function(top: Top) -> None:
    name = top.deploy(FAILING)
    for _ in range(3):
        top.server.client().invoke(FunctionName=name)

    found = top.function(name)
    counted = ("Version", "Invocations", "Errors", "ColdStarts", "Throttles", "ConcurrentExecutions")
    assert [found[key] for key in counted] == ["$LATEST", 3, 3, 1, 0, 0]
    assert found["IdleEnvironments"] == 1
    assert found["MemoryMB"] > 0
    assert 0 < found["Duration"]["p50"] <= found["Duration"]["p99"]


def test_calls_of_an_alias_are_counted_for_its_version(top: Top) -> None:
    name = top.deploy(ECHO)
    client = top.server.client()
    number = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=number)
    client.invoke(FunctionName=f"{name}:live")
    client.invoke(FunctionName=name)
    client.invoke(FunctionName=name, Qualifier=number)

    found = [each for each in top.json()["Functions"] if each["FunctionName"] == name]
    assert [(each["Version"], each["Invocations"]) for each in found] == [("$LATEST", 1), (number, 2)]


def test_a_running_invocation_is_seen_while_it_runs(top: Top) -> None:
    name = top.deploy(HELD)
    with top.held(name):
        during = top.json()

    (found,) = [each for each in during["Functions"] if each["FunctionName"] == name]
    assert (found["ConcurrentExecutions"], found["Invocations"]) == (1, 0)
    assert during["Environments"]["Busy"] == 1
    assert during["Accounts"][0]["ConcurrentExecutions"] == 1
    assert top.function(name)["ConcurrentExecutions"] == 0


@pytest.mark.parametrize(("account_limit", "machine_limit"), [(1, 2), (2, 1)])
def test_a_throttle_is_told_with_its_reason_and_whose_limit_it_was(
    tmp_path: Path, account_limit: int, machine_limit: int
) -> None:
    limits = {
        "LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": str(account_limit),
        "LAMBENT_CONCURRENCY_MACHINE_LIMIT": str(machine_limit),
    }
    with running_server(tmp_path, **limits) as server:
        top = Top(server, tmp_path)
        held, refused = top.deploy(HELD), top.deploy(ECHO)
        client = server.client()
        with top.held(held), pytest.raises(client.exceptions.TooManyRequestsException):
            client.invoke(FunctionName=refused)

        found = top.function(refused)
        assert (found["Throttles"], found["Invocations"], found["Duration"]) == (1, 0, None)
        (reason,) = found["ThrottleReasons"]
        assert reason == {
            "Reason": "ConcurrentInvocationLimitExceeded",
            "Limit": "account" if account_limit == 1 else "machine",
            "Count": 1,
        }
        report = top.json()
        assert report["Accounts"][0]["AccountLimit"]["ConcurrentExecutions"] == account_limit
        assert report["Environments"]["Limit"] == machine_limit


def test_account_and_region_choose_what_is_told(top: Top) -> None:
    name = top.deploy(ECHO)
    top.server.client().invoke(FunctionName=name)

    assert [each["AccountId"] for each in top.json("--account", "123456789012")["Functions"]] == []
    assert [each["Region"] for each in top.json("--region", "eu-west-1")["Functions"]] == []
    assert name in [each["FunctionName"] for each in top.json("--region", "us-east-1")["Functions"]]


# -- who may ask -----------------------------------------------------------------


def test_strangers_are_told_nothing(top: Top) -> None:
    for headers in ({}, {"x-lambent-admin-token": "another-token-than-that"}):
        request = urllib.request.Request(f"{top.server.url}/_lambent/stats", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        with refused.value as answer:
            assert answer.status == 403
            assert answer.headers["x-amzn-ErrorType"] == "AccessDeniedException"


def test_the_admin_token_opens_it_over_the_network(top: Top) -> None:
    elsewhere = {"LAMBENT_SERVER_DATA_DIR": str(top.folder / "none")}

    assert top("--once", **elsewhere).returncode == 2
    done = top("--once", **elsewhere, LAMBENT_SERVER_ADMIN_TOKEN=TOKEN)
    assert (done.returncode, " running" in done.stdout) == (0, True)


# -- how it is shown -------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--once",)])
def test_without_a_terminal_it_is_one_table(top: Top, options: tuple[str, ...]) -> None:
    name = top.deploy(ECHO)
    top.server.client().invoke(FunctionName=name)

    done = top(*options)

    assert (done.returncode, done.stderr) == (0, "")
    summary, head, *rows = done.stdout.splitlines()
    assert " running" in summary
    assert " environments" in summary
    assert head.split() == [
        *("FUNCTION", "VERSION", "RUNNING", "RATE/s", "THROTTLED/s"),
        *("ERRORS/s", "p50", "p99", "ENVS", "MEMORY"),
    ]
    assert any(row.split()[:3] == [name, "$LATEST", "0"] for row in rows)


def test_the_busiest_function_comes_first(top: Top) -> None:
    idle, busy = top.deploy(ECHO, FunctionName="a-idle"), top.deploy(HELD, FunctionName="b-busy")
    top.server.client().invoke(FunctionName=idle)
    with top.held(busy):
        _, _, first, *_ = top("--once").stdout.splitlines()

    assert first.split()[:3] == ["b-busy", "$LATEST", "1"]


def test_a_server_that_is_not_there_is_one_sentence(top: Top, tmp_path: Path) -> None:
    done = top("--once", LAMBENT_SERVER_DATA_DIR=str(tmp_path / "none"))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lambent: No server is running on ")


def press_q(terminal: int, process: subprocess.Popen[bytes]) -> None:
    os.write(terminal, b"xq")


def interrupt(terminal: int, process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [press_q, interrupt])
def test_on_a_terminal_it_goes_on_until_it_is_ended(
    top: Top, end: Callable[[int, subprocess.Popen[bytes]], None]
) -> None:
    name = top.deploy(ECHO, FunctionName="seen-live")
    try:
        shown, status, errors = watch(top, name.encode(), end)
    finally:
        top.server.client().delete_function(FunctionName=name)

    assert status == 0
    # The screen that was there before is back, with its cursor.
    assert shown.rindex(b"\x1b[?1049l") > shown.index(b"\x1b[?1049h")
    assert shown.rindex(b"\x1b[?25h") > shown.index(b"\x1b[?25l")
    assert b"Traceback" not in shown + errors


def watch(
    top: Top, name: bytes, end: Callable[[int, subprocess.Popen[bytes]], None]
) -> tuple[bytes, int, bytes]:
    """Start it on a terminal, invoke a function, end it when that is shown; return all that was written."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        top.line("--interval", "0.05"),
        env={**top.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"1049h" not in shown:
            shown += _read(ours)
        top.server.client().invoke(FunctionName=name.decode())
        while name not in shown:
            shown += _read(ours)
        end(ours, process)
        while piece := _read(ours):
            shown += piece
        assert process.stderr is not None
        return shown, process.wait(20), process.stderr.read()
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # Linux says EIO when the other side is closed.
        return b""
