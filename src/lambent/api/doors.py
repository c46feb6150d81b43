"""Where callers come in: the public address, the functions' own, the owner's socket."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lambent.api.connection import Listener
from lambent.clock import Clock
from lambent.config import ConfigurationError, Settings

CONTROL_SOCKET = "control.sock"
_BACKLOG = 4096
# A synchronous call may be silent for 15 minutes: the kernel tells when the peer is gone,
# and routers on the way do not forget the connection. Accepted sockets inherit it.
_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}
_OWED_INTERVAL_S = 0.01


@dataclass
class _Door:
    sock: socket.socket
    trusted: bool = False
    tls: ssl.SSLContext | None = None
    server: asyncio.Server | None = None
    listener: Listener | None = None


@dataclass
class Doors:
    """Every listening socket of a node; bound first, opened when the node is ready.

    Attributes:
        public_url: what callers use.
        internal_url: what functions use: always plain http on an address of this
            machine, because a private certificate would not be trusted.
    """

    public_url: str
    internal_url: str
    _doors: list[_Door] = field(default_factory=list)

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self.public_url.partition(":")[0]

    @property
    def connections(self) -> int:
        """Open connections, at all doors."""
        return sum(len(door.listener.connections) for door in self._doors if door.listener is not None)

    @property
    def buffered_bytes(self) -> int:
        """Bytes of request bodies that are held."""
        return sum(door.listener.buffered for door in self._doors if door.listener is not None)

    @classmethod
    async def bind(cls, settings: Settings, root: Path, stack: AsyncExitStack) -> Doors:
        """Take the addresses; nobody is served before :meth:`open`.

        Raises:
            ConfigurationError: the address is beyond loopback without leave, or the
                certificate cannot be read.
            OSError: an address is taken.
        """
        server = settings.server
        tls = _tls_context(server.tls_cert, server.tls_key)
        public = await _bind(server.host, server.port)
        stack.callback(public.close)
        host, port = public.getsockname()[:2]
        if not ipaddress.ip_address(host).is_loopback and not server.allow_unauthenticated:
            raise ConfigurationError(
                f"{server.host} can be reached from other machines, and nobody is asked who they are "
                "(auth.level is none). Add --allow-unauthenticated if that is meant."
            )
        doors = [_Door(public, tls=tls)]
        internal = public
        if tls is not None:
            internal = await _bind("127.0.0.1", 0)
            stack.callback(internal.close)
            doors.append(_Door(internal))
        control = _bind_control(root, stack)
        stack.callback((root / CONTROL_SOCKET).unlink, missing_ok=True)
        stack.callback(control.close)
        doors.append(_Door(control, trusted=True))
        return cls(
            _url("http" if tls is None else "https", server.host, port),
            _url("http", _reachable(internal.getsockname()[0]), internal.getsockname()[1]),
            doors,
        )

    async def open(self, make_listener: Callable[[bool], Listener]) -> None:
        """Serve every door; ``make_listener`` is told whether its callers are trusted."""
        loop = asyncio.get_running_loop()
        for door in self._doors:
            listener = door.listener = make_listener(door.trusted)
            if door.sock.family == socket.AF_UNIX:
                door.server = await loop.create_unix_server(listener.accept, sock=door.sock)
            else:
                door.server = await loop.create_server(
                    listener.accept, sock=door.sock, backlog=_BACKLOG, ssl=door.tls
                )
            listener.watch()

    def stop_accepting(self) -> None:
        """Close the listening sockets; kept connections close with their next answer."""
        for door in self._doors:
            if door.server is not None:
                door.server.close()
            if door.listener is not None:
                door.listener.drain()

    async def send_what_is_owed(self, clock: Clock, grace_s: float) -> None:
        """Return when every answer has been sent, or ``grace_s`` seconds have passed."""
        end = clock.monotonic() + grace_s
        listeners = [door.listener for door in self._doors if door.listener is not None]
        while any(listener.is_owing for listener in listeners) and clock.monotonic() < end:
            await clock.sleep(_OWED_INTERVAL_S)

    def close_connections(self) -> None:
        """Close every connection at once."""
        for door in self._doors:
            if door.listener is not None:
                door.listener.close()


async def _bind(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno, f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
        ) from None
    return sock


def _bind_control(root: Path, stack: AsyncExitStack) -> socket.socket:
    """Bind the owner's socket, also in a directory whose path is longer than an address may be."""
    (root / CONTROL_SOCKET).unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY)
    # The socket's address goes through this descriptor for as long as it is looked at.
    stack.callback(os.close, folder)
    sock.bind(f"/proc/self/fd/{folder}/{CONTROL_SOCKET}")
    (root / CONTROL_SOCKET).chmod(0o600)
    return sock


def _tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError("server.tls_cert and server.tls_key are needed together.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"server.tls_cert, server.tls_key: {error}") from None
    return context


def _reachable(host: str) -> str:
    """Return an address of this machine for a socket that may be bound to all of them."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
