"""The command line against a real server, as processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_harness import Command, on_a_terminal
from tests.integration.conftest import ROLE, RunningServer, delete_functions, running_server

ECHO = "def handler(event, context):\n    print('seen', event)\n    return event\n"
FAILING = "def handler(event, context):\n    raise KeyError('customer')\n"
PYTHON = f"python3.{sys.version_info.minor}"


@pytest.fixture
def lambent(server: RunningServer, client: Any, tmp_path: Path) -> Iterator[Command]:
    """The command; functions that it deployed by ``deploy`` are deleted after the test."""
    command = Command(tmp_path, server)
    yield command
    delete_functions(client, command.made)


# -- deploy ----------------------------------------------------------------------


def test_deployed_file_is_active_and_answers(lambent: Command, client: Any) -> None:
    lambent.write({"greet.py": ECHO})

    done = lambent("deploy", "greet.py")
    lambent.made.append("greet")

    assert done.returncode == 0
    first, arn = done.stdout.decode().splitlines()
    assert first.startswith("greet is active: python3.")
    assert arn == "arn:aws:lambda:us-east-1:000000000000:function:greet"
    function = client.get_function_configuration(FunctionName="greet")
    assert (function["State"], function["Handler"]) == ("Active", "greet.handler")


def test_newest_python_of_the_server_is_the_default(lambent: Command, client: Any) -> None:
    lambent.deploy("newest", "import sys\ndef handler(e, c): return list(sys.version_info[:2])\n")

    minors = [int(name.removeprefix("python3.")) for name in health(lambent.server)["runtimes"]]
    assert json.loads(lambent("invoke", "newest").stdout) == [3, max(minors)]


def health(server: RunningServer) -> Any:
    with urllib.request.urlopen(f"{server.url}/_lambent/health") as response:
        return json.load(response)


def test_options_reach_the_function(lambent: Command, client: Any) -> None:
    lambent.write({"shop/code.py": "import os\ndef main(e, c): return os.environ['STAGE']\n"})

    done = lambent(
        "deploy", "shop", "--name", "shop-test", "--handler", "code.main", "--runtime", PYTHON, "--env",
        "STAGE=a=b", "--env", "OTHER=1", "--timeout", "7", "--memory", "256", "--role", ROLE, "--json",
    )  # fmt: skip
    lambent.made.append("shop-test")

    assert done.returncode == 0, done.stderr.decode()
    function = json.loads(done.stdout)
    assert function["Environment"] == {"Variables": {"STAGE": "a=b", "OTHER": "1"}}
    assert (function["Timeout"], function["MemorySize"], function["Role"]) == (7, 256, ROLE)
    assert (function["Runtime"], function["Handler"], function["State"]) == (PYTHON, "code.main", "Active")
    assert lambent("invoke", "shop-test").stdout == b'"a=b"'


def test_second_deploy_updates_code_and_keeps_what_no_option_names(lambent: Command, client: Any) -> None:
    lambent.deploy("again", "def handler(e, c): return 1\n", "--timeout", "9", "--env", "STAGE=x")
    lambent.deploy("again", "def handler(e, c): return 2\n", "--memory", "192")

    function = client.get_function_configuration(FunctionName="again")
    assert (function["Timeout"], function["MemorySize"]) == (9, 192)
    assert function["Environment"] == {"Variables": {"STAGE": "x"}}
    assert lambent("invoke", "again").stdout == b"2"


def test_handler_that_the_new_code_lacks_is_looked_for_anew(lambent: Command, client: Any) -> None:
    lambent.deploy("moved", "def handler(e, c): return 1\n")
    lambent.deploy("moved", "def lambda_handler(e, c): return 2\n")

    assert client.get_function_configuration(FunctionName="moved")["Handler"] == "moved.lambda_handler"
    assert lambent("invoke", "moved").stdout == b"2"


def test_zip_is_deployed_byte_for_byte(lambent: Command, client: Any) -> None:
    with zipfile.ZipFile(lambent.folder / "packed.zip", "w") as archive:
        archive.writestr("index.py", ECHO)

    assert lambent("deploy", "packed.zip").returncode == 0
    lambent.made.append("packed")

    size = client.get_function_configuration(FunctionName="packed")["CodeSize"]
    assert size == (lambent.folder / "packed.zip").stat().st_size


def test_requirements_are_installed_beside_the_code(lambent: Command) -> None:
    source = "import greeting\ndef handler(event, context): return greeting.TEXT\n"
    lambent.write(
        {"shop/app.py": source, "shop/requirements.txt": "--no-index\n./greeting-1.0-py3-none-any.whl\n"}
    )
    write_wheel(lambent.folder / "shop" / "greeting-1.0-py3-none-any.whl")

    done = lambent("deploy", "shop", "--name", "with-requirements")
    lambent.made.append("with-requirements")

    assert done.returncode == 0, done.stderr.decode()
    assert b"installing requirements.txt" in done.stderr
    assert lambent("invoke", "with-requirements").stdout == b'"from a wheel"'


def write_wheel(path: Path) -> None:
    """Write the least wheel that pip installs."""
    info = "greeting-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("greeting.py", "TEXT = 'from a wheel'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_requirements_that_fail_leave_nothing_behind(lambent: Command, client: Any) -> None:
    lambent.write({"bad/app.py": ECHO, "bad/requirements.txt": "--no-index\nnothing-of-this-name\n"})

    done = lambent("deploy", "bad")

    assert done.returncode == 2
    assert b"requirements.txt could not be installed" in done.stderr
    assert b"--skip-requirements" in done.stderr
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="bad")


def test_requirements_can_be_skipped(lambent: Command) -> None:
    lambent.write({"skip/app.py": ECHO, "skip/requirements.txt": "--no-index\nnothing-of-this-name\n"})

    assert lambent("deploy", "skip", "--skip-requirements").returncode == 0
    lambent.made.append("skip")


def test_folder_without_a_usual_handler_says_what_was_looked_for(lambent: Command) -> None:
    lambent.write({"none/code.py": ECHO})

    done = lambent("deploy", "none")

    assert done.returncode == 2
    assert b"index.handler, lambda_function.lambda_handler, app.handler, main.handler" in done.stderr
    assert b"--handler" in done.stderr


def test_refusal_of_the_server_is_shown_with_its_code(lambent: Command) -> None:
    lambent.write({"late.py": ECHO})

    done = lambent("deploy", "late.py", "--timeout", "901")

    assert done.returncode == 2
    assert done.stdout == b""
    assert b"ValidationException: 1 validation error detected: Value '901' at 'timeout'" in done.stderr


# -- invoke ----------------------------------------------------------------------


def test_payload_alone_is_on_standard_output(lambent: Command) -> None:
    lambent.deploy("echo", ECHO)
    (lambent.folder / "event.json").write_text('{"from": "file"}')

    assert lambent("invoke", "echo").stdout == b"{}"
    # Python 3.11 and older escape what is not ASCII, as on AWS.
    assert json.loads(lambent("invoke", "echo", '{"a": "\u00e9"}').stdout) == {"a": "\u00e9"}
    assert lambent("invoke", "echo", "@event.json").stdout == b'{"from": "file"}'
    assert lambent("invoke", "echo", "-", stdin=b"[1]").stdout == b"[1]"
    assert lambent("invoke", "echo", "--payload", "7").stdout == b"7"
    assert lambent("invoke", "echo", "--payload", "fileb://event.json").stdout == b'{"from": "file"}'
    assert lambent("invoke", "echo").stderr == b""


def test_tail_goes_to_standard_error(lambent: Command) -> None:
    lambent.deploy("tailed", ECHO)

    done = lambent("invoke", "tailed", "1", "--tail")

    assert (done.returncode, done.stdout) == (0, b"1")
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("START RequestId: ")
    assert lines[1] == "seen 1"
    assert lines[-1].startswith("REPORT RequestId: ")


def test_function_error_is_status_one_with_its_payload(lambent: Command) -> None:
    lambent.deploy("failing", FAILING)

    done = lambent("invoke", "failing")

    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "KeyError"
    assert done.stderr == b"lambent: failing failed: KeyError: 'customer'\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["invoke", "no-such-function"], b"ResourceNotFoundException: Function not found: arn:aws:lambda:"),
        (["invoke", "no-such-function", "{"], b"lambent: "),
        (["rm", "no-such-function"], b"ResourceNotFoundException: "),
        (["logs", "no-such-function"], b"Function not found: "),
    ],
)
def test_refusal_is_status_two(arguments: list[str], said: bytes, lambent: Command) -> None:
    done = lambent(*arguments, LAMBENT_SERVER_DATA_DIR=str(lambent.server.data_dir))

    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr


def test_json_has_the_members_of_the_api(lambent: Command) -> None:
    lambent.deploy("as-json", FAILING)

    done = lambent("invoke", "as-json", "--json")

    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"]["errorMessage"] == "'customer'"
    assert answer["Payload"]["requestId"] == answer["RequestId"]


# -- who calls -------------------------------------------------------------------


def test_account_and_region_select_where_a_function_lives(lambent: Command) -> None:
    elsewhere = ("--account", "123456789012", "--region", "eu-west-1")
    lambent.write({"abroad.py": ECHO})
    done = lambent("deploy", "abroad.py", *elsewhere)
    assert done.stdout.decode().splitlines()[1] == "arn:aws:lambda:eu-west-1:123456789012:function:abroad"

    here = lambent("invoke", "abroad")
    assert here.returncode == 2
    assert b"A function named abroad exists in account 123456789012 in eu-west-1" in here.stderr

    assert lambent("invoke", "abroad", "1", *elsewhere).stdout == b"1"
    assert lambent("rm", "abroad", *elsewhere).returncode == 0


def test_region_and_credentials_are_found_as_the_aws_cli_finds_them(lambent: Command) -> None:
    lambent.write(
        {
            ".aws/config": "[profile dev]\nregion = ap-south-1\n",
            ".aws/credentials": "[dev]\naws_access_key_id = 111122223333\naws_secret_access_key = x\n",
            "mine.py": ECHO,
        }
    )

    done = lambent("deploy", "mine.py", "--json", AWS_PROFILE="dev")

    arn = json.loads(done.stdout)["FunctionArn"]
    assert arn == "arn:aws:lambda:ap-south-1:111122223333:function:mine"
    assert lambent("invoke", "mine", AWS_PROFILE="dev").stdout == b"{}"
    assert lambent("rm", "mine", AWS_PROFILE="dev").returncode == 0


def test_region_alone_is_enough(lambent: Command) -> None:
    lambent.write({"regional.py": ECHO})

    done = lambent(
        "deploy", "regional.py", "--json", AWS_REGION="eu-north-1", AWS_DEFAULT_REGION="eu-north-1"
    )

    assert json.loads(done.stdout)["FunctionArn"].startswith("arn:aws:lambda:eu-north-1:000000000000:")
    assert lambent("rm", "regional", "--region", "eu-north-1").returncode == 0


# -- list, rm --------------------------------------------------------------------


def test_list_shows_people_a_table_and_programs_configurations(lambent: Command) -> None:
    account = ("--account", "999988887777")
    empty = lambent("list", *account)
    assert (empty.stdout, empty.returncode) == (b"", 0)
    assert b"lambent deploy" in empty.stderr
    assert json.loads(lambent("list", "--json", *account).stdout) == []

    lambent.write({"one.py": ECHO, "two.py": ECHO})
    for name in ("one.py", "two.py"):
        assert lambent("deploy", name, "--runtime", PYTHON, *account).returncode == 0

    head, first, second = lambent("list", *account).stdout.decode().splitlines()
    columns = ["NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "CODE", "CHANGED", "VERSIONS", "ALIASES"]
    assert head.split() == columns
    assert first.split()[:3] == ["one", PYTHON, "one.handler"]
    assert second.split()[:3] == ["two", PYTHON, "two.handler"]
    functions = json.loads(lambent("list", "--json", *account).stdout)
    assert [each["FunctionName"] for each in functions] == ["one", "two"]
    assert "State" not in functions[0]
    for name in ("one", "two"):
        assert lambent("rm", name, *account).stdout == f"{name} is deleted.\n".encode()


def test_rm_asks_on_a_terminal(lambent: Command, client: Any) -> None:
    lambent.deploy("kept", ECHO)

    said, status = on_a_terminal(lambent, "rm", "kept", answer=b"n\n")
    assert "Delete the function kept? [y/N]" in said
    assert status == 1
    assert client.get_function(FunctionName="kept")["Configuration"]["FunctionName"] == "kept"

    _, status = on_a_terminal(lambent, "rm", "kept", answer=b"y\n")
    assert status == 0
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="kept")


def test_rm_with_yes_does_not_ask(lambent: Command, client: Any) -> None:
    lambent.deploy("gone", ECHO)

    said, status = on_a_terminal(lambent, "rm", "gone", "--yes")

    assert (status, "Delete the function" in said) == (0, False)


def test_terminal_gets_a_line_end_after_the_payload(lambent: Command) -> None:
    lambent.deploy("shown", "def handler(e, c): return 'x'\n")

    said, status = on_a_terminal(lambent, "invoke", "shown")

    assert status == 0
    assert '"x"\r\n' in said


# -- logs ------------------------------------------------------------------------


def test_logs_show_what_the_function_wrote(lambent: Command) -> None:
    lambent.deploy("logged", ECHO)
    lambent("invoke", "logged", '"first"')
    data_dir = ("--data-dir", str(lambent.server.data_dir))

    lines = wait_for_report(lambent, "logged", *data_dir)

    assert [line.split(" ", 1)[1] for line in lines if "seen" in line] == ["seen first"]
    assert lines[0].split(" ", 1)[0].endswith("Z")
    events = [json.loads(line) for line in lambent("logs", "logged", "--json", *data_dir).stdout.splitlines()]
    assert set(events[0]) == {"at", "stream", "message"}
    assert lambent("logs", "logged", "--since", "0s", *data_dir).stdout == b""


def wait_for_report(lambent: Command, name: str, *options: str) -> list[str]:
    """Return the log's lines once they are whole: the store writes them in batches."""
    for _ in range(50):
        done = lambent("logs", name, *options)
        assert done.returncode == 0, done.stderr.decode()
        if b"REPORT" in done.stdout:
            return done.stdout.decode().splitlines()
    raise AssertionError("no REPORT line came")


