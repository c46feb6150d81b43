"""A server that does to a client what networks, proxies and broken servers do, and keeps a ledger.

Real sockets on the loopback address. Each request is met by the next :class:`Step` of the
script, and by an honest answer when the script is over: an answer whose payload is the
request's own, so that a test sees whose answer a caller got.

The ledger tells of each request whether it arrived whole. One that did, and that no
answer of ours refused, would have run its function: that is what ``ran`` means.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

REQUEST_ID = "11111111-2222-3333-4444-555555555555"
# Reads of a peer that says nothing end by then: no test hangs because of a thread of ours.
_PATIENCE_S = 30
_PIECE = 65536


class End(Enum):
    """What becomes of the connection after a step."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()
    # Nothing more is said until the client leaves.
    SILENCE = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """A request that arrived whole."""

    target: str
    headers: dict[str, str]
    body: bytes


Answer: TypeAlias = bytes | Callable[[Request], bytes]


def head(status: str, *lines: str) -> bytes:
    """Return a response's head; the request id is there unless a line says ``-``."""
    shown = [line for line in lines if line != "-"]
    if "-" not in lines:
        shown.append(f"x-amzn-RequestId: {REQUEST_ID}")
    return "\r\n".join([f"HTTP/1.1 {status}", *shown, "", ""]).encode("latin-1")


def answer(status: str, body: bytes, *lines: str) -> bytes:
    """Return a whole response with its length."""
    return head(status, f"Content-Length: {len(body)}", *lines) + body


def success(request: Request) -> bytes:
    """Return the honest answer: the caller's own payload, or what its invocation type gets."""
    match request.headers.get("x-amz-invocation-type"):
        case "Event":
            return answer("202 Accepted", b"")
        case "DryRun":
            return head("204 No Content")
    return answer("200 OK", request.body, "Content-Type: application/json", "X-Amz-Executed-Version: $LATEST")


def refusal(status: str, code: str, *lines: str) -> bytes:
    """Return an error answer as the service makes it."""
    body = b'{"Type":"User","message":"said the server","Message":"said the server"}'
    return answer(status, body, "Content-Type: application/json", f"x-amzn-ErrorType: {code}", *lines)


def chunked(body: bytes, *lines: str) -> bytes:
    """Return a whole response in two chunks."""
    middle = len(body) // 2
    parts = (part for part in (body[:middle], body[middle:]) if part)
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head("200 OK", "Transfer-Encoding: chunked", *lines) + framed + b"0\r\n\r\n"


def gzipped(request: Request) -> bytes:
    """Return the honest answer, compressed although nobody asked."""
    body = gzip.compress(request.body, mtime=0)
    return answer("200 OK", body, "Content-Encoding: gzip")


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one request.

    Attributes:
        answer: what is said, or a function that makes it of the request.
        take: bytes of the request that are read before anything else; None is all of it.
            Fewer than all: nothing is said, the connection ends.
        cut: bytes of the answer that are sent; None is all of it.
        end: what becomes of the connection.
        wait: set by the test before the answer is sent, for answers that come too late.
        piece: bytes sent at once; small pieces with nothing between them arrive as many reads.
        refused: this answer says that the function did not run.
        before: sent as soon as the connection is there, before the request is read.
    """

    answer: Answer = success
    take: int | None = None
    cut: int | None = None
    end: End = End.KEEP
    wait: threading.Event | None = None
    piece: int = _PIECE
    refused: bool = False
    before: bytes = b""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request in the ledger, whole or in part.

    Attributes:
        connection: counted from 1.
        invocation: ``amz-sdk-invocation-id``, "" when the head did not arrive.
        attempt: ``amz-sdk-request``.
        ran: whether a function would have run for it.
    """

    connection: int
    target: str
    invocation: str
    attempt: str
    body: bytes
    ran: bool


