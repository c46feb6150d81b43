"""Bound functions: a name with its options. What both kinds of clients' have in common."""

from __future__ import annotations

from typing import Any, Generic, Self, Unpack

from lambent.client.options import InvokeOptions, check_options
from lambent.client.results import T


class BoundFunction(Generic[T]):
    """A function's name, and the options of every call; the subclasses say what calls return.

    Attributes:
        name: as it was given, a name or an ARN.
    """

    __slots__ = ("_client", "_options", "_returns", "name")

    def __init__(
        self, client: Any, name: str, returns: type[T] | None, options: InvokeOptions | dict[str, Any]
    ) -> None:
        check_options(options)
        self._client = client
        self.name = name
        self._returns = returns
        self._options: dict[str, Any] = {**options}

    @property
    def qualifier(self) -> str | None:
        """The version or alias that is called, if it does not stand in the name."""
        qualifier: str | None = self._options.get("qualifier")
        return qualifier

    def __repr__(self) -> str:
        qualifier = "" if self.qualifier is None else f", qualifier={self.qualifier!r}"
        return f"{type(self).__name__}({self.name!r}{qualifier})"

    def with_options(self, **options: Unpack[InvokeOptions]) -> Self:
        """Return the same function with other options; those not given stay."""
        return type(self)(self._client, self.name, self._returns, {**self._options, **options})

    def _with(self, options: Any) -> dict[str, Any]:
        return {**self._options, **options}

    def _typed(self, options: Any) -> dict[str, Any]:
        return {"returns": self._returns, **self._options, **options}
