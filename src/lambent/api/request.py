"""A request as it arrived, before anybody knows what it means."""

from __future__ import annotations

from urllib.parse import parse_qsl

# No operation has a dozen; a megabyte of them would hold everybody else up for a second.
_PAIRS = 1000
_SLASH = ord("/")


class Request:
    """Method, target, headers and body of one HTTP request.

    Attributes:
        target: as on the request line.
        path: the target's raw path, also where a proxy wrote scheme and host before it.
        query: the target's raw query string, b"" when there is none.
        headers: by lower-case name; of a repeated name the last one counts.
        keep_alive: whether the connection may stay open after the answer.
        held_bytes: of the body, as counted against the server's bound until the answer.
        received_at: monotonic instant at which it was complete.
        trusted: whether it came over the owner's own socket.
    """

    __slots__ = (
        "body",
        "headers",
        "held_bytes",
        "keep_alive",
        "method",
        "path",
        "query",
        "received_at",
        "target",
        "trusted",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        *,
        keep_alive: bool = True,
        trusted: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.keep_alive = keep_alive
        self.trusted = trusted
        self.body = b""
        self.held_bytes = 0
        self.received_at = 0.0
        if target[0] != _SLASH:
            resource, mark, query = target.partition(b"://")[2].partition(b"?")
            target = b"/" + resource.partition(b"/")[2] + mark + query
        self.path, _, self.query = target.partition(b"?")

    def query_pairs(self) -> list[tuple[str, str]]:
        """Return the decoded pairs of the query in their order: the first thousand, which is always all."""
        pairs = b"&".join(self.query.split(b"&", _PAIRS)[:_PAIRS])
        return parse_qsl(pairs.decode("latin-1"), keep_blank_values=True, errors="replace")

    def text_headers(self) -> dict[str, str]:
        """Return the headers as text."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers.items()}
