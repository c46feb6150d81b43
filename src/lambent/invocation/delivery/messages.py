"""What a destination gets: the record, and what each kind of service wants around it.

Source: docs/aws-behaviour.md, async 2.3, 2.4 and 2.7.
"""

from __future__ import annotations

import time
from typing import Any

from lambent.invocation.outcomes import render_json
from lambent.model.events import Condition, DeadLetter, Form

_ERROR_MESSAGE_BYTES = 1024


def body_of(letter: DeadLetter) -> bytes:
    """Return the text that the destination gets, in UTF-8: the record, or the event as it was."""
    if letter.form == Form.EVENT:
        return letter.payload
    # The caller's and the function's bytes are JSON and stand between members that are ours: they
    # may be many, and are not read again.
    before: dict[str, Any] = dict(letter.record)
    after = {name: before.pop(name) for name in ("responseContext", "responsePayload") if name in before}
    parts = [render_json(before)[:-1], b',"requestPayload":', letter.payload]
    if after:
        parts += [b",", render_json(after)[1:-1]]
    if letter.response is not None:
        parts += [b',"responsePayload":', letter.response]
    return b"".join([*parts, b"}"])


def to_sqs(letter: DeadLetter) -> dict[str, Any]:
    """Return a message for a queue, as SendMessageBatch takes it, without its id."""
    message: dict[str, Any] = {"MessageBody": body_of(letter).decode()}
    if attributes := _attributes(letter):
        message["MessageAttributes"] = attributes
    elif letter.trace_id:
        message["MessageSystemAttributes"] = {"AWSTraceHeader": _attribute("String", letter.trace_id)}
    return message


def to_sns(letter: DeadLetter) -> dict[str, Any]:
    """Return a message for a topic, as PublishBatch takes it, without its id."""
    message: dict[str, Any] = {"Message": body_of(letter).decode()}
    if attributes := _attributes(letter):
        message["MessageAttributes"] = attributes
    return message


def to_event_bus(letter: DeadLetter, bus: str) -> dict[str, Any]:
    """Return an entry for PutEvents.

    Args:
        letter: to be sent.
        bus: the ARN of the bus.
    """
    succeeded = letter.record["requestContext"]["condition"] == Condition.SUCCESS
    return {
        "EventBusName": bus,
        "Time": letter.at,
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {'Success' if succeeded else 'Failure'}",
        "Resources": [bus, letter.target.arn],
        "Detail": body_of(letter).decode(),
    }


def object_key(letter: DeadLetter) -> str:
    """Return the name of the object in a bucket; the same one each time, so that a repeat replaces it."""
    at = time.gmtime(letter.at)
    day, instant = time.strftime("%Y/%m/%d", at), time.strftime("%Y-%m-%dT%H.%M.%S", at)
    return f"aws/lambda/async/{letter.function.name}/{day}/{instant}-{letter.request_id}"


def _attributes(letter: DeadLetter) -> dict[str, dict[str, str]]:
    """Return the attributes of a message for a dead-letter queue; none for a record."""
    if letter.form != Form.EVENT:
        return {}
    attributes = {
        "RequestID": _attribute("String", letter.request_id),
        "ErrorCode": _attribute("Number", str(letter.error_code)),
    }
    # No service takes an empty one.
    if message := _cut(letter.error):
        attributes["ErrorMessage"] = _attribute("String", message)
    return attributes


def _attribute(kind: str, value: str) -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


def _cut(text: str) -> str:
    """Return the first KB of a text, cut at a character."""
    # Halves of surrogate pairs have no bytes.
    return text.encode("utf-8", "replace")[:_ERROR_MESSAGE_BYTES].decode("utf-8", "ignore")


__all__ = ["body_of", "object_key", "to_event_bus", "to_sns", "to_sqs"]
