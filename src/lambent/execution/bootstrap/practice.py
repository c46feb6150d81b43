"""A handler of our own that rehearsals run; see ``rehearsal.py``."""

from __future__ import annotations

from typing import Any


def handler(event: Any, context: Any) -> Any:
    """Answer with the event and touch what handlers touch."""
    context.get_remaining_time_in_millis()
    return {"event": event, "request_id": context.aws_request_id}
