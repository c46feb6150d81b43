"""What a map does next: which payload starts, which result is given out. No threads, no tasks.

At most ``concurrency`` calls are in flight, and at most twice as many payloads are taken and not yet
given out, so that an endless iterable is read no further than its results are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple

from lambent.client.errors import ValidationError
from lambent.client.options import Progress


class Outcome(NamedTuple):
    """How the call of one payload ended: a value, or an error; ``number`` counts payloads from 0."""

    number: int
    value: Any
    error: BaseException | None = None


class Fan:
    """The book-keeping of one map.

    Args:
        payloads: one for each call.
        concurrency: calls in flight.
        ordered: results are given out in the order of the payloads, not as they come.
        progress: True for a bar (if tqdm is installed), or told how many calls have ended.
    """

    def __init__(
        self, payloads: Iterable[object], *, concurrency: int, ordered: bool, progress: Progress = False
    ) -> None:
        if concurrency < 1:
            raise ValidationError("concurrency is at least 1")
        self._payloads = enumerate(payloads)
        self._concurrency = concurrency
        self._ordered = ordered
        self._in_flight = self._taken = self._given = self._ended = 0
        self._ready: dict[int, Outcome] = {}
        self._exhausted = False
        self._tell, self._close_bar = _progress_of(payloads, progress)

    @property
    def in_flight(self) -> int:
        """Calls that have started and not ended."""
        return self._in_flight

    @property
    def has_ready(self) -> bool:
        """Whether results have come that are not given out yet."""
        return bool(self._ready)

    def starts(self) -> Iterator[tuple[int, object]]:
        """Yield the payloads whose calls are to start now."""
        while (
            not self._exhausted
            and self._in_flight < self._concurrency
            and self._taken - self._given < 2 * self._concurrency
        ):
            job = next(self._payloads, None)
            if job is None:
                self._exhausted = True
                return
            self._taken += 1
            self._in_flight += 1
            yield job

    def ended(self, outcome: Outcome) -> None:
        """Note how a call ended."""
        self._in_flight -= 1
        self._ended += 1
        self._ready[outcome.number] = outcome
        self._tell(self._ended)

    def ready(self) -> Outcome | None:
        """Return what is to be given out next; None to wait, or at the end."""
        index = self._given if self._ordered else next(iter(self._ready), -1)
        outcome = self._ready.pop(index, None)
        if outcome is not None:
            self._given += 1
        return outcome

    def close(self) -> None:
        """Close the bar."""
        self._close_bar()


def given_out(outcome: Outcome, *, return_exceptions: bool) -> tuple[int, Any]:
    """Return what the caller of a map gets: a payload's number, and its value or its error.

    Raises:
        BaseException: the call's, unless errors are given out; what is no ``Exception`` always.
    """
    number, value, error = outcome
    if error is None:
        return number, value
    if return_exceptions and isinstance(error, Exception):
        return number, error
    raise error


def _progress_of(
    payloads: Iterable[object], progress: Progress
) -> tuple[Callable[[int], object], Callable[[], object]]:
    if callable(progress):
        return progress, _nothing
    if progress:
        try:
            from tqdm import tqdm  # noqa: PLC0415 - optional
        except ImportError:
            return _nothing, _nothing
        bar = tqdm(total=len(payloads) if isinstance(payloads, Sized) else None)
        return lambda ended: bar.update(ended - bar.n), bar.close
    return _nothing, _nothing


def _nothing(*_: object) -> None:
    """Tell nobody."""
