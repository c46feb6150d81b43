"""A caller with a socket: its requests are bytes, its answers are checked for what every answer carries."""

from __future__ import annotations

import http.client
import io
import json
import re
import select
import socket
import struct
from pathlib import Path
from typing import Any, NamedTuple

UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


class Answer(NamedTuple):
    """One response as it came: every header in lower case, those that came twice twice."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header that came at most once."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        """Return the names of all headers, each of which came once."""
        names = [name for name, _ in self.headers]
        assert len(set(names)) == len(names), names
        return set(names)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """A caller with a socket of its own."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reset(self) -> None:
        """Cut the connection instead of ending it in order: the other end is told at once."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def shut(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def has_data(self, within_s: float) -> bool:
        """Whether something can be read, now or within some seconds."""
        return bool(select.select([self._socket], [], [], within_s)[0])

    def timer_of_the_server(self) -> str:
        """Return the kernel's timer of this connection's other end: kind and time left, as Linux tells them."""
        ours, theirs = self._socket.getsockname()[1], self._socket.getpeername()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1][-4:], fields[2][-4:]) == (f"{theirs:04X}", f"{ours:04X}"):
                return fields[5]
        raise AssertionError("the kernel does not know the connection")

    def interim(self) -> bytes:
        """Read an answer that has neither length nor body."""
        lines = b""
        while not lines.endswith(b"\r\n\r\n"):
            lines += self._file.readline()
        return lines

    def receive(self, *, has_body: bool = True) -> Answer:
        """Read one answer; check what every answer must carry."""
        status_line = self._file.readline().decode("latin-1")
        version, status, reason = status_line.rstrip("\r\n").split(" ", 2)
        assert version == "HTTP/1.1"
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            assert line.endswith(b"\r\n"), "the head was cut off"
            head += line if head else b"\r\n" * (line == b"\r\n") + line
        message = http.client.parse_headers(io.BytesIO(head))
        headers = [(name.lower(), value) for name, value in message.items()]
        answer = Answer(int(status), reason, headers, b"")
        length = int(answer.header("content-length") or 0)
        answer = answer._replace(body=self._file.read(length) if has_body else b"")
        _check(answer, has_body=has_body)
        return answer

    def is_at_end(self) -> bool:
        """Whether the server has ended the connection in order, with nothing more to read."""
        return self._file.read(1) == b""


def _check(answer: Answer, *, has_body: bool) -> None:
    request_id = answer.header("x-amzn-requestid")
    assert request_id is not None
    assert UUID.fullmatch(request_id)
    assert answer.header("date")
    assert answer.header("content-encoding") is None
    assert answer.header("transfer-encoding") is None
    assert answer.names
    for name, value in answer.headers:
        assert value.isascii(), (name, value)
        assert value.isprintable(), (name, value)
    if answer.status == 204:
        assert answer.header("content-length") is None
    if answer.status < 400:
        assert answer.header("x-amzn-errortype") is None
        return
    error_type = answer.header("x-amzn-errortype")
    assert error_type is not None
    assert re.fullmatch(r"[A-Za-z0-9]+", error_type)
    assert answer.header("content-type") == "application/json"
    if has_body:
        # Clients break on anything but an object, and on these members.
        assert len({"message", "Message"} & set(answer.json)) == 1
        assert not {"__type", "code"} & set(answer.json)


INVOKE = "/2015-03-31/functions/{}/invocations"


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a request; ``X_Amz_Log_Type="Tail"`` is a header."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body and not {"Content_Length", "Transfer_Encoding"} & set(headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