@dataclass
class FaultServer:
    """The server of one test; made by :func:`fault_server`."""

    listener: socket.socket
    context: ssl.SSLContext | None
    arrivals: list[Arrival] = field(default_factory=list)
    connections: int = 0
    ended: set[int] = field(default_factory=set)
    _script: deque[Step] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[int, socket.socket] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def script(self, *steps: Step) -> None:
        """Meet the next requests with these steps, whatever connection they come on."""
        with self._lock:
            self._script.extend(steps)

    @property
    def runs(self) -> Counter[str]:
        """How often each invocation would have run its function."""
        with self._lock:
            return Counter(each.invocation for each in self.arrivals if each.ran)

    def wait_until_closed(self) -> None:
        """Return when no connection is open on this side any more."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, _PATIENCE_S)

    def wait_until_ended(self, count: int) -> None:
        """Return when this side has ended so many connections."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ended) >= count, _PATIENCE_S)

    def say(self, data: bytes) -> None:
        """Send something on every connection that is open, asked or not."""
        for connection in self._open_connections():
            connection.sendall(data)

    def close_connections(self) -> None:
        """End all connections in order, as a server does that is tired of idle ones."""
        for connection in self._open_connections():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.wait_until_closed()

    def stop(self) -> None:
        """Take no more connections, reset those that are there, and wait for the threads."""
        # Closing alone would not wake the thread that accepts.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self._open_connections():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(_PATIENCE_S)
            assert not thread.is_alive()

    def serve(self) -> None:
        """Accept connections until the end; each has a thread."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(_PATIENCE_S)
            with self._changed:
                self._open[self.connections] = connection
            thread = threading.Thread(target=self._serve_connection, args=(connection, self.connections))
            self._threads.append(thread)
            thread.start()

    def _open_connections(self) -> list[socket.socket]:
        with self._changed:
            return list(self._open.values())

    def _serve_connection(self, connection: socket.socket, number: int) -> None:
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._open[number] = connection
            unread = b""
            while (left := self._meet(connection, number, unread)) is not None:
                unread = left
        except (OSError, ssl.SSLError):
            pass  # the client left, which is its right
        finally:
            connection.close()
            with self._changed:
                self._open.pop(number, None)
                self.ended.add(number)
                self._changed.notify_all()

    def _next_step(self) -> Step:
        with self._lock:
            return self._script.popleft() if self._script else Step()

    def _meet(self, connection: socket.socket, number: int, unread: bytes) -> bytes | None:
        """Let one request meet its step; return what was read beyond it, None when the connection is over."""
        # A connection that is only opened, or left idle, uses up no step.
        if not unread and not (self._peek_step().before or self._peek_step().take == 0):
            unread = connection.recv(_PIECE)
            if not unread:
                return None
        step = self._next_step()
        connection.sendall(step.before)
        if step.take is not None:
            self._cut_request(connection, number, unread, step)
            return None
        request, unread = _read_request(connection, unread)
        if request is None:
            return None
        self._note(number, request, ran=not step.refused)
        if step.wait is not None:
            assert step.wait.wait(_PATIENCE_S)
        said = step.answer if isinstance(step.answer, bytes) else step.answer(request)
        said = said[: step.cut]
        for start in range(0, len(said), step.piece):
            connection.sendall(said[start : start + step.piece])
        if step.end is End.KEEP:
            return unread
        self._end(connection, number, step.end)
        return None

    def _peek_step(self) -> Step:
        with self._lock:
            return self._script[0] if self._script else Step()

    def _cut_request(self, connection: socket.socket, number: int, unread: bytes, step: Step) -> None:
        assert step.take is not None
        data = unread[: step.take]
        request, _ = _parse(data)
        while request is None and len(data) < step.take and (more := connection.recv(step.take - len(data))):
            data += more
            request, _ = _parse(data)
        # Cut behind its end, it arrived whole.
        if request is not None:
            self._note(number, request, ran=True)
        self._end(connection, number, step.end)

    def _end(self, connection: socket.socket, number: int, end: End) -> None:
        if end is End.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if end is End.CLOSE:
            # Unread bytes would make a reset of it.
            connection.shutdown(socket.SHUT_WR)
            with self._changed:
                self.ended.add(number)
                self._changed.notify_all()
        while end is not End.KEEP and connection.recv(_PIECE):
            pass

    def _note(self, number: int, request: Request, *, ran: bool) -> None:
        headers = request.headers
        arrival = Arrival(
            number,
            request.target,
            headers.get("amz-sdk-invocation-id", ""),
            headers.get("amz-sdk-request", ""),
            request.body,
            ran,
        )
        with self._lock:
            self.arrivals.append(arrival)


def _parse(data: bytes) -> tuple[Request | None, bytes]:
    """Return the first request in ``data`` and what follows; None while it is not whole."""
    text, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        return None, data
    first, *lines = text.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if len(rest) < length:
        return None, data
    return Request(first.split(" ")[1], headers, rest[:length]), rest[length:]


def _read_request(connection: socket.socket, data: bytes) -> tuple[Request | None, bytes]:
    while True:
        request, unread = _parse(data)
        if request is not None:
            return request, unread
        more = connection.recv(_PIECE)
        if not more:
            return None, b""
        data += more


@contextmanager
def fault_server(context: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Run a server until the block ends; with a context it speaks TLS."""
    server = FaultServer(socket.create_server(("127.0.0.1", 0), backlog=128), context)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(_PATIENCE_S)


@contextmanager
def refusing_address() -> Iterator[str]:
    """Give an address at which connections are refused."""
    with socket.socket() as held:
        # Bound and not listening: nobody else gets it, and nobody answers.
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def mute_address() -> Iterator[str]:
    """Give an address at which connections are neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        try:
            # Linux answers nobody once the queue is full.
            for _ in range(4):
                peer = socket.socket()
                peer.setblocking(False)
                waiting.append(peer)
                peer.connect_ex(address)
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for peer in waiting:
                peer.close()
