"""AWS's own runtime client as the judge of the bootstrap: same handlers, same bytes.

awslambdaric runs for real, against a Runtime API of a few lines; :func:`check_same` compares
answers, errors, ends and log byte for byte. Only times and folders are made equal first.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import awslambdaric

from lambent.wire import frames
from tests.integration.bootstrap_harness import (
    ARN,
    DEADLINE_MS,
    REQUEST_ID,
    TIMEOUT_S,
    ZygoteDriver,
    own_interpreter,
    parse_log,
    write_files,
)

VARIABLES = {
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef",
    "AWS_REGION": "us-east-1",
    "TZ": ":UTC",
    "LC_CTYPE": "C.UTF-8",
}
ESCAPED = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"}
UNICODE = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}
JSON_LOG = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}

_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")

# How deep a function may recurse depends on the frames below it, which are the runtime's own.
_REPEATED = re.compile(rb"repeated \d+ more times")


@dataclass(frozen=True)
class Invocation:
    """What is given to a function."""

    payload: bytes
    trace_id: str = "Root=1-00000000-000000000000000000000001;Sampled=0"
    client_context: str = ""
    tenant_id: str = ""


@dataclass
class Outcome:
    """What a function did: an answer per invocation (or one about its init), its log, its end."""

    answers: list[tuple[str, bytes]] = field(default_factory=list)
    log: list[tuple[str, bytes]] = field(default_factory=list)
    exit_code: int | None = None


# Where the client lies on AWS, and where here.
_CLIENT_FOLDER = re.compile(
    rb"(/var/lang/lib/python3\.\d+/site-packages/awslambdaric|%s)"
    % re.escape(os.fsencode(Path(awslambdaric.__file__).parent))
)


def _made_equal(data: bytes, folder: Path) -> bytes:
    data = data.replace(os.fsencode(folder), b"/var/task")
    data = _CLIENT_FOLDER.sub(b"<client>", data)
    return _REPEATED.sub(b"repeated many times", _TIME.sub(b"<time>", data))


# -------------------------------------------------------------------- AWS's runtime


class _RuntimeApi(ThreadingHTTPServer):
    """As much of the Runtime API as the client calls.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    daemon_threads = True

    def __init__(self, invocations: Sequence[Invocation]) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)
        self.waiting = list(reversed(invocations))
        self.answers: list[tuple[str, bytes]] = []
        self.is_drained = threading.Event()
        self.is_over = threading.Event()


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet, or each answer waits for the client's delayed acknowledgement.
    wbufsize = 1 << 16
    server: _RuntimeApi

    def do_GET(self) -> None:
        if not self.server.waiting:
            # The client is about to be killed; it never gets this answer.
            self.server.is_drained.set()
            self.server.is_over.wait(TIMEOUT_S)
            self.close_connection = True
            return
        invocation = self.server.waiting.pop()
        self.send_response(200)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": REQUEST_ID,
            "Lambda-Runtime-Deadline-Ms": str(DEADLINE_MS),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
            "Lambda-Runtime-Client-Context": invocation.client_context,
            "Lambda-Runtime-Aws-Tenant-Id": invocation.tenant_id,
            "Content-Type": "application/json",
            "Content-Length": str(len(invocation.payload)),
        }
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(invocation.payload)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = "/".join(self.path.split("/")[3:])
        kind = {"init/error": "init error"}.get(kind, kind.rpartition("/")[2])
        if kind == "response":
            kind = str(self.headers["Content-Type"])
        self.server.answers.append((kind, body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


# The client's C half exists here for one Python only; this stands in for it on the others.
_CLIENT_STAND_IN = """
import http.client, os
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def initialize_client(agent):
    pass
def call(method, path, body=None, headers={}):
    connection.request(method, "/2018-06-01/runtime/invocation/" + path, body, headers)
    response = connection.getresponse()
    return response.read(), dict(response.headers)
def next():
    body, headers = call("GET", "next")
    headers["Lambda-Runtime-Deadline-Ms"] = int(headers["Lambda-Runtime-Deadline-Ms"])
    return body, headers
def post_invocation_result(request_id, data, content_type, invocation_id):
    call("POST", request_id + "/response", data, {"Content-Type": content_type})
def post_error(request_id, data, xray_cause, invocation_id):
    call("POST", request_id + "/error", data.encode())
"""


def run_awslambdaric(
    folder: Path,
    handler: str,
    invocations: Sequence[Invocation],
    variables: Mapping[str, str],
    interpreter: str | None = None,
) -> Outcome:
    """Run the real client until it asks for more than there is, or ends."""
    stand_in = write_files(folder.parent / "stand-in", {"runtime_client.py": _CLIENT_STAND_IN})
    read_end, write_end = os.pipe()
    with _RuntimeApi(invocations) as api:
        threading.Thread(target=api.serve_forever, args=(0.01,), daemon=True).start()
        process = subprocess.Popen(
            [interpreter or own_interpreter(), "-S", "-m", "awslambdaric", handler],
            cwd=folder,
            env={
                **variables,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
                "_LAMBDA_TELEMETRY_LOG_FD": str(write_end),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": f"{Path(awslambdaric.__file__).parents[1]}:{stand_in}",
            },
            pass_fds=[write_end],
            stdout=write_end,
            stderr=write_end,
        )
        os.close(write_end)
        log = _read_until(read_end, api.is_drained)
        if api.is_drained.is_set():
            process.kill()
        exit_code: int | None = process.wait(TIMEOUT_S)
        if api.is_drained.is_set():
            exit_code = None
        api.is_over.set()
        api.shutdown()
    os.close(read_end)
    pieces = [(kind, _made_equal(data, folder)) for kind, data in parse_log(log)]
    answers = [(kind, _made_equal(body, folder)) for kind, body in api.answers]
    return Outcome(answers, pieces, exit_code)


def _read_until(fd: int, is_over: threading.Event) -> bytes:
    data = bytearray()
    while True:
        finished = is_over.is_set()
        while select.select([fd], [], [], 0 if finished else 0.01)[0]:
            more = os.read(fd, 1 << 16)
            if not more:
                return bytes(data)
            data += more
        if finished:
            return bytes(data)


# --------------------------------------------------------------------- the bootstrap

_KINDS = {
    frames.RESULT: "application/json",
    frames.BINARY: "application/unknown",
    frames.ERROR: "error",
    frames.INIT_ERROR: "init error",
}


def run_bootstrap(
    zygote: ZygoteDriver,
    folder: Path,
    handler: str,
    invocations: Sequence[Invocation],
    variables: Mapping[str, str],
    *,
    has_frames: bool = True,
) -> Outcome:
    """Run the same with the bootstrap."""
    outcome = Outcome()
    with zygote.spawn(folder, handler, variables, log_frames=has_frames) as function:
        reply = function.receive()
        for invocation in invocations if reply and reply.kind == frames.READY else []:
            function.send(
                invocation.payload,
                trace_id=invocation.trace_id,
                client_context=invocation.client_context,
                tenant_id=invocation.tenant_id,
            )
            reply = function.receive()
            if reply is None:
                break
            outcome.answers.append((_KINDS[reply.kind], _made_equal(reply.payload, folder)))
        if reply is not None and reply.kind == frames.INIT_ERROR:
            outcome.answers.append((_KINDS[reply.kind], _made_equal(reply.payload, folder)))
            reply = None
        if reply is None:
            outcome.exit_code = os.waitstatus_to_exitcode(function.exit_status())
        log = function.log()
    outcome.log = [(kind, _made_equal(data, folder)) for kind, data in parse_log(log)]
    return outcome


def check_same(
    zygote: ZygoteDriver,
    folder: Path,
    handler: str,
    payloads: Sequence[bytes | Invocation],
    variables: Mapping[str, str],
    interpreter: str | None = None,
) -> Outcome:
    """Run both, compare all that a user can see, return what it was."""
    invocations = [item if isinstance(item, Invocation) else Invocation(item) for item in payloads]
    variables = {**VARIABLES, **variables}
    theirs = run_awslambdaric(folder, handler, invocations, variables, interpreter)
    ours = run_bootstrap(zygote, folder, handler, invocations, variables)
    for number, (mine, other) in enumerate(zip(ours.answers, theirs.answers, strict=False)):
        assert mine == other, invocations[number : number + 1]
    assert ours.answers == theirs.answers
    assert ours.log == theirs.log
    assert ours.exit_code == theirs.exit_code
    return ours
