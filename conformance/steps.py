"""The script that every client walks, and what each step must tell: the one expected table.

A program prints a line of JSON per step: ``client``, ``step``, ``ok`` (what the program itself
checked holds) and ``detail``, which is compared with the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import botocore.session


@dataclass(frozen=True)
class Step:
    """One step of the script.

    Attributes:
        name: as programs print it.
        detail: what they tell of it. An error is its code and its status; a client whose errors
            have no status tells the code alone.
        signed_detail: what they tell when the server checks signatures, if that differs.
        meaning: for the legend of the matrix.
    """

    name: str
    detail: str
    meaning: str
    signed_detail: str | None = None


# How much of an event Invoke takes: docs/aws-behaviour.md, invoke 1.1.
LARGEST_EVENT_BYTES = 6_291_456

SCRIPT = (
    Step("create", "Pending", "create the function from a zip"),
    Step("active", "Active", "wait until it is active, with the SDK's own waiter"),
    Step("publish", "1", "publish a version and wait until that is active"),
    Step("alias", "live 1", "create an alias of the version"),
    Step("invoke", "200 $LATEST", "RequestResponse with a payload"),
    Step("empty", "200 $LATEST", "RequestResponse without a payload: the event is {}"),
    Step("event", "202", "Event: accepted, without a payload in the answer"),
    Step("dry-run", "204", "DryRun"),
    Step("log-tail", "200", "the log tail, decoded"),
    Step("client-context", "200", "the client context reaches the function"),
    Step("version", "200 1", "a version as qualifier"),
    Step("alias-qualifier", "200 1", "an alias as qualifier"),
    Step("alias-in-name", "200 1", "an alias inside the name"),
    Step("full-arn", "200 1", "the full ARN of the alias"),
    Step("partial-arn", "200 1", "the partial ARN of the alias"),
    Step("function-error", "200 Unhandled ValueError", "an error of the function is an answer, no exception"),
    Step("request-id", "200", "the request id that the SDK tells is the function's"),
    Step("hook", "200", "a middleware, hook or interceptor adds a trace header that reaches the function"),
    Step("large", "200 6291456", "an event of exactly 6 MiB, and the same back"),
    Step("not-found", "ResourceNotFoundException 404", "no such function"),
    Step("bad-parameter", "InvalidParameterValueException 400", "name and qualifier contradict each other"),
    Step("bad-content", "InvalidRequestContentException 400", "an event that is no JSON"),
    Step("conflict", "ResourceConflictException 409", "a function that is not ready"),
    Step("too-large", "RequestEntityTooLargeException 413", "one byte over 6 MiB: an error without a type"),
    Step(
        "throttled", "TooManyRequestsException 429", "no concurrency, default retries: attempts are counted"
    ),
    Step("retries", "TooManyRequestsException 429", "the same with two attempts configured"),
    Step("timeout", "timeout", "a read timeout of a second, and the SDK's own error for it"),
    Step("unsigned", "200", "a call without credentials", "MissingAuthenticationTokenException 403"),
    Step("stream", "200 InvokeComplete", "InvokeWithResponseStream: all chunks are the answer"),
    Step("stream-error", "200 ValueError", "InvokeWithResponseStream of a function that fails"),
    Step("delete", "204", "delete the function"),
)

FAULTS_OF_CONNECTIONS = MappingProxyType({"connection.cut": "connection", "connection.stalled": "timeout"})


def modelled_errors() -> Mapping[str, int]:
    """Return the errors that the service model names for Invoke, with their statuses."""
    invoke = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke")
    return {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for shape in sorted(invoke.error_shapes, key=lambda each: str(each.name))
    }


def fault_names() -> tuple[str, ...]:
    """Return the names of every error and every failure of a connection that the server makes on demand."""
    return (*modelled_errors(), *FAULTS_OF_CONNECTIONS)


def function_with_fault(name: str) -> str:
    """Return the function that answers with a fault, as programs call it."""
    return f"fault-{name.replace('.', '-')}"


def fault_steps() -> tuple[Step, ...]:
    """Return a step for each of :func:`fault_names`."""
    details = {name: f"{name} {status}" for name, status in modelled_errors().items()}
    return tuple(
        Step(f"fault:{name}", detail, f"{name} on demand")
        for name, detail in (details | dict(FAULTS_OF_CONNECTIONS)).items()
    )
