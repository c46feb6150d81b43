"""Every Python that this machine has runs functions."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RUNTIME, Functions, RunningServer, running_server

Deploy = Callable[..., str]

# Runs on every version since 3.9, and tells about itself what should be the same on all of them.
TELLING = """
import os, sys

def handler(event, context):
    if event:
        raise ValueError(event)
    return {
        "version": list(sys.version_info[:3]),
        "runtime": os.environ["AWS_EXECUTION_ENV"],
        "exit": callable(exit),
        "request_id": context.aws_request_id,
        "numbers": [1e16, float("nan"), "ü"],
    }
"""


def _runtimes(server: RunningServer) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/_lambent/health")
    found = json.loads(connection.getresponse().read())["runtimes"]
    connection.close()
    return dict(found)


def test_the_interpreter_of_these_tests_is_among_those_found(server: RunningServer) -> None:
    found = _runtimes(server)
    assert RUNTIME in found
    versions = [tuple(map(int, version.split("."))) for version in found.values()]
    assert versions == sorted(versions)
    assert all(version >= (3, 9) for version in versions)
    assert all(re.fullmatch(r"python3\.\d+", identifier) for identifier in found)


def test_every_interpreter_found_runs_a_function_in_the_same_way(
    server: RunningServer, client: Any, deploy: Deploy
) -> None:
    found = _runtimes(server)
    names = {identifier: deploy(TELLING, Runtime=identifier, Timeout=30) for identifier in found}

    def run(identifier: str) -> None:
        answer = client.invoke(FunctionName=names[identifier], LogType="Tail")
        raw = answer["Payload"].read().decode()
        result = json.loads(raw)
        assert ".".join(map(str, result["version"])) == found[identifier]
        assert result["runtime"] == f"AWS_Lambda_{identifier}"
        assert result["exit"] is True
        assert result["request_id"] == answer["ResponseMetadata"]["RequestId"]
        # Byte for byte as AWS's own client writes it, which since 3.12 keeps what is not ASCII.
        word = "ü" if result["version"] >= [3, 12] else r"\u00fc"
        assert raw.endswith(f'"numbers": [1e+16, NaN, "{word}"]}}')
        assert "\tInit Duration: " in base64.b64decode(answer["LogResult"]).decode()
        failed = client.invoke(FunctionName=names[identifier], Payload=b'"wrong"')
        error = json.loads(failed["Payload"].read())
        assert (error["errorType"], error["errorMessage"]) == ("ValueError", "wrong")
        assert error["stackTrace"] == [
            '  File "/var/task/index.py", line 6, in handler\n    raise ValueError(event)\n'
        ]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, names))


def test_a_setting_maps_an_identifier_to_an_interpreter(tmp_path: Path) -> None:
    # The link shows that the interpreter itself is asked, not its name.
    link = tmp_path / "an-interpreter"
    link.symlink_to(sys.executable)
    (tmp_path / "lambent.toml").write_text(f'[runtimes]\n"python3.14" = "{link}"\n')
    with running_server(tmp_path) as server:
        client = server.client()
        name = Functions(client)(
            "import sys\ndef handler(e, c): return sys.version_info[:2]", Runtime="python3.14"
        )
        assert json.loads(client.invoke(FunctionName=name)["Payload"].read()) == list(sys.version_info[:2])
        assert _runtimes(server)["python3.14"].startswith(RUNTIME.removeprefix("python"))


@pytest.mark.parametrize("path", ["/bin/false", "/nowhere/python", "."])
def test_a_setting_that_names_no_python_keeps_the_server_from_starting(tmp_path: Path, path: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LAMBENT_RUNTIMES_PYTHON3_12": path},
        cwd=tmp_path,
        timeout=60,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'lambent: [runtimes] "python3.12": ' in refused.stderr
    assert refused.stderr.endswith("does not answer as a Python interpreter.\n")
    assert refused.stderr.count("\n") == 1
