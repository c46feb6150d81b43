"""What becomes of an event that came to its end: nothing, or letters to those who want to know.

Without anybody who wants to know of a failure there is one all the same, which stays here.

Source: docs/aws-behaviour.md, async 2.3, 2.4 and 2.7.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

from lambent.model.events import Condition, DeadLetter, Event, EventInvokeConfig, Form
from lambent.model.invocations import InvocationResult

# Who stores, shows or sends a record goes one call deeper for each level, and Python bounds that.
_LEVELS_MAX = 200

# HTTP status of what kept an event from being run once more.
_CAUSES = {
    Condition.EVENT_AGE_EXCEEDED: 429,
    Condition.ZERO_RESERVED_CONCURRENCY: 429,
    Condition.RESOURCE_NOT_FOUND: 404,
    Condition.RECURSIVE_INVOCATION: 400,
    Condition.INTERRUPTED: 500,
}
# Of an error's text; a record has the whole error.
_ERROR_CHARACTERS = 4096


def end_of(
    event: Event,
    condition: Condition,
    config: EventInvokeConfig | None,
    dead_letter_queue: str | None = None,
    *,
    now: float,
    executed_version: str | None = None,
    result: InvocationResult | None = None,
    error: str = "",
) -> Sequence[DeadLetter]:
    """Return the letters of an event: none of a success that nobody wants to hear of.

    Args:
        event: with the attempts that were made, the last one included.
        condition: why it ended.
        config: of its target.
        dead_letter_queue: ARN of the function's queue or topic for events that failed.
        now: seconds since the epoch.
        executed_version: of the last attempt, None when there was none.
        result: likewise.
        error: why it was given up, where no result tells.
    """
    is_success = condition is Condition.SUCCESS
    wanted_by: list[tuple[str | None, Form]] = []
    if config is not None and (destination := config.on_success if is_success else config.on_failure):
        wanted_by.append((destination, Form.RECORD))
    if dead_letter_queue is not None and not is_success:
        wanted_by.append((dead_letter_queue, Form.EVENT))
    if not wanted_by:
        if is_success:
            return ()
        wanted_by.append((None, Form.RECORD))
    record = _record(event, condition, now, executed_version, result)
    response = None
    if result is not None:
        told = _decoded(result.payload)
        response = render_json(told)
        error = error or _message(told, result.function_error)
    return [
        DeadLetter(
            request_id=event.request_id,
            function=event.target.key,
            qualifier=event.target.qualifier,
            at=now,
            state="dead" if destination is None else "undelivered",
            record=record,
            error=error,
            error_code=200 if result is not None else _CAUSES[condition],
            log_tail=(result.log_tail or b"").decode("utf-8", "replace") if result is not None else "",
            destination=destination,
            form=form,
            trace_id=event.trace_id,
            payload=event.payload,
            response=response,
        )
        for destination, form in wanted_by
    ]


def _record(
    event: Event,
    condition: Condition,
    now: float,
    executed_version: str | None,
    result: InvocationResult | None,
) -> dict[str, Any]:
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": stamp,
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": event.target.arn,
            "condition": condition.value,
            "approximateInvokeCount": event.attempts,
        },
    }
    if event.redriven_from is not None:
        record["requestContext"]["redrivenFrom"] = event.redriven_from
    if result is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": executed_version}
        if result.function_error is not None:
            context["functionError"] = result.function_error
        record["responseContext"] = context
    return record


def _decoded(payload: bytes) -> Any:
    """Return a result as JSON; what is none, or nests too deep, as text."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(payload, parse_constant=_refuse)
        if payload.count(b"[") + payload.count(b"{") <= _LEVELS_MAX or _levels(value) <= _LEVELS_MAX:
            return value
    return payload.decode("utf-8", "replace")


def _refuse(constant: str) -> None:
    """Refuse what Python takes for JSON and nobody else does: NaN and the infinities."""
    raise ValueError(constant)


def _levels(value: Any) -> int:
    """Return how deep lists and objects nest."""
    levels = 0
    inside = [value]
    while inside := [each for each in inside if isinstance(each, dict | list)]:
        levels += 1
        inside = [each for one in inside for each in (one.values() if isinstance(one, dict) else one)]
    return levels


def render_json(value: Any) -> bytes:
    """Return a value as destinations get it: short, and in UTF-8."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Halves of surrogate pairs can stand in JSON escaped alone.
        return json.dumps(value, separators=(",", ":")).encode()


def message_of(result: InvocationResult) -> str:
    """Return the text of a function's error, its beginning; "" without one."""
    return _message(_decoded(result.payload), result.function_error)


def _message(told: Any, function_error: str | None) -> str:
    if function_error is None:
        return ""
    message = str(told.get("errorMessage", "")) if isinstance(told, dict) else str(told)
    return message[:_ERROR_CHARACTERS]


__all__ = ["end_of", "message_of", "render_json"]
