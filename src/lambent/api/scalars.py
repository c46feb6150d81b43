"""Shapes of single values: text, numbers, booleans, blobs, timestamps; what a shape does is told here.

A shape does three things, each in one walk over a value:

* ``read`` takes decoded JSON and gives our value, or raises SerializationException at
  the first wrong type; ``read_text`` does the same for a path label, query value or
  header;
* ``check`` adds a sentence for every broken rule, so that all of a request's problems
  are told in one answer;
* ``write`` takes our value and gives what the JSON writer takes.

Our values: blobs are bytes, timestamps are seconds since the epoch (float), structures
are dicts with the model's member names, absent members are absent.
"""

from __future__ import annotations

import binascii
import datetime as dt
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from lambent.api.constraints import Rule, rules_of, tell_problem
from lambent.model.errors import SerializationException

_INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_JSON_KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class Shape(ABC):
    """A type of the model.

    Args:
        facts: its words from the model, with the overrides applied.

    Attributes:
        rules: the shape's own constraints.
        sensitive: whether its values are kept out of messages.
    """

    expected: ClassVar[str] = ""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules_of(facts))
        self.sensitive = bool(facts.get("sensitive"))

    @property
    def checked(self) -> bool:
        """Whether ``check`` can find anything."""
        return bool(self.rules)

    def rule_texts(self) -> list[str]:
        """Return the texts of all rules, as they are printed inside of a list's or map's rule."""
        return [rule.text for rule in self.rules]

    @abstractmethod
    def read(self, value: Any, path: str) -> Any:
        """Return our value for decoded JSON that is not null."""

    def read_text(self, text: str, path: str) -> Any:
        """Return our value for a path label, query value or header."""
        raise _unreadable(path, self.expected, f"the text '{text}'")

    def broken(self, value: Any) -> list[str]:
        """Return the texts of the rules that a value breaks."""
        return [rule.text for rule in self.rules if not rule.holds(value)]

    def check(self, value: Any, path: str, problems: list[str]) -> None:
        """Add a sentence to ``problems`` for every broken rule."""
        problems += [tell_problem(value, path, rule, sensitive=self.sensitive) for rule in self.broken(value)]

    def write(self, value: Any) -> Any:
        """Return what the JSON writer takes for our value."""
        return value


class StringShape(Shape):
    """Text."""

    expected = "a string"

    def read(self, value: Any, path: str) -> str:
        """Take a JSON string."""
        if isinstance(value, str):
            return value
        raise wrong_type(path, self.expected, value)

    def read_text(self, text: str, path: str) -> str:  # noqa: ARG002  # the other shapes need it
        """Take the text as it is."""
        return text


class IntegerShape(Shape):
    """A whole number of 32 bits (``integer``) or 64 bits (``long``)."""

    expected = "a whole number"

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self._bound = 2**63 if facts["type"] == "long" else 2**31

    def read(self, value: Any, path: str) -> int:
        """Take a JSON number, ``3.0`` as well: some languages know no other numbers."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(path, self.expected, value)
        if isinstance(value, float) and not value.is_integer():
            raise _unreadable(path, self.expected, "a fraction")
        number = int(value)
        if not -self._bound <= number < self._bound:
            raise SerializationException(f"'{path}' does not fit into {self._bound.bit_length()} bits.")
        return number

    def read_text(self, text: str, path: str) -> int:
        """Take decimal digits with an optional sign."""
        if _INTEGER_TEXT.fullmatch(text) is None:
            raise _unreadable(path, self.expected, f"the text '{text}'")
        return self.read(int(text), path)


class DoubleShape(Shape):
    """A finite number."""

    expected = "a number"

    def read(self, value: Any, path: str) -> float:
        """Take a JSON number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(path, self.expected, value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        # The JSON reader makes an infinity of 1e999.
        if not math.isfinite(number):
            raise SerializationException(f"'{path}' does not fit into a double.")
        return number

    def read_text(self, text: str, path: str) -> float:
        """Take what Python's ``float`` takes."""
        try:
            return self.read(float(text), path)
        except ValueError:
            raise _unreadable(path, self.expected, f"the text '{text}'") from None


class BooleanShape(Shape):
    """True or false."""

    expected = "a boolean"

    def read(self, value: Any, path: str) -> bool:
        """Take a JSON boolean."""
        if isinstance(value, bool):
            return value
        raise wrong_type(path, self.expected, value)

    def read_text(self, text: str, path: str) -> bool:
        """Take ``true`` or ``false`` in any case."""
        match text.lower():
            case "true":
                return True
            case "false":
                return False
        raise _unreadable(path, self.expected, f"the text '{text}'")


class BlobShape(Shape):
    """Bytes; base64 in JSON."""

    expected = "a base64 string"

    def read(self, value: Any, path: str) -> bytes:
        """Take standard base64 with its padding."""
        if not isinstance(value, str):
            raise wrong_type(path, self.expected, value)
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError as error:
            raise SerializationException(f"'{path}' must be {self.expected}: {error}.") from None

    def read_text(self, text: str, path: str) -> bytes:
        """Take base64."""
        return self.read(text, path)

    def write(self, value: bytes) -> str:
        """Give base64."""
        return binascii.b2a_base64(value, newline=False).decode("ascii")


class TimestampShape(Shape):
    """An instant; seconds since the epoch in JSON, ISO 8601 in a query."""

    expected = "a number of seconds since the epoch"

    def read(self, value: Any, path: str) -> float:
        """Take a JSON number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
            raise wrong_type(path, self.expected, value)
        return float(value)

    def read_text(self, text: str, path: str) -> float:
        """Take ISO 8601; without an offset it is UTC."""
        try:
            instant = dt.datetime.fromisoformat(text)
        except ValueError:
            raise _unreadable(path, "an ISO 8601 instant", f"the text '{text}'") from None
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=dt.UTC)
        return instant.timestamp()

    def write(self, value: float) -> float:
        """Give seconds, exact to the millisecond."""
        return round(value, 3)


SCALARS: dict[str, type[Shape]] = {
    "string": StringShape,
    "integer": IntegerShape,
    "long": IntegerShape,
    "double": DoubleShape,
    "float": DoubleShape,
    "boolean": BooleanShape,
    "blob": BlobShape,
    "timestamp": TimestampShape,
}
"""The shape of each of the model's types that has no parts."""


def wrong_type(path: str, expected: str, found: Any) -> SerializationException:
    """Return a refusal that names the member, what it must be, and what kind of JSON value it was."""
    return _unreadable(path, expected, _JSON_KINDS[type(found)])


def _unreadable(path: str, expected: str, kind: str) -> SerializationException:
    member = f"'{path}'" if path else "The request body"
    return SerializationException(f"{member} must be {expected}, not {kind}.")
