"""What both kinds of connections have in common: keep-alive, certificates, a proxy's password."""

from __future__ import annotations

import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from lambent.client.errors import ConfigurationError
from lambent.client.settings import Settings

# Firewalls and AWS's own gateways forget connections that are silent for 350 s.
_KEEP_ALIVE_S = 60


def keep_alive_options() -> list[tuple[int, int, int]]:
    """Return the socket options with which a silent connection stays known on its way."""
    names = [name for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL") if hasattr(socket, name)]
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *((socket.IPPROTO_TCP, getattr(socket, name), _KEEP_ALIVE_S) for name in names),
    ]


def tls_context(settings: Settings, *, verify: bool | str | ssl.SSLContext) -> ssl.SSLContext:
    """Return how certificates are checked: see ``verify`` of the client.

    Raises:
        ConfigurationError: the file of authorities cannot be read.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    file = verify if isinstance(verify, str) else settings.ca_bundle()
    try:
        context = ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ConfigurationError(f"certificates of {file}: {error}") from error
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Proxy(NamedTuple):
    """A proxy.

    Attributes:
        url: its address, without user and password.
        headers: what it is told of them.
    """

    url: str
    headers: Mapping[str, str]


def parse_proxy(text: str) -> Proxy:
    """Return a proxy by its URL, which may hold a user and a password.

    Raises:
        ConfigurationError: it is no URL of HTTP; the text does not repeat the password.
    """
    try:
        parts = urlsplit(text)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError as error:
        raise ConfigurationError(f"proxy: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("proxy: it is no URL that begins with http:// or https://")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["proxy-authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(f"{parts.scheme}://{host}{port}", headers)
