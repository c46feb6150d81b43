"""How endpoints are reached: what both kinds of connections have in common."""

from __future__ import annotations

import ssl
import threading
from typing import Generic, TypeVar

from lambent.client.settings import Endpoint, Settings
from lambent.client.sockets import Proxy, parse_proxy
from lambent.clock import Clock

RouteT = TypeVar("RouteT")


class Routes(Generic[RouteT]):
    """The way to each endpoint, found at the first call to it.

    Args:
        settings: of the client, for the proxies and certificates of the environment.
        clock: for deadlines.
        max_connections: to one endpoint; further calls wait.
        verify: certificates by the system's authorities, a file's, a context's; or not at all.
        proxy: for all endpoints; empty for none, None for those of the environment.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        max_connections: int = 64,
        verify: bool | str | ssl.SSLContext = True,
        proxy: str | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._max_connections = max_connections
        self._verify = verify
        self._proxy = proxy
        self.forget()

    def forget(self) -> None:
        """Begin anew without closing anything."""
        self._routes: dict[Endpoint, RouteT] = {}
        self._lock = threading.Lock()

    def _route(self, endpoint: Endpoint) -> RouteT:
        """Return the way to an endpoint; may read files."""
        with self._lock:
            if endpoint not in self._routes:
                self._routes[endpoint] = self._make_route(endpoint)
            return self._routes[endpoint]

    def _make_route(self, endpoint: Endpoint) -> RouteT:
        raise NotImplementedError

    def _proxy_to(self, endpoint: Endpoint) -> Proxy | None:
        """Return the proxy by which an endpoint is reached.

        Raises:
            ConfigurationError: its URL cannot be.
        """
        proxy = self._settings.proxy(endpoint) if self._proxy is None else self._proxy
        return parse_proxy(proxy) if proxy else None
