"""Results out: JSON as the type that the caller asked for.

Without a type JSON's own values come out. A dataclass or TypedDict is filled by its annotations,
deeply; members that it does not name are passed over, because functions grow. pydantic models
validate themselves.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

_SCALARS = (str, int, float, bool)


class MismatchError(ValueError):
    """The JSON is not of the type; the text says where (``$.items[2].price``)."""


def decode(payload: bytes, returns: type[Any] | None) -> Any:
    """Return a payload as ``returns``: None for JSON as it is, ``bytes`` for no decoding.

    Raises:
        ValueError: it is no JSON (:class:`json.JSONDecodeError`, :class:`UnicodeDecodeError`), or
            does not fit (:class:`MismatchError`, pydantic's own).
    """
    if returns is bytes:
        return payload
    try:
        value = json.loads(payload)
    except RecursionError as error:
        raise MismatchError("JSON is nested too deeply") from error
    return value if returns is None else convert(value, returns)


def convert(value: Any, kind: Any, place: str = "$") -> Any:
    """Return JSON's ``value`` as ``kind``; ``place`` is where in the document it stands.

    Raises:
        ValueError: it does not fit.
        TypeError: ``kind`` is nothing that JSON can be read as.
    """
    if kind is Any or kind is object:
        return value
    if kind in _SCALARS:
        return _scalar(value, kind, place)
    if isinstance(kind, type):
        if is_dataclass(kind):
            return kind(**_members(value, kind, place, *_dataclass_members(kind)))
        if is_typeddict(kind):
            return _members(value, kind, place, *_typeddict_members(kind))
        if hasattr(kind, "model_validate"):
            return kind.model_validate(value)
        if issubclass(kind, Enum):
            return _enum(value, kind, place)
    return _container(value, kind, place)


def _container(value: Any, kind: Any, place: str) -> Any:
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin in {Union, types.UnionType}:
        return _first_that_fits(value, kind, arguments, place)
    if origin is Literal:
        if value in arguments and type(value) in {type(each) for each in arguments}:
            return value
        raise _mismatch(value, kind, place)
    if origin in {None, types.NoneType}:
        return _of_type(value, types.NoneType, kind, place)
    if origin is tuple:
        return _tuple(value, kind, arguments, place)
    if origin in {list, set, frozenset, Sequence}:
        items = _of_type(value, list, kind, place)
        item = arguments[0] if arguments else Any
        made = [convert(each, item, f"{place}[{number}]") for number, each in enumerate(items)]
        return made if origin is Sequence else origin(made)
    if origin in {dict, Mapping}:
        members = _of_type(value, dict, kind, place)
        item = arguments[1] if arguments else Any
        return {name: convert(each, item, f"{place}.{name}") for name, each in members.items()}
    raise TypeError(f"JSON cannot be read as {kind!r}")


def _scalar(value: Any, kind: type, place: str) -> Any:
    # True is an int to Python and not to JSON.
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise _mismatch(value, kind, place)


def _enum(value: Any, kind: type[Enum], place: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise _mismatch(value, kind, place) from None


def _tuple(value: Any, kind: Any, arguments: tuple[Any, ...], place: str) -> Any:
    items = _of_type(value, list, kind, place)
    if not arguments:
        return tuple(items)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(items)
    if len(arguments) != len(items):
        raise MismatchError(f"{place} has {len(items)} items, not {len(arguments)}")
    pairs = zip(items, arguments, strict=True)
    return tuple(convert(each, item, f"{place}[{number}]") for number, (each, item) in enumerate(pairs))


def _first_that_fits(value: Any, kind: Any, choices: tuple[Any, ...], place: str) -> Any:
    failures = []
    for choice in choices:
        try:
            return convert(value, choice, place)
        except ValueError as error:
            failures.append(error)
    # Of `Model | None` the reason why it is no Model is the one that helps.
    if len(told := [each for each in choices if each is not types.NoneType]) == 1 and value is not None:
        raise failures[choices.index(told[0])]
    raise _mismatch(value, kind, place)


def _of_type(value: Any, wanted: type, kind: Any, place: str) -> Any:
    if isinstance(value, wanted):
        return value
    raise _mismatch(value, kind, place)


@lru_cache(256)
def _dataclass_members(kind: type[Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
    hints = get_type_hints(kind)
    taken = [each for each in fields(kind) if each.init]
    required = {each.name for each in taken if each.default is MISSING and each.default_factory is MISSING}
    return {each.name: hints[each.name] for each in taken}, frozenset(required)


@lru_cache(256)
def _typeddict_members(kind: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    marked = get_type_hints(kind, include_extras=True)
    # Python does not see the marks of annotations that are text.
    required = {name for name in kind.__required_keys__ if get_origin(marked[name]) is not NotRequired}
    required |= {name for name, hint in marked.items() if get_origin(hint) is Required}
    return get_type_hints(kind), frozenset(required)


def _members(
    value: Any, kind: Any, place: str, hints: Mapping[str, Any], required: frozenset[str]
) -> dict[str, Any]:
    given = _of_type(value, dict, kind, place)
    if missing := sorted(required - given.keys()):
        raise MismatchError(f"{place} has no {', '.join(missing)}")
    return {
        name: convert(given[name], hint, f"{place}.{name}") for name, hint in hints.items() if name in given
    }


def _mismatch(value: Any, kind: Any, place: str) -> MismatchError:
    found = {dict: "an object", list: "an array", str: "a string", types.NoneType: "null"}.get(
        type(value), json.dumps(value)
    )
    return MismatchError(f"{place} is {found}, not {getattr(kind, '__name__', kind)}")
