"""Environment variables on the disk: no file of a data directory holds a value of theirs."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.rig import make_head
from tests.integration.conftest import (
    ROLE,
    RUNTIME,
    pack,
    running_server,
    wait_until_active,
)
from tests.old_directory import files_with, write_old_directory

# Answers with a variable of its own.
TELLING = """
import os

def handler(event, context):
    return os.environ["TOKEN"]
"""


def marker() -> str:
    return os.urandom(16).hex()


def key_line() -> str:
    return base64.b64encode(os.urandom(32)).decode() + "\n"


def create(client: Any, name: str, value: str, **configuration: Any) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": pack(index=TELLING)},
        Environment={"Variables": {"TOKEN": value}},
        **configuration,
    )
    wait_until_active(client, name)


def change(client: Any, name: str, value: str) -> None:
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"TOKEN": value}})
    wait_until_active(client, name, "function_updated_v2")


def told(client: Any, name: str, **which: Any) -> Any:
    """Return the value that the function finds."""
    return json.loads(client.invoke(FunctionName=name, **which)["Payload"].read())


def shown(client: Any, name: str, **which: Any) -> Any:
    """Return the variables that GetFunctionConfiguration shows; None where it shows none."""
    configuration = client.get_function_configuration(FunctionName=name, **which)
    return configuration.get("Environment", {}).get("Variables")


def lambent(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")}
    return subprocess.run(
        [sys.executable, "-m", "lambent", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=inherited,
        cwd=folder,
        timeout=60,
    )


def refused_start(folder: Path, *arguments: str) -> str:
    """Return the sentence with which a server on the folder's data refuses to start."""
    ended = lambent(folder, "serve", "--port", "0", "--data-dir", str(folder / "data"), *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


def lost(data_dir: Path) -> str:
    """Return the sentence about a lost key."""
    return (
        f"lambent: {data_dir / 'state.db'} holds values that are sealed with a key that is not in the key"
        " file. Put that key back, or give up the values with lambent drop-sealed.\n"
    )


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_values_are_in_no_file_and_are_shown_all_the_same(tmp_path: Path, end: int) -> None:
    first, second, other = marker(), marker(), marker()
    with running_server(tmp_path) as server:
        client = server.client()
        create(client, "kept", first, Publish=True)
        assert told(client, "kept") == first
        change(client, "kept", second)
        create(client, "gone", other)
        assert told(client, "gone") == other
        client.delete_function(FunctionName="gone")
        assert files_with(server.data_dir, first, second, other) == {}
        server.stop(end)
    assert files_with(tmp_path / "data", first, second, other) == {}
    with running_server(tmp_path) as server:
        client = server.client()
        assert told(client, "kept") == second
        assert told(client, "kept", Qualifier="1") == first
        assert shown(client, "kept") == {"TOKEN": second}
        assert shown(client, "kept", Qualifier="1") == {"TOKEN": first}
        listed = client.list_functions()["Functions"]
        assert [each["Environment"]["Variables"] for each in listed] == [{"TOKEN": second}]
        assert files_with(server.data_dir, first, second, other) == {}


def test_an_unchanged_function_is_published_once_also_by_the_next_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        create(server.client(), "f", marker(), Publish=True)
    with running_server(tmp_path) as server:
        client = server.client()
        assert client.publish_version(FunctionName="f")["Version"] == "1"
        change(client, "f", marker())
        assert client.publish_version(FunctionName="f")["Version"] == "2"


def test_values_of_an_old_directory_are_sealed_and_wiped_at_the_first_start(tmp_path: Path) -> None:
    secret, deleted = marker(), marker()
    kept = make_head("kept", account="000000000000", region="us-east-1", variables={"TOKEN": secret})
    gone = make_head("gone", account="000000000000", region="us-east-1", variables={"TOKEN": deleted})
    write_old_directory(tmp_path / "data", [kept], [gone])
    assert set(files_with(tmp_path / "data", secret, deleted)) == {secret, deleted}
    with running_server(tmp_path) as server:
        assert files_with(server.data_dir, secret, deleted) == {}
        assert shown(server.client(), "kept") == {"TOKEN": secret}
        server.stop(signal.SIGKILL)
    assert files_with(tmp_path / "data", secret, deleted) == {}


def test_the_key_file_may_lie_elsewhere(tmp_path: Path) -> None:
    keys, value = tmp_path / "elsewhere" / "keys", marker()
    with running_server(tmp_path, LAMBENT_SERVER_KEY_FILE=str(keys)) as server:
        create(server.client(), "f", value)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert not (tmp_path / "data" / "keys").exists()
    # Where the key file is said to be elsewhere, none is looked for in the directory.
    assert refused_start(tmp_path) == lost(tmp_path / "data")
    with running_server(tmp_path, LAMBENT_SERVER_KEY_FILE=str(keys)) as server:
        assert shown(server.client(), "f") == {"TOKEN": value}


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with running_server(tmp_path):
        pass
    keys = tmp_path / "data" / "keys"
    keys.chmod(0o644)
    assert refused_start(tmp_path) == (
        f"lambent: The key file {keys} cannot be used:"
        " others than its owner have rights to it (chmod 600 takes them away).\n"
    )


def with_a_function(folder: Path, value: str) -> None:
    """Leave a data directory with the function ``f`` and its version 1, both with a variable."""
    with running_server(folder) as server:
        create(server.client(), "f", value, Publish=True)


@pytest.mark.parametrize("key_file", [None, key_line()], ids=["missing", "another"])
def test_a_directory_whose_key_is_lost_is_refused_and_left_as_it_is(
    tmp_path: Path, key_file: str | None
) -> None:
    value, keys = marker(), tmp_path / "data" / "keys"
    with_a_function(tmp_path, value)
    kept = keys.read_text()
    keys.unlink() if key_file is None else keys.write_text(key_file)
    for _ in range(2):
        assert refused_start(tmp_path) == lost(tmp_path / "data")
    keys.write_text(kept)
    with running_server(tmp_path) as server:
        assert told(server.client(), "f") == value


def test_a_directory_that_holds_no_sealed_value_needs_no_key(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        create(client, "f", marker())
        client.delete_function(FunctionName="f")
    (tmp_path / "data" / "keys").unlink()
    with running_server(tmp_path) as server:
        create(server.client(), "f", "value")
        assert told(server.client(), "f") == "value"


def test_what_cannot_be_unsealed_is_dropped_on_demand_and_all_else_stays(tmp_path: Path) -> None:
    data_dir, value = tmp_path / "data", marker()
    with_a_function(tmp_path, value)
    added = lambent(tmp_path, "iam", "add-user", "ada", "--data-dir", str(data_dir), "--json")
    key_id = json.loads(added.stdout)["AccessKeyId"]
    (data_dir / "keys").unlink()
    ended = lambent(tmp_path, "drop-sealed", "--data-dir", str(data_dir))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "environment variables of us-east-1:000000000000:function:f:$LATEST\n"
        "environment variables of us-east-1:000000000000:function:f:1\n"
        f"access-key {key_id}\n"
    )
    with running_server(tmp_path) as server:
        client = server.client()
        assert (shown(client, "f"), shown(client, "f", Qualifier="1")) == (None, None)
        change(client, "f", value)
        assert told(client, "f") == value
        listed = lambent(tmp_path, "iam", "list", "--data-dir", str(data_dir))
        assert "ada" in listed.stdout
        assert key_id not in listed.stdout
    again = lambent(tmp_path, "drop-sealed", "--data-dir", str(data_dir))
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "Everything can be unsealed; nothing was dropped.\n"


def test_nothing_is_dropped_from_a_directory_that_is_in_use_or_none(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        ended = lambent(tmp_path, "drop-sealed", "--data-dir", str(server.data_dir))
        assert ended.returncode == 2
        assert f"{server.data_dir} is in use by process {server.process.pid}" in ended.stderr
    ended = lambent(tmp_path, "drop-sealed", "--data-dir", "nowhere")
    assert (ended.returncode, ended.stderr) == (
        2,
        f"lambent: There is no data directory of a server at {tmp_path / 'nowhere'}.\n",
    )
    assert not (tmp_path / "nowhere").exists()


def sealed_values(data_dir: Path) -> list[bytes]:
    with closing(sqlite3.connect(data_dir / "state.db")) as connection:
        rows = connection.execute(
            "SELECT sealed FROM functions UNION SELECT sealed FROM identities WHERE sealed IS NOT NULL"
        )
        return [sealed for (sealed,) in rows]


def test_a_new_key_put_first_seals_all_anew_at_the_next_start(tmp_path: Path) -> None:
    data_dir, value = tmp_path / "data", marker()
    with_a_function(tmp_path, value)
    lambent(tmp_path, "iam", "add-user", "ada", "--data-dir", str(data_dir))
    keys, before = data_dir / "keys", sealed_values(data_dir)
    old, new = keys.read_text(), key_line()
    keys.write_text(new + old)
    with running_server(tmp_path) as server:
        assert told(server.client(), "f") == value
    assert f"{data_dir / 'state.db'} is sealed with the first key" in server.errors.read_text()
    # Whoever gets hold of the old key finds nothing more that it opens.
    content = (data_dir / "state.db").read_bytes()
    assert len(before) == 3
    assert not any(sealed in content for sealed in before)
    assert len({sealed[:8] for sealed in before + sealed_values(data_dir)}) == 2
    keys.write_text(new)
    with running_server(tmp_path) as server:
        assert told(server.client(), "f") == value


def test_a_value_moved_to_another_function_is_not_unsealed(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        create(server.client(), "f", marker())
        create(server.client(), "thief", "nothing")
    with closing(sqlite3.connect(tmp_path / "data" / "state.db")) as connection, connection:
        (sealed,) = connection.execute("SELECT sealed FROM functions WHERE name = 'f'").fetchone()
        connection.execute("UPDATE functions SET sealed = ? WHERE name = 'thief'", (sealed,))
    with running_server(tmp_path) as server:
        client = server.client()
        with pytest.raises(client.exceptions.ServiceException):
            shown(client, "thief")
        with pytest.raises(client.exceptions.ServiceException):
            client.invoke(FunctionName="thief")
        assert "was changed, or put there" in server.errors.read_text()
