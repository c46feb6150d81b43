"""The fixtures for pytest, used as people use them: in a project of its own, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RunningServer
from tests.waiting import wait_for

HANDLERS = """
import boto3

def hello(event, context):
    print("seen", event)
    return {"hello": event["name"], "by": context.function_name}

def fan_out(event, context):
    return boto3.client("lambda").invoke(FunctionName="hello", Payload=b'{"name": 1}')["Payload"].read().decode()
"""
USES = """
import asyncio
import json
import pytest
import handlers
from lambent.client import FunctionError, Lambda

@pytest.fixture(scope="module", autouse=True)
def deployed(lambent_server):
    assert lambent_server.deploy("hello", handlers.hello, MemorySize=256) == "hello"

def test_client(lambent_client):
    assert lambent_client.function("hello")({"name": "Ada"}) == {"hello": "Ada", "by": "hello"}

def test_async_client_that_nobody_closes(lambent_async_client):
    async def run():
        return [each["hello"] async for each in lambent_async_client.map("hello", [{"name": n} for n in range(9)])]
    assert asyncio.run(run()) == list(range(9))

def test_boto3(lambent_boto3, lambent_server):
    answer = lambent_boto3.invoke(FunctionName="hello", Payload=b'{"name": 1}')
    assert json.load(answer["Payload"])["hello"] == 1
    assert lambent_boto3.get_function_configuration(FunctionName="hello")["MemorySize"] == 256

def test_logs(lambent_server, lambent_client):
    lambent_client.invoke("hello", {"name": "Grace"})
    assert "seen {'name': 'Grace'}" in lambent_server.logs("hello")
    with pytest.raises(LookupError):
        lambent_server.logs("nobody")

def test_a_folder_takes_the_place_of_a_handler(lambent_server, lambent_client, tmp_path):
    (tmp_path / "app.py").write_text("def handler(event, context): raise ValueError(event)")
    lambent_server.deploy("hello-2", handlers.hello)
    lambent_server.deploy("hello-2", tmp_path, Handler="app.handler", Timeout=9)
    with pytest.raises(FunctionError, match="ValueError: x"):
        lambent_client.function("hello-2")("x")

def test_what_cannot_be_deployed(lambent_server):
    for code in (lambda event, context: 1, print, "no-such-folder"):
        with pytest.raises(ValueError):
            lambent_server.deploy("f", code)

def test_functions_call_each_other(lambent_server, lambent_client):
    lambent_server.deploy("fan-out", handlers.fan_out)
    assert '"hello": 1' in lambent_client.function("fan-out")()
"""
EXAMPLE = Path(__file__).parents[2] / "examples" / "test_hello.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with tests; warnings are errors in it."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "test_uses.py").write_text(USES)
    return tmp_path


def run(project: Path, *arguments: str, **environ: str) -> str:
    """Run pytest there and return what it said; nothing that it started is left behind."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LAMBENT_", "AWS_"))
    }
    # Of the processes that are looked for afterwards.
    mark = f"LAMBENT_TEST_RUN={project}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        capture_output=True,
        text=True,
        cwd=project,
        # Not the variables of a server: those start with LAMBENT_ and go no further.
        env={**inherited, "TMPDIR": str(project / "tmp"), "RUN_OF": mark, **environ},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(processes(mark)) == []
    return done.stdout


def processes(mark: str) -> Iterator[str]:
    """Yield the command of every process that has the mark among its variables."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"RUN_OF={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "cmdline").read_text()
        except OSError:
            continue


def test_fixtures_of_workers_of_xdist_with_servers_of_their_own(project: Path) -> None:
    (project / "tmp").mkdir()
    # The example's four tests beside the seven from above.
    assert "11 passed" in run(project, "-n", "2", "test_uses.py", str(EXAMPLE))
    assert [each.name for each in (project / "tmp").iterdir() if not each.name.startswith("pytest-of")] == []


def test_a_server_that_runs_already_is_used_and_left_alone(
    project: Path, server: RunningServer, client: Any
) -> None:
    (project / "tmp").mkdir()
    (project / "test_uses.py").write_text(
        "import handlers\n"
        "def test_it(lambent_server, lambent_client):\n"
        "    lambent_server.deploy('left-alone', handlers.hello)\n"
        "    assert 'seen' in lambent_client.invoke('left-alone', {'name': 1}, log_tail=True).logs\n"
    )
    assert "1 passed" in run(project, f"--lambent-url={server.url}")
    client.delete_function(FunctionName="left-alone")


def test_a_server_ends_with_a_run_that_is_killed(project: Path) -> None:
    (project / "test_uses.py").write_text(
        "import os\ndef test_it(lambent_server):\n    print(lambent_server.url, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    mark = f"killed {project}"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-s"],
        capture_output=True,
        cwd=project,
        env={**os.environ, "RUN_OF": mark},
        check=False,
    )
    wait_for(lambda: not list(processes(mark)))
