"""``/_lambent/events``: events that wait or run, to be seen, counted and cancelled.

::

    GET           ?function=&after=&limit=    {"events": […], "next": 57}
    GET  /counts                              {"functions": […]}
    POST /cancel  {"requestIds": […]}         {"cancelled": […], "refused": […]}

``next`` is the ``after`` of the following page, null behind the last one. The elements of all
lists are objects with ``requestId``; those of ``functions`` have the counts of
:meth:`lambent.model.observer.Observer.event_happened` since the server began, and ``waiting``,
``running`` and ``oldestSeconds`` as they are now.

Source: docs/aws-behaviour.md, async 2.7.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lambent.api.dead_letters import parse_number
from lambent.api.json_body import parse_struct
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.model.errors import UnknownOperationException
from lambent.model.events import QueuedEvent
from lambent.model.functions import FunctionKey
from lambent.storage.contracts import EventQueue

_PAGE = 1000
_NOTHING: Mapping[str, float] = {
    "received": 0,
    "waiting": 0,
    "running": 0,
    "oldestSeconds": 0.0,
    "retried": 0,
    "succeeded": 0,
    "dropped": 0,
    "dead": 0,
    "delivered": 0,
    "undeliverable": 0,
}


class _Chosen(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which events a POST is about."""

    request_ids: list[str]


class QueuedEvents:
    """Answers for an account and region; the caller has been let in before."""

    def __init__(
        self, queue: EventQueue, clock: Clock, counts: Callable[[], Mapping[FunctionKey, Mapping[str, int]]]
    ) -> None:
        self._queue = queue
        self._counts = counts
        self._clock = clock

    async def answer(
        self, request: Request, rest: bytes, query: Mapping[str, str], place: tuple[str, str]
    ) -> bytes:
        """Return the JSON that answers a request.

        Args:
            request: its method and body count.
            rest: of the path, behind ``events/``.
            query: decoded.
            place: account and region.

        Raises:
            InvalidParameterValueException: a parameter or the body cannot be read.
            UnknownOperationException: no such path, or not with this method.
        """
        match request.method, rest:
            case b"GET", b"":
                return await self._list(place, query)
            case b"GET", b"counts":
                return await self._count(*place)
            case b"POST", b"cancel":
                return await self._cancel(place, request.body)
        raise UnknownOperationException(status=405)

    async def _list(self, place: tuple[str, str], query: Mapping[str, str]) -> bytes:
        after = parse_number(query, "after", 0, range(10**18))
        limit = parse_number(query, "limit", _PAGE, range(1, 1001))
        found = await self._queue.queued(*place, query.get("function"), after=after, limit=limit)
        now = self._clock.now()
        following = found[-1].number if len(found) == limit else None
        return json.dumps({"events": [_describe(one, now) for one in found], "next": following}).encode()

    async def _count(self, account: str, region: str) -> bytes:
        now = self._clock.now()
        functions: dict[str, dict[str, Any]] = {}
        for key, counts in self._counts().items():
            if (key.account, key.region) == (account, region):
                functions[key.name] = {**_NOTHING, **counts}
        for target, waiting, running, oldest in await self._queue.summary(account, region):
            function = functions.setdefault(target.key.name, dict(_NOTHING))
            function["waiting"] += waiting
            function["running"] += running
            function["oldestSeconds"] = max(function["oldestSeconds"], now - oldest)
        shown = [{"function": name, **function} for name, function in sorted(functions.items())]
        return json.dumps({"functions": shown}).encode()

    async def _cancel(self, place: tuple[str, str], body: bytes) -> bytes:
        chosen = parse_struct(body, _Chosen)
        cancelled, refused = [], []
        for request_id in dict.fromkeys(chosen.request_ids):
            event = await self._queue.cancel(*place, request_id)
            if event is None:
                refused.append(
                    {
                        "requestId": request_id,
                        "code": "ResourceNotFoundException",
                        "message": "No such event waits. What runs cannot be cancelled.",
                    }
                )
            else:
                cancelled.append({"requestId": request_id, "function": event.target.key.name})
        return json.dumps({"cancelled": cancelled, "refused": refused}).encode()


def _describe(queued: QueuedEvent, now: float) -> dict[str, Any]:
    event = queued.event
    return {
        "requestId": event.request_id,
        "function": event.target.key.name,
        "qualifier": event.target.qualifier,
        "state": "running" if queued.is_running else "waiting",
        "attempt": event.attempts + 1,
        "acceptedAt": event.accepted_at,
        "ageSeconds": now - event.accepted_at,
        "due": queued.due,
        "lastError": event.last_error,
        "interruptions": event.interruptions,
        "redrivenFrom": event.redriven_from,
        "payloadBytes": queued.payload_bytes,
    }


__all__ = ["QueuedEvents"]
