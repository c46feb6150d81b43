"""The command line's verbs for events: queue, see, cancel, redrive, purge; and the controls behind them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_harness import Command, on_a_terminal
from tests.integration.conftest import Functions, RunningServer, running_server, wait_until_active
from tests.integration.events_harness import TELLING, Told, accept, control, letters
from tests.waiting import wait_for

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
TOKEN = "a-token-of-32-printable-characters"
FAILING = "def handler(event, context): raise ValueError('no  such\\ncustomer')\n"

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("dlq")
    with running_server(
        folder, LAMBENT_ASYNC_RETRY_DELAYS="0,0", LAMBENT_SERVER_ADMIN_TOKEN=TOKEN
    ) as running:
        yield running


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


@pytest.fixture
def lambent(server: RunningServer, tmp_path: Path) -> Command:
    return Command(tmp_path, server)


def run(lambent: Command, *arguments: str, status: int = 0) -> tuple[str, str]:
    """Run a verb and return its output and what it said beside."""
    done = lambent(*arguments, LAMBENT_SERVER_DATA_DIR=str(lambent.server.data_dir))
    said = done.stderr.decode()
    assert done.returncode == status, said
    return done.stdout.decode(), said


def test_an_event_is_queued_and_its_request_id_is_the_output(
    lambent: Command, deploy: Deploy, told: Told
) -> None:
    name = deploy(TELLING)
    output, said = run(lambent, "invoke", name, told.event().decode(), "--event")
    assert said == ""
    assert told.wait(1)[0]["id"] == output.removesuffix("\n")

    shown = json.loads(run(lambent, "invoke", name, told.event().decode(), "--event", "--json")[0])
    assert shown == {"StatusCode": 202, "RequestId": told.wait(2)[1]["id"]}
    run(lambent, "invoke", name, "--event", "--tail", status=2)


def test_dead_letters_are_listed_for_people_and_programs(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy
) -> None:
    name = deploy(FAILING, Publish=True)
    wait_until_active(client, f"{name}:1")
    assert run(lambent, "dlq", "list", name) == ("", "There are no dead letters.\n")
    assert run(lambent, "dlq", "list", name, "--json") == ("[]\n", "")

    ids = [accept(client, name, b'{"n": 1.50}')]
    letters(server, name, 1)
    ids.append(accept(client, name, b"[]", Qualifier="1"))
    letters(server, name, 2)

    head, *rows = run(lambent, "dlq", "list", name)[0].splitlines()
    assert head.split() == ["REQUEST", "ID", "FUNCTION", "WHEN", "WHY", "ATTEMPTS", "ERROR"]
    for row, request_id, function in zip(rows, ids, (name, f"{name}:1"), strict=True):
        words = row.split()
        assert words[:2] == [request_id, function]
        assert words[4:] == ["RetriesExhausted", "3", "no", "such", "customer"]
    shown = json.loads(run(lambent, "dlq", "list", name, "--json")[0])
    assert [one["requestId"] for one in shown] == ids
    assert [one["qualifier"] for one in shown] == [None, "1"]
    assert set(shown[0]) == {
        "requestId",
        "function",
        "qualifier",
        "state",
        "at",
        "condition",
        "approximateInvokeCount",
        "redrivenFrom",
        "error",
        "logTail",
        "destination",
        "form",
        "deliveryError",
        "record",
        "payload",
    }
    assert shown[0]["payload"] == {"n": 1.5}
    assert shown[0]["error"] == "no  such\ncustomer"
    elsewhere = run(lambent, "dlq", "list", "--account", "111122223333", "--json")
    assert elsewhere == ("[]\n", "")


def test_show_tells_all_that_is_kept(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy
) -> None:
    name = deploy(FAILING)
    request_id = accept(client, name, b'{"customer": 1e2}')
    letters(server, name, 1)

    shown, _ = run(lambent, "dlq", "show", request_id)
    for part in (
        f"REQUEST ID: {request_id}\n",
        "WHY: RetriesExhausted\nATTEMPTS: 3\nERROR: no such customer\n",
        '"functionArn": ',
        f"LOG\nSTART RequestId: {request_id} ",
        '\nPAYLOAD\n{\n  "customer": 100.0\n}\n',
        '"errorMessage": "no  such\\ncustomer"',
    ):
        assert part in shown
    assert json.loads(run(lambent, "dlq", "show", request_id, "--json")[0]) == letters(server, name)
    assert run(lambent, "dlq", "show", "no-such-id", status=2)[1] == (
        "lambent: The event no-such-id has no dead letter.\n"
    )


def test_a_redriven_event_is_a_new_one_of_the_function_that_is_there_now(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy, told: Told
) -> None:
    name = deploy(FAILING)
    payload = told.event(fails="again")
    old = accept(client, name, payload)
    letters(server, name, 1)
    # Created anew: what was accepted for the former one would never run in it.
    client.delete_function(FunctionName=name)
    assert deploy(TELLING, FunctionName=name) == name

    output, _ = run(lambent, "dlq", "redrive", old)
    assert output.startswith(f"{old} is redriven as ")
    new = output.rstrip().removesuffix(".").split()[-1]
    told.wait(3)
    wait_for(lambda: [one["requestId"] for one in letters(server, name)] == [new])
    assert told.ids == [new] * 3
    (letter,) = letters(server, name)
    assert (letter["approximateInvokeCount"], letter["redrivenFrom"]) == (3, old)
    assert letter["record"]["requestContext"]["redrivenFrom"] == old
    assert letter["payload"] == json.loads(payload)

    # What is gone is refused by its id.
    output, said = run(lambent, "dlq", "redrive", old, "--json", status=2)
    assert json.loads(output) == []
    assert f"{old}: ResourceNotFoundException: The event {old} has no dead letter." in said


def test_all_of_a_function_are_redriven_once_each(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy
) -> None:
    name = deploy(FAILING)
    old = {accept(client, name, str(number).encode()) for number in range(40)}
    letters(server, name, 40)

    shown = json.loads(run(lambent, "dlq", "redrive", "--function", name, "--json")[0])
    assert {one["redrivenFrom"] for one in shown} == old
    assert {one["function"] for one in shown} == {name}
    # They fail again, and are not redriven again by the same command.
    wait_for(
        lambda: {one["requestId"] for one in letters(server, name)} == {one["requestId"] for one in shown}
    )
    assert sorted(one["payload"] for one in letters(server, name)) == list(range(40))
    run(lambent, "dlq", "redrive", status=2)
    run(lambent, "dlq", "redrive", "id", "--function", name, status=2)
    assert run(lambent, "dlq", "redrive", "--function", "none") == ("", "none has no dead letters.\n")


def test_what_cannot_run_stays_a_dead_letter(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy
) -> None:
    name = deploy(FAILING)
    request_id = accept(client, name, b"1")
    letters(server, name, 1)
    client.delete_function(FunctionName=name)

    for chosen in ([request_id], ["--function", name]):
        _, said = run(lambent, "dlq", "redrive", *chosen, status=2)
        missing = f"ResourceNotFoundException: Function not found: {ARN}{name}:$LATEST"
        assert f"warning: {request_id}: {missing}\n" in said
    assert [one["requestId"] for one in letters(server, name)] == [request_id]


def test_records_of_success_are_only_redriven_by_their_ids(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy
) -> None:
    name = deploy("def handler(event, context): return 'fine'\n")
    topic = "arn:aws:sns:us-east-1:000000000000:fine"
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": topic}}
    )
    request_id = accept(client, name, b"1")
    letters(server, name, 1)

    assert "Success (undelivered)" in run(lambent, "dlq", "list", name)[0]
    assert f"SENT TO: {topic}\n" in run(lambent, "dlq", "show", request_id)[0]
    assert json.loads(run(lambent, "dlq", "redrive", "--function", name, "--json")[0]) == []
    assert len(json.loads(run(lambent, "dlq", "redrive", request_id, "--json")[0])) == 1


def test_purge_removes_those_of_a_function_or_all_and_asks_on_a_terminal(
    server: RunningServer, client: Any, lambent: Command, deploy: Deploy
) -> None:
    one, other = deploy(FAILING), deploy(FAILING)
    ids = {name: accept(client, name, b"1") for name in (one, other)}
    for name in ids:
        letters(server, name, 1)

    data_dir = str(server.data_dir)
    said, status = on_a_terminal(lambent, "dlq", "purge", one, "--data-dir", data_dir, answer=b"n\n")
    assert f"Remove the dead letters of the function {one}? [y/N]" in said
    assert (status, len(letters(server, one))) == (1, 1)
    assert json.loads(run(lambent, "dlq", "purge", one, "--json")[0]) == [{"requestId": ids[one]}]
    assert (letters(server, one), len(letters(server, other))) == ([], 1)
    assert run(lambent, "dlq", "purge", "--yes")[0].endswith(" dead letters are removed.\n")
    assert letters(server, other) == []


def test_account_and_region_select_whose_dead_letters(server: RunningServer, lambent: Command) -> None:
    client = server.client(account="222233334444", region="eu-west-1")
    name = Functions(client)(FAILING)
    request_id = accept(client, name, b"1")
    place = ("--account", "222233334444", "--region", "eu-west-1")

    def shown(*where: str) -> list[str]:
        return [one["requestId"] for one in json.loads(run(lambent, "dlq", "list", "--json", *where)[0])]

    wait_for(lambda: shown(*place) == [request_id])
    assert request_id not in shown()
    run(lambent, "dlq", "show", request_id, status=2)
    assert run(lambent, "dlq", "purge", *place)[0] == "1 dead letters are removed.\n"


# -- the controls


def test_pages_follow_each_other_and_large_payloads_end_one(
    server: RunningServer, client: Any, deploy: Deploy
) -> None:
    name = deploy("def handler(event, context): raise ValueError\n")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    for _ in range(7):
        accept(client, name, b'"' + b"x" * 1_000_000 + b'"')
    expected = [one["requestId"] for one in gather(server, f"?function={name}", 7)]

    found = list(pages(server, f"?function={name}&limit=3"))
    assert [len(page) for page in found] == [3, 3, 1]
    assert [one["requestId"] for page in found for one in page] == expected
    # Read by batches: the second one of four is not begun when the first was large.
    assert [len(page) for page in pages(server, f"?function={name}")] == [4, 3]


def pages(server: RunningServer, query: str) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while after is not None:
        page = control(server, "GET", f"{query}&after={after}").json
        yield page["deadLetters"]
        after = page["next"]


def gather(server: RunningServer, query: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = [one for page in pages(server, query) for one in page]
        return len(found) >= count

    wait_for(are_there)
    return found


@pytest.mark.parametrize(
    ("method", "rest", "body", "status"),
    [
        ("GET", "?limit=0", None, 400),
        ("GET", "?limit=1001", None, 400),
        ("GET", "?after=-1", None, 400),
        ("GET", "?after=99999999999999999999", None, 400),
        ("GET", "?after=x", None, 400),
        ("GET", "/%ff%00", None, 404),
        ("GET", "?function=%ff&account=%00", None, 200),
        ("POST", "/redrive", None, 400),
        ("POST", "/redrive", b"{}", 400),
        ("POST", "/redrive", b"[" * 100_000, 400),
        ("POST", "/redrive", b'{"all": true}', 400),
        ("POST", "/redrive", b'{"requestIds": [1]}', 400),
        ("POST", "/redrive", b'{"requestIds": ["a"], "function": "f"}', 400),
        ("POST", "/redrive", b'{"requestIds": ["\\ud800"]}', 400),
        ("POST", "/purge", b'{"all": false}', 400),
        ("POST", "/purge", b'{"function": "f", "more": 1}', 400),
        ("POST", "", b"{}", 405),
        ("PUT", "/purge", b'{"all": true}', 405),
        ("DELETE", "", None, 405),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(
    server: RunningServer, method: str, rest: str, body: bytes | None, status: int
) -> None:
    reply = control(server, method, rest, body)
    assert reply.status == status
    if status == 400:
        assert reply.json["message"]


@pytest.mark.parametrize(
    ("name", "rest", "body"),
    [
        ("dead-letters", "/redrive", b'{"requestIds": ["\xff"]}'),
        ("events", "/cancel", b'{"requestIds": ["\xff"]}'),
        ("iam", "/add-user", b'{"name": "\xff"}'),
        ("faults", "", b'{"error": "\xff"}'),
    ],
)
def test_bytes_that_are_no_text_are_refused(server: RunningServer, name: str, rest: str, body: bytes) -> None:
    reply = control(server, "POST", rest, body, name=name)
    assert reply.status == 400
    assert reply.json["message"].startswith("The body cannot be read: 'utf-8' codec can't decode byte 0xff")


@pytest.mark.parametrize("token", [None, "", TOKEN[:-1], TOKEN])
@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("GET", "/id"), ("POST", "/redrive"), ("POST", "/purge")]
)
def test_over_the_network_the_admin_token_is_needed(
    server: RunningServer, token: str | None, method: str, rest: str
) -> None:
    headers = {} if token is None else {"x-lambent-admin-token": token}
    url = f"{server.url}/_lambent/dead-letters{rest}"
    body = b'{"function": "none"}' if method == "POST" else None
    asked = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(asked) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    assert status == ((404 if rest == "/id" else 200) if token == TOKEN else 403)


# -- events


def test_what_waits_and_what_runs_is_listed_and_what_waits_can_be_cancelled(
    lambent: Command, deploy: Deploy, client: Any, told: Told, tmp_path: Path
) -> None:
    name, gate = deploy(TELLING), tmp_path / "gate"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    running = accept(client, name, told.event(gate=str(gate)))
    told.wait(1)
    waiting = [accept(client, name, told.event()) for _ in range(2)]
    listed = json.loads(run(lambent, "events", "list", name, "--json")[0])
    assert [(one["requestId"], one["state"], one["attempt"], one["lastError"]) for one in listed] == [
        (running, "running", 1, ""),
        (waiting[0], "waiting", 1, ""),
        (waiting[1], "waiting", 1, ""),
    ]
    assert all(one["function"] == name and one["payloadBytes"] == len(told.event()) for one in listed[1:])
    table, _ = run(lambent, "events", "list", name)
    assert waiting[0] in table
    output, said = run(lambent, "events", "cancel", waiting[0], running, "nothing", status=2)
    assert output == f"{waiting[0]} of {name} is cancelled.\n"
    assert f"{running}: No such event waits. What runs cannot be cancelled." in said
    assert "2 could not be cancelled." in said
    gate.touch()
    told.wait(2)
    wait_for(lambda: run(lambent, "events", "list", name) == ("", "No event waits or runs.\n"))
    assert told.ids == [running, waiting[1]]


def test_an_event_that_waits_for_its_next_attempt_shows_the_last_error(tmp_path: Path) -> None:
    with running_server(tmp_path, LAMBENT_ASYNC_RETRY_DELAYS="1000,1000") as server:
        client = server.client()
        name = Functions(client)(FAILING)
        accepted = accept(client, name, b"{}")
        lambent = Command(tmp_path, server)

        def listed() -> list[dict[str, Any]]:
            return list(json.loads(run(lambent, "events", "list", "--json")[0]))

        wait_for(lambda: [one["attempt"] for one in listed()] == [2])
        (event,) = listed()
        assert (event["requestId"], event["state"], event["lastError"]) == (
            accepted,
            "waiting",
            "no  such\ncustomer",
        )
        assert event["due"] > event["acceptedAt"] + 999
        cancelled, _ = run(lambent, "events", "cancel", accepted, "--json")
        assert json.loads(cancelled) == [{"requestId": accepted, "function": name}]
        assert listed() == []


def test_what_became_of_events_is_counted(tmp_path: Path) -> None:
    told = Told(tmp_path)
    with running_server(tmp_path, LAMBENT_ASYNC_RETRY_DELAYS="0,3600") as server:
        client = server.client()
        functions = Functions(client)
        name, silent = functions(TELLING), functions(TELLING)
        lambent = Command(tmp_path, server)
        data_dir = str(server.data_dir)

        def counts() -> dict[str, Any]:
            found = json.loads(run(lambent, "events", "counts", "--data-dir", data_dir, "--json")[0])
            return {each.pop("function"): each for each in found}

        assert run(lambent, "events", "counts", "--data-dir", data_dir) == (
            "",
            "No function has had events.\n",
        )
        gate = tmp_path / "gate"
        client.put_function_concurrency(FunctionName=silent, ReservedConcurrentExecutions=1)
        accept(client, name, told.event())
        accept(client, name, told.event(fails="so it is"))
        accept(client, silent, told.event(gate=str(gate)))
        accept(client, silent, told.event())
        told.wait(4)
        wait_for(lambda: counts()[name]["retried"] == 2)
        shown = counts()
        assert all(0 < one.pop("oldestSeconds") < 60 for one in shown.values())
        nothing = dict.fromkeys(shown[name], 0)
        assert shown == {
            name: nothing | {"received": 2, "succeeded": 1, "retried": 2, "waiting": 1},
            silent: nothing | {"received": 2, "running": 1, "waiting": 1},
        }
        table, _ = run(lambent, "events", "counts", "--data-dir", data_dir)
        assert table.split()[:5] == ["FUNCTION", "RECEIVED", "RUNNING", "WAITING", "OLDEST"]
        gate.touch()
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        accept(client, name, told.event())
        wait_for(lambda: counts()[name]["dead"] == 1)
        assert counts()[name]["dropped"] == 1
