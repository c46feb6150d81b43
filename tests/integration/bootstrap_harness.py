"""Drives a real zygote and its functions, synchronously: both protocols, no server, no HTTP.

A test starts a :class:`ZygoteDriver` with an interpreter, spawns functions from folders of
source text and talks to them. Everything that waits has a limit (``TIMEOUT_S``) and waits
for a fact, never for a time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lambent.wire import frames

SCRIPT = Path(frames.__file__).parents[1] / "execution" / "bootstrap" / "zygote.py"
TIMEOUT_S = 20.0
DEADLINE_MS = 4_000_000_000_000
REQUEST_ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
SUPPORTED_MINORS = (9, 10, 11, 12, 13, 14)


@functools.cache
def find_interpreter(minor: int) -> str | None:
    """Return the real path of some Python 3.``minor`` on this machine, no virtual environment."""
    candidates = [shutil.which(f"python3.{minor}")]
    candidates += map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    if sys.version_info[1] == minor:
        candidates.insert(0, getattr(sys, "_base_executable", sys.executable))
    question = "import sys; print(*sys.version_info[:2], sys.prefix == sys.base_prefix)"
    for candidate in candidates:
        if candidate is None:
            continue
        # pyenv's shims exist for versions that they then refuse.
        answer = subprocess.run(
            [candidate, "-I", "-S", "-c", question], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0 and answer.stdout.split() == ["3", str(minor), "True"]:
            return candidate
    return None


def own_interpreter() -> str:
    """Return the interpreter below the one that runs the tests."""
    found = find_interpreter(sys.version_info[1])
    assert found is not None
    return found


@dataclass(frozen=True)
class Reply:
    """One frame of a function."""

    kind: int
    max_rss_kb: int
    duration_us: int
    payload: bytes

    @property
    def value(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.payload)


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a package; texts may be indented as in the test."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(textwrap.dedent(text))
    return folder


class FunctionDriver:
    """The server's ends of one function's pipes: frames to it, frames from it, its log."""

    def __init__(
        self, zygote: ZygoteDriver, identifier: int, requests_fd: int, replies_fd: int, log_fd: int
    ) -> None:
        self.zygote = zygote
        self.id = identifier
        self.requests_fd = requests_fd
        self._replies_fd = replies_fd
        self._log_fd = log_fd
        self._logged = bytearray()

    @property
    def pid(self) -> int:
        """Process id, as the zygote reported it."""
        return int(self.zygote.wait_for("spawned", self.id)["pid"])

    def receive(self) -> Reply | None:
        """Return the next frame, None at end-of-file."""
        header = self._receive_exactly(frames.REPLY_HEADER.size)
        if header is None:
            return None
        length, kind, max_rss_kb, duration_us = frames.REPLY_HEADER.unpack(header)
        payload = self._receive_exactly(length + 4 - frames.REPLY_HEADER.size)
        assert payload is not None
        return Reply(kind, max_rss_kb, duration_us, payload)

    def _receive_exactly(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            # The log is read meanwhile, as the server does: a full pipe would stop the function.
            ready = select.select([self._replies_fd, self._log_fd], [], [], TIMEOUT_S)[0]
            assert ready, "no answer came"
            if self._replies_fd not in ready:
                self._read_log()
                continue
            more = os.read(self._replies_fd, size - len(data))
            if not more:
                return None
            data += more
        return bytes(data)

    def ready(self) -> FunctionDriver:
        """Wait for READY and return this function."""
        reply = self.receive()
        assert reply is not None, self.log().decode()
        assert reply.kind == frames.READY, reply
        return self

    def send(
        self,
        payload: bytes = b"{}",
        *,
        trace_id: str = "",
        tenant_id: str = "",
        client_context: str = "",
        deadline_ms: int = DEADLINE_MS,
        request_id: str = REQUEST_ID,
    ) -> None:
        """Write an invocation's frame."""
        self.write(
            frames.render_invocation_head(
                request_id, deadline_ms, ARN, trace_id, tenant_id, client_context, len(payload)
            )
            + payload
        )

    def write(self, data: bytes) -> None:
        """Write bytes of a frame."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.requests_fd, view) :]

    def invoke(self, payload: bytes = b"{}", **head: Any) -> Reply:
        """Run the handler once and return its answer."""
        self.send(payload, **head)
        reply = self.receive()
        assert reply is not None, f"the function ended: {self.log().decode()}"
        return reply

    def call(self, event: Any = None, **head: Any) -> Any:
        """Run the handler once and return its result, which must be JSON."""
        reply = self.invoke(json.dumps(event).encode(), **head)
        assert reply.kind == frames.RESULT, reply
        return reply.value

    def log(self) -> bytes:
        """Return what has been written to the log pipe since the last call."""
        while self._log_fd >= 0 and select.select([self._log_fd], [], [], 0)[0]:
            if not self._read_log():
                break
        logged = bytes(self._logged)
        self._logged.clear()
        return logged

    def _read_log(self) -> bytes:
        data = os.read(self._log_fd, 1 << 20)
        self._logged += data
        return data

    def exit_status(self) -> int:
        """Wait for the zygote's report and return the raw wait status."""
        return int(self.zygote.wait_for("exited", self.id)["status"])

    def hang_up(self) -> None:
        """Let the function see the end of its invocations, upon which it ends."""
        self.requests_fd = _close(self.requests_fd)

    def close(self) -> None:
        """Close the server's ends; the function ends by itself."""
        self.hang_up()
        self._replies_fd = _close(self._replies_fd)
        self._log_fd = _close(self._log_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(fd: int) -> int:
    if fd >= 0:
        os.close(fd)
    return -1


class ZygoteDriver:
    """The server's half of the control protocol."""

    def __init__(
        self,
        interpreter: str,
        *arguments: str,
        exec_variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start a zygote; ``exec_variables`` makes it one for functions that have those."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(TIMEOUT_S)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        isolation = ["-I"] if exec_variables is None else []
        mode = [] if exec_variables is None else ["--exec-variables"]
        with theirs:
            self.process = subprocess.Popen(
                [interpreter, *isolation, "-S", str(SCRIPT), str(theirs.fileno()), *mode, *arguments],
                pass_fds=[theirs.fileno()],
                env=dict(exec_variables or {}),
            )
        self._reports: list[dict[str, Any]] = []
        self._next_id = 0
        self.version: list[int] = self.wait_for("ready")["version"]

    def _send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        socket.send_fds(self.control, [json.dumps(message).encode()], fds or [])

    def wait_for(self, operation: str, identifier: int | None = None) -> dict[str, Any]:
        """Return the report of this kind (about this id), waiting for it if need be."""
        while True:
            for report in self._reports:
                if report["op"] == operation and identifier in (None, report.get("id")):
                    return report
            packet = self.control.recv(1 << 16)
            assert packet, "the zygote ended"
            self._reports.append(json.loads(packet))

    def spawn(
        self,
        folder: Path,
        handler: str = "m.handler",
        variables: Mapping[str, str] | None = None,
        **order: Any,
    ) -> FunctionDriver:
        """Start a function; its READY or INIT_ERROR is yet to be received."""
        self._next_id += 1
        (requests_end, requests_fd), (replies_fd, replies_end), (log_fd, log_end) = (
            os.pipe() for _ in range(3)
        )
        message = {
            "op": "spawn",
            "id": self._next_id,
            "handler": handler,
            "task_root": str(folder),
            "variables": dict(variables or {}),
            "data_limit_mb": 320,
            "pycache_prefix": None,
            "extra_path": [],
            **order,
        }
        theirs = [requests_end, replies_end, log_end]
        try:
            self._send(message, theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        return FunctionDriver(self, self._next_id, requests_fd, replies_fd, log_fd)

    def start(
        self,
        folder: Path,
        source: str,
        handler: str = "m.handler",
        variables: Mapping[str, str] | None = None,
        **order: Any,
    ) -> FunctionDriver:
        """Write ``source`` as module ``m``, start it as a function and wait until it is ready."""
        write_files(folder, {"m.py": source})
        return self.spawn(folder, handler, variables, **order).ready()

    def send_raw(self, packet: bytes, fds: list[int] | None = None) -> None:
        """Send what may not be a message."""
        socket.send_fds(self.control, [packet], fds or [])

    def kill(self, identifier: int) -> None:
        """Ask for a SIGKILL."""
        self._send({"op": "kill", "id": identifier})

    def compile(self, folder: Path, prefix: Path) -> None:
        """Compile a folder and wait for the end."""
        self._next_id += 1
        self._send(
            {"op": "compile", "id": self._next_id, "folder": str(folder), "pycache_prefix": str(prefix)}
        )
        self.wait_for("compiled", self._next_id)

    def close(self) -> int:
        """Close the control socket and return the zygote's exit status."""
        self.control.close()
        return self.process.wait(TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that need not be a child."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            ended, _, _ = select.select([handle], [], [], TIMEOUT_S)
        finally:
            os.close(handle)
        assert ended, f"process {pid} is still there"


def parse_log(data: bytes) -> list[tuple[str, bytes]]:
    """Cut a log that holds frames into pieces: type word in hexadecimal or ``raw``, and the bytes."""
    pieces: list[tuple[str, bytes]] = []
    while data:
        start = data.find(b"\xa5\x5a\x00")
        if start != 0:
            raw, data = (data, b"") if start < 0 else (data[:start], data[start:])
            pieces.append(("raw", raw))
            continue
        word, length = struct.unpack_from(">II", data)
        pieces.append((f"{word:08x}", data[16 : 16 + length]))
        data = data[16 + length :]
    return pieces
