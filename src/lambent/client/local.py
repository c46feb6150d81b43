"""Functions that run in this process: what a client of ``Lambda.local`` has in place of a server.

A request is answered as the service answers it: here is what the service's front does, in
``local_run.py`` what a function's process does. Invocations of one function may run at the
same time, in several threads, with one set of module globals.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping
from logging import getLogger
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lambent import limits
from lambent.client.local_run import Handler, Invocation, Outcome, run
from lambent.client.messages import Headers, HttpRequest, HttpResponse
from lambent.model.errors import (
    InvalidRequestContentException,
    RequestEntityTooLargeException,
    ResourceNotFoundException,
    ServiceError,
    UnknownOperationException,
    ValidationException,
)
from lambent.model.functions import LATEST
from lambent.model.names import (
    QUALIFIED_NAME,
    FunctionReference,
    derive_qualifier,
    parse_function_reference,
)
from lambent.wire.eventstream import CHUNK, COMPLETE, CONTENT_TYPE, encode

_ACCOUNT = "000000000000"
_TYPES = ("Event", "RequestResponse", "DryRun")
_PATH = re.compile(
    r"/2015-03-31/functions/(?P<invoked>[^/]*)/invocations"
    r"|/2021-11-15/functions/(?P<streamed>[^/]*)/response-streaming-invocations"
    r"|/2015-03-31/functions/(?P<described>[^/]*)/configuration"
)
_logger = getLogger("lambent.client")


class LocalFunctions:
    """Answers requests by running handlers; shared by threads as far as the handlers are.

    Args:
        handlers: by the functions' names. A name may carry a qualifier (``hello:prod``);
            one without answers for all that have no handler of their own.
        region: of the ARNs.

    Raises:
        ValueError: a name that no function can have, or a second handler for one.
        TypeError: what stands there for a handler cannot be called.
    """

    def __init__(self, handlers: Mapping[str, Handler], region: str = "us-east-1") -> None:
        self._region = region
        self._handlers: dict[tuple[str, str | None], Handler] = {}
        for text, handler in handlers.items():
            reference = parse_function_reference(text)
            if reference is None:
                raise ValueError(f"no function can be called {text!r}")
            if not callable(handler):
                raise TypeError(f"the handler of {text!r} cannot be called: it is {handler!r}")
            place = reference.name, reference.qualifier
            if place in self._handlers:
                raise ValueError(f"{text!r} names a function that has a handler already")
            self._handlers[place] = handler

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the service's answer; the handler has run before.

        Raises:
            KeyboardInterrupt: as everything that ends this process, it passes through a handler.
        """
        request_id = str(uuid.uuid4())
        try:
            return self._answer(request, request_id)
        except ServiceError as error:
            headers = {"content-type": "application/json", "x-amzn-errortype": error.code}
            return _response(error.status, headers, _json(error.body()), request_id)

    def _answer(self, request: HttpRequest, request_id: str) -> HttpResponse:
        address = urlsplit(request.url)
        match = _PATH.fullmatch(address.path)
        if match is None or match.lastgroup is None:
            raise UnknownOperationException
        asked = parse_qs(address.query, keep_blank_values=True).get("Qualifier", [None])[0]
        reference, qualifier = _reference(unquote(match[match.lastgroup]), asked)
        handler = self._find(reference, qualifier)
        if match.lastgroup == "described":
            state = {"FunctionName": reference.name, "State": "Active", "LastUpdateStatus": "Successful"}
            return _response(200, {"content-type": "application/json"}, _json(state), request_id)
        headers = request.headers
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        is_event = kind == "Event"
        invocation = Invocation(
            handler,
            reference.name,
            self._arn(reference, qualifier),
            qualifier,
            _checked_event(request.body, kind),
            # As on AWS it never reaches an event.
            None if is_event else _decoded_client_context(headers.get("x-amz-client-context")),
            headers.get("x-amz-tenant-id"),
            request_id,
        )
        if kind == "DryRun":
            return _response(204, {}, b"", request_id)
        outcome = run(invocation, keep_log=headers.get("x-amz-log-type") == "Tail" and not is_event)
        if is_event:
            if outcome.error_type is not None:
                # Its caller is not told, and nobody tries it again or keeps it.
                _logger.warning("the event of %s failed: %s", invocation.arn, outcome.payload.decode())
            return _response(202, {}, b"", request_id)
        return (_stream if match.lastgroup == "streamed" else _result)(invocation, outcome)

    def _find(self, reference: FunctionReference, qualifier: str | None) -> Handler:
        """Return the handler that is meant.

        Account and region of an ARN are not compared with anything: what is tested has the names of
        the place where it is going to run.
        """
        handlers, name = self._handlers, reference.name
        found = handlers.get((name, qualifier or LATEST)) or handlers.get((name, qualifier))
        found = found or handlers.get((name, None))
        if found is None:
            arn = self._arn(reference, qualifier or LATEST)
            raise ResourceNotFoundException(f"Function not found: {arn}")
        return found

    def _arn(self, reference: FunctionReference, qualifier: str | None) -> str:
        partition, region = reference.partition or "aws", reference.region or self._region
        arn = f"arn:{partition}:lambda:{region}:{reference.account or _ACCOUNT}:function:{reference.name}"
        return arn if qualifier is None else f"{arn}:{qualifier}"


