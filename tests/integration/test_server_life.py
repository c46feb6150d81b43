"""The life of a server: start, summary, clean end, sudden end, what survives it, who may come in."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import botocore.exceptions
import pytest
import trustme

from tests.integration.conftest import (
    ROLE,
    RUNTIME,
    Functions,
    RunningServer,
    pack,
    running_server,
    wait_until_active,
)
from tests.integration.events_harness import OwnersConnection
from tests.processes import descendants, is_alive
from tests.waiting import wait_for

TOKEN = "a-token-of-32-printable-characters"

# Tells that it runs, and goes on when it is told to.
WAITING = """
import os, time

def handler(event, context):
    print("running", flush=True)
    open(event["running"], "w").close()
    while not os.path.exists(event["go"]):
        time.sleep(0.01)
    return "finished"
"""

# Leaves three processes behind: a child, one with a session of its own, an orphan of both kinds.
PARENT = """
import subprocess, sys

ORPHAN = (
    "import subprocess as s;"
    "print(s.Popen(['sleep', '999'], stdout=s.DEVNULL, stderr=s.DEVNULL, start_new_session=True).pid)"
)

def handler(event, context):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(["sleep", "999"], **quiet)
    leader = subprocess.Popen(["sleep", "999"], start_new_session=True, **quiet)
    orphan = subprocess.run([event["python"], "-c", ORPHAN], capture_output=True, text=True)
    return [child.pid, leader.pid, int(orphan.stdout)]
"""


class Answer(NamedTuple):
    """An HTTP answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _get(connection: http.client.HTTPConnection, path: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("GET", path, headers=named)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def _fetch(server: RunningServer, path: str, **headers: str) -> Answer:
    return _get(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20), path, **headers)


def _create(client: Any, source: str, **configuration: Any) -> str:
    return Functions(client)(source, **configuration)


def _invoke(client: Any, name: str, event: object = None) -> Any:
    return json.loads(client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())


class Running(NamedTuple):
    """An invocation of WAITING that is under way."""

    answer: Future[dict[str, Any]]
    go: Path


@contextmanager
def _running_invocation(server: RunningServer, folder: Path) -> Iterator[Running]:
    client = server.client()
    name = _create(client, WAITING, FunctionName="waiting", Timeout=60)
    running, go = folder / "running", folder / "go"
    payload = json.dumps({"running": str(running), "go": str(go)})
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.invoke, FunctionName=name, Payload=payload)
        wait_for(running.exists)
        yield Running(answer, go)


def _refuses_connections(server: RunningServer) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", server.port)) != 0


def _serve(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a server that ought not to start."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")}
    return subprocess.run(
        [sys.executable, "-m", "lambent", "serve", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**inherited, **environ},
        cwd=folder,
        timeout=60,
    )


def _last_line(text: str) -> str:
    return text.strip().split("\n")[-1]


# ---------------------------------------------------------------------------- start


def test_the_first_line_is_the_address_and_the_summary_goes_to_standard_error(server: RunningServer) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    wait_for(lambda: "environments on this machine\n" in server.errors.read_text())
    summary = dict(re.findall(r"^ *(\w+)  (.+)$", server.errors.read_text(), re.MULTILINE))
    assert summary["address"] == server.url
    assert summary["data"] == str(server.data_dir)
    assert summary["sandbox"].startswith("process ")
    assert summary["auth"].startswith("none ")
    assert f"{RUNTIME} (" in summary["runtimes"]
    assert "1000 concurrent per account" in summary["limits"]


def test_health_tells_the_runtimes_and_ready_that_requests_are_taken(server: RunningServer) -> None:
    health, ready = _fetch(server, "/_lambent/health"), _fetch(server, "/_lambent/ready")
    assert (health.status, health.json["status"]) == (200, "ok")
    assert health.json["runtimes"][RUNTIME].startswith(RUNTIME.removeprefix("python") + ".")
    assert (ready.status, ready.json) == (200, {"ready": True})
    for answer in (health, ready):
        assert answer.headers["x-amzn-requestid"]


