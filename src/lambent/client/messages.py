"""What goes over HTTP: requests as signed, answers as received, and headers of any case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class Headers(Mapping[str, str]):
    """An answer's headers: looked up by names of any case, listed in lower case.

    Values of a name that came more than once are joined by ``", "``.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        values: dict[str, str] = {}
        for name, value in items:
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    # Most of what is asked for is not there: Mapping's own way over an exception takes three times as long.
    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value, or ``default``."""
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._values == Headers(other)._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


@dataclass(slots=True)
class HttpRequest:
    """One request, as ``before_sign`` gets it and ``record`` lists it.

    Attributes:
        method: of HTTP.
        url: whole, percent-encoded.
        headers: names in lower case. All that begin with ``x-amz-``, and ``host``, are signed.
        body: its bytes.
        operation: AWS's name of it.
        region: that the signature is for; None if it is not signed.
        attempt: 1 for the first.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    operation: str = "Invoke"
    region: str | None = None
    attempt: int = 1


@dataclass(slots=True)
class HttpResponse:
    """One answer, as ``after_response`` gets it; the body of a stream is empty here.

    Attributes:
        status_code: of HTTP.
        headers: by names of any case.
        body: its bytes, as they came.
        reason: HTTP's words for the status.
        source: of a stream, where the rest is read from.
    """

    status_code: int
    headers: Headers
    body: bytes = field(default=b"", repr=False)
    reason: str = ""
    source: Any = field(default=None, repr=False, compare=False)
