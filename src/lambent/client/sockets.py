"""What both kinds of connections have in common: keep-alive, certificates, a proxy's password."""

from __future__ import annotations

import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
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


def proxy_headers(proxy: str) -> Mapping[str, str]:
    """Return what a proxy with a user and a password is told."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"proxy-authorization": f"Basic {b64encode(pair.encode()).decode()}"}
