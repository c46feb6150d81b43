"""Constraints of the service model as rules, and AWS's way of telling which one is broken.

::

    Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900
    Value '[a, b]' at 'architectures' failed to satisfy constraint: Member must have length less than …
    Value '[x]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [<rules>]
    Value null at 'code' failed to satisfy constraint: Member must not be null
    Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [<rules>]

The last is a sensitive member, whose value is never printed. Patterns are Java's and
are applied to the whole string.

Source: docs/aws-behaviour.md, invoke 1.1 and functions 7.6.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

# No pattern of the model means anything for a text this long, and some would take
# seconds for it; such a text is over its maximum anyway.
_LONGEST_MATCHED = 20_000

# What Python's re lacks. Beside letters and numbers \w takes the underscore, which every
# pattern of the model that uses these classes takes as well.
_UNICODE_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}

NOT_NULL = "Member must not be null"


class Rule(NamedTuple):
    """One constraint: AWS's text for it, and whether a value keeps it."""

    text: str
    holds: Callable[[Any], bool]


def rules_of(facts: Mapping[str, Any]) -> Iterator[Rule]:
    """Yield a shape's rules in the order in which AWS prints them: maximum, minimum, pattern, enum.

    Args:
        facts: the shape's words from the model, with the overrides applied.
    """
    kind = facts["type"]
    lowest, highest = facts.get("min"), facts.get("max")
    if kind in _NUMBERS:
        convert = float if kind in ("double", "float") else int
        if highest is not None:
            yield _most_value(convert(highest))
        if lowest is not None:
            yield _least_value(convert(lowest))
    else:
        if highest is not None:
            yield _most_length(int(highest))
        # A minimum of zero is printed inside of element rules, so it is a rule too.
        if lowest is not None:
            yield _least_length(int(lowest))
    if (pattern := facts.get("pattern")) is not None:
        yield Rule(f"Member must satisfy regular expression pattern: {pattern}", _matcher(pattern))
    if (enum := facts.get("enum")) is not None:
        shown = facts.get("printed_enum", enum)
        yield Rule(f"Member must satisfy enum value set: [{', '.join(shown)}]", frozenset(enum).__contains__)


def tell_problem(value: Any, path: str, rule: str, *, sensitive: bool = False) -> str:
    """Return AWS's sentence for a broken rule.

    Args:
        value: None for a member that is missing.
        path: the member's path as AWS prints it, ``ephemeralStorage.size``.
        rule: the rule's text.
        sensitive: leave the value out.
    """
    if value is None:
        shown = " null"
    elif sensitive:
        shown = ""
    else:
        shown = f" '{print_value(value)}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: {rule}"


def print_value(value: Any) -> str:
    """Return a value as Java prints it: ``[a, b]``, ``{k=v}``, ``true``, ``null``."""
    match value:
        case str():
            return value
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(print_value, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}={print_value(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def print_name(member: str) -> str:
    """Return a member's name as AWS prints it: the first letter in lower case, nothing else changed."""
    return member[:1].lower() + member[1:]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compile one of the model's patterns; ``\d``, ``\s`` and ``\w`` are ASCII as in Java."""
    if r"\p{" not in pattern:
        return re.compile(pattern, re.ASCII)
    for java, python in _UNICODE_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


_NUMBERS = frozenset(("integer", "long", "double", "float"))


def _most_value(highest: float) -> Rule:
    text = f"Member must have value less than or equal to {highest}"
    return Rule(text, lambda value: value <= highest)


def _least_value(lowest: float) -> Rule:
    text = f"Member must have value greater than or equal to {lowest}"
    return Rule(text, lambda value: value >= lowest)


def _most_length(highest: int) -> Rule:
    text = f"Member must have length less than or equal to {highest}"
    return Rule(text, lambda value: len(value) <= highest)


def _least_length(lowest: int) -> Rule:
    text = f"Member must have length greater than or equal to {lowest}"
    return Rule(text, lambda value: len(value) >= lowest)


@functools.cache
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return a full match of ``pattern`` that is compiled when it is first used."""
    compiled: re.Pattern[str] | None = None

    def holds(value: str) -> bool:
        nonlocal compiled
        if compiled is None:
            compiled = compile_pattern(pattern)
        return len(value) > _LONGEST_MATCHED or compiled.fullmatch(value) is not None

    return holds
