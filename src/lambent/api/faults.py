"""``/_lambent/faults``: errors that invocations answer because they were asked to.

::

    GET                                   {"faults": [fault, …]}
    POST         fault to be              the fault; it takes the place of the function's former one
    POST /clear  {"function": "f"}        {"cleared": [fault, …]}
                 or {"all": true}

A fault is ``{"function", "error", "reason", "count", "rate", "delayMs", "answered"}``. It holds
for the function by whatever qualifier it is called, until it has been answered ``count``
times (null: until it is cleared), at the latest until the server ends.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from lambent.api.call import Call
from lambent.api.json_body import parse_struct
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.model.errors import (
    INVOKE_ERRORS,
    THROTTLE_REASONS,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ServiceError,
    TooManyRequestsException,
    UnknownOperationException,
)
from lambent.model.functions import FunctionKey
from lambent.storage.contracts import FunctionStore
from lambent.tasks import Tasks

STALLED = "connection.stalled"
CUT = "connection.cut"

_THROTTLE = TooManyRequestsException.__name__
# The longest run of a function: nobody waits longer for an answer.
_LONGEST_DELAY_MS = 900_000
_logger = logging.getLogger("lambent.faults")


class Fault(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What the next invocations of a function answer.

    Attributes:
        error: name of an error of Invoke, or one of the two connection faults.
        reason: of a throttle; None for others.
        count: how many more invocations; None for all.
        rate: the share of invocations that it meets.
        delay_ms: time before the answer.
        answered: how many invocations it has met.
    """

    function: str
    error: str
    reason: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_DELAY_MS)] = 0.0
    answered: int = 0


class _Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """Which faults are cleared: exactly one of the members is given."""

    function: str | None = None
    all: bool = False


class Faults:
    """Faults by function, in memory alone.

    Attributes:
        armed: empty for nearly every server; to be read only.

    Args:
        draw: gives a number from 0.0 on, below 1.0, for each invocation of a function that has a fault.
    """

    def __init__(
        self, *, functions: FunctionStore, clock: Clock, tasks: Tasks, draw: Callable[[], float]
    ) -> None:
        self.armed: dict[FunctionKey, Fault] = {}
        self._functions = functions
        self._clock = clock
        self._tasks = tasks
        self._draw = draw

    def strike(self, call: Call, key: FunctionKey, refuse: Callable[[Call, ServiceError], None]) -> bool:
        """Answer a call, now or later, if its function has a fault that meets it; tell whether it does."""
        fault = self.armed.get(key)
        if fault is None or (fault.rate < 1 and self._draw() >= fault.rate):
            return False
        fault.answered += 1
        if fault.count is not None:
            fault.count -= 1
            if fault.count == 0:
                del self.armed[key]
        _logger.warning(
            "request %s (%s %s) meets the fault %s", call.request_id, call.operation, key.arn(), fault.error
        )
        if fault.delay_ms:
            self._tasks.start(self._answer_later(call, fault, refuse), "fault")
        else:
            _answer(call, fault, refuse)
        return True

    async def answer(self, request: Request, rest: bytes, place: tuple[str, str]) -> bytes:
        """Return the JSON that answers a request to the control.

        Args:
            request: its method and body count.
            rest: of the path, behind ``faults/``.
            place: account and region.

        Raises:
            InvalidParameterValueException: the body cannot be read, or names no error.
            ResourceNotFoundException: there is no such function.
            UnknownOperationException: no such path, or not with this method.
        """
        match request.method, rest:
            case b"GET", b"":
                return _encode({"faults": [fault for _, fault in self._of(place)]})
            case b"POST", b"":
                return _encode(await self._arm(_checked(parse_struct(request.body, Fault)), place))
            case b"POST", b"clear":
                return _encode({"cleared": self._clear(parse_struct(request.body, _Chosen), place)})
        raise UnknownOperationException(status=405)

    async def _arm(self, fault: Fault, place: tuple[str, str]) -> Fault:
        key = FunctionKey(*place, fault.function)
        if await self._functions.load(key) is None:
            raise ResourceNotFoundException(f"Function not found: {key.arn()}")
        self.armed[key] = fault
        _logger.warning("invocations of %s answer %s from now on", key.arn(), fault.error)
        return fault

    def _clear(self, chosen: _Chosen, place: tuple[str, str]) -> list[Fault]:
        if chosen.all == (chosen.function is not None):
            raise InvalidParameterValueException("The body must have either function or all.")
        cleared = [
            (key, fault) for key, fault in self._of(place) if chosen.all or key.name == chosen.function
        ]
        for key, _ in cleared:
            del self.armed[key]
            _logger.warning("invocations of %s run again", key.arn())
        return [fault for _, fault in cleared]

    def _of(self, place: tuple[str, str]) -> list[tuple[FunctionKey, Fault]]:
        return sorted(
            ((key, fault) for key, fault in self.armed.items() if (key.account, key.region) == place),
            key=lambda each: each[0].name,
        )

    async def _answer_later(
        self, call: Call, fault: Fault, refuse: Callable[[Call, ServiceError], None]
    ) -> None:
        await self._clock.sleep(fault.delay_ms / 1000)
        _answer(call, fault, refuse)


def _answer(call: Call, fault: Fault, refuse: Callable[[Call, ServiceError], None]) -> None:
    if fault.error == STALLED:
        # Answered in part, as it were: a server that ends does not wait for the rest.
        call.exchange.write(b"")
    elif fault.error == CUT:
        call.exchange.abort()
        call.exchange.respond(b"", keep_alive=False)
    else:
        refuse(call, _error_of(fault))


def _error_of(fault: Fault) -> ServiceError:
    if fault.error != _THROTTLE:
        return INVOKE_ERRORS[fault.error]("This answer was asked for with `lambent fault`.")
    reason = fault.reason or THROTTLE_REASONS[0]
    # Only rates tell when to come again.
    after_s = 1 if reason.endswith("FunctionInvocationRateLimitExceeded") else None
    return TooManyRequestsException(reason, retry_after_s=after_s, limit="fault")


def _checked(fault: Fault) -> Fault:
    """Return a fault with the names that it means, whatever their case and without ``Exception``."""
    known: Mapping[str, str] = {_short(name): name for name in (*INVOKE_ERRORS, STALLED, CUT)}
    fault.error = _find("error", fault.error, known)
    fault.answered = 0
    if fault.error == _THROTTLE:
        reasons = {_short(name): name for name in THROTTLE_REASONS}
        fault.reason = _find("reason", fault.reason or THROTTLE_REASONS[0], reasons)
    elif fault.reason is not None:
        raise InvalidParameterValueException(f"Only {_THROTTLE} has a reason.")
    return fault


def _find(what: str, given: str, known: Mapping[str, str]) -> str:
    name = _short(given)
    if name in known:
        return known[name]
    near = [each for each in known if name and name in each] or difflib.get_close_matches(name, known, 4, 0.5)
    meant = f" Do you mean {_enumerate([known[each] for each in near])}?" if near else ""
    every = "" if near else f" There are {', '.join(sorted(known.values()))}."
    raise InvalidParameterValueException(f"{given!r} is no {what} of Invoke.{meant}{every}")


def _enumerate(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _short(name: str) -> str:
    return name.lower().removesuffix("exception")


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)
