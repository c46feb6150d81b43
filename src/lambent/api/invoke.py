"""Invoke: the order of all checks, and its answer.

The usual call (a name seen before, a function in the cache) runs through
:meth:`InvokeOperation.start` in one go, with no task and no future; whatever is
unusual takes the same steps by way of the codec or the store.

Source of the order: docs/aws-behaviour.md, invoke 1.4.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lambent.api.answers import Answers
from lambent.api.call import Call
from lambent.api.codec import Codec
from lambent.api.payload import check_client_context, check_event
from lambent.api.routes import match
from lambent.clock import Clock
from lambent.invocation.invoker import Invoker
from lambent.invocation.resolve import Resolved, Resolver
from lambent.model import names
from lambent.model.errors import InvalidParameterValueException, InvalidRequestContentException
from lambent.model.functions import FunctionKey
from lambent.model.invocations import Invocation, InvocationResult
from lambent.wire.headers import lineage_of, render_trace

SERVED = frozenset(("FunctionName", "Qualifier", "InvocationType", "LogType", "ClientContext", "Payload"))
_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TARGETS = 16_384
# Callers choose what is remembered; longer texts are parsed each time.
_REMEMBERED_BYTES = 512
_CONNECTION = {True: "Connection: keep-alive\r\n", False: "Connection: close\r\n"}
# Headers whose values the model limits, and those that change what is done.
_CHECKED_HEADERS = frozenset(
    (b"x-amz-invocation-type", b"x-amz-log-type", b"x-amz-tenant-id", b"x-amz-durable-execution-name")
)
_OPTIONS = frozenset(
    (b"x-amzn-requestid", b"x-amz-client-context", b"x-amz-invocation-type", b"x-amz-log-type")
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's target means to one caller: parsed and checked once."""

    location: tuple[FunctionKey, str | None]
    name: str
    lineage: str


class InvokeOperation:
    """The Invoke operation for RequestResponse and DryRun.

    Args:
        finish: takes a call, its whole response, the status and the outcome (``ok`` or
            the kind of function error), once for every call that was not refused.
        draw: gives a number from 0.0 on, below 1.0, for each call of an alias that
            splits its calls.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        resolver: Resolver,
        invoker: Invoker,
        answers: Answers,
        clock: Clock,
        finish: Callable[[Call, bytes, int, str], None],
        draw: Callable[[], float],
    ) -> None:
        self._codec = codec
        self._resolver = resolver
        self._invoker = invoker
        self._answers = answers
        self._clock = clock
        self._finish = finish
        self._draw = draw
        self._targets: dict[tuple[bytes, str, str], Target] = {}

    def start(self, call: Call) -> bool:
        """Take every step for a call whose function is known already.

        Returns:
            False when the store has to be asked first: then :meth:`resolve_and_run` is
            to be awaited.

        Raises:
            ServiceError: the call is refused; nothing ran.
        """
        target = self._find_target(call)
        call.function = target.name
        resolved = self._resolver.cached.get(target.location)
        if resolved is None:
            return False
        self._run(call, target, resolved)
        return True

    async def resolve_and_run(self, call: Call) -> None:
        """Take every step, asking the store what the call executes.

        Raises:
            ServiceError: the call is refused; nothing ran.
        """
        target = self._find_target(call)
        self._run(call, target, await self._resolver.resolve(*target.location))

    def _find_target(self, call: Call) -> Target:
        """Return what is called: from the targets seen before, unless a header has to be checked."""
        request = call.request
        caller = call.caller
        key = (request.target, caller.account, caller.region)
        target = self._targets.get(key)
        if target is None or not _CHECKED_HEADERS.isdisjoint(request.headers):
            target = self._parse(call)
            if len(request.target) <= _REMEMBERED_BYTES:
                if len(self._targets) >= _TARGETS:
                    self._targets.clear()
                self._targets[key] = target
        return target

    def _run(self, call: Call, target: Target, resolved: Resolved) -> None:
        """Check what the caller sends, and run it."""
        request = call.request
        headers = request.headers
        request_id = call.request_id
        client_context = ""
        is_dry_run = False
        tail = False
        # Most calls have none of these headers: one look instead of five.
        if not _OPTIONS.isdisjoint(headers):
            if b"x-amzn-requestid" in headers:
                _check_request_id(headers[b"x-amzn-requestid"])
            if b"x-amz-client-context" in headers:
                client_context = check_client_context(headers[b"x-amz-client-context"].decode("latin-1"))
            is_dry_run = headers.get(b"x-amz-invocation-type") == b"DryRun"
            tail = headers.get(b"x-amz-log-type") == b"Tail"
        payload = check_event(request.body)
        if is_dry_run:
            response = self._answers.render(204, request_id, b"", keep_alive=request.keep_alive)
            self._finish(call, response, 204, "ok")
            return
        trace = render_trace(headers.get(b"x-amzn-trace-id"), self._clock.now(), request_id, target.lineage)
        version, invoked_arn, other, other_share = resolved
        if other is not None and self._draw() < other_share:
            version = other
        invocation = Invocation(request_id, version, invoked_arn, payload, client_context, trace, tail)
        self._invoker.run(invocation, partial(self._done, call, invocation))

    def _done(self, call: Call, invocation: Invocation, result: InvocationResult) -> None:
        payload, function_error, content_type, log_tail, _ = result
        extra = "" if function_error is None else f"X-Amz-Function-Error: {function_error}\r\n"
        if log_tail is not None:
            extra += f"X-Amz-Log-Result: {base64.b64encode(log_tail).decode()}\r\n"
        request_id, version, _, _, _, trace_id, _ = invocation
        head = (
            f"HTTP/1.1 200 OK\r\n{self._answers.date_line()}Content-Type: {content_type}\r\n"
            f"Content-Length: {len(payload)}\r\n{_CONNECTION[call.request.keep_alive]}"
            f"x-amzn-RequestId: {request_id}\r\nx-amzn-Remapped-Content-Length: 0\r\n"
            f"X-Amz-Executed-Version: {version.version}\r\n{extra}X-Amzn-Trace-Id: {trace_id}\r\n\r\n"
        )
        self._finish(call, head.encode() + payload, 200, function_error or "ok")

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
        key = names.locate(reference, call.caller.account, call.caller.region, action="InvokeFunction")
        self._codec.refuse_unserved("Invoke", members, SERVED)
        if members.get("InvocationType") == "Event":
            raise InvalidParameterValueException(
                "InvocationType Event is not served by this version of Lambent."
            )
        return Target((key, qualifier), key.name, lineage_of(key.arn()))


def _check_request_id(given: bytes) -> None:
    if _UUID.fullmatch(given) is None:
        raise InvalidRequestContentException("Request id must be a valid UUID.")