def test_a_second_server_on_the_same_directory_refuses_and_names_it(
    server: RunningServer, tmp_path: Path
) -> None:
    second = _serve(tmp_path, "--port", "0", "--data-dir", str(server.data_dir))
    assert (second.returncode, second.stdout) == (2, "")
    assert str(server.data_dir) in second.stderr
    assert str(server.process.pid) in second.stderr
    assert second.stderr.count("\n") == 1
    assert _fetch(server, "/_lambent/ready").status == 200


def test_a_port_in_use_is_told_in_one_sentence(server: RunningServer, tmp_path: Path) -> None:
    second = _serve(tmp_path, "--port", str(server.port), "--data-dir", str(tmp_path / "data"))
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == f"lambent: cannot listen on 127.0.0.1:{server.port}: Address already in use\n"
    assert not (tmp_path / "data" / "control.sock").exists()


def test_an_address_beyond_loopback_needs_leave(tmp_path: Path) -> None:
    refused = _serve(tmp_path, "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--allow-unauthenticated" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_that_is_none_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.db").write_bytes(b"no database at all" * 100)
    refused = _serve(tmp_path, "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert f"{tmp_path / 'data' / 'state.db'} cannot be read" in _last_line(refused.stderr)


def test_a_directory_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = _serve(tmp_path, "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert str(tmp_path / "file") in refused.stderr
    assert "Traceback" not in refused.stderr


# ---------------------------------------------------------------------------- clean end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_invocations_finish_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    with running_server(tmp_path) as server, _running_invocation(server, tmp_path) as running:
        begun = descendants(server.process.pid)
        server.process.send_signal(number)
        wait_for(lambda: _refuses_connections(server))
        assert server.process.poll() is None
        running.go.touch()
        answer = running.answer.result(20)
        assert (answer["StatusCode"], answer["Payload"].read()) == (200, b'"finished"')
        assert server.process.wait(20) == 0
        assert begun
        assert not any(map(is_alive, begun))
        assert not (server.data_dir / "tmp").exists()
        assert not (server.data_dir / "control.sock").exists()
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
        assert "Traceback" not in server.errors.read_text()


def test_an_invocation_beyond_the_grace_period_is_ended_and_answered(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, LAMBENT_SERVER_SHUTDOWN_GRACE="0.2") as server,
        _running_invocation(server, tmp_path) as running,
    ):
        begun = descendants(server.process.pid)
        assert server.stop() == 0
        answer = running.answer.result(20)
        error = json.loads(answer["Payload"].read())
        assert (answer["FunctionError"], error["errorType"]) == ("Unhandled", "Runtime.ExitError")
        assert not any(map(is_alive, begun))
        assert not (server.data_dir / "tmp").exists()


@pytest.mark.parametrize("sudden", [False, True])
def test_no_process_outlives_the_server(tmp_path: Path, sudden: bool) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        left = _invoke(client, _create(client, PARENT, Timeout=20), {"python": sys.executable})
        begun = {*descendants(server.process.pid), *left}
        assert all(map(is_alive, left))
        assert server.stop(signal.SIGKILL if sudden else signal.SIGTERM) == (-signal.SIGKILL if sudden else 0)
        # AWS has no say here: two seconds are this project's promise.
        wait_for(lambda: not any(map(is_alive, begun)), 2.0 if sudden else 0.1)


def test_functions_that_run_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, _running_invocation(server, tmp_path) as running:
        begun = descendants(server.process.pid)
        server.stop(signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, begun)), 2.0)
        with pytest.raises(botocore.exceptions.HTTPClientError):
            running.answer.result(20)
        assert not running.go.exists()


