"""What is measured: the C floor and Lambent, each started for one measurement and gone after it.

Both are ``Target``s: a process with a port, and a load generator that knows how
to ask it.  Whether they are confined to a core is decided when they start.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parent.parent
FLOOR = ROOT / "bench" / "floor"
RUNTIME = f"python3.{sys.version_info.minor}"
ROLE = "arn:aws:iam::000000000000:role/r"

# The answer is the constant of floor.c: both sides move the same bytes.
HANDLER = 'def handler(event, context):\n    return {"ok": True}\n'

EVENT = '{"key1": "value1", "key2": "value2", "key3": "value3"}'
STATEMENTS = [
    {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"},
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE},
    {"Effect": "Deny", "Action": "lambda:DeleteFunction", "Resource": "*"},
]

START_SECONDS = 30
STOP_SECONDS = 20


class Target:
    """A server under load; a context manager that starts it and leaves nothing behind."""

    path = "/2015-03-31/functions/f/invocations"

    def __init__(self, core: int | None = None) -> None:
        """Prepare a server that runs where it likes, or only on ``core``."""
        self.core = core

    def command(self) -> list[str]:
        """Return the command that serves, with its state in ``self.directory``."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the environment variables of that command."""
        return dict(os.environ)

    def prepare(self) -> None:
        """Do what has to be done in ``self.directory`` before the start."""

    def __enter__(self) -> Self:
        """Start the process and wait for the first line of its output, which names the port."""
        self._temporary = tempfile.TemporaryDirectory(prefix="lambent-bench-")
        self.directory = Path(self._temporary.name)
        self.prepare()
        # Files, not pipes: nobody reads while the measurement runs.
        with (self.directory / "stdout").open("wb") as out, (self.directory / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                _confined(self.command(), self.core),
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        try:
            self.port = self._wait_for_port()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Stop the process, by force if it does not end by itself."""
        if error:
            # Without the request log, one line of JSON each, which would bury the reason.
            lines = (self.directory / "stderr").read_text(errors="replace").splitlines()
            said = [line for line in lines if not line.startswith("{")][-20:]
            if said:
                error.add_note("\n".join([f"standard error of {type(self).__name__}:", *said]))
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._temporary.cleanup()

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            line, newline, _ = (self.directory / "stdout").read_text().partition("\n")
            if newline:
                return int(line.rpartition(":")[2])
            time.sleep(0.01)
        raise RuntimeError(f"{type(self).__name__} did not start")

    @property
    def pid(self) -> int:
        """Return the root of the process tree."""
        return self.process.pid

    def load(self, connections: int, *more: str, seconds: float = 0, count: int = 0) -> dict[str, Any]:
        """Run the load generator, on the same core if confined, and return its report.

        Args:
            connections: each with one Invoke in flight.
            more: further options of it; see floor/load.c.
            seconds: how long to begin new requests.
            count: how many to send instead.

        Raises:
            RuntimeError: an answer was wrong; a figure from such a run means nothing.
        """
        how_long = ["--count", str(count)] if count else ["--seconds", str(seconds)]
        command = [str(compiled("load")), "--port", str(self.port), "--path", self.path]
        command += ["--connections", str(connections), *how_long, *more]
        done = subprocess.run(_confined(command, self.core), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"load on {type(self).__name__}: {done.stdout}{done.stderr}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report


class Floor(Target):
    """The C front with its 32 C workers (floor/floor.c)."""

    def command(self) -> list[str]:
        """Return the compiled program; it keeps no state."""
        return [str(compiled("floor")), "32"]


class Server(Target):
    """``lambent serve`` on a data directory of its own, with default logging into a file."""

    keys = Credentials("test", "test")

    def __init__(self, core: int | None = None, source: Path = ROOT / "src", **settings: str) -> None:
        """Prepare a server that runs the package found in ``source``, with settings as variables."""
        super().__init__(core)
        self.source = source
        self.settings = settings

    def command(self) -> list[str]:
        """Return the command a user would type."""
        serve = ["serve", "--port", "0", "--data-dir", str(self.directory / "data")]
        return [sys.executable, "-m", "lambent", *serve]

    def environment(self) -> dict[str, str]:
        """Return ours without settings from outside, and with a limit that load does not reach."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("LAMBENT_", "AWS_"))}
        return ours | {
            "PYTHONPATH": str(self.source),
            "LAMBENT_CONCURRENCY_ACCOUNT_LIMIT": "10000",
            "LAMBENT_SANDBOX_LEVEL": "process",
            **self.settings,
        }

    def client(self) -> Any:
        """Return a boto3 client that never retries: a hidden second try would be measured as one call."""
        return boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=self.keys.access_key,
            aws_secret_access_key=self.keys.secret_key,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
        )

    def stats(self) -> dict[str, Any]:
        """Return what the server counts, as ``lambent top --json`` tells it."""
        command = [*self.command()[:3], "top", "--json", "--interval", "0.01"]
        command += ["--data-dir", str(self.directory / "data")]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def create(self, names: Iterable[str] = ("f",), handler: str = HANDLER, *, callers: int = 8) -> float:
        """Create functions from several callers at once and wait until all are Active.

        Returns:
            Seconds from the first call to the last reply, without the wait for Active.
        """
        client, code = self.client(), _zipped(handler)
        names = list(names)

        def create_one(name: str) -> None:
            client.create_function(
                FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": code}
            )

        with ThreadPoolExecutor(callers) as pool:
            started = time.perf_counter()
            list(pool.map(create_one, names))
            took = time.perf_counter() - started
        active = client.get_waiter("function_active_v2")
        for name in names:
            active.wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 3000})
        return took


class SignedServer(Server):
    """A server that checks signatures, and a caller with a policy of three statements."""

    def prepare(self) -> None:
        """Make the caller."""
        policy = self.directory / "policy.json"
        policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": STATEMENTS}))
        command = [*self.command()[:3], "iam", "add-user", "bench", "--account", "000000000000", "--json"]
        command += ["--policy", str(policy), "--data-dir", str(self.directory / "data")]
        made = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True)
        found = json.loads(made.stdout)
        self.keys = Credentials(found["AccessKeyId"], found["SecretAccessKey"])

    def environment(self) -> dict[str, str]:
        """Return the variables of a server, with signatures checked."""
        return super().environment() | {"LAMBENT_AUTH_LEVEL": "sigv4"}

    def load(self, connections: int, *more: str, seconds: float = 0, count: int = 0) -> dict[str, Any]:
        """Run the load generator with a request that is signed now: good for five minutes."""
        request = AWSRequest("POST", f"http://127.0.0.1:{self.port}{self.path}", data=EVENT)
        SigV4Auth(self.keys, "lambda", "us-east-1").add_auth(request)
        signature = ["--date", request.headers["X-Amz-Date"]]
        signature += ["--authorization", request.headers["Authorization"]]
        return super().load(connections, "--body", EVENT, *signature, *more, seconds=seconds, count=count)


def compiled(name: str) -> Path:
    """Return the program made from ``floor/NAME.c``, compiled anew when the source is newer."""
    source, program = FLOOR / f"{name}.c", FLOOR / ".build" / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-Wall", "-o", program, source], check=True)
    return program


def _confined(command: list[str], core: int | None) -> list[str]:
    return command if core is None else ["taskset", "-c", str(core), *command]


def _zipped(handler: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("app.py", handler)
    return archive.getvalue()
