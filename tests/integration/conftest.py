"""A real server in a process of its own, and real clients that know nothing of it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.integration.wire import Peer

ROLE = "arn:aws:iam::000000000000:role/execution"
RUNTIME = f"python3.{sys.version_info.minor}"


def pack(**files: str) -> bytes:
    """Return a zip of ``name=source`` modules."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, source in files.items():
            archive.writestr(f"{name}.py", source)
    return packed.getvalue()


@dataclass
class RunningServer:
    """A server process: its address, its data directory, its standard error."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    errors: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def client(
        self, *, account: str = "test", secret: str = "secret", region: str = "us-east-1", **config: Any
    ) -> Any:
        """Return a boto3 client for this server that never retries."""
        options = {"retries": {"total_max_attempts": 1}, "read_timeout": 30, **config}
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key=secret,
            config=Config(**options),
        )

    def zygotes(self) -> list[int]:
        """Return the processes from which its functions are forked."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"zygote.py" in _command_of(child)]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process by a signal and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)


def _command_of(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@contextmanager
def running_server(
    folder: Path, *, command: Sequence[str] = (sys.executable, "-m", "lambent"), **environ: str
) -> Iterator[RunningServer]:
    """Start a server on a free port with its data below ``folder``; ``command`` stands for ``lambent``."""
    errors = folder / "stderr.log"
    data_dir = folder / "data"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LAMBENT_", "AWS_"))
    }
    with errors.open("a") as stderr:
        process = subprocess.Popen(
            [*command, "serve", "--port", "0", "--data-dir", str(data_dir)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**inherited, **environ},
            cwd=folder,
        )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http"), errors.read_text()
    try:
        yield RunningServer(url, data_dir, process, errors)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        process.stdout.close()


@dataclass
class Functions:
    """Makes functions on the shared server and removes them after the test."""

    client: Any
    made: list[str] = field(default_factory=list)

    def __call__(self, source: str, *, handler: str = "index.handler", **configuration: Any) -> str:
        """Create a function from the source of ``index.py``, wait until it is active, return its name."""
        name = configuration.pop("FunctionName", None) or f"function-{os.urandom(4).hex()}"
        self.client.create_function(
            **{
                "FunctionName": name,
                "Runtime": RUNTIME,
                "Role": ROLE,
                "Handler": handler,
                "Code": {"ZipFile": pack(index=source)},
                **configuration,
            }
        )
        self.made.append(name)
        wait_until_active(self.client, name)
        return name


def wait_until_active(client: Any, name: str, waiter: str = "function_active_v2") -> None:
    """Use the SDK's own waiter, polling as quickly as it may."""
    client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1000})


def publish_live(client: Any, name: str) -> str:
    """Give a function the version 1 and the alias ``live`` of it; return the function's name."""
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def delete_functions(client: Any, names: Sequence[str]) -> None:
    """Delete functions, those that are still there."""
    for name in names:
        with suppress(client.exceptions.ResourceNotFoundException):
            client.delete_function(FunctionName=name)


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The other services of AWS, in a process of their own."""
    errors = tmp_path_factory.mktemp("aws") / "stderr.log"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        while " on http://" not in (text := errors.read_text()):
            assert process.poll() is None, text
            time.sleep(0.02)
        yield "http://" + text.partition(" on http://")[2].split()[0]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that do not end it."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Any:
    """A boto3 client of the shared server, or of the one that a file has instead."""
    return server.client()


@pytest.fixture(scope="module")
def trusting(server: RunningServer) -> Any:
    """A client that sends what it is given."""
    return server.client(parameter_validation=False)


@pytest.fixture
def name(client: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that no other test uses; a function of that name is gone after the test."""
    chosen = re.sub(r"\W+", "-", request.node.name)[:60]
    yield chosen
    delete_functions(client, [chosen])


@pytest.fixture
def deploy(client: Any) -> Iterator[Callable[..., str]]:
    """Create functions by source; they are deleted after the test."""
    functions = Functions(client)
    yield functions
    delete_functions(client, functions.made)


@pytest.fixture
def peer(server: RunningServer) -> Iterator[Peer]:
    """A connection to the shared server."""
    peer = Peer(server.port)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def hello(server: RunningServer) -> Iterator[str]:
    """The function ``hello`` in the server's own account in us-east-1: the event, and whether it has a context."""
    client = server.client()
    source = "def handler(event, context): return [event, context.client_context is not None]"
    yield Functions(client)(source, FunctionName="hello")
    client.delete_function(FunctionName="hello")
