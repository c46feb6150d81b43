"""Lambent's own paths, ``/_lambent/*``: what AWS's API has no word for.

``health`` and ``ready`` answer everybody, ``code`` whoever holds a signed link; the
rest answers only over the owner's socket or with the admin token, so that functions
and strangers on the network reach none of it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import unquote

import msgspec

from lambent import __version__
from lambent.api.answers import Answers
from lambent.api.dead_letters import DeadLetters
from lambent.api.exchange import Exchange
from lambent.api.faults import Faults
from lambent.api.identities import Identities
from lambent.api.queued_events import QueuedEvents
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.control.code import open_link
from lambent.control.operation import Services
from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    UnknownOperationException,
)
from lambent.model.functions import FunctionKey
from lambent.side_process import SMALL_BYTES
from lambent.storage.contracts import LogEvent, LogStore

_CONGESTED_S = 0.01
_LINES_AT_ONCE = 50
_WITH_POST = frozenset((b"dead-letters", b"events", b"faults", b"iam"))


class Controls:
    """Answers the paths below ``/_lambent/``.

    Args:
        runtimes: identifier → version of the interpreters found, for ``health``.
        is_ready: whether requests are taken; False while draining.
        stats: makes the document of ``stats`` for an account and a region, or for all of
            them where that is None; ``observability/stats.py`` describes it.
        dead_letters: answers ``dead-letters``.
        queued_events: answers ``events``.
        identities: answers ``iam``.
        faults: answers ``faults``.
        admin_token: opens the controls over the network; None leaves only the socket.
    """

    def __init__(
        self,
        *,
        services: Services,
        logs: LogStore,
        answers: Answers,
        clock: Clock,
        runtimes: Mapping[str, str],
        is_ready: Callable[[], bool],
        stats: Callable[[str | None, str | None], Awaitable[Mapping[str, object]]],
        dead_letters: DeadLetters,
        queued_events: QueuedEvents,
        identities: Identities,
        faults: Faults,
        admin_token: str | None,
        account: str,
        region: str,
    ) -> None:
        self._services = services
        self._logs = logs
        self._answers = answers
        self._clock = clock
        self._runtimes = runtimes
        self._is_ready = is_ready
        self._stats = stats
        self._dead_letters = dead_letters
        self._queued_events = queued_events
        self._identities = identities
        self._faults = faults
        self._admin_token = admin_token
        self._account = account
        self._region = region

    async def answer(self, request: Request, request_id: str, exchange: Exchange) -> tuple[bytes, int]:
        """Return the response, or its last part, and its status.

        Raises:
            ServiceError: the path is not served, or not to this caller.
        """
        name, _, rest = request.path.removeprefix(b"/_lambent/").partition(b"/")
        if request.method != b"GET" and name not in _WITH_POST:
            raise UnknownOperationException(status=405)
        query = dict(request.query_pairs())
        match name:
            case b"health":
                status = {"status": "ok", "version": __version__, "runtimes": self._runtimes}
                return self._json(request, request_id, 200, status)
            case b"ready":
                ready = self._is_ready()
                return self._json(request, request_id, 200 if ready else 503, {"ready": ready})
            case b"code":
                package = await open_link(self._services, rest.decode("latin-1"), query)
                return self._render(request, request_id, package, "application/zip", exchange)
            case b"logs":
                self._authorize(request)
                return await self._log(request, request_id, unquote(rest.decode("latin-1")), query, exchange)
            case b"stats":
                self._authorize(request)
                stats = await self._stats(query.get("account"), query.get("region"))
                return self._render(
                    request, request_id, msgspec.json.encode(stats), "application/json", exchange
                )
            case b"dead-letters":
                self._authorize(request)
                body = await self._dead_letters.answer(request, rest, query, self._place(query))
                return self._render(request, request_id, body, "application/json", exchange)
            case b"events":
                self._authorize(request)
                body = await self._queued_events.answer(request, rest, query, self._place(query))
                return self._render(request, request_id, body, "application/json", exchange)
            case b"faults":
                self._authorize(request)
                body = await self._faults.answer(request, rest, self._place(query))
                return self._render(request, request_id, body, "application/json", exchange)
            case b"iam":
                self._authorize(request)
                body = await self._identities.answer(request.method, rest, query, request.body)
                return self._render(request, request_id, body, "application/json", exchange)
        raise UnknownOperationException

    async def _log(
        self, request: Request, request_id: str, function: str, query: Mapping[str, str], exchange: Exchange
    ) -> tuple[bytes, int]:
        """Answer a function's log as one JSON object a line; with ``follow=1`` until the reader goes.

        It is sent while it is read: a log may be larger than memory.
        """
        key = FunctionKey(*self._place(query), function)
        head = await self._services.functions.load(key)
        if head is None:
            raise ResourceNotFoundException(f"Function not found: {key.arn()}")
        group = (key.account, key.region, head.latest.logging.group)
        since = _parse_since(query.get("since", "0"))
        follow = query.get("follow") == "1"
        request.keep_alive = False
        exchange.write(self._stream_head(request_id))
        task = asyncio.current_task()
        if follow and task is not None:
            # The function may never write another line, after which the reader would be missed.
            exchange.call_when_gone(task.cancel)
        try:
            await self._send(self._logs.read(group, since=since, follow=follow), exchange)
        except asyncio.CancelledError:
            if not exchange.is_closed:
                raise
        return b"", 200

    async def _send(self, events: AsyncIterator[LogEvent], exchange: Exchange) -> None:
        """Write events as fast as they are read, a few in each turn of the event loop."""
        count = 0
        async for event in events:
            if exchange.is_closed:
                return
            line = {"at": event.at, "stream": event.stream, "message": event.message}
            exchange.write(json.dumps(line).encode() + b"\n")
            count += 1
            if count % _LINES_AT_ONCE == 0:
                await self._clock.sleep(0)
            while exchange.is_congested and not exchange.is_closed:
                await self._clock.sleep(_CONGESTED_S)

    def _place(self, query: Mapping[str, str]) -> tuple[str, str]:
        """Return the account and region that a request is about, which whoever has a key need not know."""
        account = query.get("account")
        if account is None and "key" in query:
            account = self._identities.account_of_key(query["key"])
        return account or self._account, query.get("region", self._region)

    def _authorize(self, request: Request) -> None:
        if request.trusted:
            return
        token = request.headers.get(b"x-lambent-admin-token", b"")
        if self._admin_token is None or not hmac.compare_digest(token, self._admin_token.encode()):
            raise AccessDeniedException(
                "This answers over the socket control.sock in the server's data directory, "
                "or with the setting server.admin_token in the header x-lambent-admin-token."
            )

    def _stream_head(self, request_id: str) -> bytes:
        return (
            f"HTTP/1.1 200 OK\r\n{self._answers.date_line()}x-amzn-RequestId: {request_id}\r\n"
            "Content-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
        ).encode()

    def _json(self, request: Request, request_id: str, status: int, value: object) -> tuple[bytes, int]:
        body = json.dumps(value).encode()
        return self._answers.render(status, request_id, body, keep_alive=request.keep_alive), status

    def _render(
        self, request: Request, request_id: str, body: bytes, content_type: str, exchange: Exchange
    ) -> tuple[bytes, int]:
        head = self._answers.render_head(
            200, request_id, len(body), content_type=content_type, keep_alive=request.keep_alive
        )
        if len(body) <= SMALL_BYTES:
            return head + body, 200
        # Not copied: it may be a package.
        exchange.begin(head)
        return body, 200


def _parse_since(text: str) -> float:
    try:
        since = float(text)
    except ValueError:
        since = math.nan
    if not math.isfinite(since):
        raise InvalidParameterValueException(
            f"since must be a number of seconds since the epoch, not {text!r}."
        )
    return since