def test_followed_log_goes_on_until_interrupted(lambent: Command) -> None:
    lambent.deploy("followed", ECHO)
    line = lambent.line("logs", "followed", "--follow", "--data-dir", str(lambent.server.data_dir))
    environ = {**lambent.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(line, cwd=lambent.folder, env=environ, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        try:
            for number in (1, 2):
                lambent("invoke", "followed", str(number))
                assert f"seen {number}" in next(line for line in reader.stdout if " seen " in line)
            reader.send_signal(signal.SIGINT)
            assert reader.wait(20) == 0
        finally:
            reader.kill()


def test_logs_come_over_the_network_with_the_admin_token(tmp_path: Path) -> None:
    token = "a-token-of-some-length"
    with running_server(tmp_path, LAMBENT_SERVER_ADMIN_TOKEN=token) as server:
        lambent = Command(tmp_path, server)
        lambent.deploy("remote", ECHO)
        lambent("invoke", "remote", "5")

        refused = lambent("logs", "remote", LAMBENT_SERVER_ADMIN_TOKEN="another-token-than-that")
        assert refused.returncode == 2
        assert b"server.admin_token" in refused.stderr

        for _ in range(50):
            done = lambent("logs", "remote", LAMBENT_SERVER_ADMIN_TOKEN=token)
            if b"seen 5" in done.stdout:
                return
        raise AssertionError(done.stderr.decode())


# -- what the server finds -------------------------------------------------------


def test_missing_interpreter_is_warned_of_at_deploy_and_in_the_list(
    tmp_path: Path, unused_runtime: Callable[[RunningServer], str]
) -> None:
    with running_server(tmp_path) as server:
        lambent = Command(tmp_path, server)
        runtime = unused_runtime(server)
        lambent.write({"old.py": ECHO})

        done = lambent("deploy", "old.py", "--runtime", runtime)

        assert done.returncode == 0, done.stderr.decode()
        assert b"warning: " in done.stderr
        assert runtime.encode() in done.stderr
        assert f"{runtime} (not found)" in lambent("list").stdout.decode()


@pytest.fixture
def unused_runtime() -> Callable[[RunningServer], str]:
    """Return a function that gives a Python identifier for which the server found no interpreter."""

    def choose(server: RunningServer) -> str:
        found = health(server)["runtimes"]
        identifiers = (f"python3.{minor}" for minor in (14, 12, 13, 11, 10, 9, 8))
        free = next((each for each in identifiers if each not in found), None)
        if free is None:
            pytest.skip("this machine has an interpreter for every identifier")
        return free

    return choose
