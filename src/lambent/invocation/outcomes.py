"""What becomes of an event that came to its end: nothing, or a record that is kept.

Destinations and dead-letter queues of AWS's kind are not delivered to yet: what would be
sent stays here and names where it was to go.

Source: docs/aws-behaviour.md, async 2.3 and 2.7.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from lambent.model.events import Condition, DeadLetter, Event, EventInvokeConfig
from lambent.model.invocations import InvocationResult


def end_of(
    event: Event,
    condition: Condition,
    config: EventInvokeConfig | None,
    *,
    now: float,
    executed_version: str | None = None,
    result: InvocationResult | None = None,
    error: str = "",
) -> Sequence[DeadLetter]:
    """Return what is to be kept of an event: nothing of a success that nobody wants to hear of.

    Args:
        event: with the attempts that were made, the last one included.
        condition: why it ended.
        config: of its target.
        now: seconds since the epoch.
        executed_version: of the last attempt, None when there was none.
        result: likewise.
        error: why it was given up, where no result tells.
    """
    succeeded = condition is Condition.SUCCESS
    destination = None
    if config is not None:
        destination = config.on_success if succeeded else config.on_failure
    if succeeded and destination is None:
        return ()
    letter = DeadLetter(
        request_id=event.request_id,
        function=event.target.key,
        qualifier=event.target.qualifier,
        at=now,
        state="dead" if destination is None else "undelivered",
        record=_record(event, condition, now, executed_version, result),
        error=error or message_of(result),
        log_tail=(result.log_tail or b"").decode("utf-8", "replace") if result is not None else "",
        destination=destination,
        payload=event.payload,
    )
    return (letter,)


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
        record["responsePayload"] = _decoded(result.payload)
    return record


def _decoded(payload: bytes) -> Any:
    """Return a result as JSON; what is none, as text."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")


def message_of(result: InvocationResult | None) -> str:
    """Return the text of a function's error; "" without one."""
    if result is None or result.function_error is None:
        return ""
    told = _decoded(result.payload)
    return str(told.get("errorMessage", "")) if isinstance(told, dict) else str(told)


__all__ = ["end_of", "message_of"]
