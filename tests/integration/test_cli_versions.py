"""The command line's verbs for versions and aliases, as processes against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_harness import Command
from tests.integration.conftest import RunningServer

TELLING = "def handler(event, context):\n    return [{mark!r}, context.function_version]\n"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:told"


@pytest.fixture
def lambent(server: RunningServer, client: Any, tmp_path: Path) -> Iterator[Command]:
    """The command, and a function ``told`` with the versions 1 (a) and 2 (b)."""
    command = Command(tmp_path, server)
    for mark in "ab":
        command.deploy("told", TELLING.format(mark=mark), "--publish")
    yield command
    client.delete_function(FunctionName="told")


def output(lambent: Command, *arguments: str) -> str:
    """Run a verb that succeeds and return what it wrote to standard output."""
    done = lambent(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_deploy_publishes_a_version_if_asked(lambent: Command, client: Any) -> None:
    lambent.write({"told.py": TELLING.format(mark="c")})
    said = output(lambent, "deploy", "told.py", "--publish").splitlines()
    assert said[0].startswith("told is active: ")
    assert said[1:] == ["told has version 3", f"{ARN}:3"]

    lambent.write({"told.py": TELLING.format(mark="d")})
    shown = json.loads(output(lambent, "deploy", "told.py", "--publish", "--json"))
    assert (shown["Version"], shown["FunctionArn"]) == ("4", f"{ARN}:4")


def test_publish_tells_the_version(lambent: Command) -> None:
    # Nothing has changed since the last one.
    assert output(lambent, "publish", "told") == f"told has version 2\n{ARN}:2\n"
    lambent.deploy("told", TELLING.format(mark="c"))
    shown = json.loads(output(lambent, "publish", "told", "--description", "third", "--json"))
    assert (shown["Version"], shown["Description"]) == ("3", "third")


def test_invoke_takes_a_version_or_an_alias_behind_the_name(lambent: Command) -> None:
    output(lambent, "alias", "set", "told", "live", "1")

    assert json.loads(output(lambent, "invoke", "told:2")) == ["b", "2"]
    assert json.loads(output(lambent, "invoke", "told:live")) == ["a", "1"]
    assert json.loads(output(lambent, "invoke", "told:live", "--json"))["ExecutedVersion"] == "1"
    done = lambent("invoke", "told:9")
    assert (done.returncode, done.stderr.decode()) == (
        2,
        f"lambent: ResourceNotFoundException: Function not found: {ARN}:9\n",
    )


def test_an_alias_is_set_moved_split_and_removed(lambent: Command) -> None:
    assert output(lambent, "alias", "set", "told", "live", "1") == "told:live is 1\n"
    assert output(lambent, "alias", "set", "told", "live", "2") == "told:live is 2\n"
    said = output(
        lambent, "alias", "set", "told", "live", "1", "--weight", "2=0.1", "--description", "canary"
    )
    assert said == "told:live is 1 90%, 2 10%\n"
    shown = json.loads(output(lambent, "alias", "list", "told", "--json"))
    assert [one["RoutingConfig"] for one in shown] == [{"AdditionalVersionWeights": {"2": 0.1}}]
    lines = output(lambent, "alias", "list", "told").splitlines()
    assert [line.split() for line in lines] == [
        ["ALIAS", "VERSION", "DESCRIPTION"],
        ["live", "1", "90%,", "2", "10%", "canary"],
    ]
    # Without --weight all calls go to one version again; the description stays.
    shown = json.loads(output(lambent, "alias", "set", "told", "live", "2", "--json"))
    assert (shown["FunctionVersion"], "RoutingConfig" in shown, shown["Description"]) == (
        "2",
        False,
        "canary",
    )
    assert output(lambent, "alias", "rm", "told", "live") == "told:live is removed.\n"
    assert lambent("alias", "rm", "told", "live").returncode == 2
    done = lambent("alias", "list", "told")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"told has no aliases." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["told", "live", "9"], f"ResourceNotFoundException: Function not found: {ARN}:9"),
        (["told", "live", "1", "--weight", "2"], "'2' is not of the form VERSION=SHARE, such as 3=0.1."),
        (["told", "live", "1", "--weight", "2=3"], "Member must have value less than or equal to 1.0"),
    ],
)
def test_an_alias_that_cannot_be_set_says_why(lambent: Command, arguments: list[str], said: str) -> None:
    done = lambent("alias", "set", *arguments)

    assert done.returncode == 2
    assert said in done.stderr.decode()


def test_list_shows_versions_and_aliases(lambent: Command) -> None:
    output(lambent, "alias", "set", "told", "live", "2")

    header, *rows = output(lambent, "list").splitlines()
    (row,) = [one for one in rows if one.startswith("told ")]
    assert row[header.index("VERSIONS") :].split("  ")[0].strip() == "1, 2"
    assert row[header.index("ALIASES") :].strip() == "live: 2"
    (shown,) = [one for one in json.loads(output(lambent, "list", "--json")) if one["FunctionName"] == "told"]
    assert (shown["Version"], shown["FunctionArn"], shown["Versions"]) == ("$LATEST", ARN, ["1", "2"])
    assert [(one["Name"], one["FunctionVersion"]) for one in shown["Aliases"]] == [("live", "2")]
