"""The main job, from nothing to an answer: what `make demo` runs.

Starts a server on a free port with a throw-away data directory, deploys
``examples/hello``, invokes it twice through boto3 and shows what came back.
"""

from __future__ import annotations

import base64
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

HELLO = Path(__file__).parent / "hello"
START_LIMIT_S = 60
STOP_LIMIT_S = 30


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lambent-demo-") as folder, running_server(Path(folder)) as url:
        print(f"server    {url}")
        client = boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="thing",
        )
        deploy(client, newest_python(url))
        invoke(client, "cold", {"name": "Ada"})
        invoke(client, "warm", {"name": "Grace"})
    print("server    stopped")


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Give the address of a server that runs until the block ends."""
    log = folder / "server.log"
    # Settings of this shell are not for this server.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")}
    command = [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    with log.open("wb") as errors:
        server = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield read_address(server, log)
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(STOP_LIMIT_S)
    if status != 0:
        sys.exit(f"The server ended with status {status}:\n{log.read_text()}")


def read_address(server: subprocess.Popen[str], log: Path) -> str:
    """Return the first line of the server's standard output."""
    assert server.stdout is not None
    ready, _, _ = select.select([server.stdout], [], [], START_LIMIT_S)
    address = server.stdout.readline().strip() if ready else ""
    if not address:
        sys.exit(f"The server did not start:\n{log.read_text()}")
    return address


def newest_python(url: str) -> str:
    """Return the identifier of the newest Python that the server found."""
    with urllib.request.urlopen(f"{url}/_lambent/health") as response:
        found: dict[str, str] = json.load(response)["runtimes"]
    if not found:
        sys.exit("The server found no Python to run functions on; install python3.")
    return max(found, key=lambda name: int(name.removeprefix("python3.")))


def deploy(client: Any, runtime: str) -> None:
    """Create the function and wait until it is active."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(HELLO / "app.py", "app.py")
    created = client.create_function(
        FunctionName="hello",
        Runtime=runtime,
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/any",
        Code={"ZipFile": package.getvalue()},
    )
    client.get_waiter("function_active_v2").wait(
        FunctionName="hello", WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200}
    )
    print(f"deployed  {created['FunctionArn']} on {runtime}")


def invoke(client: Any, how: str, event: dict[str, str]) -> None:
    """Invoke the function and show answer, log tail and timing."""
    started = time.perf_counter()
    answer = client.invoke(FunctionName="hello", LogType="Tail", Payload=json.dumps(event))
    payload = json.load(answer["Payload"])
    took_ms = (time.perf_counter() - started) * 1000
    print(f"\n{how} call, {took_ms:.1f} ms as boto3 sees it")
    print(f"  answer  {json.dumps(payload)}")
    for line in base64.b64decode(answer["LogResult"]).decode().splitlines():
        print(f"  log     {line}")
    if "FunctionError" in answer:
        sys.exit("The function failed.")
    expected = f"Hello, {event['name']}!"
    if payload["greeting"] != expected:
        sys.exit(f"Expected the greeting {expected!r}.")


if __name__ == "__main__":
    main()
