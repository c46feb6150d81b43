"""One structured line per request on standard error, written in batches.

Formatting and writing a line at a time costs as much as answering a request; lines
are therefore kept for at most 100 ms and written together. On a terminal they are
for people, elsewhere one JSON object each.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from lambent.clock import Clock
from lambent.model.invocations import Caller
from lambent.model.observer import Observer
from lambent.observability.line_writer import LineWriter

_BATCH_S = 0.1
# To make a thousand lines takes 1.5 ms, in which nothing else is done.
_BATCH_LINES = 1000


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A request as it is logged; members that are None are left out."""

    at: datetime
    request_id: str
    operation: str
    account: str
    region: str
    function: str
    status: int
    outcome: str
    duration_ms: float
    access_key_id: str | None = None
    sdk_invocation_id: str | None = None
    sdk_request: str | None = None


class RequestLog(Observer):
    """Writes what was answered to a file descriptor.

    Args:
        descriptor: usually 2; it is not closed.
        for_people: columns instead of JSON; by default on a terminal.
    """

    def __init__(self, clock: Clock, descriptor: int = 2, *, for_people: bool | None = None) -> None:
        self._clock = clock
        self._writer = LineWriter(descriptor)
        self._render = (
            _for_people if for_people or (for_people is None and os.isatty(descriptor)) else _as_json
        )
        self._waiting: list[_Answered] = []

    def request_answered(
        self,
        request_id: str,
        operation: str,
        caller: Caller,
        function: str,
        status: int,
        outcome: str,
        duration_s: float,
        sdk_invocation_id: bytes | None,
        sdk_attempt: bytes | None,
    ) -> None:
        """Keep a line for the next batch."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_later(_BATCH_S, self.flush)
        elif len(waiting) >= _BATCH_LINES:
            self.flush()
            waiting = self._waiting
        # Kept as it came: making the line here would delay the caller's next request.
        waiting.append(
            (
                self._clock.now(),
                request_id,
                operation,
                caller,
                function,
                status,
                outcome,
                duration_s,
                sdk_invocation_id,
                sdk_attempt,
            )
        )

    def flush(self) -> None:
        """Write what is waiting; a line that cannot be written is lost, never a request."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._writer.write(self._render(map(_line, waiting)), len(waiting))

    def close(self) -> None:
        """Write what is waiting, within a second."""
        self.flush()
        self._writer.close()


_Answered = tuple[float, str, str, Caller, str, int, str, float, bytes | None, bytes | None]


def _line(answered: _Answered) -> Line:
    at, request_id, operation, caller, function, status, outcome, duration_s, sdk_id, sdk_attempt = answered
    return Line(
        datetime.fromtimestamp(at, UTC),
        request_id,
        operation,
        caller.account,
        caller.region,
        function,
        status,
        outcome,
        round(duration_s * 1000, 3),
        caller.access_key_id,
        None if sdk_id is None else sdk_id.decode("latin-1"),
        None if sdk_attempt is None else sdk_attempt.decode("latin-1"),
    )


def _as_json(lines: Iterable[Line]) -> bytes:
    return msgspec.json.Encoder().encode_lines(list(lines))


def _for_people(lines: Iterable[Line]) -> bytes:
    return "".join(map(_row, lines)).encode("utf-8", "replace")


def _row(line: Line) -> str:
    attempt = line.sdk_request
    retry = f"  {attempt}" if attempt is not None and not attempt.startswith("attempt=1") else ""
    row = (
        f"{line.at:%H:%M:%S}  {line.status}  {line.operation} {line.function}  {line.outcome}  "
        f"{line.duration_ms:.1f} ms  {line.account} {line.region}  {line.request_id}{retry}"
    )
    # Callers choose some of these texts; a terminal must not obey them.
    return row + "\n" if row.isprintable() else row.encode("unicode_escape").decode() + "\n"
