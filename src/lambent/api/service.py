"""One request to one answer: caller, route, operation, answer, a line in the log.

Invoke goes straight to :mod:`lambent.api.invoke`; every other operation runs as a
task of its own through the codec. No failure leaves without an AWS error code.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lambent.api.access import find_accesses
from lambent.api.answers import Answers
from lambent.api.authenticate import Authenticator
from lambent.api.call import Call
from lambent.api.codec import Codec, parse_request
from lambent.api.controls import Controls
from lambent.api.exchange import Exchange
from lambent.api.faults import Faults
from lambent.api.invoke import SERVED, InvokeOperation
from lambent.api.large_events import LargeEventCheck
from lambent.api.operations import OPERATIONS
from lambent.api.origin import OriginCheck
from lambent.api.request import Request
from lambent.api.routes import Route, match
from lambent.api.security_tokens import SecurityTokens, is_meant, render_error
from lambent.clock import Clock
from lambent.control.operation import Call as ControlCall
from lambent.control.operation import Services
from lambent.invocation.authorize import Authorizer
from lambent.invocation.dispatcher import Dispatcher
from lambent.invocation.invoker import Invoker
from lambent.invocation.resolve import Resolver
from lambent.model.errors import (
    AuthenticationError,
    ResourceNotFoundException,
    ServiceError,
    ServiceException,
    TooManyRequestsException,
    UnknownOperationException,
)
from lambent.model.observer import NOBODY, Observer
from lambent.side_process import SMALL_BYTES, SideProcess
from lambent.tasks import Tasks
from lambent.wire.headers import request_ids
from lambent.wire.sigv4 import hash_body

_logger = logging.getLogger("lambent.api")
# As every path, this one may end in a slash.
_INVOCATIONS = (b"/invocations", b"/invocations/")
_OWN_PATHS = b"/_lambent/"


class Service:
    """What stands behind the connections; one for all listeners.

    Args:
        side_process: reads large bodies.
        draw: gives a number from 0.0 on, below 1.0, where an alias splits its calls.
    """

    def __init__(
        self,
        *,
        answers: Answers,
        authenticator: Authenticator,
        origins: OriginCheck,
        codec: Codec,
        resolver: Resolver,
        authorizer: Authorizer,
        invoker: Invoker,
        dispatcher: Dispatcher,
        large_events: LargeEventCheck,
        side_process: SideProcess,
        faults: Faults,
        services: Services,
        security_tokens: SecurityTokens,
        controls: Controls,
        observer: Observer,
        clock: Clock,
        tasks: Tasks,
        scheme: str,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._answers = answers
        self._authenticator = authenticator
        self._is_checking = authenticator.is_checking
        self._origins = origins
        self._codec = codec
        self._invoke = InvokeOperation(
            codec=codec,
            resolver=resolver,
            authorizer=authorizer,
            invoker=invoker,
            dispatcher=dispatcher,
            large_events=large_events,
            faults=faults,
            answers=answers,
            clock=clock,
            tasks=tasks,
            finish=self._finish,
            refuse=self._refuse,
            draw=draw,
        )
        self._resolver = resolver
        self._authorizer = authorizer
        self._services = services
        self._security_tokens = security_tokens
        self._controls = controls
        self._side_process = side_process
        self._observer = observer
        self._clock = clock
        self._tasks = tasks
        self._scheme = scheme
        self._request_ids = request_ids()

    # -- connection.Handler

    def handle(self, request: Request, exchange: Exchange, body_hash: bytes = b"") -> None:
        """Answer a request, now or later; its body's hash is given where it has been made already."""
        call = Call(request, exchange, next(self._request_ids), NOBODY)
        path = request.path
        try:
            # Our own paths have doors of their own; nobody signs for them.
            is_signed = self._is_checking and not path.startswith(_OWN_PATHS)
            if is_signed or not self._is_checking:
                caller = self._authenticator.identify(request, body_hash)
                if caller is None:
                    self._tasks.start(self._hash_and_handle(request, exchange), "signature")
                    return
                call.caller = caller
            # No web page can sign, so what is signed may come by any name and from anywhere.
            if not is_signed and not request.trusted:
                self._origins.check(request.headers)
            if path.endswith(_INVOCATIONS) and request.method == b"POST":
                call.operation = "Invoke"
                if not self._invoke.start(call):
                    self._tasks.start(self._resolve_and_run(call), "Invoke")
            elif path.startswith(_OWN_PATHS):
                self._tasks.start(self._control(call), "control")
            elif is_meant(request.method, path, request.body):
                self._answer_tokens(call)
            else:
                self._tasks.start(self._operation(call), "operation")
        except AuthenticationError as error:
            self._refuse_caller(call, error)
        except ServiceError as error:
            self._refuse(call, error)
        except Exception:  # noqa: BLE001 - a request is answered whatever happens; _fail logs it
            self._fail(call)

    def max_body_bytes(self, request: Request) -> int:
        """Return how long the body of such a request may be; 413 beyond it."""
        return self._codec.max_body_bytes(_operation_of(request))

    def too_large(self, request: Request) -> bytes:
        """Return the 413 of the request's operation."""
        operation = _operation_of(request)
        return self._refuse_unread(self._codec.too_large(operation), operation)

    def broken(self, error: ServiceError) -> bytes:
        """Return the response to what is no request."""
        return self._refuse_unread(error, "-")

    async def _hash_and_handle(self, request: Request, exchange: Exchange) -> None:
        """Hash a large body beside the event loop, and begin again."""
        self.handle(request, exchange, await asyncio.to_thread(hash_body, request.body))

    # -- Invoke

    async def _resolve_and_run(self, call: Call) -> None:
        try:
            await self._invoke.resolve_and_run(call)
        except ServiceError as error:
            await self._refuse_with_hint(call, error)
        except Exception:  # noqa: BLE001 - a request is answered whatever happens; _fail logs it
            self._fail(call)

    # -- everything else

    async def _operation(self, call: Call) -> None:
        request = call.request
        try:
            query = request.query_pairs()
            route = match(request.method.decode("latin-1"), request.path, query)
            call.operation = route.operation
            call.function = route.labels.get("FunctionName", "")
            if route.operation == "InvokeAsync":
                # The older path of events. Source: docs/aws-behaviour.md, invoke 1.6
                request.headers[b"x-amz-invocation-type"] = b"Event"
            if route.operation in SERVED:
                await self._invoke.resolve_and_run(call)
                return
            status, headers, body = await self._run(call, route, query)
        except ServiceError as error:
            await self._refuse_with_hint(call, error)
        except Exception:  # noqa: BLE001 - a request is answered whatever happens; _fail logs it
            self._fail(call)
        else:
            response = self._answers.render(
                status, call.request_id, body, headers, keep_alive=request.keep_alive
            )
            self._finish(call, response, status, "ok")

    async def _run(
        self, call: Call, route: Route, query: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Parse the input, run the operation, render its output."""
        operation = OPERATIONS.get(route.operation)
        request = call.request
        parts = (route.operation, route.labels, query, request.text_headers(), request.body)
        if len(request.body) <= SMALL_BYTES:
            members = self._codec.parse(*parts)
        else:
            members = await self._side_process.run(parse_request, *parts)
        self._codec.refuse_unserved(
            route.operation, members, None if operation is None else operation.members
        )
        assert operation is not None
        if call.caller.credential is not None:
            await self._authorize(call, route.operation, members)
        host = request.headers.get(b"host", b"localhost").decode("latin-1")
        control_call = ControlCall(
            caller=call.caller,
            request_id=call.request_id,
            input=members,
            base_url=f"{self._scheme}://{host}",
            warnings=[],
        )
        output = await operation.run(self._services, control_call)
        status, headers, body = self._codec.render(route.operation, output or {})
        for warning in control_call.warnings:
            _logger.warning("%s %s: %s", route.operation, call.function, warning)
        if control_call.warnings:
            headers = [*headers, ("x-lambent-warning", "; ".join(control_call.warnings))]
        return status, headers, body

    async def _authorize(self, call: Call, operation: str, members: Mapping[str, Any]) -> None:
        """Ask the policies of the caller and of the function; another account's refuses by itself."""
        function, accesses = find_accesses(operation, members, call.caller)
        policy = None
        if function is not None:
            if function[0].account != call.caller.account:
                return
            policy = await self._resolver.load_policy(*function)
        for access in accesses:
            self._authorizer.authorize(call.caller, access, policy, call.exchange.origin)
            # The others are on roles, or on what is not there yet.
            policy = None

    def _answer_tokens(self, call: Call) -> None:
        try:
            body = self._security_tokens.answer(call)
        except ServiceError as error:
            self._refuse_tokens(call, error)
        else:
            response = self._answers.render(
                200, call.request_id, body, content_type="text/xml", keep_alive=call.request.keep_alive
            )
            self._finish(call, response, 200, "ok")

    def _refuse_tokens(self, call: Call, error: ServiceError) -> None:
        response = self._answers.render(
            error.status,
            call.request_id,
            render_error(error, call.request_id),
            content_type="text/xml",
            keep_alive=call.request.keep_alive,
        )
        self._finish(call, response, error.status, error.code)

    async def _control(self, call: Call) -> None:
        call.operation = call.request.path.decode("latin-1")
        try:
            response, status = await self._controls.answer(call.request, call.request_id, call.exchange)
        except ServiceError as error:
            self._refuse(call, error)
        except Exception:  # noqa: BLE001 - a request is answered whatever happens; _fail logs it
            self._fail(call)
        else:
            self._finish(call, response, status, "ok")

    # -- the end of every request

    def _finish(self, call: Call, response: bytes, status: int, outcome: str) -> None:
        request = call.request
        if request.method == b"HEAD":
            response = response[: response.index(b"\r\n\r\n") + 4]
        call.exchange.respond(response, keep_alive=request.keep_alive)
        headers = request.headers
        self._observer.request_answered(
            call.request_id,
            call.operation,
            call.caller,
            call.function,
            status,
            outcome,
            self._clock.monotonic() - request.received_at,
            headers.get(b"amz-sdk-invocation-id"),
            headers.get(b"amz-sdk-request"),
        )

    def _refuse(self, call: Call, error: ServiceError, headers: Sequence[tuple[str, str]] = ()) -> None:
        if call.exchange.is_streaming:
            # Half an answer is under way, in which an error would be taken for a part of it.
            call.exchange.abort()
        outcome = error.code
        if isinstance(error, TooManyRequestsException):
            outcome += f" reason={error.reason} limit={error.limit}"
            call.exchange.rest()
        response = self._answers.render_error(
            error, call.request_id, headers, keep_alive=call.request.keep_alive
        )
        self._finish(call, response, error.status, outcome)

    def _refuse_caller(self, call: Call, error: AuthenticationError) -> None:
        """Refuse who did not prove to be anybody; a path or method that no operation has comes before.

        Source: docs/aws-behaviour.md, versions-permissions 5.8.
        """
        request = call.request
        if is_meant(request.method, request.path, request.body):
            self._refuse_tokens(call, error)
            return
        refusal: ServiceError = error
        try:
            call.operation = match(
                request.method.decode("latin-1"), request.path, request.query_pairs()
            ).operation
        except UnknownOperationException as unknown:
            refusal = unknown
        self._refuse(call, refusal)

    async def _refuse_with_hint(self, call: Call, error: ServiceError) -> None:
        """Refuse, and say where else a function exists: a frequent mistake with credentials."""
        hints = []
        # Who has to prove who they are is not told of others.
        if isinstance(error, ResourceNotFoundException) and call.function and not self._is_checking:
            try:
                places = await self._services.functions.elsewhere(call.function)
            except Exception:
                _logger.exception("request %s is refused without a hint", call.request_id)
                places = []
            here = (call.caller.account, call.caller.region)
            # Where the caller has one of that name, something else is missing.
            if places and here not in [(key.account, key.region) for key in places]:
                text = ", ".join(f"account {key.account} in {key.region}" for key in places)
                hints = [("x-lambent-hint", f"A function named {call.function} exists in {text}.")]
        self._refuse(call, error, hints)

    def _fail(self, call: Call) -> None:
        """Answer for a fault of ours; called while the exception is handled."""
        _logger.exception("request %s failed", call.request_id)  # noqa: LOG004 - inside the caller's handler
        self._refuse(call, ServiceException("An internal error occurred. The server's log has the details."))

    def _refuse_unread(self, error: ServiceError, operation: str | None) -> bytes:
        request_id = next(self._request_ids)
        self._observer.request_answered(
            request_id, operation or "-", NOBODY, "", error.status, error.code, 0.0, None, None
        )
        return self._answers.render_error(error, request_id, keep_alive=False)


def _operation_of(request: Request) -> str | None:
    if request.method == b"POST" and request.path.endswith(_INVOCATIONS):
        return "Invoke"
    try:
        return match(request.method.decode("latin-1"), request.path, request.query_pairs()).operation
    except ServiceError:
        return None
