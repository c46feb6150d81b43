"""The client without I/O: builds, signs, reads answers and decides about the next attempt.

Each operation is a generator that yields what is to be done (see :mod:`lambent.client.exchanges`) and
returns what the caller gets. The shells for threads and for asyncio carry the steps out; everything
that both need stands here, once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from random import random
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

from lambent.client.answers import clock_offset_s, decoded_body, failure_of
from lambent.client.credentials import UNSIGNED, Credentials, Unsigned
from lambent.client.errors import (
    CallTimeout,
    ConfigurationError,
    DecodingError,
    LambentError,
    ServiceError,
    TransportError,
    ValidationError,
)
from lambent.client.exchanges import Exchange, Steps, total_timeout
from lambent.client.messages import HttpRequest, HttpResponse
from lambent.client.options import MEMBERS, AfterResponse, BeforeSign, ClientOptions, check_options
from lambent.client.payloads import UNSET, encode_client_context, encode_payload
from lambent.client.requests import InvokeRequest, LogType
from lambent.client.results import InvokeResult
from lambent.client.retries import Gate, Policy, Quota, Retries, Timeout
from lambent.client.settings import Settings, Who, parse_endpoint
from lambent.clock import Clock, SystemClock
from lambent.wire import sigv4
from lambent.wire.headers import request_ids

_logger = logging.getLogger("lambent.client")
# Has to be given a level of its own: a payload is nobody's business by default.
_payloads = logging.getLogger("lambent.client.payloads")

_MAX_CLOCK_ERROR_S = 240.0
_FIRST_POLL_S = 0.05
_POLL_S = 1.0
_HEADERS = {
    "invocation_type": "x-amz-invocation-type",
    "log_type": "x-amz-log-type",
    "client_context": "x-amz-client-context",
    "durable_execution_name": "x-amz-durable-execution-name",
    "tenant_id": "x-amz-tenant-id",
}
_UNSIGNED_HEADERS = frozenset(
    {
        "accept-encoding",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "content-length",
        "user-agent",
        "x-amzn-trace-id",
    }
)
_IN_TRACES = "-=;:+&[]{}\"',"


class Operation(NamedTuple):
    """AWS's name of an operation, and where it is found."""

    name: str
    method: str
    before: str
    after: str


INVOKE = Operation("Invoke", "POST", "/2015-03-31/functions/", "/invocations")
STREAM = Operation(
    "InvokeWithResponseStream", "POST", "/2021-11-15/functions/", "/response-streaming-invocations"
)
CONFIGURATION = Operation("GetFunctionConfiguration", "GET", "/2015-03-31/functions/", "/configuration")


class Call:
    """One call: what all its attempts have in common."""

    __slots__ = (
        "after_response",
        "before_sign",
        "body",
        "clock_offset",
        "deadline",
        "dry",
        "endpoint_url",
        "gate",
        "headers",
        "idempotent",
        "operation",
        "path",
        "region",
        "retries",
        "timeout",
        "timings",
        "who",
    )

    operation: Operation
    path: str
    headers: dict[str, str]
    body: bytes
    timeout: Timeout
    retries: Retries
    idempotent: bool
    endpoint_url: str | None
    region: str | None
    who: Who | None
    before_sign: BeforeSign | None
    after_response: AfterResponse | None
    gate: Gate | None
    dry: bool
    deadline: float | None
    clock_offset: float
    timings: list[float]


