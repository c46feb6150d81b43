"""Requests that a web page of somebody else's made, refused before routing.

Content-Type is not looked at (no SDK agrees on one), so any page in a browser could
otherwise post to this server on loopback, or read it through a host name of its own
that resolves here.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from lambent.model.errors import ForbiddenException

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_SENT_BY_BROWSERS = frozenset((b"origin", b"sec-fetch-site"))
# This server's own page, and whoever types an address. `same-site` is another port of this machine.
_OWN_SITES = frozenset((b"same-origin", b"none"))
_REMEMBERED = 1024
_REMEMBERED_BYTES = 512


class OriginCheck:
    """Refuses foreign pages, and foreign host names.

    Args:
        names: further host names that are this server's.
    """

    def __init__(self, names: frozenset[str] = frozenset()) -> None:
        self._names = frozenset(map(str.lower, names))
        self._accepted: set[bytes] = set()

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Let a request pass or refuse it.

        Raises:
            ForbiddenException: made by a page of another origin, or for a host name that
                is neither an address nor local.
        """
        host = headers.get(b"host", b"")
        if host in self._accepted and _SENT_BY_BROWSERS.isdisjoint(headers):
            return
        if host not in self._accepted:
            if not self._is_ours(host):
                raise ForbiddenException(
                    f"Host {host.decode('ascii', 'replace')} is neither an address nor a local name."
                )
            if len(self._accepted) < _REMEMBERED and len(host) <= _REMEMBERED_BYTES:
                self._accepted.add(host)
        if headers.get(b"sec-fetch-site", b"none") not in _OWN_SITES:
            raise ForbiddenException("Requests from a page of another origin are refused.")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != (host or None):
            raise ForbiddenException(f"Origin {origin.decode('ascii', 'replace')} is not this server.")

    def _is_ours(self, host: bytes) -> bool:
        try:
            name = urlsplit("//" + host.decode("ascii")).hostname
        except ValueError:
            return False
        # No Host at all cannot come from a browser.
        if name is None or "." not in name or name in self._names or name.endswith(_LOCAL_SUFFIXES):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
