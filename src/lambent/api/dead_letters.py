"""``/_lambent/dead-letters``: events that failed for good, to be seen, redriven and purged.

::

    GET                    ?function=&after=&limit=      {"deadLetters": […], "next": 57}
    GET  /<request id>                                   one of them, as in the list
    POST /redrive          {"requestIds": […]}           {"redriven": […], "refused": […]}
                           or {"function": "f"}
    POST /purge            {"function": "f"}             {"purged": […]}
                           or {"all": true}

``next`` is the ``after`` of the following page, null behind the last one. The elements of all
lists are objects with ``requestId``; those of ``redriven`` have the new event's, and the old
one's as ``redrivenFrom``.

Source: docs/aws-behaviour.md, async 2.7.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

import msgspec

from lambent.api.json_body import parse_struct
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.invocation.delivery.deliveries import Deliveries
from lambent.invocation.dispatcher import Dispatcher
from lambent.invocation.resolve import Resolver
from lambent.model.errors import (
    InvalidParameterValueException,
    ResourceNotFoundException,
    ServiceError,
    ServiceException,
    TooManyRequestsException,
    UnknownOperationException,
)
from lambent.model.events import Condition, DeadLetter, Event
from lambent.storage.contracts import BacklogFull, EventQueue, StorageFailed
from lambent.wire.headers import lineage_of, render_trace, request_ids

_PAGE = 100
# When its letters are larger together, a page ends, and so do those that are redriven together.
_PAGE_BYTES = 4_000_000
# They share a commit.
_REDRIVEN_AT_ONCE = 16
# Refusals after which the others of a function would be refused as well.
_NO_ROOM = frozenset(("TooManyRequestsException", "ServiceException"))

_Outcome: TypeAlias = dict[str, str | None]
_logger = logging.getLogger("lambent.events")


class _Chosen(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which dead letters a POST is about: exactly one of the members is given."""

    request_ids: list[str] | None = None
    function: str | None = None
    all: bool | None = None


