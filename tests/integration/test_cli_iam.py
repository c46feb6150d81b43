"""``lambent iam`` with a running server and without one, and the controls behind it."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import re
import signal
import socketserver
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lambent.cli.main import main
from tests.integration.cli_harness import Command, on_a_terminal
from tests.integration.conftest import RunningServer, running_server
from tests.integration.events_harness import control

ACCOUNT = "111122223333"
TOKEN = "a-token-of-32-printable-characters"
POLICY = (
    '{"Version": "2012-10-17", "Statement": '
    '[{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}]}'
)
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}]}'
)
ADDED = {"UserName", "Arn", "AccessKeyId", "SecretAccessKey"}


@dataclass
class Place:
    """A folder to run the command in, and the data directory that it names."""

    folder: Path
    data_dir: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.folder), "LAMBENT_SERVER_DATA_DIR": str(self.data_dir)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a verb as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "lambent", "iam", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, status: int = 0, stdin: bytes = b"", **environ: str) -> tuple[str, str]:
        """Run a verb in this process and return its output and what it said beside."""
        done = CliRunner().invoke(main, ["iam", *arguments], input=stdin, env={**self.environ, **environ})
        assert done.exit_code == status, (done.stderr, done.exception)
        return done.stdout, done.stderr

    def json(self, *arguments: str, stdin: bytes = b"", **environ: str) -> Any:
        output, said = self.run(*arguments, "--json", status=0, stdin=stdin, **environ)
        assert said == ""
        return json.loads(output)

    def write(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return str(self.folder / name)

    def content(self) -> bytes:
        """Return all that lies in the data directory."""
        return b"".join(file.read_bytes() for file in self.data_dir.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("iam")) as running:
        yield running


@pytest.fixture(params=["running", "absent"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """With a server of its own behind it, which other tests use too, or with none."""
    if request.param == "absent":
        return Place(tmp_path, tmp_path / "data")
    server: RunningServer = request.getfixturevalue("server")
    reply = control(server, "GET", "", name="iam").json
    for each in reply["Identities"]:
        asked = {
            "name": each.get("UserName") or each["RoleName"],
            "account": each["Arn"].split(":")[4],
            "role": "RoleName" in each,
        }
        assert control(server, "POST", "/rm", json.dumps(asked).encode(), name="iam").status == 200
    return Place(tmp_path, server.data_dir)


@pytest.fixture
def alone(tmp_path: Path) -> Place:
    """No server runs on the data directory, which is not there yet."""
    return Place(tmp_path, tmp_path / "data")


def test_a_new_user_has_a_key_and_ids_as_on_aws(place: Place) -> None:
    command = place.start("add-user", "alice", "--account", ACCOUNT, "--json")
    output, said = command.communicate(timeout=100)
    assert (command.returncode, said) == (0, b"")
    added = json.loads(output)
    assert set(added) == ADDED
    assert added["UserName"] == "alice"
    assert added["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/alice"
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", added["AccessKeyId"])
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", added["SecretAccessKey"])

    (shown,) = place.json("list")
    assert re.fullmatch(r"AIDA[A-Z0-9]{17}", shown.pop("UserId"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown.pop("CreateDate"))
    assert shown.pop("AccessKeyCreateDate")
    assert shown == {
        "UserName": "alice",
        "Arn": added["Arn"],
        "AccessKeyId": added["AccessKeyId"],
        "PolicyDocument": None,
    }


def test_keys_are_printed_for_people_once(place: Place) -> None:
    output, said = place.run("add-user", "alice")
    assert said == "Keep the secret now: it is not shown again.\n"
    arn, key, secret = output.splitlines()
    assert arn == "arn:aws:iam::000000000000:user/alice"
    assert key.startswith("AWS_ACCESS_KEY_ID=AKIA")
    plain = secret.removeprefix("AWS_SECRET_ACCESS_KEY=")
    assert len(plain) == 40

    head, row = place.run("list")[0].splitlines()
    assert head.split() == ["ARN", "ACCESS", "KEY", "POLICY", "CREATED"]
    assert row.split()[:3] == [arn, key.partition("=")[2], "none"]
    assert plain not in place.run("list", "--json")[0] + row
    assert plain.encode() not in place.content()


def test_without_anybody_the_list_says_so(place: Place) -> None:
    assert place.run("list") == ("", "There are no users and no roles.\n")
    assert place.json("list") == []


def test_accounts_are_apart(place: Place) -> None:
    for account in (ACCOUNT, "444455556666"):
        place.json("add-user", "alice", "--account", account)
    place.json("add-user", "bob")
    arns = [each["Arn"] for each in place.json("list")]
    assert [arn.split(":", 4)[4] for arn in arns] == [
        "000000000000:user/bob",
        f"{ACCOUNT}:user/alice",
        "444455556666:user/alice",
    ]
    assert [each["Arn"] for each in place.json("list", "--account", ACCOUNT)] == arns[1:2]
    # The key that somebody calls functions with says nothing about who is managed.
    assert len(place.json("list", AWS_ACCESS_KEY_ID=ACCOUNT, AWS_SECRET_ACCESS_KEY="x")) == 3
    place.run("rm", "alice", status=2)
    assert len(place.json("list")) == 3


def test_policies_come_from_files_and_standard_input(place: Place) -> None:
    file = place.write("policy.json", POLICY)
    place.json("add-user", "alice", "--policy", file)
    place.json("add-user", "bob", "--policy", "-", stdin=b"\xef\xbb\xbf" + POLICY.encode())
    place.json("add-user", "carol")
    assert place.json("put-policy", "carol", file) == {
        "UserName": "carol",
        "Arn": "arn:aws:iam::000000000000:user/carol",
    }
    assert [each["PolicyDocument"] for each in place.json("list")] == [json.loads(POLICY)] * 3
    done, _ = place.run("put-policy", "carol", "-", stdin=POLICY.replace("Allow", "Deny").encode())
    assert done == "arn:aws:iam::000000000000:user/carol has the policy.\n"
    assert place.json("list")[2]["PolicyDocument"] == json.loads(POLICY.replace("Allow", "Deny"))


def test_roles_have_a_trust_policy_and_no_key(place: Place) -> None:
    trust, policy = place.write("trust.json", TRUST), place.write("policy.json", POLICY)
    arn = f"arn:aws:iam::{ACCOUNT}:role/worker"
    added = place.json("add-role", "worker", "--account", ACCOUNT, "--trust", trust, "--policy", policy)
    assert added == {"RoleName": "worker", "Arn": arn}
    (shown,) = place.json("list")
    assert re.fullmatch(r"AROA[A-Z0-9]{17}", shown.pop("RoleId"))
    del shown["CreateDate"]
    assert shown == {
        **added,
        "AssumeRolePolicyDocument": json.loads(TRUST),
        "PolicyDocument": json.loads(POLICY),
    }
    _, said = place.run("rotate", "worker", "--account", ACCOUNT, status=2)
    assert said == f"lambent: The user with name worker cannot be found in the account {ACCOUNT}.\n"
    assert place.run("rm", "worker", "--account", ACCOUNT) == (f"{arn} is removed.\n", "")
    place.run("add-role", "worker", status=2)
    place.run("add-role", "worker", "--trust", "-", "--policy", "-", status=2)


def test_a_name_means_the_user_and_role_means_the_role(place: Place) -> None:
    trust, policy = place.write("trust.json", TRUST), place.write("policy.json", POLICY)
    place.json("add-role", "same", "--trust", trust)
    assert "RoleName" in place.json("put-policy", "same", policy)
    place.json("add-user", "same")
    assert "UserName" in place.json("put-policy", "same", policy)
    assert "RoleName" in place.json("put-policy", "same", policy, "--role")
    assert "RoleName" in place.json("rm", "same", "--role")
    place.run("rm", "same", "--role", status=2)
    assert "UserName" in place.json("rm", "same")
    assert place.json("list") == []


def test_a_rotated_key_is_another_one(place: Place) -> None:
    old = place.json("add-user", "alice")
    new = place.json("rotate", "alice")
    assert set(new) == ADDED
    assert (new["UserName"], new["Arn"]) == (old["UserName"], old["Arn"])
    assert new["AccessKeyId"] != old["AccessKeyId"]
    assert new["SecretAccessKey"] != old["SecretAccessKey"]
    assert [each["AccessKeyId"] for each in place.json("list")] == [new["AccessKeyId"]]
    content = place.content()
    assert old["SecretAccessKey"].encode() not in content
    assert new["SecretAccessKey"].encode() not in content


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_a_taken_name_is_told_and_left_alone(place: Place, name: str) -> None:
    added = place.json("add-user", "alice")
    output, said = place.run("add-user", name, status=2)
    assert (output, said) == ("", f"lambent: User with name {name} already exists.\n")
    assert [each["AccessKeyId"] for each in place.json("list")] == [added["AccessKeyId"]]


def test_removal_is_asked_for_on_a_terminal(server: RunningServer, tmp_path: Path) -> None:
    lambent = Command(tmp_path, server)
    there = ("--data-dir", str(server.data_dir))
    assert lambent("iam", "add-user", "asked", *there).returncode == 0
    said, status = on_a_terminal(lambent, "iam", "rm", "asked", *there, answer=b"n\n")
    assert "Remove the user or role asked? [y/N]" in said
    assert status == 1
    said, status = on_a_terminal(lambent, "iam", "rm", "asked", *there, "--yes")
    assert (status, said.replace("\r", "")) == (0, "arn:aws:iam::000000000000:user/asked is removed.\n")


# -- without a server, and beside one that comes or goes


def test_the_data_directory_is_made_and_is_its_owners_alone(alone: Place) -> None:
    alone.json("add-user", "alice")
    assert stat.S_IMODE(alone.data_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in alone.data_dir.rglob("*")}
    assert {name for name, mode in modes.items() if mode & 0o077} == set()


def test_users_from_before_the_first_start_are_there_and_changes_reach_the_server(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "data")
    before = place.json("add-user", "before", LAMBENT_SERVER_ACCOUNT=ACCOUNT)
    with running_server(tmp_path) as server:
        during = place.json("add-user", "during")
        seen = control(server, "GET", "", name="iam").json["Identities"]
        assert {each["AccessKeyId"] for each in seen} == {before["AccessKeyId"], during["AccessKeyId"]}
        place.json("rm", "before", "--account", ACCOUNT)
        rotated = place.json("rotate", "during")
        seen = control(server, "GET", "", name="iam").json["Identities"]
        assert [each["AccessKeyId"] for each in seen] == [rotated["AccessKeyId"]]
        # A dead server leaves its socket behind.
        server.stop(signal.SIGKILL)
        assert (place.data_dir / "control.sock").exists()
        assert [each["AccessKeyId"] for each in place.json("list")] == [rotated["AccessKeyId"]]
        after = place.json("add-user", "after")
    with running_server(tmp_path) as server:
        seen = control(server, "GET", "", name="iam").json["Identities"]
        assert {each["AccessKeyId"] for each in seen} == {rotated["AccessKeyId"], after["AccessKeyId"]}
        log = server.errors.read_text()
        for made in (before, during, rotated, after):
            assert made["SecretAccessKey"] not in log
            assert made["SecretAccessKey"].encode() not in place.content()


def test_the_running_servers_default_account_counts(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "data")
    with running_server(tmp_path, LAMBENT_SERVER_ACCOUNT=ACCOUNT, LAMBENT_SERVER_REGION="cn-north-1"):
        assert place.json("add-user", "alice")["Arn"] == f"arn:aws-cn:iam::{ACCOUNT}:user/alice"


def test_commands_at_once_wait_for_each_other(place: Place) -> None:
    names = [f"user-{number}" for number in range(4)]
    started = [place.start("add-user", name) for name in names]
    said = [process.communicate(timeout=100)[1] for process in started]
    assert said == [b"Keep the secret now: it is not shown again.\n"] * 4
    assert [each["UserName"] for each in place.json("list")] == names


def test_of_commands_for_one_name_one_succeeds(place: Place) -> None:
    started = [place.start("add-user", "alice") for _ in range(3)]
    outcomes = [(process.communicate(timeout=100), process.returncode) for process in started]
    assert sorted(status for _, status in outcomes) == [0, 2, 2]
    for (output, said), status in outcomes:
        if status == 2:
            assert (output, said) == (b"", b"lambent: User with name alice already exists.\n")
    assert len(place.json("list")) == 1


def test_a_directory_that_somebody_else_has_is_told(alone: Place) -> None:
    alone.json("list")
    with (alone.data_dir / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output, said = alone.run("add-user", "alice", status=2)
        assert output == ""
        assert f"The data directory {alone.data_dir} is in use by process " in said
        assert "it may be starting or ending. Try again." in said
    assert alone.json("list") == []


def test_a_server_that_starts_meanwhile_is_asked(alone: Place) -> None:
    alone.json("list")
    with (alone.data_dir / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = alone.start("list", "--json")
        with socketserver.UnixStreamServer(str(alone.data_dir / "control.sock"), _Server) as server:
            server.handle_request()
        output, said = command.communicate(timeout=100)
    assert (command.returncode, output, said) == (0, b'[\n  "somebody"\n]\n', b"")


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers with a list that no directory holds."""

    def do_GET(self) -> None:
        body = b'{"Identities": ["somebody"]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return ""


