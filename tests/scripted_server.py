"""An HTTP server that does what a script says, connection by connection: for clients, not for conversations."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

REQUEST_ID = "11111111-2222-3333-4444-555555555555"

Script = Callable[["Talk"], None]


def whole(body: bytes = b"null", status: str = "200 OK", *, headers: str = "") -> bytes:
    """Return an answer's bytes; ``headers`` are lines with their ends."""
    head = (
        f"HTTP/1.1 {status}\r\nx-amzn-RequestId: {REQUEST_ID}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Talk:
    """One connection, as a script sees it."""

    socket: socket.socket
    number: int
    server: ScriptedServer
    _buffer: bytes = b""

    def receive(self) -> Received | None:
        """Return the next whole request; None when the client has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        received = Received(line, headers, body)
        with self.server.lock:
            self.server.requests.append(received)
        return received

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def _more(self) -> bool:
        data = self.socket.recv(65_536)
        self._buffer += data
        return bool(data)


@dataclass
class ScriptedServer:
    """What was received, over how many connections."""

    port: int
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answering(*answers: bytes) -> Script:
    """Answer requests of a connection in order, the last answer for all that follow."""

    def script(talk: Talk) -> None:
        given = list(answers)
        while talk.receive() is not None:
            talk.send(given.pop(0) if len(given) > 1 else given[0])

    return script


@contextmanager
def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve; connection n follows script n, the last script all that come later."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = ScriptedServer(listener.getsockname()[1])
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def talk(connection: socket.socket, number: int) -> None:
        # A client that goes away ends the script, as it would end a server's.
        with suppress(OSError, ssl.SSLError):
            wrapped = tls.wrap_socket(connection, server_side=True) if tls else connection
            open_sockets.append(wrapped)
            with wrapped:
                scripts[min(number, len(scripts) - 1)](Talk(wrapped, number, server))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_sockets.append(connection)
            number, server.connections = server.connections, server.connections + 1
            thread = threading.Thread(target=talk, args=(connection, number))
            thread.start()
            threads.append(thread)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for each in open_sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for each in open_sockets:
            each.close()
