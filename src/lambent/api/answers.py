"""Results and errors to the bytes of HTTP responses.

Every answer carries ``x-amzn-RequestId`` and ``Date``; every error carries
``x-amzn-ErrorType`` and a JSON object, because SDKs read the code from the one and
choke on anything but the other. Nothing is ever compressed.

Source: docs/aws-behaviour.md, invoke 1.2, 1.4 and clients 1.
"""

from __future__ import annotations

import email.utils
import http
import json
from collections.abc import Iterable

from lambent.clock import Clock
from lambent.model.errors import ServiceError

_REASONS = {status.value: status.phrase for status in http.HTTPStatus} | {413: "Request Entity Too Large"}


class Answers:
    """Renders responses; keeps the ``Date`` line of the current second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = 0
        self._date = ""

    def render(
        self,
        status: int,
        request_id: str,
        body: bytes,
        headers: Iterable[tuple[str, str]] = (),
        *,
        content_type: str = "application/json",
        keep_alive: bool = True,
    ) -> bytes:
        """Return a whole response.

        A 204 has no body and no length; a 202 has ``Content-Length: 0``.
        """
        return (
            self.render_head(
                status, request_id, len(body), headers, content_type=content_type, keep_alive=keep_alive
            )
            + body
        )

    def render_head(
        self,
        status: int,
        request_id: str,
        length: int,
        headers: Iterable[tuple[str, str]] = (),
        *,
        content_type: str = "application/json",
        keep_alive: bool = True,
    ) -> bytes:
        """Return what stands before a response's body of ``length`` bytes."""
        reason = _REASONS.get(status, "Unknown")
        lines = [f"HTTP/1.1 {status} {reason}\r\n{self.date_line()}x-amzn-RequestId: {request_id}\r\n"]
        if status != 204:
            lines.append(f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n")
        lines += [f"{name}: {_visible(value)}\r\n" for name, value in headers]
        lines.append("Connection: keep-alive\r\n\r\n" if keep_alive else "Connection: close\r\n\r\n")
        return "".join(lines).encode("latin-1")

    def render_error(
        self,
        error: ServiceError,
        request_id: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        keep_alive: bool = True,
    ) -> bytes:
        """Return the response to a refusal or fault."""
        body = json.dumps(error.body(), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        named = [("x-amzn-ErrorType", error.code), *error.headers, *headers]
        return self.render(error.status, request_id, body, named, keep_alive=keep_alive)

    def date_line(self) -> str:
        """Return the ``Date`` header's line, made once a second."""
        now = self._clock.now()
        if int(now) != self._second:
            self._second = int(now)
            self._date = f"Date: {email.utils.formatdate(now, usegmt=True)}\r\n"
        return self._date


def _visible(value: str) -> str:
    """Keep a header's value on its line and in visible ASCII: one client ends itself on other bytes."""
    return (
        value
        if value.isascii() and value.isprintable()
        else value.encode("ascii", "replace").decode().translate(_SPACES)
    )


_SPACES = dict.fromkeys((*range(32), 127), " ")