def test_what_cannot_be_a_data_directory_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in Place(tmp_path, tmp_path / "file").run("list", status=2)[1]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.db").write_text("this is no database" * 100)
    _, said = Place(tmp_path, tmp_path / "data").run("list", status=2)
    assert re.fullmatch(r"lambent: .*state\.db cannot be read: .*\n", said)


def test_a_server_elsewhere_is_not_replaced_by_the_directory_here(alone: Place) -> None:
    _, said = alone.run("list", "--endpoint", "http://192.0.2.1:9", status=2)
    assert said.startswith(
        f"lambent: No server is running on {alone.data_dir}: there is no control socket.\n"
    )
    assert not alone.data_dir.exists()
    # Nobody listens there, but it is this machine's.
    assert alone.json("list", "--endpoint", "http://127.0.0.1:9", LAMBENT_SERVER_ADMIN_TOKEN=TOKEN) == []
    _, said = alone.run("list", "--data-dir", ":memory:", status=2)
    assert said.startswith("lambent: A server without a data directory has no control socket.\n")


# -- the controls


def test_over_the_network_the_admin_token_is_needed(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "elsewhere")
    with running_server(tmp_path, LAMBENT_SERVER_ADMIN_TOKEN=TOKEN) as server:
        for token in (None, "", TOKEN[:-1]):
            for body in (None, b'{"name": "alice"}'):
                assert status_of(server, token, body) == 403
        added = place.json("add-user", "alice", "--endpoint", server.url, LAMBENT_SERVER_ADMIN_TOKEN=TOKEN)
        assert not place.data_dir.exists()
        seen = control(server, "GET", "", name="iam").json["Identities"]
        assert [each["AccessKeyId"] for each in seen] == [added["AccessKeyId"]]


