"""The ``Condition`` element of a policy's statement, made into tests of a request's context.

Source: docs/aws-behaviour.md, versions-permissions 5.6, "Policies".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from lambent.model.patterns import Context, Kind, MalformedPolicy, Patterns

Test = Callable[[str, Context], bool]
"""Tells whether one value of the request matches one of the policy's."""

_ALL, _ANY = "ForAllValues", "ForAnyValue"


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of one operator.

    Attributes:
        key: in lower case.
        test: of one value, the negation not counted.
        negated: whether the operator is one of those with ``Not``.
        quantifier: ``ForAllValues``, ``ForAnyValue``, or "" when the operator has none.
        if_exists: whether an absent key is as good as a match.
    """

    key: str
    test: Test
    negated: bool = False
    quantifier: str = ""
    if_exists: bool = False

    def holds(self, context: Context) -> bool:
        """Tell whether the request meets it.

        A key of several values without a quantifier matches when one of them does†.

        Raises:
            UnresolvedVariable: a value of the policy has a variable that the request has not.
        """
        values = context.get(self.key, ())
        if not self.quantifier:
            if not values:
                return self.if_exists or self.negated
            return any(self.test(value, context) for value in values) is not self.negated
        if not values:
            return self.if_exists or self.quantifier == _ALL
        if _is_null(values):
            return self.quantifier == _ALL
        results = (self.test(value, context) is not self.negated for value in values)
        return all(results) if self.quantifier == _ALL else any(results)


@dataclass(frozen=True, slots=True)
class NullCondition:
    """One key of the operator ``Null``.

    Attributes:
        key: in lower case.
        wanted: True to hold when the key is absent, False when it is there, both for either.
    """

    key: str
    wanted: frozenset[bool]

    def holds(self, context: Context) -> bool:
        """Tell whether the key is as absent or as present as is wanted."""
        return _is_null(context.get(self.key, ())) in self.wanted


AnyCondition = Condition | NullCondition


def _is_null(values: tuple[str, ...]) -> bool:
    """Tell whether a key has no value: for AWS, an empty text is none where sets are compared."""
    return values in {(), ("",)}


def parse_conditions(element: object, *, variables: bool) -> tuple[AnyCondition, ...]:
    """Return the tests of a ``Condition`` element; all must hold.

    Args:
        element: operator → key → value or values.
        variables: whether the policy's version knows variables.

    Raises:
        MalformedPolicy: an operator is unknown, or a value is none of its kind.
    """
    conditions: list[AnyCondition] = []
    for name, keys in _members(element, "Condition").items():
        for key, given in _members(keys, name).items():
            if not key:
                raise MalformedPolicy(f"{name} has a key without a name.")
            conditions.append(_condition(name, key.lower(), _texts(given, f"{name} {key}"), variables))
    return tuple(conditions)


def _condition(name: str, key: str, values: list[str], variables: bool) -> AnyCondition:  # noqa: FBT001
    if name == "Null":
        return NullCondition(key, frozenset(_wanted(name, "true or false", _boolean, values)))
    quantifier, colon, operation = name.rpartition(":")
    kind = _OPERATORS.get(operation.removesuffix("IfExists"))
    if kind is None or (colon and quantifier not in {_ALL, _ANY}):
        raise MalformedPolicy(f"{name!r} is no condition operator.")
    test = kind.test(operation, values, variables)
    return Condition(key, test, kind.negated, quantifier, operation.endswith("IfExists"))


def _members(element: object, name: str) -> dict[str, object]:
    if not isinstance(element, dict):
        raise MalformedPolicy(f"{name} is no object.")
    return element


def _texts(given: object, place: str) -> list[str]:
    values = given if isinstance(given, list) else [given]
    if not values:
        raise MalformedPolicy(f"{place} has no value.")
    texts: list[str] = []
    for value in values:
        if isinstance(value, bool):
            texts.append("true" if value else "false")
        elif isinstance(value, str):
            texts.append(value)
        else:
            raise MalformedPolicy(f"{place} has a value that is no text, number or Boolean.")
    return texts


# -- Operators -----------------------------------------------------------------


class _Operator(NamedTuple):
    """How an operator is made: (its name, the policy's values, whether variables count) → test."""

    test: Callable[[str, Sequence[str], bool], Test]
    negated: bool = False


def _textual(kind: Kind, *, ignore_case: bool = False) -> Callable[[str, Sequence[str], bool], Test]:
    def make(_operation: str, values: Sequence[str], variables: bool) -> Test:  # noqa: FBT001
        return Patterns(values, kind, variables=variables, ignore_case=ignore_case).match

    return make


def _compared(
    noun: str,
    read: Callable[[str], Any],
    compare: Callable[[Any, Any], bool],
    read_policy: Callable[[str], Any] | None = None,
) -> Callable[[str, Sequence[str], bool], Test]:
    """Return how values are compared that are read first; what cannot be read in a request matches nothing.

    Args:
        noun: what the values are, for the refusal.
        read: of a text, its value; None of a text that has none.
        compare: (the request's, the policy's) → whether they match.
        read_policy: where the policy's values have another form.
    """

    def make(operation: str, values: Sequence[str], _variables: bool) -> Test:  # noqa: FBT001
        wanted = _wanted(operation, noun, read_policy or read, values)

        def test(text: str, _context: Context) -> bool:
            given = read(text)
            return given is not None and any(compare(given, each) for each in wanted)

        return test

    return make


def _wanted(operation: str, noun: str, read: Callable[[str], Any], values: Sequence[str]) -> list[Any]:
    wanted = [read(value) for value in values]
    if None in wanted:
        raise MalformedPolicy(f"{operation} takes {noun}, not {values[wanted.index(None)]!r}.")
    return wanted


# The exponent is short, so that a number is no larger than its text by orders of magnitude.
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(?:Z|([+-])(\d\d):(\d\d)))?)?)?",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RANGE: Final = re.compile(r"[0-9a-fA-F:.]+(?:/\d{1,3})?", re.ASCII)


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _date(text: str) -> Decimal | None:
    """Return seconds since the epoch, of a number or of W3C's form of ISO 8601. Four digits are a year."""
    match = _DATE.fullmatch(text)
    if match is None:
        return _number(text)
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        date = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    past = date - _EPOCH
    east = (int(hours or 0) * 3600 + int(minutes or 0) * 60) * (-1 if sign == "-" else 1)
    return Decimal(past.days * 86_400 + past.seconds - east) + Decimal(fraction or 0)


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _binary(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if _RANGE.fullmatch(text) else None
    except ValueError:
        return None


def _is_in(address: ipaddress.IPv4Address, network: ipaddress.IPv4Network) -> bool:
    return address in network


_ORDERS: Final[dict[str, tuple[Callable[[Any, Any], bool], bool]]] = {
    "Equals": (operator.eq, False),
    "NotEquals": (operator.eq, True),
    "LessThan": (operator.lt, False),
    "LessThanEquals": (operator.le, False),
    "GreaterThan": (operator.gt, False),
    "GreaterThanEquals": (operator.ge, False),
}

_IP: Final = _compared("an IP address or range", _address, _is_in, _network)

_OPERATORS: Final = {
    "StringEquals": _Operator(_textual(Kind.PLAIN)),
    "StringNotEquals": _Operator(_textual(Kind.PLAIN), negated=True),
    "StringEqualsIgnoreCase": _Operator(_textual(Kind.PLAIN, ignore_case=True)),
    "StringNotEqualsIgnoreCase": _Operator(_textual(Kind.PLAIN, ignore_case=True), negated=True),
    "StringLike": _Operator(_textual(Kind.WILD)),
    "StringNotLike": _Operator(_textual(Kind.WILD), negated=True),
    "ArnEquals": _Operator(_textual(Kind.ARN)),
    "ArnLike": _Operator(_textual(Kind.ARN)),
    "ArnNotEquals": _Operator(_textual(Kind.ARN), negated=True),
    "ArnNotLike": _Operator(_textual(Kind.ARN), negated=True),
    "Bool": _Operator(_compared("true or false", _boolean, operator.eq)),
    "BinaryEquals": _Operator(_compared("base64", _binary, operator.eq)),
    "IpAddress": _Operator(_IP),
    "NotIpAddress": _Operator(_IP, negated=True),
    **{
        f"{family}{order}": _Operator(_compared(noun, read, compare), negated)
        for family, noun, read in (("Numeric", "numbers", _number), ("Date", "dates", _date))
        for order, (compare, negated) in _ORDERS.items()
    },
}

__all__ = ["AnyCondition", "Condition", "NullCondition", "parse_conditions"]