class Core:
    """Everything of a client but its connections; shared by threads, or by the tasks of a loop.

    Args:
        options: as the client was given them.
        environ: the process's variables; given by tests alone.
        clock: of the machine; given by tests alone.
    """

    def __init__(
        self, options: ClientOptions, *, environ: Mapping[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        self.settings = Settings(
            endpoint_url=options.get("endpoint_url"),
            region_name=options.get("region_name"),
            profile_name=options.get("profile_name"),
            credentials=options.get("credentials"),
            app_id=options.get("app_id"),
            environ=environ,
        )
        self.clock = SystemClock() if clock is None else clock
        self.random = random
        self._recorders: dict[int, list[HttpRequest]] = {}
        self._timeout = _timeout_of(options.get("timeout"), Timeout())
        retries = options.get("retries")
        # What stands in a variable is looked at when it is needed, as all of them.
        self._retries = None if retries is None else _retries_of(retries)
        self._quota: Quota | None = None if self._retries is None else Quota(self._retries.quota)
        self._idempotent = options.get("idempotent", False)
        self._before_sign = options.get("before_sign")
        self._after_response = options.get("after_response")
        self._ids = request_ids()
        # A generator cannot be asked by two threads at once.
        self._ids_lock = threading.Lock()
        self._clock_offset = 0.0
        # Inside a function: the chain of calls is passed on.
        self._in_function = "AWS_LAMBDA_FUNCTION_NAME" in self.settings.environ

    def invoke(
        self,
        function: str | InvokeRequest,
        payload: object,
        options: Mapping[str, Any],
        returns: type[Any] | None = None,
        gate: Gate | None = None,
    ) -> Steps[InvokeResult[Any]]:
        """Return the result of one Invoke."""
        call = yield from self._call(INVOKE, function, payload, options, gate)
        response = yield from self._attempts(call)
        headers = response.headers
        return InvokeResult(
            response.status_code,
            response.body,
            headers.get("x-amz-function-error"),
            headers.get("x-amz-log-result"),
            headers.get("x-amz-executed-version"),
            headers.get("x-amz-durable-execution-arn"),
            headers.get("x-amzn-requestid"),
            len(call.timings),
            headers,
            tuple(call.timings),
            returns,
        )

    def value(
        self,
        function: str | InvokeRequest,
        payload: object,
        options: Mapping[str, Any],
        returns: type[Any] | None = None,
        gate: Gate | None = None,
    ) -> Steps[Any]:
        """Return the decoded result of one Invoke."""
        result = yield from self.invoke(function, payload, options, returns, gate)
        return result.value()

    def send(self, function: str | InvokeRequest, payload: object, options: Mapping[str, Any]) -> Steps[str]:
        """Hand an event over and return the request id."""
        result = yield from self.invoke(function, payload, {**options, "invocation_type": "Event"})
        return cast("str", result.request_id)

    def check(self, function: str | InvokeRequest, options: Mapping[str, Any]) -> Steps[None]:
        """Ask whether a call would be accepted."""
        yield from self.invoke(function, UNSET, {**options, "invocation_type": "DryRun"})

    def open_stream(
        self, function: str | InvokeRequest, payload: object, options: Mapping[str, Any]
    ) -> Steps[tuple[HttpResponse, int]]:
        """Return the head of a streamed answer, and how many attempts it took."""
        call = yield from self._call(STREAM, function, payload, options)
        response = yield from self._attempts(call)
        return response, len(call.timings)

    def wait_until(
        self, function: str | InvokeRequest, member: str, wanted: str, timeout: float
    ) -> Steps[None]:
        """Return when a member of the function's configuration has the value wanted.

        Raises:
            ServiceError: the member says ``Failed``; the code is that of the reason.
            CallTimeout: it took too long.
        """
        deadline = self.clock.monotonic() + timeout
        pause = _FIRST_POLL_S
        while True:
            call = yield from self._call(CONFIGURATION, function, UNSET, {"idempotent": True})
            call.deadline = deadline
            response = yield from self._attempts(call)
            found = _configuration_of(response)
            # Old functions have no state: they are what they are to be.
            state = found.get(member, wanted)
            if state == wanted:
                return
            if state == "Failed":
                raise ServiceError(
                    str(found.get(f"{member}ReasonCode") or "Failed"),
                    str(found.get(f"{member}Reason") or f"{member} is Failed"),
                    status_code=response.status_code,
                    request_id=response.headers.get("x-amzn-requestid"),
                    headers=response.headers,
                    attempts=len(call.timings),
                )
            if self.clock.monotonic() + pause >= deadline:
                raise CallTimeout(f"{member} is {state} after {timeout} s", phase="total")
            yield pause
            pause = min(_POLL_S, pause * 2)

    @contextmanager
    def record(self) -> Iterator[list[HttpRequest]]:
        """List the requests that are sent within the block, as they were signed."""
        sent: list[HttpRequest] = []
        # By identity: two empty lists are equal. Each of these steps is one for other threads.
        self._recorders[id(sent)] = sent
        try:
            yield sent
        finally:
            del self._recorders[id(sent)]

    # ------------------------------------------------------------------ a call

    def _call(
        self,
        operation: Operation,
        function: str | InvokeRequest,
        payload: object,
        options: Mapping[str, Any],
        gate: Gate | None = None,
    ) -> Steps[Call]:
        check_options(options)
        get = options.get
        members: Mapping[str, Any] = options
        if isinstance(function, InvokeRequest):
            request, function = function, cast("str", function.function)
            if payload is UNSET:
                payload = request.payload
            members = {name: getattr(request, name) for name in _HEADERS}
            members["qualifier"] = request.qualifier
            members |= {name: options[name] for name in MEMBERS & options.keys() if options[name] is not None}
        call = Call()
        call.operation = operation
        call.path = _path(operation, function, members.get("qualifier"))
        headers = {}
        for name, header in _HEADERS.items():
            if (value := members.get(name)) is not None:
                headers[header] = _header(name, value)
        if members.get("log_tail"):
            headers["x-amz-log-type"] = LogType.TAIL.value
        call.dry = headers.get("x-amz-invocation-type") == "DryRun"
        headers["user-agent"] = self.settings.user_agent()
        headers["accept-encoding"] = "identity"
        with self._ids_lock:
            headers["amz-sdk-invocation-id"] = next(self._ids)
        if self._in_function and (trace := self.settings.environ.get("_X_AMZN_TRACE_ID")):
            headers["x-amzn-trace-id"] = quote(trace, safe=_IN_TRACES)
        call.headers = headers
        # Files are slow, everything else is at hand.
        call.body = (
            payload
            if type(payload) is bytes
            else (yield lambda: encode_payload(payload))
            if hasattr(payload, "read_bytes")
            else encode_payload(payload)
        )
        if operation.method == "POST":
            headers["content-length"] = str(len(call.body))
        timeout, retries, idempotent = get("timeout"), get("retries"), get("idempotent")
        call.timeout = self._timeout if timeout is None else _timeout_of(timeout, self._timeout)
        call.retries = self._default_retries() if retries is None else _retries_of(retries)
        call.idempotent = self._idempotent if idempotent is None else idempotent
        call.endpoint_url, call.region, call.who = get("endpoint_url"), get("region_name"), get("credentials")
        call.before_sign = get("before_sign") or self._before_sign
        call.after_response = get("after_response") or self._after_response
        call.gate = gate
        call.deadline = None if call.timeout.total is None else self.clock.monotonic() + call.timeout.total
        call.clock_offset = 0.0
        call.timings = []
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s %s: %d bytes", operation.name, function, len(call.body))
            if _payloads.level and _payloads.isEnabledFor(logging.DEBUG):
                _payloads.debug("%s %s: payload %r", operation.name, function, call.body)
        return call

    def _default_retries(self) -> Retries:
        if self._retries is None:
            self._retries = self.settings.retries()
            self._quota = Quota(self._retries.quota)
        return self._retries

    def _shared_quota(self) -> Quota:
        if self._quota is None:
            self._default_retries()
        return cast("Quota", self._quota)

    def _attempts(self, call: Call) -> Steps[HttpResponse]:
        """Send until an attempt succeeds or there is no sense in another one."""
        clock = self.clock
        policy = Policy(call.retries, self._shared_quota(), idempotent=call.idempotent, gate=call.gate)
        may_have_run = False
        may_correct_clock = True
        attempt = 0
        while True:
            attempt += 1
            if call.gate is not None:
                while (wait := call.gate.wait(clock.monotonic())) > 0:
                    left = wait if call.deadline is None else call.deadline - clock.monotonic()
                    if left <= 0:
                        break
                    yield min(wait, left)
            try:
                response, error = yield from self._attempt(call, attempt)
            except LambentError as failure:
                # Nothing was sent (the keys cannot be had, the time is over), or a hook refused the answer.
                is_answered = len(call.timings) == attempt
                failure.attempts = len(call.timings)
                failure.may_have_run = may_have_run or (is_answered and not call.dry)
                raise
            if error is None:
                policy.succeeded()
                return cast("HttpResponse", response)
            now = clock.monotonic()
            if (
                may_correct_clock
                and attempt < call.retries.max_attempts
                and response is not None
                and self._corrects_clock(call, error, response)
            ):
                may_correct_clock = False
                delay: float | None = 0.0
            else:
                delay = policy.delay_after(error, attempt, now, self.random)
            may_have_run = not call.dry and (may_have_run or error.may_have_run)
            error.may_have_run, error.attempts = may_have_run, len(call.timings)
            if delay is None or (call.deadline is not None and now + delay >= call.deadline):
                raise error
            _logger.info("%s: attempt %d: %s; next in %.3f s", call.operation.name, attempt, error, delay)
            # Calls of a map wait at their gate.
            if delay and (call.gate is None or delay > call.gate.wait(now)):
                yield delay

    def _attempt(self, call: Call, attempt: int) -> Steps[tuple[HttpResponse | None, LambentError | None]]:
        """Send once; return the answer if there is one, and what is wrong with it."""
        exchange, request = yield from self._exchange(call, attempt)
        clock = self.clock
        debug = _logger.isEnabledFor(logging.DEBUG)
        if debug:
            _logger.debug("%s: attempt %d to %s", call.operation.name, attempt, exchange.endpoint.netloc)
        started = clock.monotonic()
        try:
            response: HttpResponse = yield exchange
        except TransportError as error:
            call.timings.append(clock.monotonic() - started)
            return None, error
        call.timings.append(clock.monotonic() - started)
        if debug:
            _logger.debug("%s: attempt %d: status %d", call.operation.name, attempt, response.status_code)
            if _payloads.level and _payloads.isEnabledFor(logging.DEBUG):
                _payloads.debug("%s: attempt %d: %r", call.operation.name, attempt, response.body)
        if call.after_response is not None and request is not None:
            call.after_response(request, response)
        try:
            if "content-encoding" in response.headers:
                response.body = decoded_body(response)
            return response, failure_of(response)
        except TransportError as error:
            # What cannot be unpacked may still be a refusal, told by its status.
            return response, failure_of(response) or error

    def _exchange(self, call: Call, attempt: int) -> Steps[tuple[Exchange, HttpRequest | None]]:
        """Return the signed attempt, and how hooks and records see it, if there are any."""
        settings = self.settings
        endpoint = settings.known_endpoint(call.endpoint_url, call.region)
        if endpoint is None:
            endpoint = yield lambda: settings.endpoint(call.endpoint_url, call.region)
        who = call.who or settings.known_credentials()
        if who is None:
            who = yield settings.credentials
        credentials: Credentials | Unsigned = (
            who if isinstance(who, Credentials) or who is UNSIGNED else (yield who)
        )
        region = None
        if credentials is not UNSIGNED:
            region = call.region or settings.known_region() or (yield settings.needed_region)
            if not isinstance(credentials, Credentials):
                raise ConfigurationError(f"credentials gave {type(credentials).__name__}, not Credentials")
        timeout = call.timeout
        if call.deadline is not None and self.clock.monotonic() >= call.deadline:
            raise total_timeout()
        headers = {"host": endpoint.netloc, **call.headers}
        headers["amz-sdk-request"] = f"attempt={attempt}; max={call.retries.max_attempts}"
        exchange = Exchange(
            endpoint,
            call.operation.method,
            endpoint.prefix + call.path,
            headers,
            call.body,
            connect=timeout.connect,
            read=timeout.read,
            deadline=call.deadline,
            streamed=call.operation is STREAM,
        )
        if call.before_sign is not None:
            request = call.before_sign(exchange.as_request(call.operation.name, region, attempt))
            _take_over(exchange, request)
        if region is not None:
            call.clock_offset = self._clock_offset
            self._sign(
                exchange, cast("Credentials", credentials), region, self.clock.now() + call.clock_offset
            )
        if call.after_response is None and not self._recorders:
            return exchange, None
        seen = exchange.as_request(call.operation.name, region, attempt)
        for each in list(self._recorders.values()):
            each.append(seen)
        return exchange, seen

    def _sign(self, exchange: Exchange, credentials: Credentials, region: str, now: float) -> None:
        timestamp = _timestamp(int(now))
        headers = exchange.headers
        added = sigv4.sign(
            exchange.method.encode(),
            exchange.target.encode(),
            {
                name.encode(): value.encode()
                for name, value in headers.items()
                if name not in _UNSIGNED_HEADERS
            },
            sigv4.hash_body(exchange.body),
            keys=sigv4.Keys(
                credentials.access_key_id, credentials.secret_access_key, credentials.session_token
            ),
            scope=sigv4.Scope(timestamp[:8], region),
            timestamp=timestamp,
        )
        for name, value in added.items():
            headers[name.decode()] = value.decode()

    def _corrects_clock(self, call: Call, error: LambentError, response: HttpResponse) -> bool:
        """Tell whether signing again with the service's time may help; the offset is kept for all calls."""
        if not isinstance(error, ServiceError) or error.status_code != 403:
            return False
        if error.code != "InvalidSignatureException":
            return False
        offset = clock_offset_s(response, self.clock.now())
        if offset is None or abs(offset - call.clock_offset) <= _MAX_CLOCK_ERROR_S:
            return False
        self._clock_offset = offset
        return True


@lru_cache(4)
def _timestamp(now: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def _take_over(exchange: Exchange, request: HttpRequest) -> None:
    """Put what a hook made of a request into the exchange.

    Raises:
        ValidationError: it is no request any more.
    """
    if not isinstance(request, HttpRequest):
        raise ValidationError(f"before_sign returned {type(request).__name__}, not an HttpRequest")
    parts = urlsplit(request.url)
    before = exchange.endpoint
    exchange.endpoint = parse_endpoint(f"{parts.scheme}://{parts.netloc}")
    exchange.target = parts.path + (f"?{parts.query}" if parts.query else "")
    exchange.method = request.method
    exchange.headers = {name.lower(): _visible(name, value) for name, value in request.headers.items()}
    if exchange.endpoint.netloc != before.netloc:
        exchange.headers["host"] = exchange.endpoint.netloc
    exchange.body = request.body
    # Whatever a hook did to it: another length would leave bytes for the next request.
    if exchange.body or "content-length" in exchange.headers:
        exchange.headers["content-length"] = str(len(exchange.body))


def _path(operation: Operation, function: object, qualifier: object) -> str:
    if not isinstance(function, str):
        raise ValidationError(f"the function's name is a str, not {type(function).__name__}")
    if not function:
        raise ValidationError("no function name")
    # As segments of a path they would lead elsewhere.
    if function in {".", ".."}:
        raise ValidationError(f"{function!r} is no function name")
    path = f"{operation.before}{_quoted(function)}{operation.after}"
    if qualifier is None:
        return path
    if not isinstance(qualifier, str):
        raise ValidationError(f"qualifier is a str, not {type(qualifier).__name__}")
    return f"{path}?Qualifier={_quoted(qualifier)}"


@lru_cache(1024)
def _quoted(text: str) -> str:
    try:
        return quote(text, safe="-._~")
    except UnicodeEncodeError as error:
        raise ValidationError(f"{text!r} is no text: {error}") from error


def _header(name: str, value: object) -> str:
    if name == "client_context":
        value = encode_client_context(cast("str", value))
    if not isinstance(value, str):
        raise ValidationError(f"{name} is a str, not {type(value).__name__}")
    return _visible(name, str(value))


def _visible(name: str, value: object) -> str:
    """Return a header's value as text without anything that would end it."""
    text = str(value)
    if not (text.isascii() and text.isprintable()):
        raise ValidationError(f"{name} has characters that no header can carry")
    return text


def _timeout_of(given: float | Timeout | None, default: Timeout) -> Timeout:
    if given is None:
        return default
    if isinstance(given, Timeout):
        return given
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValidationError(f"timeout is seconds or a Timeout, not {type(given).__name__}")
    return Timeout(connect=default.connect, read=default.read, total=float(given))


def _retries_of(given: Retries | int) -> Retries:
    if isinstance(given, Retries):
        return given
    if isinstance(given, bool) or not isinstance(given, int):
        raise ValidationError(f"retries is a number or Retries, not {type(given).__name__}")
    return Retries(given)


def _configuration_of(response: HttpResponse) -> Mapping[str, Any]:
    try:
        members = json.loads(response.body)
    except ValueError as error:
        raise DecodingError(f"configuration: {error}") from error
    if not isinstance(members, dict):
        raise DecodingError("the configuration is no object")
    return members
