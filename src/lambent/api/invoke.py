"""Invoke, answered in one piece or as an event stream: the order of all checks, and the answer.

The usual call (a name seen before, a function in the cache) runs through
:meth:`InvokeOperation.start` in one go, with no task and no future; whatever is
unusual takes the same steps by way of the codec or the store.

Source of the order: docs/aws-behaviour.md, invoke 1.4.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

from lambent import limits
from lambent.api.access import invoke_access
from lambent.api.answers import Answers
from lambent.api.call import Call
from lambent.api.codec import Codec
from lambent.api.event_stream import CHUNK_BYTES, messages
from lambent.api.faults import Faults
from lambent.api.large_events import LargeEventCheck
from lambent.api.payload import check_client_context, check_event
from lambent.api.routes import match
from lambent.clock import Clock
from lambent.invocation.authorize import Access, Authorizer
from lambent.invocation.dispatcher import Dispatcher
from lambent.invocation.invoker import Invoker
from lambent.invocation.recursion import check_recursion
from lambent.invocation.resolve import Resolved, Resolver
from lambent.model import names
from lambent.model.errors import (
    InvalidRequestContentException,
    RequestEntityTooLargeException,
    ServiceError,
    ServiceException,
    TooManyRequestsException,
)
from lambent.model.events import Event, EventTarget
from lambent.model.invocations import Invocation, InvocationResult
from lambent.model.policies import Policy
from lambent.side_process import SMALL_BYTES
from lambent.storage.contracts import BacklogFull
from lambent.tasks import Tasks
from lambent.wire.eventstream import CONTENT_TYPE
from lambent.wire.headers import lineage_of, render_trace

SERVED = {
    "Invoke": frozenset(
        ("FunctionName", "Qualifier", "InvocationType", "LogType", "ClientContext", "Payload")
    ),
    "InvokeWithResponseStream": frozenset(
        ("FunctionName", "Qualifier", "InvocationType", "LogType", "ClientContext", "Payload")
    ),
    "InvokeAsync": frozenset(("FunctionName", "InvokeArgs")),
}
"""Members that are acted on, by operation."""

_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TARGETS = 16_384
# Beyond this a copy that joins head and payload costs more than a second write.
_JOIN_BYTES = 65_536
# Callers choose what is remembered; longer texts are parsed each time.
_REMEMBERED_BYTES = 512
_CONNECTION = {True: "Connection: keep-alive\r\n", False: "Connection: close\r\n"}
# Headers whose values the model limits, and those that change what is done.
_CHECKED_HEADERS = frozenset(
    (b"x-amz-invocation-type", b"x-amz-log-type", b"x-amz-tenant-id", b"x-amz-durable-execution-name")
)
_USUAL = (
    (b"x-amz-invocation-type", (b"RequestResponse", b"Event", b"DryRun"), b"Event"),
    (b"x-amz-log-type", (b"None", b"Tail"), b"Tail"),
)
_OPTIONS = frozenset(
    (b"x-amzn-requestid", b"x-amz-client-context", b"x-amz-invocation-type", b"x-amz-log-type")
)

_logger = logging.getLogger("lambent.api")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's target means to one caller: parsed and checked once.

    Attributes:
        is_own: whether the function is of the caller's account.
        access: what it takes to invoke it.
        streams: whether the answer is an event stream.
        done: makes the answer of a result; takes the call, the version that ran and the trace as well.
    """

    location: EventTarget
    name: str
    lineage: str
    is_own: bool
    access: Access
    streams: bool
    done: Callable[[Call, str, str, InvocationResult], None]


