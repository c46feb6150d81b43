"""Waiting for a fact, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], within_s: float = 30.0) -> None:
    """Return as soon as a condition holds; it must within some seconds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
