"""The function that every client deploys and invokes.

Its answer tells what reached it; members of the event say what else it does.
"""

import os
import time


def handler(event, context):
    """Answer the event with what the context says; ``fail``, ``sleep`` and ``echo`` are orders."""
    print("conformance was here")
    orders = event if isinstance(event, dict) else {}
    if "fail" in orders:
        raise ValueError(orders["fail"])
    if "echo" in orders:
        return orders["echo"]
    time.sleep(orders.get("sleep", 0))
    return {
        "event": event,
        "custom": context.client_context.custom if context.client_context else None,
        "version": context.function_version,
        "request_id": context.aws_request_id,
        "trace": os.environ.get("_X_AMZN_TRACE_ID", ""),
    }