class InvokeOperation:
    """The operations that invoke: RequestResponse, Event and DryRun, plain and streamed.

    Args:
        finish: takes a call, its whole response, the status and the outcome (``ok`` or
            the kind of function error), once for every call that was not refused.
        refuse: takes a call that was accepted and could not be kept, and the error.
        draw: gives a number from 0.0 on, below 1.0, for each call of an alias that
            splits its calls.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        resolver: Resolver,
        authorizer: Authorizer,
        invoker: Invoker,
        dispatcher: Dispatcher,
        large_events: LargeEventCheck,
        faults: Faults,
        answers: Answers,
        clock: Clock,
        tasks: Tasks,
        finish: Callable[[Call, bytes, int, str], None],
        refuse: Callable[[Call, ServiceError], None],
        draw: Callable[[], float],
    ) -> None:
        self._codec = codec
        self._resolver = resolver
        self._authorizer = authorizer
        self._invoker = invoker
        self._dispatcher = dispatcher
        self._large_events = large_events
        self._faults = faults
        # Looked at by every call, and empty for nearly all.
        self._armed = faults.armed
        self._answers = answers
        self._clock = clock
        self._tasks = tasks
        self._finish = finish
        self._refuse = refuse
        self._draw = draw
        self._targets: dict[tuple[bytes, str, str], Target] = {}

    def start(self, call: Call) -> bool:
        """Take every step for a call whose function is known already and whose event is small.

        Returns:
            False when the store has to be asked first, or the event is large: then
            :meth:`resolve_and_run` is to be awaited.

        Raises:
            ServiceError: the call is refused; nothing ran.
        """
        target = self._find_target(call)
        call.function = target.name
        resolved = self._resolver.cached.get(target.location)
        if resolved is None or len(call.request.body) > SMALL_BYTES:
            return False
        if call.caller.credential is not None or not target.is_own:
            self._authorize(call, target, resolved.policy)
        self._run(call, target, resolved)
        return True

    async def resolve_and_run(self, call: Call) -> None:
        """Take every step, asking the store what the call executes.

        Raises:
            ServiceError: the call is refused; nothing ran.
        """
        target = self._find_target(call)
        call.function = target.name
        resolved = await self._resolve(call, target)
        event = call.request.body
        if len(event) <= SMALL_BYTES:
            self._run(call, target, resolved)
            return
        problem = await self._large_events.find_problem(event)
        # Again, because the function may be another one by now.
        resolved = await self._resolve(call, target)
        self._run(call, target, resolved, partial(_pass_unless, problem))
        call.request.body = b""

    async def _resolve(self, call: Call, target: Target) -> Resolved:
        """Return what is executed, to who may: a stranger does not learn whether it is there."""
        is_free = call.caller.credential is None and target.is_own
        try:
            resolved = await self._resolver.resolve(*target.location)
        except ServiceError:
            if not is_free:
                self._authorize(call, target, await self._resolver.load_policy(*target.location))
            raise
        if not is_free:
            self._authorize(call, target, resolved.policy)
        return resolved

    def _authorize(self, call: Call, target: Target, policy: Policy | None) -> None:
        self._authorizer.authorize(call.caller, target.access, policy, call.exchange.origin)

    def _find_target(self, call: Call) -> Target:
        """Return what is called: from the targets seen before, unless a header has to be checked."""
        request = call.request
        caller = call.caller
        key = (request.target, caller.account, caller.region)
        target = self._targets.get(key)
        if target is None or (
            not _CHECKED_HEADERS.isdisjoint(request.headers)
            and (target.streams or not _is_usual(request.headers))
        ):
            target = self._parse(call)
            if len(request.target) <= _REMEMBERED_BYTES:
                if len(self._targets) >= _TARGETS:
                    self._targets.clear()
                self._targets[key] = target
        return target

    def _run(
        self,
        call: Call,
        target: Target,
        resolved: Resolved,
        check: Callable[[bytes], bytes] = check_event,
    ) -> None:
        """Check what the caller sends, and run it."""
        request = call.request
        headers = request.headers
        request_id = call.request_id
        client_context = ""
        is_dry_run = is_event = False
        tail = False
        # Most calls have none of these headers: one look instead of five.
        if not _OPTIONS.isdisjoint(headers):
            if b"x-amzn-requestid" in headers:
                _check_request_id(headers[b"x-amzn-requestid"])
            if b"x-amz-client-context" in headers:
                client_context = check_client_context(headers[b"x-amz-client-context"].decode("latin-1"))
            invocation_type = headers.get(b"x-amz-invocation-type")
            is_dry_run, is_event = invocation_type == b"DryRun", invocation_type == b"Event"
            tail = headers.get(b"x-amz-log-type") == b"Tail"
        payload = check(request.body)
        if self._armed and self._faults.strike(call, target.location.key, self._refuse):
            return
        if is_dry_run:
            response = self._answers.render(204, request_id, b"", keep_alive=request.keep_alive)
            self._finish(call, response, 204, "ok")
            return
        trace = render_trace(headers.get(b"x-amzn-trace-id"), self._clock.now(), request_id, target.lineage)
        if is_event:
            self._accept(call, target, resolved, payload, trace)
            return
        version, invoked_arn, other, other_share, _, may_loop = resolved
        if b"x-amzn-trace-id" in headers and not may_loop:
            check_recursion(trace)
        if other is not None and self._draw() < other_share:
            version = other
        invocation = Invocation(request_id, version, invoked_arn, payload, client_context, trace, tail)
        # Without the invocation: a large event is not needed any more once the function has it.
        self._invoker.run(invocation, partial(target.done, call, version.version, trace))

    def _accept(self, call: Call, target: Target, resolved: Resolved, payload: bytes, trace: str) -> None:
        """Queue an event; the 202 leaves when it is on disk, and never otherwise.

        Source: docs/aws-behaviour.md, async 2.1 and 2.7.
        """
        if len(payload) > limits.ASYNC_REQUEST_BYTES:
            raise RequestEntityTooLargeException(
                f"{len(payload)} byte payload is too large for the Event invocation type "
                f"(limit {limits.ASYNC_REQUEST_BYTES} bytes)"
            )
        event = Event(
            request_id=call.request_id,
            target=target.location,
            generation=resolved.version.generation,
            payload=payload,
            trace_id=trace,
            accepted_at=self._clock.now(),
        )
        try:
            stored = self._dispatcher.accept(event)
        except BacklogFull:
            raise TooManyRequestsException("CallerRateLimitExceeded") from None
        stored.add_done_callback(partial(self._accepted, call))

    def _accepted(self, call: Call, stored: asyncio.Future[None]) -> None:
        error = None if stored.cancelled() else stored.exception()
        if error is None and not stored.cancelled():
            response = self._answers.render(202, call.request_id, b"", keep_alive=call.request.keep_alive)
            self._finish(call, response, 202, "ok")
        else:
            _logger.error("event %s could not be stored: %s", call.request_id, error)
            self._refuse(call, ServiceException("The event could not be stored; it may run nevertheless."))

    def _done(
        self, call: Call, version: str, trace_id: str, result: InvocationResult, outcome: str = "ok"
    ) -> None:
        payload, function_error, content_type, log_tail, _ = result
        extra = ""
        if function_error is not None:
            outcome = function_error
            extra = f"X-Amz-Function-Error: {function_error}\r\n"
        if log_tail is not None:
            extra += f"X-Amz-Log-Result: {base64.b64encode(log_tail).decode()}\r\n"
        head = (
            f"HTTP/1.1 200 OK\r\n{self._answers.date_line()}Content-Type: {content_type}\r\n"
            f"Content-Length: {len(payload)}\r\n{_CONNECTION[call.request.keep_alive]}"
            f"x-amzn-RequestId: {call.request_id}\r\nx-amzn-Remapped-Content-Length: 0\r\n"
            f"X-Amz-Executed-Version: {version}\r\n{extra}X-Amzn-Trace-Id: {trace_id}\r\n\r\n"
        )
        response = head.encode()
        if len(payload) > _JOIN_BYTES:
            call.exchange.begin(response)
            response = payload
        else:
            response += payload
        self._finish(call, response, 200, outcome)

    def _done_in_stream(self, call: Call, version: str, trace_id: str, result: InvocationResult) -> None:
        """Answer with the result's event stream as the payload; errors and log are inside of it."""
        if len(result.payload) > CHUNK_BYTES:
            self._tasks.start(self._stream_large(call, version, trace_id, result), "event stream")
        else:
            self._send_stream(call, version, trace_id, b"".join(messages(result)), result.function_error)

    async def _stream_large(self, call: Call, version: str, trace_id: str, result: InvocationResult) -> None:
        """Make one message in each turn of the event loop: it is others' turn between them."""
        stream = BytesIO()
        for message in messages(result):
            stream.write(message)
            await self._clock.sleep(0)
        self._send_stream(call, version, trace_id, stream.getvalue(), result.function_error)

    def _send_stream(
        self, call: Call, version: str, trace_id: str, stream: bytes, function_error: str | None
    ) -> None:
        answer = InvocationResult(stream, content_type=CONTENT_TYPE)
        self._done(call, version, trace_id, answer, function_error or "ok")

    def _parse(self, call: Call) -> Target:
        """Check every member by the model: all problems in one answer."""
        request = call.request
        query = request.query_pairs()
        route = match("POST", request.path, query)
        members = self._codec.parse(
            route.operation, route.labels, query, request.text_headers(), request.body
        )
        reference = names.parse_function_reference(members["FunctionName"])
        assert reference is not None
        qualifier = names.derive_qualifier(reference, members.get("Qualifier"))
        key = names.resolve_key(reference, call.caller.account, call.caller.region)
        self._codec.refuse_unserved(route.operation, members, SERVED[route.operation])
        streams = route.operation == "InvokeWithResponseStream"
        return Target(
            location=EventTarget(key, qualifier),
            name=key.name,
            lineage=lineage_of(key.arn()),
            is_own=key.account == call.caller.account,
            access=invoke_access(key, qualifier),
            streams=streams,
            done=self._done_in_stream if streams else self._done,
        )


def _is_usual(headers: dict[bytes, bytes]) -> bool:
    """Tell whether the headers that the model limits have values that need no look at the model."""
    return all(headers.get(name, value) in usual for name, usual, value in _USUAL) and not (
        b"x-amz-tenant-id" in headers or b"x-amz-durable-execution-name" in headers
    )


def _pass_unless(problem: str, event: bytes) -> bytes:
    if problem:
        raise InvalidRequestContentException(problem)
    return event


def _check_request_id(given: bytes) -> None:
    if _UUID.fullmatch(given) is None:
        raise InvalidRequestContentException("Request id must be a valid UUID.")
