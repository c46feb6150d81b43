"""Loops of functions that call each other: counted in the trace's lineage, stopped after the limit.

Source: docs/aws-behaviour.md, async 2.5 and 2.7.
"""

from __future__ import annotations

from lambent import limits
from lambent.model.errors import RecursiveInvocationException
from lambent.wire.headers import runs_before


def check_recursion(trace: str) -> None:
    """Refuse a run when there were too many of the same function in one chain.

    Args:
        trace: as the run would get it.

    Raises:
        RecursiveInvocationException: there were.
    """
    if runs_before(trace) >= limits.RECURSIVE_RUNS:
        raise RecursiveInvocationException(
            "Lambda has detected your function being invoked in a recursive loop with other Amazon Web "
            "Services resources and stopped your function's invocation."
        )


__all__ = ["check_recursion"]
