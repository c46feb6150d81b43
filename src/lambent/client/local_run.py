"""One run of a handler in this process: what the function's own process does on the server.

Event, context, result and errors go through the modules that run inside those processes.
What needs a process of its own is not here: nothing ends a handler when its time is over, and
``os.environ`` stays this process's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from lambent import limits
from lambent.client.local_logs import InvocationLog, written_to
from lambent.clock import SystemClock
from lambent.execution.bootstrap.context import LambdaContext
from lambent.execution.bootstrap.faults import Fault, TaskPaths, exception_object, fault_object
from lambent.execution.bootstrap.jsontext import Encoder, decode
from lambent.model.functions import LATEST

Handler: TypeAlias = Callable[[Any, Any], Any]
"""What Lambda calls: event and context in, anything that JSON can say out."""

_MEMORY_MB = 128
# Nothing is moved: the files are where their handlers are, and a trace should lead there.
_PATHS = TaskPaths("/var/task")
_OWN_FILES = frozenset((__file__,))
# As runtimes of this Python do.
_encoder = Encoder(ensure_ascii=sys.version_info < (3, 12))


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a handler is run for.

    Attributes:
        handler: the user's.
        name: of the function.
        arn: as the caller meant it: without a qualifier where none was written.
        qualifier: None where none was written.
        event: JSON.
        client_context: its JSON decoded, or None.
        tenant_id: of functions that keep tenants apart.
        request_id: of the call.
    """

    handler: Handler
    name: str
    arn: str
    qualifier: str | None
    event: bytes
    client_context: Any
    tenant_id: str | None
    request_id: str

    @property
    def version(self) -> str:
        """The version that runs; which one an alias means nobody says here."""
        return self.qualifier if self.qualifier is not None and self.qualifier.isdecimal() else LATEST

    def context(self) -> LambdaContext:
        """Return the handler's second argument; its time ends with the longest that a function may have."""
        deadline_ms = int((SystemClock.now() + limits.TIMEOUT_S_MAX) * 1000)
        context = LambdaContext(self.request_id, self.client_context, deadline_ms, self.arn, self.tenant_id)
        context.log_group_name = f"/aws/lambda/{self.name}"
        context.log_stream_name = f"1970/01/01/[{self.version}]{'0' * 32}"
        context.function_name = self.name
        context.memory_limit_in_mb = str(_MEMORY_MB)
        context.function_version = self.version
        return context


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        payload: the result, or the error object's JSON.
        content_type: of the payload.
        error_type: of the error object; None for a result.
        log_tail: the last 4 KB of the log; None unless it was asked for.
    """

    payload: bytes
    content_type: str = "application/json"
    error_type: str | None = None
    log_tail: bytes | None = None


def run(invocation: Invocation, *, keep_log: bool) -> Outcome:
    """Run the handler; ``keep_log`` says that the caller wants to see its log."""
    if not keep_log:
        return _finish(invocation, None)
    started = SystemClock.monotonic()
    request_id = invocation.request_id
    log = InvocationLog(request_id, _PATHS, _encoder)
    log.write(f"START RequestId: {request_id} Version: {invocation.version}\n")
    outcome = _finish(invocation, log)
    duration_ms = (SystemClock.monotonic() - started) * 1000
    log.write(
        f"END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
        f"Billed Duration: {math.ceil(duration_ms)} ms\tMemory Size: {_MEMORY_MB} MB\t\n"
    )
    return outcome._replace(log_tail=log.tail())


def _finish(invocation: Invocation, log: InvocationLog | None) -> Outcome:
    """Return the result; or the error object, which the log is told of as the runtime does."""
    request_id = invocation.request_id
    try:
        with nullcontext() if log is None else written_to(log):
            result = _attempt(invocation)
        if isinstance(result, bytes):
            return _checked(Outcome(result, "application/unknown"))
        return _checked(Outcome(result.encode()))
    except SystemExit as end:
        return _failed(_exit_object(end, request_id))
    except Fault as fault:
        failure = fault_object(fault, request_id)
    # Whatever a handler raises is its answer.
    except Exception as problem:  # noqa: BLE001
        failure = exception_object(problem, _PATHS, _OWN_FILES, request_id)
    if log is not None:
        log.write_error(failure)
    return _failed(failure)


# Its name tells the bootstrap's error objects that a trace without frames ends at a handler's call.
def _attempt(invocation: Invocation) -> str | bytes:
    event = decode(invocation.event)
    result = invocation.handler(event, invocation.context())
    if isinstance(result, bytes):
        return result
    try:
        return _encoder.encode(result)
    # Of what cannot be written: a method of the user's, say.
    except Exception as problem:  # noqa: BLE001
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {problem}") from None


def _checked(outcome: Outcome) -> Outcome:
    if len(outcome.payload) <= limits.SYNC_RESPONSE_BYTES:
        return outcome
    most = int(limits.SYNC_RESPONSE_BYTES)
    return _failed(
        {
            "errorMessage": f"Response payload size exceeded maximum allowed payload size ({most} bytes).",
            "errorType": "Function.ResponseSizeTooLarge",
        }
    )


def _failed(error: dict[str, Any]) -> Outcome:
    # A lone surrogate in a message would end the process on AWS; here the message is worth more.
    payload = _encoder.encode(error).encode("utf-8", "backslashreplace")
    return Outcome(payload, error_type=error["errorType"])


def _exit_object(end: SystemExit, request_id: str) -> dict[str, Any]:
    """Return what the caller gets when a function's process ends.

    Source: docs/aws-behaviour.md, invoke 1.3.
    """
    status = end.code & 255 if isinstance(end.code, int) else int(end.code is not None)
    reason = f"with error: exit status {status}" if status else "without providing a reason"
    return {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: Runtime exited {reason}",
    }
