"""Where a connection ends and what stands behind it begins: a request, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lambent.api.request import Request
from lambent.model.errors import ServiceError
from lambent.model.invocations import Origin


class Exchange(Protocol):
    """The way back to the caller of one request."""

    @property
    def is_closed(self) -> bool:
        """Whether the caller is gone; answers are dropped then."""
        ...

    @property
    def is_congested(self) -> bool:
        """Whether the caller reads more slowly than is written."""
        ...

    @property
    def is_streaming(self) -> bool:
        """Whether a part of the response has been sent by :meth:`write`."""
        ...

    @property
    def origin(self) -> Origin:
        """Where the caller is; known for as long as the connection is."""
        ...

    def write(self, part: bytes) -> None:
        """Send a part of the response when it is there; :meth:`respond` sends the last."""
        ...

    def begin(self, head: bytes) -> None:
        """Send what stands before the bytes that :meth:`respond` is called with right after."""
        ...

    def abort(self) -> None:
        """Cut the connection: the response cannot be brought to its end."""
        ...

    def call_when_gone(self, step: Callable[[], object]) -> None:
        """Have something done once when the caller is gone: for a response that may have no end.

        Whoever waits for such a response and ends their own side of the connection is gone as well.
        """
        ...

    def rest(self) -> None:
        """Take the caller's next request a moment after the response: it is told to slow down."""
        ...

    def respond(self, response: bytes, *, keep_alive: bool) -> None:
        """Send the response, or its last part, and say whether the connection may stay open."""
        ...


class Handler(Protocol):
    """What stands behind the connections."""

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer ``request`` by calling ``exchange.respond`` once, now or later."""
        ...

    def max_body_bytes(self, request: Request) -> int:
        """Return how long the body of such a request may be."""
        ...

    def too_large(self, request: Request) -> bytes:
        """Return the response to a request whose body is longer than that."""
        ...

    def broken(self, error: ServiceError) -> bytes:
        """Return the response to what is no request."""
        ...


__all__ = ["Exchange", "Handler"]
