"""The commands ``lambent`` and ``aws`` against a server that asks who they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.authorization.world import (
    EVERYTHING,
    FUNCTION,
    MISMATCH,
    OWN,
    REGION,
    UNKNOWN,
    User,
    World,
    allow,
    denied,
    deny,
    document,
    refusal,
)
from tests.integration.aws_cli import needs_aws_cli, run_aws
from tests.integration.cli_harness import Command


@dataclass
class Lambent:
    """Runs ``lambent`` beside the server, as whoever the variables say."""

    world: World
    folder: Path

    def __call__(self, *arguments: str, status: int = 0, user: User | None = None) -> tuple[str, str]:
        """Return what it wrote on standard output and on standard error."""
        there = {"LAMBENT_SERVER_DATA_DIR": str(self.world.server.data_dir)}
        environ = {} if user is None else user.environ
        done = Command(self.folder, self.world.server)(*arguments, stdin=b"", **there, **environ)
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    def write(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return name


@pytest.fixture
def lambent(world: World, tmp_path: Path) -> Lambent:
    return Lambent(world, tmp_path)


def test_users_come_change_and_go_under_an_open_connection(world: World, lambent: Lambent) -> None:
    account = ("--account", OWN)
    policy = lambent.write("policy.json", document(allow()))
    made = json.loads(lambent("iam", "add-user", "eve", *account, "--json")[0])
    client = world.server.client(
        account=made["AccessKeyId"], secret=made["SecretAccessKey"], max_pool_connections=1
    )
    eve = User(world.server, made["Arn"], made["AccessKeyId"], made["SecretAccessKey"], client)
    assert refusal(client.invoke, FunctionName="hello") == denied(eve, "identity")

    lambent("iam", "put-policy", "eve", policy, *account)
    assert eve.invoke()
    closed = lambent.write("closed.json", document(allow(), deny()))
    lambent("iam", "put-policy", "eve", closed, *account)
    assert refusal(client.invoke, FunctionName="hello") == denied(eve, "identity denies")
    lambent("iam", "put-policy", "eve", policy, *account)
    assert eve.invoke()

    rotated = json.loads(lambent("iam", "rotate", "eve", *account, "--json")[0])
    assert refusal(client.invoke, FunctionName="hello") == UNKNOWN
    renewed = world.server.client(account=rotated["AccessKeyId"], secret=rotated["SecretAccessKey"])
    assert renewed.invoke(FunctionName="hello")["StatusCode"] == 200
    # The new key with the old secret is nobody's.
    mixed = world.server.client(account=rotated["AccessKeyId"], secret=made["SecretAccessKey"])
    assert refusal(mixed.invoke, FunctionName="hello") == MISMATCH

    lambent("iam", "rm", "eve", *account)
    assert refusal(renewed.invoke, FunctionName="hello") == UNKNOWN
    assert refusal(renewed.list_functions) == UNKNOWN
    # Another user of that name has none of its rights.
    lambent("iam", "add-user", "eve", *account)
    assert refusal(renewed.invoke, FunctionName="hello") == UNKNOWN


def test_the_command_signs_with_the_keys_that_it_is_given(world: World, lambent: Lambent) -> None:
    account = "777788889999"
    owner = world.user(EVERYTHING, account=account)
    lambent.write("greet.py", "def handler(event, context):\n    print('seen')\n    return event\n")
    arn = f"arn:aws:lambda:{REGION}:{account}:function:greet"
    assert arn in lambent("deploy", "greet.py", user=owner)[0]
    assert lambent("invoke", "greet", "[7]", user=owner)[0] == "[7]"
    assert lambent("invoke", "greet", "[7]", "--event", user=owner)[0]
    assert lambent("publish", "greet", user=owner)
    assert lambent("alias", "set", "greet", "live", "1", user=owner)
    assert lambent("invoke", "greet:live", "[8]", user=owner)[0] == "[8]"
    assert [each["FunctionArn"] for each in json.loads(lambent("list", "--json", user=owner)[0])] == [arn]
    # Over the owner's socket, and still about the account of the key.
    assert "seen" in lambent("logs", "greet", user=owner)[0]
    assert lambent("dlq", "list", user=owner)
    reader = world.user(allow("lambda:List*"), account=account)
    assert "greet" in lambent("list", user=reader)[0]
    _, said = lambent("rm", "greet", "--yes", status=2, user=reader)
    assert "AccessDeniedException: User: " in said
    assert "is not authorized to perform: lambda:DeleteFunction" in said
    lambent("rm", "greet", "--yes", user=owner)
    assert json.loads(lambent("list", "--json", user=owner)[0]) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "MissingAuthenticationTokenException"),
        (("--account", OWN), "UnrecognizedClientException"),
        (("--region", REGION), "UnrecognizedClientException"),
    ],
)
def test_the_command_says_how_to_be_somebody(lambent: Lambent, arguments: tuple[str, ...], code: str) -> None:
    _, said = lambent("invoke", "hello", *arguments, status=2)
    assert said.startswith(f"lambent: {code}: ")
    assert "AWS_ACCESS_KEY_ID" in said
    assert "`lambent iam add-user`" in said


@needs_aws_cli
def test_the_aws_cli_signs_and_reads_refusals(world: World, tmp_path: Path) -> None:
    def aws(user: User, *arguments: str, **environ: str) -> tuple[int, str]:
        done = run_aws(tmp_path, world.server.url, *arguments, **user.environ | environ)
        return done.returncode, done.stderr

    user = world.user(allow(resource=f"{FUNCTION}:live"))
    live = ("invoke", "--function-name", f"{FUNCTION}:live", "out.json")
    assert aws(user, *live) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text())[0] == f"{FUNCTION}:live".split(":", 4)[4]
    status, said = aws(user, "invoke", "--function-name", "hello", "out.json")
    assert status != 0
    assert f"(AccessDeniedException) when calling the Invoke operation: {denied(user, 'identity')[2]}" in said
    status, said = aws(user, *live, AWS_SECRET_ACCESS_KEY="wrong")
    assert status != 0
    assert f"(InvalidSignatureException) when calling the Invoke operation: {MISMATCH[2]}" in said
    status, said = aws(user, *live, AWS_ACCESS_KEY_ID="AKIDUNKNOWN")
    assert status != 0
    assert f"(UnrecognizedClientException) when calling the Invoke operation: {UNKNOWN[2]}" in said
    assert aws(user, "list-functions")[0] != 0
