"""The command line as far as it needs no server."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import lambent
from lambent.cli.invoke import _as_json, read_payload
from lambent.cli.logs import parse_age
from lambent.cli.main import main
from lambent.cli.output import CommandError, render_bytes, write_json
from lambent.cli.requirements import has_requirements, install_requirements
from lambent.config import TABLE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and no settings or credentials from outside."""
    for name in list(os.environ):
        if name.startswith(("LAMBENT_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_has_letters_as_they_are_and_halves_of_surrogate_pairs_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for text, written in (("bööm", '"bööm"\n'), ("ö \ud800", '"\\u00f6 \\ud800"\n')):
        write_json(text)
        assert capsys.readouterr().out == written


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="lambent")


@pytest.mark.parametrize("payload", [b'{"x": NaN}', b"[1e999]", b"-Infinity", b"[" * 10_000, b"\xff"])
def test_what_others_do_not_take_for_json_is_shown_as_text(payload: bytes) -> None:
    answer = {"StatusCode": 200, "ResponseMetadata": {}}
    assert _as_json(answer, payload)["Payload"] == payload.decode(errors="replace")


# -- the command -----------------------------------------------------------------


def test_help_lists_every_verb_in_the_order_of_use() -> None:
    output = run("--help").stdout

    verbs = ["serve", "deploy", "invoke", "logs", "list", "rm"]
    places = [output.index(f"  {verb} ") for verb in verbs]
    assert places == sorted(places)


def test_version_is_the_package_s() -> None:
    assert run("--version").stdout == f"lambent {lambent.__version__}\n"


def test_help_loads_neither_botocore_nor_the_server() -> None:
    code = (
        "import sys; from lambent.cli.main import main; main(['--help'], standalone_mode=False);"
        "print({'botocore', 'rich', 'lambent.server', 'uvloop'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("set()\n")


def test_serve_has_every_flag_of_the_table() -> None:
    output = run("serve", "--help").stdout

    for setting in TABLE:
        if setting.flag is not None:
            assert setting.flag in output
            assert setting.variable in output.replace("\n" + " " * 27, "")


# -- serve -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "x"], "server.port = 'x' (flag --port) cannot be used"),
        (["--workers", "2"], "server.workers = 2 is not served by this version of Lambent"),
        (["--host", "0.0.0.0"], "--allow-unauthenticated"),
        (["--config", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_serve_refuses_settings_in_one_sentence(arguments: list[str], said: str, folder: Path) -> None:
    result = run("serve", *arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("lambent: ")
    assert said in result.stderr


def test_serve_stops_on_other_systems(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    result = run("serve")

    assert result.exit_code == 2
    assert result.stderr.startswith("lambent: The server needs Linux")


@pytest.mark.parametrize(
    ("arguments", "closed"),
    [(["--version"], 1), (["deploy", "."], 1), (["rm", "f"], 0), (["invoke", "f", "-"], 0), (["list"], 2)],
)
def test_standard_streams_need_not_be_there(arguments: list[str], closed: int, folder: Path) -> None:
    command = shlex.join([sys.executable, "-m", "lambent", *arguments])

    done = subprocess.run(
        f"{command} {closed}>&-",
        shell=True,
        env={**os.environ, "LAMBENT_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == (0 if arguments == ["--version"] else 2)
    assert "Traceback" not in done.stderr


def test_a_result_that_cannot_be_written_is_told_in_one_sentence(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lambent", "drop-sealed", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("verb", [["invoke"], ["logs"], ["rm", "-y"], ["alias", "list"]])
def test_names_that_are_no_text_are_refused_in_one_sentence(verb: list[str], folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "control.sock").touch()
    result = CliRunner(env={"LAMBENT_SERVER_DATA_DIR": "data"}).invoke(main, [*verb, "\udcff"])

    assert result.exit_code == 2
    assert result.stderr == "lambent: '\\udcff' is not UTF-8.\n"


# -- reaching a server -----------------------------------------------------------


def test_the_socket_of_a_directory_with_a_long_path_is_reached(folder: Path) -> None:
    directory = folder / ("d" * 150)
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor(1) as pool:
        descriptor = os.open(directory, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{descriptor}/control.sock")
        os.close(descriptor)
        server.listen()
        answered = pool.submit(_answer_once, server, b'{"Message": "reached"}')
        result = run("top", "--once", "--data-dir", str(directory))
        answered.result(20)

    assert result.stderr == "lambent: reached\n"


def test_an_interrupted_call_is_no_failure_of_the_function(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "lambent", "invoke", "f", "--endpoint", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as caller:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                caller.send_signal(signal.SIGINT)
                _, said = caller.communicate(timeout=20)

    assert (caller.returncode, said) == (130, "Aborted!\n")


def _answer_once(server: socket.socket, body: bytes) -> None:
    server.settimeout(20)
    connection, _ = server.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.mark.parametrize("verb", [["list"], ["invoke", "hello"], ["rm", "hello"]])
def test_without_a_server_it_says_how_to_start_one(verb: list[str], folder: Path) -> None:
    result = run(*verb, "--endpoint", "http://127.0.0.1:9")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "No server answers at http://127.0.0.1:9." in result.stderr
    assert "lambent serve" in result.stderr


def test_address_comes_from_the_option_then_the_variable_then_the_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lambent.toml").write_text("[server]\nport = 11\n")
    assert "http://127.0.0.1:11." in run("list").stderr

    monkeypatch.setenv("LAMBENT_ENDPOINT", "http://127.0.0.1:12")
    assert "http://127.0.0.1:12." in run("list").stderr

    assert "http://127.0.0.1:13." in run("list", "--endpoint", "http://127.0.0.1:13").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--endpoint", "localhost:3001"], "is not a URL such as"),
        (["--endpoint", "http://[::1"], "is not a URL such as"),
        (["--endpoint", "http://localhost:99999"], "is not a URL such as"),
        (["--endpoint", "http://local host"], "is not a URL such as"),
        (["--endpoint", "http://my_server:3001"], "Invalid endpoint: http://my_server:3001."),
        (["--account", "12"], "is not 12 digits"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], said: str, folder: Path) -> None:
    result = run("list", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_unknown_setting_ends_every_verb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBENT_SERVER_PROT", "1")

    result = run("list")

    assert result.exit_code == 2
    assert "the nearest known one is LAMBENT_SERVER_PORT" in result.stderr


def test_unknown_profile_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    result = run("list")

    assert result.exit_code == 2
    assert "nobody" in result.stderr


def test_logs_without_a_control_socket_say_what_to_name(folder: Path) -> None:
    result = run("logs", "hello", "--data-dir", "elsewhere")

    assert result.exit_code == 2
    assert f"No server is running on {folder / 'elsewhere'}" in result.stderr
    assert "LAMBENT_SERVER_DATA_DIR" in result.stderr


# -- payloads and ages -----------------------------------------------------------


def test_payload_is_taken_from_text_or_file(folder: Path) -> None:
    (folder / "event.json").write_bytes(b'{"from": "file"}')

    assert read_payload(None, None) == b""
    assert read_payload('{"a": "é"}', None) == '{"a": "é"}'.encode()
    assert read_payload("@event.json", None) == b'{"from": "file"}'
    assert read_payload(None, '{"b": 2}') == b'{"b": 2}'
    assert read_payload(None, "file://event.json") == b'{"from": "file"}'
    assert read_payload(None, f"fileb://{folder}/event.json") == b'{"from": "file"}'


def test_payload_is_taken_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'\xff"raw"')))

    assert read_payload("-", None) == b'\xff"raw"'


def test_payload_is_given_once(folder: Path) -> None:
    with pytest.raises(click.UsageError, match="once"):
        read_payload("{}", "{}")


def test_missing_payload_file_is_named(folder: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing\.json cannot be read: No such file"):
        read_payload("@nothing.json", None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("2d", 172_800)]
)
def test_age_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 m", "-1s", "1w"])
def test_other_ages_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not an age"):
        parse_age(text)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (3_140, "3.1 kB"), (52_428_800, "52.4 MB")]
)
def test_sizes_are_rounded_for_people(count: int, text: str) -> None:
    assert render_bytes(count) == text


# -- deploy, before it talks -----------------------------------------------------


def test_deploy_checks_variables(folder: Path) -> None:
    result = run("deploy", ".", "--env", "NOVALUE")

    assert result.exit_code == 2
    assert "'NOVALUE' is not of the form NAME=VALUE" in result.stderr


def test_requirements_that_ask_for_nothing_are_no_work(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    assert not has_requirements(file)
    file.write_text("# later\n\n")
    assert not has_requirements(file)
    file.write_text("six\n")
    assert has_requirements(file)


def test_requirements_need_a_python(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be installed for the runtime nodejs22\.x"):
        install_requirements(tmp_path / "requirements.txt", "nodejs22.x", tmp_path)


def test_requirements_that_cannot_be_had_are_told_with_a_way_out(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--no-index\nnothing-of-this-name\n")

    with pytest.raises(CommandError, match=r"could not be installed for Python 3\.\d+") as refused:
        install_requirements(file, f"python3.{sys.version_info.minor}", tmp_path / "target")

    assert "nothing-of-this-name" in " ".join(refused.value.hints)
    assert "--skip-requirements" in refused.value.hints[-1]


def test_without_an_installer_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CommandError, match="no pip") as refused:
        install_requirements(tmp_path / "requirements.txt", "python3.13", tmp_path / "target")

    assert "ensurepip" in json.dumps(refused.value.hints)


# -- fault -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("f",),
        ("--error", "EFSIO"),
        ("f", "--error", "EFSIO", "--list"),
        ("--list", "--clear"),
        ("f", "--clear", "--count", "1"),
        ("--list", "--rate", "0.5"),
        ("f", "--error", "EFSIO", "--count", "0"),
        ("f", "--error", "EFSIO", "--rate", "0"),
        ("f", "--error", "EFSIO", "--rate", "1.1"),
        ("f", "--error", "EFSIO", "--delay", "-1"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_fault_is_set_listed_or_cleared_and_has_its_options(arguments: tuple[str, ...]) -> None:
    result = run("fault", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: lambent fault [OPTIONS] [FUNCTION]" in result.stderr
