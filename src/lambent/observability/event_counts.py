"""What became of each function's events since the server began, counted while it happens.

Kept for the functions that were seen last, so that callers cannot fill the memory with names.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping

from lambent.model.functions import FunctionKey
from lambent.model.observer import Observer

FUNCTIONS_AT_MOST = 10_000


class EventCounts(Observer):
    """Counts by function; told by those who run events and deliver what became of them."""

    def __init__(self) -> None:
        self._counts: OrderedDict[FunctionKey, Counter[str]] = OrderedDict()

    def event_happened(self, key: FunctionKey, what: str) -> None:
        """Count one of the things that :meth:`Observer.event_happened` names."""
        counts = self._counts.get(key)
        if counts is None:
            if len(self._counts) >= FUNCTIONS_AT_MOST:
                self._counts.popitem(last=False)
            counts = self._counts[key] = Counter()
        else:
            self._counts.move_to_end(key)
        counts[what] += 1

    def counts(self) -> dict[FunctionKey, Mapping[str, int]]:
        """Return what was counted, by function."""
        return dict(self._counts)


__all__ = ["EventCounts"]