# ----------------------------------------------------------------- what the caller sent


def _reference(text: str, asked: str | None) -> tuple[FunctionReference, str | None]:
    """Return what the caller called a function, and the qualifier that is meant."""
    reference = parse_function_reference(text)
    if reference is None:
        raise _invalid("functionName", text, f"satisfy regular expression pattern: {QUALIFIED_NAME}")
    return reference, derive_qualifier(reference, asked)


def _checked_event(body: bytes, kind: str) -> bytes:
    if kind not in _TYPES:
        raise _invalid("invocationType", kind, f"satisfy enum value set: [{', '.join(_TYPES)}]")
    if kind == "Event" and len(body) > limits.ASYNC_REQUEST_BYTES:
        most = int(limits.ASYNC_REQUEST_BYTES)
        raise RequestEntityTooLargeException(
            f"{len(body)} byte payload is too large for the Event invocation type (limit {most} bytes)"
        )
    if len(body) > limits.SYNC_REQUEST_BYTES:
        most = int(limits.SYNC_REQUEST_BYTES)
        raise RequestEntityTooLargeException(
            f"Request must be smaller than {most} bytes for the InvokeFunction operation"
        )
    if not body:
        return b"{}"
    try:
        json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestContentException(
            f"Could not parse request body into json: Could not parse payload into json: {error}"
        ) from None
    return body


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _decoded_client_context(text: str | None) -> Any:
    if text is None:
        return None
    stripped = text.rstrip("=")
    try:
        value = json.loads(base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.")
    return value


def _invalid(member: str, value: str, rule: str) -> ValidationException:
    return ValidationException.of(
        [f"Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"]
    )


# ----------------------------------------------------------------- the answer


def _result(invocation: Invocation, outcome: Outcome) -> HttpResponse:
    headers = {"content-type": outcome.content_type, "x-amz-executed-version": invocation.version}
    if outcome.error_type is not None:
        headers["x-amz-function-error"] = "Unhandled"
    if outcome.log_tail is not None:
        headers["x-amz-log-result"] = base64.b64encode(outcome.log_tail).decode()
    return _response(200, headers, outcome.payload, invocation.request_id)


def _stream(invocation: Invocation, outcome: Outcome) -> HttpResponse:
    """Answer with the events of a function that does not stream: its result whole, then the end."""
    end = {}
    chunks = b""
    if outcome.error_type is None:
        chunks = encode(CHUNK, outcome.payload)
    else:
        end = {"ErrorCode": outcome.error_type, "ErrorDetails": outcome.payload.decode()}
    if outcome.log_tail is not None:
        end["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    headers = {"content-type": CONTENT_TYPE, "x-amz-executed-version": invocation.version}
    return _response(200, headers, chunks + encode(COMPLETE, _json(end)), invocation.request_id)


def _response(status: int, headers: Mapping[str, str], body: bytes, request_id: str) -> HttpResponse:
    length = {} if status == 204 else {"content-length": str(len(body))}
    return HttpResponse(status, Headers({**headers, **length, "x-amzn-requestid": request_id}), body)


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()
