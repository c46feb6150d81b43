"""A whole answer as the event stream of InvokeWithResponseStream.

Source: docs/aws-behaviour.md, invoke 1.5.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec

from lambent.model.invocations import InvocationResult
from lambent.wire.eventstream import CHUNK, COMPLETE, encode

CHUNK_BYTES = 65_536
"""Of the payload, in each chunk but the last."""


class _Failure(msgspec.Struct, rename="camel"):
    """What is read of a function's error object."""

    error_type: str


def messages(result: InvocationResult) -> Iterator[bytes]:
    """Yield the messages of an answer, each of them whole."""
    payload = memoryview(result.payload)
    if result.function_error is None:
        for at in range(0, len(payload), CHUNK_BYTES):
            yield encode(CHUNK, payload[at : at + CHUNK_BYTES])
    complete = {}
    if result.function_error is not None:
        complete["ErrorCode"] = _error_type(result.payload) or result.function_error
        complete["ErrorDetails"] = result.payload.decode("utf-8", "replace")
    if result.log_tail is not None:
        complete["LogResult"] = base64.b64encode(result.log_tail).decode()
    yield encode(COMPLETE, msgspec.json.encode(complete))


def _error_type(payload: bytes) -> str:
    try:
        return msgspec.json.decode(payload, type=_Failure).error_type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
