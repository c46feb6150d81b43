"""``lambent iam`` in this process, with no server: names, files, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lambent.cli.main import main
from lambent.model.identities import is_identity_name

POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}]}'
)


class Here:
    """Runs verbs on a data directory that no server has."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"

    def __call__(self, verb: str, *arguments: str, stdin: bytes | None = None) -> Result:
        options = ["--data-dir", str(self.data_dir), *arguments]
        return CliRunner().invoke(main, ["iam", verb, *options], input=stdin)

    def names(self) -> list[Any]:
        return [each.get("UserName") for each in json.loads(self("list", "--json").stdout)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 65, "a\n", "$x", "\t", "\0", "a\u0660"])
def test_names_that_aws_has_not_are_refused(here: Here, name: str) -> None:
    done = here("add-user", "--", name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"lambent: The name {name!r} cannot be used: accepted are 1 to 64 letters, digits and characters of _+=,.@-\n"
    )
    assert here.names() == []


@pytest.mark.parametrize("name", ["x" * 64, "_+=,.@-", "a@b.example", "-"])
def test_names_may_be_as_long_and_strange_as_on_aws(here: Here, name: str) -> None:
    assert json.loads(here("add-user", "--json", "--", name).stdout)["UserName"] == name
    assert here.names() == [name]
    assert here("rm", "--", name).exit_code == 0
    assert here.names() == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text())
@example("\ud800")
def test_any_name_is_taken_or_refused_in_a_sentence(here: Here, name: str) -> None:
    done = here("add-user", "--", name)
    if is_identity_name(name):
        # It may be taken, also in another case.
        assert done.exit_code in {0, 2}
    else:
        assert (done.exit_code, done.stdout) == (2, "")
    assert done.exit_code == 0 or done.stderr.startswith("lambent: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "The file policy.json cannot be read: No such file or directory."),
        (b"\xff", "The file policy.json cannot be read: it is not UTF-8."),
        (b"{", "The file policy.json holds no policy: "),
        (b"", "The file policy.json holds no policy: "),
        (b"[" * 100_000, "The file policy.json holds no policy: "),
    ],
)
@pytest.mark.parametrize(
    "verb", [("add-user", "bob", "--policy"), ("add-role", "bob", "--trust"), ("put-policy", "alice")]
)
def test_a_file_without_a_policy_is_named_and_changes_nothing(
    here: Here, verb: tuple[str, ...], content: bytes | None, told: str
) -> None:
    here("add-user", "alice")
    if content is not None:
        Path("policy.json").write_bytes(content)
    done = here(*verb, "policy.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"lambent: {told}")
    assert here.names() == ["alice"]


def test_standard_input_is_read_and_named(here: Here) -> None:
    done = here("add-user", "alice", "--policy", "-", stdin=b"x")
    assert done.stderr.startswith("lambent: Standard input holds no policy: ")
    # An editor's byte order mark is no part of the policy.
    assert here("add-user", "alice", "--policy", "-", stdin=b"\xef\xbb\xbf" + POLICY.encode()).exit_code == 0
    (shown,) = json.loads(here("list", "--json").stdout)
    assert shown["PolicyDocument"] == json.loads(POLICY)


@pytest.mark.parametrize("account", ["1", "1" * 13, "x" * 12, "", "\u0661" * 12])
def test_an_account_has_12_digits(here: Here, account: str) -> None:
    done = here("add-user", "alice", "--account", account)
    assert done.exit_code == 2
    assert not here.data_dir.exists()