def test_memory_as_data_directory_leaves_nothing(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", ":memory:"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    with process.stdout:
        server = RunningServer(process.stdout.readline().strip(), tmp_path, process, tmp_path)
        try:
            client = server.client()
            name = _create(client, "def handler(event, context): return 1")
            assert _invoke(client, name) == 1
            assert len(list(tmp_path.glob("lambent-*"))) == 1
        finally:
            assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------- what survives


def test_functions_code_and_configuration_survive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        name = _create(
            client,
            "import os\ndef handler(event, context): return os.environ['WORD']",
            Description="kept",
            Timeout=7,
            MemorySize=256,
            Environment={"Variables": {"WORD": "kept"}},
        )
        before = client.get_function(FunctionName=name)["Configuration"]
        assert _invoke(client, name) == "kept"
        assert server.stop() == 0
    with running_server(tmp_path) as server:
        client = server.client()
        assert client.get_function(FunctionName=name)["Configuration"] == before
        assert _invoke(client, name) == "kept"


def test_a_function_survives_kill_9_right_after_it_was_acknowledged(tmp_path: Path) -> None:
    package = pack(index="def handler(event, context): return 'there'")
    with running_server(tmp_path) as server:
        created = server.client().create_function(
            FunctionName="f", Runtime=RUNTIME, Role=ROLE, Handler="index.handler", Code={"ZipFile": package}
        )
        server.stop(signal.SIGKILL)
    with running_server(tmp_path) as server:
        client = server.client()
        wait_until_active(client, "f")
        found = client.get_function_configuration(FunctionName="f")
        assert found["CodeSha256"] == created["CodeSha256"]
        assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")
        assert _invoke(client, "f") == "there"


def test_an_update_survives_kill_9_right_after_it_was_acknowledged(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        _create(client, "def handler(event, context): return 'old'", FunctionName="f")
        client.update_function_code(
            FunctionName="f", ZipFile=pack(index="def handler(event, context): return 'new'")
        )
        server.stop(signal.SIGKILL)
    with running_server(tmp_path) as server:
        client = server.client()
        wait_until_active(client, "f", "function_updated_v2")
        assert _invoke(client, "f") == "new"


def test_what_a_killed_server_left_in_its_temporary_folder_is_removed(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        _invoke(client, _create(client, "def handler(event, context): pass"))
        server.stop(signal.SIGKILL)
        assert list((server.data_dir / "tmp").iterdir())
    with running_server(tmp_path) as server:
        assert list((server.data_dir / "tmp").iterdir()) == []


# ---------------------------------------------------------------------------- https


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A chain, its key, and the authority that a client has to trust."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    chain, key, trusted = folder / "chain.pem", folder / "key.pem", folder / "authority.pem"
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(chain), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    return chain, key, trusted


def test_https_serves_a_verifying_boto3_and_functions_call_back(
    tmp_path: Path, certificate: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key, trusted = certificate
    with running_server(
        tmp_path,
        LAMBENT_SERVER_TLS_CERT=str(chain),
        LAMBENT_SERVER_TLS_KEY=str(key),
        LAMBENT_SERVER_SHUTDOWN_GRACE="100",
    ) as server:
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+", server.url)
        with pytest.raises(botocore.exceptions.SSLError):
            server.client().list_functions()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
        client = server.client()
        inner = _create(client, "def handler(event, context): return [event]")
        outer = _create(
            client,
            "import boto3, json, os\n"
            "def handler(event, context):\n"
            f"    answer = boto3.client('lambda').invoke(FunctionName='{inner}', Payload=b'7')\n"
            "    return [json.load(answer['Payload']), os.environ['AWS_ENDPOINT_URL_LAMBDA'].split(':')[0]]",
            Timeout=30,
        )
        assert _invoke(client, outer) == [[7], "http"]
        assert client.get_function(FunctionName=inner)["Code"]["Location"].startswith(f"{server.url}/")
        # The client keeps idle connections, which nobody has to wait for.
        assert server.stop() == 0


@pytest.mark.parametrize("given", ["tls_cert", "tls_key"])
def test_half_a_certificate_is_refused(
    tmp_path: Path, certificate: tuple[Path, Path, Path], given: str
) -> None:
    flag = "--" + given.replace("_", "-")
    refused = _serve(tmp_path, "--port", "0", "--data-dir", str(tmp_path / "data"), flag, str(certificate[0]))
    assert refused.returncode == 2
    assert "server.tls_cert" in refused.stderr
    assert "server.tls_key" in refused.stderr


# ---------------------------------------------------------------------------- our own controls


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with an admin token that refuses identifiers without an interpreter."""
    settings = {"LAMBENT_SERVER_ADMIN_TOKEN": TOKEN, "LAMBENT_RUNTIMES_MISSING": "refuse"}
    with running_server(tmp_path_factory.mktemp("guarded"), **settings) as running:
        yield running


def test_the_log_answers_over_the_owners_socket_alone(
    server: RunningServer, deploy: Callable[..., str]
) -> None:
    name = deploy("def handler(event, context): print('for the owner')")
    request_id = server.client().invoke(FunctionName=name)["ResponseMetadata"]["RequestId"]
    control = server.data_dir / "control.sock"
    assert control.stat().st_mode & 0o777 == 0o600
    answer = _get(OwnersConnection(control), f"/_lambent/logs/{name}")
    assert answer.status == 200
    messages = [json.loads(line)["message"] for line in answer.body.splitlines()]
    assert messages[0].startswith("INIT_START Runtime Version: python:")
    assert messages[1].startswith(f"START RequestId: {request_id} Version: ")
    assert messages[2] == "for the owner"
    assert messages[3] == f"END RequestId: {request_id}"
    assert messages[4].startswith(f"REPORT RequestId: {request_id}\t")
    assert len(messages) == 5
    refused = _fetch(server, f"/_lambent/logs/{name}")
    assert (refused.status, refused.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert "control.sock" in refused.json["Message"]
    absent = _get(OwnersConnection(control), "/_lambent/logs/absent")
    assert (absent.status, absent.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")


def test_the_log_of_another_account_and_region_is_asked_for_by_name(server: RunningServer) -> None:
    client = server.client(account="123456789012", region="eu-central-1")
    name = _create(client, "def handler(event, context): print('far')")
    client.invoke(FunctionName=name)
    control = server.data_dir / "control.sock"
    answer = _get(
        OwnersConnection(control), f"/_lambent/logs/{name}?account=123456789012&region=eu-central-1"
    )
    assert b'"far"' in answer.body
    assert _get(OwnersConnection(control), f"/_lambent/logs/{name}").status == 404
    client.delete_function(FunctionName=name)


@pytest.mark.parametrize("bad", ["since=abc", "since=nan", "since="])
def test_a_bad_query_of_a_control_is_no_fault_of_ours(
    server: RunningServer, deploy: Callable[..., str], bad: str
) -> None:
    name = deploy("def handler(event, context): pass")
    answer = _get(OwnersConnection(server.data_dir / "control.sock"), f"/_lambent/logs/{name}?{bad}")
    assert answer.status in {200, 400}


def test_the_admin_token_opens_the_log_over_the_network(guarded: RunningServer) -> None:
    client = guarded.client()
    name = _create(client, "def handler(event, context): print('with a token')")
    client.invoke(FunctionName=name)
    path = f"/_lambent/logs/{name}"
    answer = _fetch(guarded, path, x_lambent_admin_token=TOKEN)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert b'"with a token"' in answer.body
    for wrong in ({}, {"x_lambent_admin_token": TOKEN[:-1]}, {"x_lambent_admin_token": ""}):
        refused = _fetch(guarded, path, **wrong)
        assert (refused.status, refused.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


def test_a_log_is_followed_line_by_line(server: RunningServer, tmp_path: Path) -> None:
    with _running_invocation(server, tmp_path) as running:
        connection = OwnersConnection(server.data_dir / "control.sock")
        connection.request("GET", "/_lambent/logs/waiting?follow=1")
        response = connection.getresponse()
        assert response.status == 200
        # The invocation still runs while its lines are read.
        lines: list[str] = []
        while lines[-1:] != ["running"]:
            lines.append(json.loads(response.readline())["message"])
        running.go.touch()
        while not lines[-1].startswith("REPORT "):
            lines.append(json.loads(response.readline())["message"])
        response.close()
        connection.close()
    server.client().delete_function(FunctionName="waiting")


def test_a_follower_does_not_hold_up_the_end_of_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        name = _create(client, "def handler(event, context): print('seen')")
        client.invoke(FunctionName=name)
        connection = OwnersConnection(server.data_dir / "control.sock")
        connection.request("GET", f"/_lambent/logs/{name}?follow=1")
        response = connection.getresponse()
        while "seen" not in response.readline().decode():
            continue
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        response.close()
        connection.close()
        assert "Traceback" not in server.errors.read_text()


def test_controls_answer_unknown_paths_and_methods_as_json(server: RunningServer) -> None:
    unknown = _fetch(server, "/_lambent/absent")
    assert (unknown.status, unknown.json) == (404, {"Message": "Unknown operation"})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/_lambent/health", body=b"{}")
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (405, {"Message": "Unknown operation"})
    connection.close()


# ---------------------------------------------------------------------------- foreign pages


# ---------------------------------------------------------------------------- runtimes

# AWS takes python3.8, Lambent runs nothing older than 3.9: missing on every machine.
MISSING = "python3.8"


def _create_with(client: Any, runtime: str) -> Any:
    return client.create_function(
        FunctionName="runtime",
        Runtime=runtime,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": pack(index="import sys\ndef handler(e, c): return sys.version_info[:2]")},
    )


def test_a_missing_runtime_warns_and_runs_on_the_nearest_interpreter(server: RunningServer) -> None:
    client = server.client()
    oldest = next(iter(_fetch(server, "/_lambent/health").json["runtimes"].values()))
    created = _create_with(client, MISSING)
    warning = created["ResponseMetadata"]["HTTPHeaders"]["x-lambent-warning"]
    assert warning == f"{MISSING} is not installed on this machine: the function runs on Python {oldest}"
    assert created["Runtime"] == MISSING
    wait_until_active(client, "runtime")
    assert _invoke(client, "runtime") == [int(part) for part in oldest.split(".")[:2]]
    updated = client.update_function_configuration(FunctionName="runtime", Runtime=RUNTIME)
    assert "x-lambent-warning" not in updated["ResponseMetadata"]["HTTPHeaders"]
    wait_until_active(client, "runtime", "function_updated_v2")
    assert _invoke(client, "runtime") == list(sys.version_info[:2])
    client.delete_function(FunctionName="runtime")


def test_a_missing_runtime_is_refused_where_the_settings_say_so(guarded: RunningServer) -> None:
    client = guarded.client()
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        _create_with(client, MISSING)
    text = caught.value.response["Error"]["Message"]
    assert text.startswith(
        f"Runtime {MISSING} has no interpreter on this machine: looked for {MISSING} on PATH"
    )
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="runtime")


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        (
            "PYTHON3.12",
            "Value PYTHON3.12 at 'runtime' failed to satisfy constraint: Member must satisfy enum",
        ),
        (
            "python3.99",
            "Value python3.99 at 'runtime' failed to satisfy constraint: Member must satisfy enum",
        ),
        (
            "python3.7",
            "The runtime parameter of python3.7 is no longer supported for creating or updating AWS",
        ),
        ("nodejs22.x", "Runtime nodejs22.x is not served by this version of Lambent."),
    ],
)
def test_runtimes_that_cannot_be_had_are_refused_in_awss_words(client: Any, runtime: str, text: str) -> None:
    # Source of the first three: docs/aws-behaviour.md, functions 7.6.
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        _create_with(client, runtime)
    assert caught.value.response["Error"]["Message"].startswith(text)


def test_zygotes_for_variables_of_one_function_end_when_it_has_none_running(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        _create(client, "def handler(event, context): return 1", FunctionName="f")
        for number in range(4):
            variables = {"Variables": {"PYTHONHASHSEED": str(number)}}
            client.update_function_configuration(FunctionName="f", Environment=variables)
            wait_until_active(client, "f", "function_updated_v2")
            assert client.invoke(FunctionName="f")["Payload"].read() == b"1"
        # One for functions without such variables (it compiled the code), one or two for these.
        wait_for(lambda: len(server.zygotes()) <= 3)


def test_a_large_answer_and_a_create_on_their_way_are_sent_whole_before_the_end(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.client()
        source = "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return 'x' * 6000000"
        _create(client, source, FunctionName="f")
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", server.port))
            sock.sendall(
                b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            )
            wait_for(lambda: any((server.data_dir / "tmp").iterdir()))
            server.process.terminate()
            received = 0
            while data := sock.recv(65536):
                received += len(data)
        assert received > 6_000_000
        assert server.process.wait(20) == 0
