"""The AWS CLI, unmodified, does the main job."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.aws_cli import AWS, needs_aws_cli, run_aws
from tests.integration.conftest import ROLE, RUNTIME, Functions, RunningServer, pack, wait_until_active

pytestmark = needs_aws_cli

Aws = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def aws(server: RunningServer, tmp_path: Path) -> Aws:
    """Run ``aws lambda …`` against the shared server, with nothing but an endpoint and any credentials."""

    def run(*arguments: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
        done = run_aws(tmp_path, server.url, *arguments)
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


def test_the_cli_tags_a_function_and_gives_it_what_is_kept(
    aws: Aws, client: Any, tmp_path: Path, name: str
) -> None:
    package = tmp_path / "package.zip"
    package.write_bytes(pack(index="def handler(event, context): return 1"))
    created = _json(
        aws("create-function", "--function-name", name, "--runtime", RUNTIME, "--role", ROLE,
            "--handler", "index.handler", "--zip-file", f"fileb://{package}", "--tags", "a=1,b=2",
            "--vpc-config", "SubnetIds=subnet-1,SecurityGroupIds=sg-1",
            "--dead-letter-config", "TargetArn=arn:aws:sqs:us-east-1:000000000000:q")
    )  # fmt: skip
    assert created["VpcConfig"]["SubnetIds"] == ["subnet-1"]
    assert created["DeadLetterConfig"] == {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}
    arn = created["FunctionArn"]
    aws("tag-resource", "--resource", arn, "--tags", "b=3,c=4")
    aws("untag-resource", "--resource", arn, "--tag-keys", "a", "c")
    assert _json(aws("list-tags", "--resource", arn)) == {"Tags": {"b": "3"}}


# ---------------------------------------------------------------------------- invoke


@pytest.fixture(scope="module")
def echo(server: RunningServer) -> Iterator[str]:
    """A function that answers event, custom context and ARN, prints a line, and fails for the event 0."""
    client = server.client()
    name = Functions(client)(
        "def handler(event, context):\n"
        "    print('line')\n"
        "    given = context.client_context\n"
        "    return [event, given and given.custom, context.invoked_function_arn, event != 0 or 1 / event]"
    )
    yield name
    client.delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def as_text() -> list[str]:
    """The option by which version 2 of the CLI takes ``--payload`` as it is written; version 1 always does."""
    assert AWS is not None
    done = subprocess.run([AWS, "--version"], check=True, capture_output=True, text=True)
    is_first = (done.stdout + done.stderr).startswith("aws-cli/1.")
    return [] if is_first else ["--cli-binary-format", "raw-in-base64-out"]


def test_the_cli_invokes_with_a_payload_a_context_a_qualifier_and_a_tail(
    aws: Aws, echo: str, as_text: list[str], tmp_path: Path
) -> None:
    context = base64.b64encode(b'{"custom":{"a":1}}').decode()
    answer = _json(
        aws("invoke", "--function-name", echo, *as_text, "--payload", '{"key": "value"}',
            "--client-context", context, "--qualifier", "$LATEST", "--log-type", "Tail", "out.json")
    )  # fmt: skip
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{echo}:$LATEST"
    assert json.loads((tmp_path / "out.json").read_bytes()) == [{"key": "value"}, {"a": 1}, arn, True]
    log = base64.b64decode(answer.pop("LogResult")).decode().split("\n")
    assert (log[0].split()[0], log[1], log[2].split()[0]) == ("START", "line", "END")
    assert answer == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}


def test_the_cli_succeeds_with_a_function_that_fails(
    aws: Aws, echo: str, as_text: list[str], tmp_path: Path
) -> None:
    answer = _json(aws("invoke", "--function-name", echo, *as_text, "--payload", "0", "out.json"))
    assert answer == {"StatusCode": 200, "FunctionError": "Unhandled", "ExecutedVersion": "$LATEST"}
    assert json.loads((tmp_path / "out.json").read_bytes())["errorType"] == "ZeroDivisionError"


def test_a_dry_run_of_the_cli_writes_an_empty_file(aws: Aws, echo: str, tmp_path: Path) -> None:
    answer = _json(aws("invoke", "--function-name", echo, "--invocation-type", "DryRun", "out.json"))
    assert answer == {"StatusCode": 204}
    assert (tmp_path / "out.json").read_bytes() == b""


# docs/aws-behaviour.md, invoke 1.1 and 1.4.
@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--function-name", "nobody"], "ResourceNotFoundException",
         "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST"),
        (["--function-name", "f:1", "--qualifier", "2"], "InvalidParameterValueException",
         "The derived qualifier from the function name does not match the specified qualifier."),
        (["--function-name", "f!"], "ValidationException",
         "1 validation error detected: Value 'f!' at 'functionName' failed to satisfy constraint: "),
        # What version 2 of the CLI sends for a payload that it takes for base64.
        (["--payload", "fileb://bytes"], "InvalidRequestContentException",
         "Could not parse request body into json: Could not parse payload into json: "),
        (["--client-context", "W10="], "InvalidRequestContentException",
         "Client context must be a valid Base64-encoded JSON object."),
    ],
)  # fmt: skip
def test_the_cli_ends_with_an_error_that_tells_code_and_text(
    aws: Aws, echo: str, tmp_path: Path, options: list[str], code: str, text: str
) -> None:
    (tmp_path / "bytes").write_bytes(b"\x99\xeb\xde")
    named = options if "--function-name" in options else ["--function-name", echo, *options]
    refused = aws("invoke", *named, "out.json", succeeds=False)
    assert refused.returncode in {254, 255}
    assert f"An error occurred ({code}) when calling the Invoke operation: {text}" in refused.stderr


def test_the_cli_adds_shows_and_removes_a_permission(aws: Aws, server: RunningServer) -> None:
    name = Functions(server.client())("def handler(event, context): return event")
    server.client().create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    target = ("--function-name", name, "--qualifier", "live")
    done = aws(
        "add-permission", *target, "--statement-id", "cross-account", "--action", "lambda:InvokeFunction",
        "--principal", "111122223333", "--output", "text", "--query", "Statement",
    )  # fmt: skip
    written = done.stdout.rstrip("\n")
    assert written == (
        '{"Sid":"cross-account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},'
        '"Action":"lambda:InvokeFunction",'
        f'"Resource":"arn:aws:lambda:us-east-1:000000000000:function:{name}:live"}}'
    )

    shown = _json(aws("get-policy", *target))
    assert shown["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{written}]}}'
    remove = ("remove-permission", *target, "--statement-id", "cross-account", "--revision-id")
    assert "(PreconditionFailedException)" in aws(*remove, "stale", succeeds=False).stderr
    aws(*remove, shown["RevisionId"])
    done = aws("get-policy", *target, succeeds=False)
    assert "The resource you requested does not exist." in done.stderr
    server.client().delete_function(FunctionName=name)