def status_of(server: RunningServer, token: str | None, body: bytes | None) -> int:
    headers = {} if token is None else {"x-lambent-admin-token": token}
    path = "/_lambent/iam" if body is None else "/_lambent/iam/add-user"
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, body, headers)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("method", "rest", "body", "status"),
    [
        ("POST", "/add-user", None, 400),
        ("POST", "/add-user", b"{}", 400),
        ("POST", "/add-user", b"[" * 100_000, 400),
        ("POST", "/add-user", b'{"name": 1}', 400),
        ("POST", "/add-user", b'{"name": "a", "more": 1}', 400),
        ("POST", "/add-user", b'{"name": "\\ud800"}', 400),
        ("POST", "/add-user", b'{"name": "a", "account": "1"}', 400),
        ("POST", "/add-user", b'{"name": "a", "account": "\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661\\u0661"}', 400),
        ("POST", "/add-user", b'{"name": "a", "policy": "{"}', 400),
        ("POST", "/add-role", b'{"name": "a"}', 400),
        ("POST", "/add-role", b'{"name": "a", "trust": ""}', 400),
        ("POST", "/put-policy", b'{"name": "a"}', 400),
        ("POST", "/put-policy", b'{"name": "\\u0000", "policy": "{}"}', 404),
        ("POST", "/rm", b'{"name": "nobody"}', 404),
        ("POST", "/rotate", b'{"name": "nobody", "role": true}', 400),
        ("POST", "/nothing", b"{}", 405),
        ("POST", "", b"{}", 405),
        ("GET", "/add-user", None, 405),
        ("DELETE", "", None, 405),
        ("GET", "?account=%ff%00", None, 200),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(
    server: RunningServer, method: str, rest: str, body: bytes | None, status: int
) -> None:
    reply = control(server, method, rest, body, name="iam")
    assert reply.status == status
    if status >= 400:
        assert reply.json.get("message") or reply.json.get("Message")
