"""Event invocations as values: what is queued, how often it is tried, what is kept when it failed.

Source: docs/aws-behaviour.md, async 2.1 to 2.3 and 2.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from lambent import limits
from lambent.model.functions import LATEST, FunctionKey


class EventTarget(NamedTuple):
    """What an event is for: a function and the qualifier that it was called by, None without one."""

    key: FunctionKey
    qualifier: str | None

    @property
    def arn(self) -> str:
        """The ARN that records show: with ``:$LATEST`` when no qualifier was given."""
        return self.key.arn(self.qualifier or LATEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One accepted Event invocation.

    Attributes:
        request_id: answered to the caller, and the same on every attempt.
        generation: life of the function that it was accepted for; a function of the same
            name that was created anew is another one.
        payload: the event's bytes, valid JSON.
        trace_id: value of ``X-Amzn-Trace-Id`` for the function.
        accepted_at: seconds since the epoch.
        attempts: that have been made and have ended with an error of the function.
        interruptions: how often the server ended while it ran.
        redriven_from: request id of the dead letter that it was; None for what a caller sent.
        last_error: the text of the last attempt's error, its beginning; "" before one.
    """

    request_id: str
    target: EventTarget
    generation: str
    payload: bytes
    trace_id: str = ""
    accepted_at: float
    attempts: int = 0
    interruptions: int = 0
    redriven_from: str | None = None
    last_error: str = ""


class QueuedEvent(NamedTuple):
    """An event that waits or runs, as a person is shown it.

    Attributes:
        number: of the queue's own; later events have larger ones.
        event: without its payload.
        payload_bytes: length of that.
        due: when it may run, or might have; seconds since the epoch.
        is_running: whether somebody has taken it.
    """

    number: int
    event: Event
    payload_bytes: int
    due: float
    is_running: bool


class Waiting(NamedTuple):
    """How many events there are for a target.

    Attributes:
        waiting: that nobody has taken.
        running: that somebody has.
        oldest: when the first of all was accepted, seconds since the epoch.
    """

    target: EventTarget
    waiting: int
    running: int
    oldest: float


class Condition(StrEnum):
    """Why an event came to its end. Source: docs/aws-behaviour.md, async 2.3 and 2.7."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"
    RESOURCE_NOT_FOUND = "ResourceNotFound"
    INTERRUPTED = "Interrupted"
    RECURSIVE_INVOCATION = "RecursiveInvocation"


class Form(StrEnum):
    """What a destination gets of an event. Source: docs/aws-behaviour.md, async 2.3 and 2.4."""

    RECORD = "record"
    """What became of it, with the event in it: OnSuccess and OnFailure."""
    EVENT = "event"
    """The event as it was, and why it failed beside it: a function's dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that came to its end, kept until its destination has taken it.

    Without a destination, or with one that will never take it, it has failed for good and is
    kept where a person can see and redrive it.

    Attributes:
        request_id: of the event.
        function: account, region and name.
        qualifier: that it was called by; None without one.
        at: when it came to its end, seconds since the epoch.
        state: ``dead``; ``undelivered`` while a destination has not taken it yet.
        record: the destination record, as AWS's destinations get it, without ``requestPayload``
            and, but for letters of older servers, ``responsePayload``.
        error: the last error's text.
        error_code: of the last cause, an HTTP status; 200 for an error of the function.
        log_tail: the last 4096 bytes of the last attempt's log.
        destination: the ARN of where it is to be sent; None without one.
        form: what is sent there.
        delivery_error: why the destination will never take it; "" unless it is ``dead`` for that.
        trace_id: as the event had it: deliveries to functions go on in its lineage.
        payload: the event's bytes.
        response: what the function answered, as JSON in UTF-8; None where it did not.
    """

    request_id: str
    function: FunctionKey
    qualifier: str | None = None
    at: float
    state: str = "dead"
    record: Mapping[str, Any]
    error: str = ""
    error_code: int = 200
    log_tail: str = ""
    destination: str | None = None
    form: str = Form.RECORD
    delivery_error: str = ""
    trace_id: str = ""
    payload: bytes
    response: bytes | None = None

    @property
    def target(self) -> EventTarget:
        """What the event was for."""
        return EventTarget(self.function, self.qualifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeConfig:
    """How events of a function, version or alias are tried.

    Attributes:
        target: whose; the qualifier is ``$LATEST`` where none was given.
        maximum_retry_attempts: after errors of the function; None for the default, 2.
        maximum_event_age_s: None for the default, 6 hours.
        on_success: ARN of a destination.
        on_failure: likewise.
        modified_at: seconds since the epoch.
    """

    target: EventTarget
    maximum_retry_attempts: int | None = None
    maximum_event_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    modified_at: float

    @property
    def retries(self) -> int:
        """How many attempts follow a first one that failed."""
        given = self.maximum_retry_attempts
        return int(limits.EVENT_RETRIES_MAX) if given is None else given

    @property
    def age_s(self) -> float:
        """How old an event may become."""
        return self.maximum_event_age_s or limits.EVENT_AGE_S_MAX


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one target: ``waiting`` events, the first of which is due at ``next_due``."""

    target: EventTarget
    waiting: int
    next_due: float
