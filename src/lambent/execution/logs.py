"""Lines of a function's log as AWS writes them, and the log of one invocation.

Texts and tabs as in docs/aws-behaviour.md, execution 4.6: ``START``, the function's own
output, ``END``, ``REPORT``.
"""

from __future__ import annotations

import math


def render_start(request_id: str, version: str) -> str:
    """Return the line that opens an invocation's log."""
    return f"START RequestId: {request_id} Version: {version}\n"


def render_init_start(runtime: str, python: str, runtime_arn: str) -> str:
    """Return the line that a new process opens with."""
    return f"INIT_START Runtime Version: {runtime[:6]}:{python}\tRuntime Version ARN: {runtime_arn}\n"


def render_end(
    request_id: str,
    duration_ms: float,
    memory_mb: int,
    max_memory_mb: int,
    init_ms: float | None,
    status: str | None = None,
    error_type: str | None = None,
) -> str:
    """Return the END and REPORT lines.

    Args:
        request_id: of the invocation.
        duration_ms: time in the handler.
        memory_mb: what the function is configured with.
        max_memory_mb: the process's high-water mark.
        init_ms: time of the cold start, None when the process was warm.
        status: ``timeout`` or ``error`` when the platform ended the invocation.
        error_type: such as ``Runtime.ExitError``.
    """
    billed_ms = math.ceil(duration_ms + (init_ms or 0.0))
    init = "" if init_ms is None else f"Init Duration: {init_ms:.2f} ms\t"
    if status is not None:
        init += f"Status: {status}" if error_type is None else f"Status: {status}\tError Type: {error_type}"
    return (
        f"END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {billed_ms} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {max_memory_mb} MB\t{init}\n"
    )