class DeadLetters:
    """Answers for an account and region; the caller has been let in before."""

    def __init__(
        self,
        *,
        queue: EventQueue,
        dispatcher: Dispatcher,
        deliveries: Deliveries,
        resolver: Resolver,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._deliveries = deliveries
        self._dispatcher = dispatcher
        self._resolver = resolver
        self._clock = clock
        self._request_ids = request_ids()

    async def answer(
        self, request: Request, rest: bytes, query: Mapping[str, str], place: tuple[str, str]
    ) -> bytes:
        """Return the JSON that answers a request.

        Args:
            request: its method and body count.
            rest: of the path, behind ``dead-letters/``.
            query: decoded.
            place: account and region.

        Raises:
            InvalidParameterValueException: a parameter or the body cannot be read.
            ResourceNotFoundException: the event has no dead letter.
            UnknownOperationException: no such path, or not with this method.
        """
        match request.method, rest:
            case b"GET", b"":
                return await self._list(*place, query)
            case b"GET", _:
                request_id = unquote(rest.decode("latin-1"))
                return b"".join(self._render((await self._find(*place, request_id))[1]))
            case b"POST", b"redrive":
                return await self._redrive(*place, _parse(request.body, "requestIds", "function"))
            case b"POST", b"purge":
                chosen = _parse(request.body, "function", "all")
                purged = await self._queue.purge(*place, chosen.function)
                return _encode({"purged": [{"requestId": request_id} for request_id in purged]})
        raise UnknownOperationException(status=405)

    async def _list(self, account: str, region: str, query: Mapping[str, str]) -> bytes:
        after = parse_number(query, "after", 0, range(10**18))
        limit = parse_number(query, "limit", _PAGE, range(1, 1001))
        function = query.get("function")
        found = await self._queue.dead_letters(
            account, region, function, after=after, limit=limit, max_bytes=_PAGE_BYTES
        )
        is_last = not found
        if found:
            after = found[-1][0]
            # A page that is not full ended at its last letter, or at a large one.
            is_last = len(found) < limit and not await self._queue.dead_letters(
                account, region, function, after=after, limit=1, max_bytes=1
            )
        parts: list[bytes] = []
        for _, letter in found:
            parts += [b", " if parts else b"", *self._render(letter)]
        following = b"null" if is_last else str(after).encode()
        return b"".join([b'{"deadLetters": [', *parts, b'], "next": ', following, b"}"])

    async def _find(self, account: str, region: str, request_id: str) -> tuple[int, DeadLetter]:
        found = await self._queue.dead_letter(account, region, request_id)
        if found is None:
            raise ResourceNotFoundException(f"The event {request_id} has no dead letter.")
        return found

    def _render(self, letter: DeadLetter) -> list[bytes]:
        """Return a dead letter as JSON, in parts: payload and response are JSON, and may be long."""
        context = letter.record["requestContext"]
        shown = {
            "requestId": letter.request_id,
            "function": letter.function.name,
            "qualifier": letter.qualifier,
            "state": letter.state,
            "at": letter.at,
            "condition": context["condition"],
            "approximateInvokeCount": context["approximateInvokeCount"],
            "redrivenFrom": context.get("redrivenFrom"),
            "error": letter.error,
            "logTail": letter.log_tail,
            "destination": letter.destination,
            "form": letter.form,
            "deliveryError": self._deliveries.error_of(letter),
        }
        parts = [_encode(shown)[:-1], b', "record": ', _encode(letter.record)]
        if letter.response is not None:
            parts[-1] = parts[-1][:-1] + b', "responsePayload": '
            parts += [letter.response, b"}"]
        return [*parts, b', "payload": ', letter.payload, b"}"]

    # -- redrive

    async def _redrive(self, account: str, region: str, chosen: _Chosen) -> bytes:
        outcomes: list[_Outcome] = []
        if chosen.request_ids is None:
            await self._redrive_all(account, region, chosen.function, outcomes)
        else:
            ids = list(dict.fromkeys(chosen.request_ids))
            for at in range(0, len(ids), _REDRIVEN_AT_ONCE):
                named = (
                    self._redrive_named(account, region, each) for each in ids[at : at + _REDRIVEN_AT_ONCE]
                )
                outcomes += await asyncio.gather(*named)
        redriven = [each for each in outcomes if "code" not in each]
        return _encode({"redriven": redriven, "refused": [each for each in outcomes if "code" in each]})

    async def _redrive_all(
        self, account: str, region: str, function: str | None, outcomes: list[_Outcome]
    ) -> None:
        """Redrive what a function has at the moment, until there is no room.

        Not the records of events that succeeded, which wait for their destination; and not
        what fails meanwhile, perhaps for the second time.
        """
        begun = self._clock.now()
        after = 0
        # An event may have two letters: one for its destination and one for the dead-letter queue.
        seen: set[str] = set()
        while True:
            found = await self._queue.dead_letters(
                account, region, function, after=after, limit=_REDRIVEN_AT_ONCE, max_bytes=_PAGE_BYTES
            )
            if not found:
                return
            failed = {
                letter.request_id: (number, letter)
                for number, letter in found
                if letter.at <= begun
                and letter.record["requestContext"]["condition"] != Condition.SUCCESS
                and letter.request_id not in seen
            }
            seen.update(failed)
            made = await asyncio.gather(*(self._redrive_one(*each) for each in failed.values()))
            outcomes += made
            if found[-1][1].at > begun or any(one.get("code") in _NO_ROOM for one in made):
                return
            after = found[-1][0]

    async def _redrive_named(self, account: str, region: str, request_id: str) -> _Outcome:
        try:
            found = await self._find(account, region, request_id)
        except ResourceNotFoundException as error:
            return _refusal(request_id, error)
        return await self._redrive_one(*found)

    async def _redrive_one(self, number: int, letter: DeadLetter) -> _Outcome:
        """Return what became of one: a new event of the function that is there now, or a refusal."""
        target = letter.target
        now = self._clock.now()
        request_id = next(self._request_ids)
        try:
            resolved = await self._resolver.resolve(*target)
            event = Event(
                request_id=request_id,
                target=target,
                generation=resolved.version.generation,
                payload=letter.payload,
                trace_id=render_trace(None, now, request_id, lineage_of(target.key.arn())),
                accepted_at=now,
                redriven_from=letter.request_id,
            )
            if not await self._queue.redrive(number, event):
                raise ResourceNotFoundException(f"The event {letter.request_id} has no dead letter.")
        except BacklogFull:
            return _refusal(letter.request_id, TooManyRequestsException("CallerRateLimitExceeded"))
        except StorageFailed as error:
            _logger.error("the dead letter of %s could not be redriven: %s", letter.request_id, error)
            return _refusal(letter.request_id, ServiceException("The event could not be stored."))
        except ServiceError as error:
            return _refusal(letter.request_id, error)
        self._dispatcher.notice(event)
        return {"requestId": request_id, "redrivenFrom": letter.request_id, "function": target.key.name}


def _refusal(request_id: str, error: ServiceError) -> _Outcome:
    return {"requestId": request_id, "code": error.code, "message": error.message}


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def _parse(body: bytes, *allowed: str) -> _Chosen:
    chosen = parse_struct(body, _Chosen)
    given = {
        "requestIds": chosen.request_ids is not None,
        "function": chosen.function is not None,
        "all": bool(chosen.all),
    }
    if [name for name, is_given in given.items() if is_given] not in [[name] for name in allowed]:
        raise InvalidParameterValueException(f"The body must have either {' or '.join(allowed)}.")
    return chosen


def parse_number(query: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    """Return a whole number of a query.

    Raises:
        InvalidParameterValueException: it is none, or not an allowed one.
    """
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) in allowed):
        raise InvalidParameterValueException(
            f"{name} must be a whole number of {allowed[0]} to {allowed[-1]}, not {text!r}."
        )
    return int(text)


__all__ = ["DeadLetters", "parse_number"]
