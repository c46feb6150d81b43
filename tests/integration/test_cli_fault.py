"""The command line's verb for errors on demand, and what other verbs show of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_harness import Command
from tests.integration.conftest import RunningServer, running_server

TOKEN = "a-token-of-32-printable-characters"
RUNS = "def handler(event, context): return 'ran'\n"

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("fault"), LAMBENT_SERVER_ADMIN_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture
def lambent(server: RunningServer, tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path, server)
    yield command
    run(command, "fault", "--clear")


def run(
    lambent: Command, *arguments: str, status: int = 0, environ: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Run a verb and return its output and what it said beside."""
    reached = environ or {"LAMBENT_SERVER_DATA_DIR": str(lambent.server.data_dir)}
    done = lambent(*arguments, stdin=b"", **reached)
    said = done.stderr.decode()
    assert done.returncode == status, said
    return done.stdout.decode(), said


def test_a_fault_is_set_shown_and_cleared(lambent: Command, client: Any, deploy: Deploy) -> None:
    name = deploy(RUNS)
    assert run(lambent, "fault", "--list") == ("", "No faults are set.\n")
    output, said = run(lambent, "fault", name, "--error", "kmsdisabled")
    assert output == f"{name} answers KMSDisabledException to every invocation, until it is cleared.\n"
    assert said == f"`lambent fault --clear {name}` ends that.\n"

    output, said = run(lambent, "invoke", name, status=2)
    assert (output, said.splitlines()[0]) == (
        "",
        "lambent: KMSDisabledException: This answer was asked for with `lambent fault`.",
    )
    head, row = run(lambent, "fault", "--list")[0].splitlines()
    assert head.split() == ["FUNCTION", "ERROR", "LEFT", "RATE", "DELAY", "ANSWERED"]
    assert row.split() == [name, "KMSDisabledException", "all", "1", "0", "ms", "1"]

    assert run(lambent, "fault", name, "--clear") == ("1 fault is cleared.\n", "")
    assert run(lambent, "invoke", name)[0] == '"ran"'
    assert run(lambent, "fault", "--clear") == ("0 faults are cleared.\n", "")


def test_programs_get_json(lambent: Command, client: Any, deploy: Deploy) -> None:
    name = deploy(RUNS)
    options = (
        "--reason",
        "callerratelimitexceeded",
        "--count",
        "1500",
        "--rate",
        "0.5",
        "--delay",
        "20.5",
    )
    output, _ = run(lambent, "fault", name, "--error", "TooManyRequests", *options, "--json")
    expected = {
        "function": name,
        "error": "TooManyRequestsException",
        "reason": "CallerRateLimitExceeded",
        "count": 1500,
        "rate": 0.5,
        "delayMs": 20.5,
        "answered": 0,
    }
    assert json.loads(output) == [expected]
    assert json.loads(run(lambent, "fault", "--list", "--json")[0]) == [expected]
    assert json.loads(run(lambent, "fault", "--list", "other", "--json")[0]) == []
    row = run(lambent, "fault", "--list", name)[0].splitlines()[1]
    assert row.split()[2:] == ["(CallerRateLimitExceeded)", "1,500", "0.5", "20.5", "ms", "0"]
    said = run(lambent, "fault", name, "--error", "TooManyRequests", *options)[0]
    assert said == (
        f"{name} answers TooManyRequestsException (CallerRateLimitExceeded) to 0.5 of the invocations, "
        "after 20.5 ms, 1,500 times.\n"
    )
    assert json.loads(run(lambent, "fault", "--clear", "--json")[0]) == [expected]


def test_the_list_of_functions_marks_those_with_a_fault(lambent: Command, deploy: Deploy) -> None:
    first, second = sorted((deploy(RUNS), deploy(RUNS)))
    run(lambent, "fault", first, "--error", "connection.cut")

    shown = json.loads(run(lambent, "list", "--json")[0])
    assert [(each["FunctionName"], (each["Fault"] or {}).get("error")) for each in shown] == [
        (first, "connection.cut"),
        (second, None),
    ]
    _, *rows = run(lambent, "list")[0].splitlines()
    assert rows[0].startswith(f"{first} (fault: connection.cut)  ")
    assert rows[1].startswith(f"{second}  ")


def test_the_list_of_functions_is_there_where_faults_cannot_be_asked_for(
    lambent: Command, deploy: Deploy
) -> None:
    name = deploy(RUNS)
    run(lambent, "fault", name, "--error", "connection.cut")
    nowhere = {"LAMBENT_SERVER_DATA_DIR": str(lambent.folder / "none")}
    (shown,) = json.loads(run(lambent, "list", "--json", environ=nowhere)[0])
    assert "Fault" not in shown
    assert "fault" not in run(lambent, "list", environ=nowhere)[0]
    assert run(lambent, "fault", "--list", status=2, environ=nowhere)[1].startswith(
        "lambent: No server is running on"
    )


def test_the_admin_token_opens_it_over_the_network(lambent: Command, deploy: Deploy) -> None:
    name = deploy(RUNS)
    by_token = {"LAMBENT_SERVER_ADMIN_TOKEN": TOKEN}
    run(lambent, "fault", name, "--error", "EFSIO", environ=by_token)
    assert len(json.loads(run(lambent, "fault", "--list", "--json", environ=by_token)[0])) == 1
    wrong = {"LAMBENT_SERVER_ADMIN_TOKEN": TOKEN[::-1]}
    assert "control.sock" in run(lambent, "fault", "--list", status=2, environ=wrong)[1]


def test_unknown_names_are_refused_with_the_nearest_known_ones(lambent: Command, deploy: Deploy) -> None:
    name = deploy(RUNS)
    assert run(lambent, "fault", name, "--error", "Throtled", status=2)[1] == (
        "lambent: 'Throtled' is no error of Invoke. Do you mean EC2ThrottledException?\n"
    )
    assert run(lambent, "fault", "no-such", "--error", "EFSIO", status=2)[1] == (
        "lambent: Function not found: arn:aws:lambda:us-east-1:000000000000:function:no-such\n"
    )
