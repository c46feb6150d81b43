"""What a call returns."""

from __future__ import annotations

import binascii
import json
import typing
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from lambent.client.decoding import decode
from lambent.client.errors import DecodingError, FunctionError
from lambent.client.messages import Headers

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    # Defaults of type variables are younger than Python 3.11; only type checkers need this one.
    T = typing.TypeVar("T")


@dataclass(frozen=True, slots=True)
class InvokeResult(Generic[T]):
    """The answer to one call, also when the function failed: then :meth:`value` raises.

    Attributes:
        status_code: 200; of an event 202, of a dry run 204.
        payload: the function's result, or the JSON of its error; always the raw bytes.
        function_error: ``Handled`` or ``Unhandled`` if the function failed.
        log_result: the end of the log in base64, if it was asked for.
        executed_version: which version ran.
        durable_execution_arn: of durable functions.
        request_id: of the attempt that was answered.
        attempts: how often the request was sent.
        headers: of the answer, by names of any case.
        timings: seconds, one for each attempt.
        returns: what :meth:`value` decodes to; None for JSON as it is.
    """

    status_code: int = 200
    payload: bytes = field(default=b"", repr=False)
    function_error: str | None = None
    log_result: str | None = field(default=None, repr=False)
    executed_version: str | None = None
    durable_execution_arn: str | None = None
    request_id: str | None = None
    attempts: int = 1
    headers: Mapping[str, str] = field(default_factory=Headers, repr=False)
    timings: tuple[float, ...] = field(default=(), repr=False)
    returns: type[T] | None = field(default=None, repr=False, compare=False)

    @property
    def logs(self) -> str:
        """The end of the log, at most 4 KB; empty if it was not asked for."""
        return decode_log(self.log_result)

    def value(self) -> T:
        """Return the decoded payload; None for an event or a dry run.

        Raises:
            FunctionError: the function failed.
            DecodingError: the payload is no JSON, or does not fit.
        """
        if self.function_error is not None:
            raise self._error()
        if not self.payload and self.status_code != 200 and self.returns is not bytes:
            return None  # type: ignore[return-value] # the service sends none for these
        try:
            return decode(self.payload, self.returns)  # type: ignore[no-any-return]
        except (ValueError, TypeError) as error:
            raise DecodingError(f"payload: {error}", result=self) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the members that came under AWS's names, as boto3's ``invoke``; the payload in bytes."""
        told = {
            "FunctionError": self.function_error,
            "LogResult": self.log_result,
            "ExecutedVersion": self.executed_version,
            "DurableExecutionArn": self.durable_execution_arn,
        }
        return {
            "StatusCode": self.status_code,
            **{name: value for name, value in told.items() if value is not None},
            "Payload": self.payload,
        }

    def _error(self) -> FunctionError:
        kind, message, trace = read_function_error(self.payload)
        return FunctionError(kind, message, stack_trace=trace, result=self)


def decode_log(log_result: str | None) -> str:
    """Return a log that came in base64; what is cut in the middle of a character is replaced."""
    if not log_result:
        return ""
    try:
        return b64decode(log_result).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def read_function_error(payload: bytes | str) -> tuple[str, str, tuple[str, ...]]:
    """Return type, message and trace of an error object; empty what it does not tell.

    Runtimes differ: ``stackTrace`` of Python and Java, ``trace`` of Node.
    """
    try:
        members = json.loads(payload)
    except (ValueError, RecursionError):
        return "", payload if isinstance(payload, str) else payload.decode("utf-8", "replace"), ()
    if not isinstance(members, dict):
        return "", members if isinstance(members, str) else "", ()
    trace = members.get("stackTrace") or members.get("trace") or ()
    lines = trace if isinstance(trace, list) else [trace] if isinstance(trace, str) else []
    return (
        _text(members.get("errorType")),
        _text(members.get("errorMessage")),
        tuple(each if isinstance(each, str) else json.dumps(each) for each in lines),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
