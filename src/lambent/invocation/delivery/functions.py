"""Functions as destinations: the record becomes an event of theirs, in the queue of this server.

The letter goes and the event comes in one commit: no delivery is lost, none is made twice.

Source: docs/aws-behaviour.md, async 2.3 and 2.7.
"""

from __future__ import annotations

from collections.abc import Callable

from lambent import limits
from lambent.clock import Clock
from lambent.invocation.authorize import Access, Authorizer
from lambent.invocation.delivery.messages import body_of
from lambent.invocation.delivery.services import Outcome
from lambent.invocation.resolve import Resolver
from lambent.model.arns import parse_arn
from lambent.model.errors import ServiceError
from lambent.model.events import DeadLetter, Event, EventTarget
from lambent.model.functions import FunctionKey, FunctionVersion
from lambent.model.identities import Credential
from lambent.model.invocations import Caller, Origin
from lambent.model.policies import Policy
from lambent.storage.contracts import BacklogFull, EventQueue
from lambent.wire.headers import lineage_of, render_trace, request_ids

_HERE = Origin("", is_secure=True)


class FunctionDestinations:
    """Puts records into the event queue.

    Args:
        notice: told of each event that came into the queue.
        find_credential: as whom a function acts: its role; None at level ``none``.
    """

    def __init__(
        self,
        *,
        queue: EventQueue,
        resolver: Resolver,
        authorizer: Authorizer,
        notice: Callable[[Event], None],
        find_credential: Callable[[FunctionVersion], Credential] | None,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._resolver = resolver
        self._authorizer = authorizer
        self._notice = notice
        self._find_credential = find_credential
        self._clock = clock
        self._request_ids = request_ids()

    async def deliver(self, destination: str, number: int, letter: DeadLetter) -> Outcome:
        """Make an event of a letter, which is gone then; return what became of it.

        Args:
            destination: ARN of a function, with or without a qualifier.
            number: of the letter in the queue.
            letter: to be delivered.

        Raises:
            StorageFailed: nothing was changed.
        """
        target = _target(destination)
        now = self._clock.now()
        payload = body_of(letter)
        if len(payload) > limits.ASYNC_REQUEST_BYTES:
            return Outcome(
                f"The record has {len(payload)} bytes; an event may have {limits.ASYNC_REQUEST_BYTES}.",
                is_final=True,
            )
        try:
            resolved = await self._resolver.resolve(*target)
            await self._authorize(letter, target, resolved.policy)
            request_id = next(self._request_ids)
            lineage = lineage_of(target.key.arn())
            event = Event(
                request_id=request_id,
                target=target,
                generation=resolved.version.generation,
                payload=payload,
                trace_id=render_trace(letter.trace_id.encode() or None, now, request_id, lineage),
                accepted_at=now,
            )
            if await self._queue.redrive(number, event):
                self._notice(event)
        except BacklogFull:
            return Outcome("as many events wait as may (async.max_backlog)")
        except ServiceError as error:
            return Outcome(f"{error.code}: {error.message}")
        return Outcome()

    async def _authorize(self, letter: DeadLetter, target: EventTarget, policy: Policy | None) -> None:
        """Ask whether the function that the event was for may call the destination."""
        key = letter.function
        credential = None
        if self._find_credential is not None:
            source = await self._resolver.resolve(*letter.target)
            credential = self._find_credential(source.version)
        elif key.account == target.key.account:
            return
        caller = Caller(key.account, key.region, credential=credential)
        access = Access("lambda:InvokeFunction", target.key.arn(target.qualifier), target.key.account)
        self._authorizer.authorize(caller, access, policy, _HERE)


def _target(destination: str) -> EventTarget:
    arn = parse_arn(destination)
    _, name, *qualifier = arn.resource.split(":")
    return EventTarget(FunctionKey(arn.account, arn.region, name), qualifier[0] if qualifier else None)


__all__ = ["FunctionDestinations"]
