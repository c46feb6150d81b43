"""What is counted of events, and for whom."""

from __future__ import annotations

from lambent.model.functions import FunctionKey
from lambent.observability import event_counts
from lambent.observability.event_counts import EventCounts


def key(number: int) -> FunctionKey:
    return FunctionKey("000000000000", "us-east-1", f"f{number}")


def test_each_function_has_its_own_counts() -> None:
    counts = EventCounts()
    for what in ("received", "received", "succeeded"):
        counts.event_happened(key(1), what)
    counts.event_happened(key(2), "dead")
    assert counts.counts() == {key(1): {"received": 2, "succeeded": 1}, key(2): {"dead": 1}}


def test_the_function_that_was_seen_longest_ago_is_forgotten_first() -> None:
    counts = EventCounts()
    for number in range(event_counts.FUNCTIONS_AT_MOST):
        counts.event_happened(key(number), "received")
    counts.event_happened(key(0), "succeeded")
    counts.event_happened(key(-1), "received")
    assert key(0) in counts.counts()
    assert key(1) not in counts.counts()
