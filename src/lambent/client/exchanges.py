"""What the core asks of the world: send this, wait so long, do that. Shells of a few lines carry it out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from socket import SHUT_RDWR
from typing import Any, Protocol, TypeVar

from lambent.client.errors import CallTimeout, TransportError
from lambent.client.messages import HttpRequest, HttpResponse
from lambent.client.settings import Endpoint

R = TypeVar("R")

# Between the end of an answer and the next request over its connection there is no time to look.
_breaking = threading.Lock()


class Exchange:
    """One attempt: a signed request, and for how long to wait for its answer.

    Attributes:
        endpoint: where to.
        method: of HTTP.
        target: path and query, percent-encoded.
        headers: names in lower case.
        body: its bytes.
        connect: seconds to make a connection, or None.
        read: seconds between two reads, or None.
        deadline: of the monotonic clock, for all attempts together, or None.
        sent: its first byte can have been written.
        overrun: more came than the answer.
        streamed: the body of a 200 is read by the caller, see :attr:`HttpResponse.source`.
    """

    __slots__ = (
        "_is_broken",
        "_socket",
        "body",
        "connect",
        "deadline",
        "endpoint",
        "headers",
        "method",
        "overrun",
        "read",
        "sent",
        "streamed",
        "target",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
        *,
        connect: float | None,
        read: float | None,
        deadline: float | None,
        streamed: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.connect = connect
        self.read = read
        self.deadline = deadline
        self.sent = False
        self.overrun = False
        self.streamed = streamed
        self._socket: Any = None
        self._is_broken = False

    def begins(self, sock: Any) -> None:
        """Note over which connection the first byte is going to be written.

        Raises:
            TransportError: the exchange was broken off meanwhile.
        """
        with _breaking:
            if self._is_broken:
                raise TransportError("broken off")
            self._socket = sock

    def finished(self) -> None:
        """Note that the answer is whole: its connection may carry another request from now on."""
        with _breaking:
            self._socket = None

    def break_off(self) -> None:
        """End the connection over which it goes; if it has not begun, it never will."""
        with _breaking, contextlib.suppress(OSError):
            self._is_broken = True
            if self._socket is not None:
                self._socket.shutdown(SHUT_RDWR)

    def as_request(self, operation: str, region: str | None, attempt: int) -> HttpRequest:
        """Return it as hooks and records see it."""
        return HttpRequest(
            self.method,
            f"{self.endpoint.scheme}://{self.endpoint.netloc}{self.target}",
            dict(self.headers),
            self.body,
            operation,
            region,
            attempt,
        )

    def timeouts(self, now: float) -> tuple[float | None, float | None]:
        """Return the seconds for connecting and for each read that are left.

        Raises:
            CallTimeout: none are left.
        """
        if self.deadline is None:
            return self.connect, self.read
        left = self.deadline - now
        if left <= 0:
            raise total_timeout(may_have_run=self.sent)
        return shorter(self.connect, left), shorter(self.read, left)

    def timed_out(self, now: float) -> CallTimeout:
        """Return the error for an attempt whose time is over."""
        if self.deadline is not None and now >= self.deadline - 0.001:
            return total_timeout(may_have_run=self.sent)
        if not self.sent:
            return CallTimeout(f"no connection within {self.connect} s", phase="connect")
        return CallTimeout(f"nothing arrived for {self.read} s", phase="read", may_have_run=True)


def shorter(seconds: float | None, left: float) -> float:
    """Return the smaller of a timeout and of what is left of the whole."""
    return left if seconds is None else min(seconds, left)


def total_timeout(*, may_have_run: bool = False) -> CallTimeout:
    """Return the error for a call whose whole time is over."""
    return CallTimeout("the call's time is over", phase="total", may_have_run=may_have_run)


Step = Exchange | float | Callable[[], Any]
"""Send (answered with an :class:`HttpResponse`), sleep for seconds, or call what may wait for files or the
network (answered with what it returns). What goes wrong is thrown in."""

Steps = Generator[Step, Any, R]


class Transport(Protocol):
    """Carries out an exchange, for the synchronous shell."""

    def exchange(self, exchange: Exchange) -> HttpResponse:
        """Return the whole answer.

        Raises:
            TransportError: there is none. Its ``may_have_run`` tells whether the first byte was written.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
