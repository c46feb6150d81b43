"""The AWS CLI, unmodified, does the main job."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROLE, RUNTIME, RunningServer, pack, wait_until_active

AWS = shutil.which(
    "aws", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

pytestmark = pytest.mark.skipif(
    AWS is None, reason="the AWS CLI is not installed (it is one of the dev extras)"
)

Aws = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def aws(server: RunningServer, tmp_path: Path) -> Aws:
    """Run ``aws lambda …`` against the shared server, with nothing but an endpoint and any credentials."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ |= {
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL_LAMBDA": server.url,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }

    def run(*arguments: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
        assert AWS is not None
        done = subprocess.run(
            [AWS, "lambda", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environ,
            cwd=tmp_path,
            timeout=60,
        )
        assert (done.returncode == 0) is succeeds, done.stderr
        return done

    return run


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_the_cli_creates_invokes_lists_updates_and_deletes_a_function(
    aws: Aws, server: RunningServer, tmp_path: Path
) -> None:
    name = "made-by-the-cli"
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    first.write_bytes(pack(index="def handler(event, context):\n    print('hello')\n    return event"))
    second.write_bytes(pack(index="def handler(event, context): return 'second'"))

    created = _json(
        aws("create-function", "--function-name", name, "--runtime", RUNTIME, "--role", ROLE,
            "--handler", "index.handler", "--zip-file", f"fileb://{first}", "--timeout", "9")
    )  # fmt: skip
    assert (created["State"], created["CodeSize"]) == ("Pending", first.stat().st_size)
    aws("wait", "function-active-v2", "--function-name", name)

    outfile = tmp_path / "out.json"
    # From a file of bytes: the two versions of the CLI read text differently.
    payload = tmp_path / "payload.json"
    payload.write_text('{"word": "grün"}', "utf-8")
    options = ["--payload", f"fileb://{payload}", "--log-type", "Tail"]
    answer = _json(aws("invoke", "--function-name", name, *options, str(outfile)))
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    log = base64.b64decode(answer["LogResult"]).decode().split("\n")
    assert log[0].startswith("START RequestId: ")
    assert log[1] == "hello"
    assert json.loads(outfile.read_bytes()) == {"word": "grün"}

    listed = _json(aws("list-functions"))["Functions"]
    assert name in {function["FunctionName"] for function in listed}
    got = _json(aws("get-function", "--function-name", name))
    assert got["Configuration"]["State"] == "Active"
    assert got["Configuration"]["Timeout"] == 9

    aws("update-function-code", "--function-name", name, "--zip-file", f"fileb://{second}")
    wait_until_active(server.client(), name, "function_updated_v2")
    aws("invoke", "--function-name", name, str(outfile))
    assert json.loads(outfile.read_bytes()) == "second"

    aws("delete-function", "--function-name", name)
    refused = aws("get-function", "--function-name", name, succeeds=False)
    assert "(ResourceNotFoundException)" in refused.stderr
    assert f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}" in refused.stderr
