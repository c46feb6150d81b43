"""A first function: greets, and counts the calls that this execution environment has served."""

import itertools
import platform

# Runs once for each execution environment; later calls find it as it was left.
calls = itertools.count(1)


def handler(event, context):
    """Answer with a greeting; whatever is printed goes to the function's log."""
    name = event.get("name", "world")
    print(f"greeting {name}")
    return {
        "greeting": f"Hello, {name}!",
        "call": next(calls),
        "python": platform.python_version(),
        "request_id": context.aws_request_id,
    }
