"""Functions that call back at level sigv4: as their role, and no further than that may go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.cli_harness import Command
from tests.integration.conftest import Functions, RunningServer, running_server

ACCOUNT = "111122223333"
CALLER = """
import boto3

def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName=event, Payload=b'"hello"')
    return answer["Payload"].read().decode()
"""
CALLEE = "def handler(event, context): return event\n"


def policy(*actions: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_a_function_calls_others_as_its_role_allows(tmp_path: Path) -> None:
    trust = policy("sts:AssumeRole")
    del trust["Statement"][0]["Resource"]
    trust["Statement"][0]["Principal"] = {"Service": "lambda.amazonaws.com"}
    files = {
        "all": policy("lambda:*", "iam:PassRole"),
        "trust": trust,
        "may": policy("lambda:InvokeFunction"),
    }
    for name, document in files.items():
        (tmp_path / name).write_text(json.dumps(document))

    with running_server(tmp_path, LAMBENT_AUTH_LEVEL="sigv4") as server:
        lambent = Command(tmp_path, server)

        def iam(*arguments: str) -> str:
            done = lambent("iam", *arguments, LAMBENT_SERVER_DATA_DIR=str(server.data_dir))
            assert done.returncode == 0, done.stderr
            return str(done.stdout.decode())

        added = iam("add-user", "ann", "--account", ACCOUNT, "--policy", str(tmp_path / "all"), "--json")
        keys = json.loads(added)
        client = server.client(account=keys["AccessKeyId"], secret=keys["SecretAccessKey"])
        functions = Functions(client)
        role = f"arn:aws:iam::{ACCOUNT}:role/worker"
        callee = functions(CALLEE, Role=role)
        caller = functions(CALLER, Role=role, Timeout=30)

        def call() -> tuple[str | None, Any]:
            answer = client.invoke(FunctionName=caller, Payload=json.dumps(callee))
            return answer.get("FunctionError"), json.loads(answer["Payload"].read())

        refusal = (
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/worker/{caller} is not authorized to perform: "
            f"lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:{ACCOUNT}:function:{callee} "
            "because no identity-based policy allows the lambda:InvokeFunction action"
        )
        for prepare in (
            lambda: None,
            lambda: iam("add-role", "worker", "--account", ACCOUNT, "--trust", str(tmp_path / "trust")),
        ):
            prepare()
            error, told = call()
            assert (error, told["errorType"]) == ("Unhandled", "ClientError")
            assert "AccessDeniedException" in told["errorMessage"]
            assert refusal in told["errorMessage"]
        iam("put-policy", "worker", str(tmp_path / "may"), "--account", ACCOUNT)
        assert call() == (None, '"hello"')
        iam("rm", "worker", "--account", ACCOUNT, "--yes")
        assert call()[0] == "Unhandled"


def test_a_function_of_any_account_calls_others_of_its_own_where_nothing_is_checked(
    server: RunningServer,
) -> None:
    functions = Functions(server.client(account=ACCOUNT))
    callee = functions(CALLEE)
    caller = functions(CALLER, Timeout=30)
    answer = functions.client.invoke(FunctionName=caller, Payload=json.dumps(callee))
    assert (answer.get("FunctionError"), json.loads(answer["Payload"].read())) == (None, '"hello"')
    reading = functions("import os\ndef handler(event, context): return os.environ['AWS_ACCESS_KEY_ID']")
    assert json.loads(functions.client.invoke(FunctionName=reading)["Payload"].read()).startswith("ASIA")
