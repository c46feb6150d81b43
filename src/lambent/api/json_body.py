"""Request bodies as JSON, refused in AWS's words.

Stricter than Python's reader: no ``NaN`` or ``Infinity``, no byte-order mark, no lone
surrogates, nothing after the value.

Source: docs/aws-behaviour.md, invoke 1.4 and 1.10.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from lambent.model.errors import InvalidParameterValueException, InvalidRequestContentException

T = TypeVar("T")

_PREFIX = "Could not parse request body into json: Could not parse payload into json: "
_SUFFIX = (
    "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); "
    "line: {line}, column: {column}]"
)


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        InvalidRequestContentException: with AWS's prefix and suffix, our own words
            between them, and the true line and column (both 1-based).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(_name_bad_byte(error), body, error.start) from None
    try:
        value = _read(text)
        # Only an escape can bring a lone surrogate into decoded UTF-8.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise unreadable(error.msg, body, len(text[: error.pos].encode())) from None
    except UnicodeEncodeError:
        raise unreadable("Lone surrogate in a character escape", body, 0) from None
    except RecursionError:
        raise unreadable("Document nests too deeply", body, 0) from None
    except ValueError as error:
        # A number with more digits than the interpreter converts, or NaN and its kin.
        raise unreadable(str(error), body, 0) from None
    return value


def parse_struct(body: bytes, kind: type[T]) -> T:
    """Return the body of a request to Lambent's own paths.

    Raises:
        InvalidParameterValueException: it is not UTF-8, no JSON, or none of that kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameterValueException(f"The body cannot be read: {error}") from error


def unreadable(reason: str, body: bytes, position: int) -> InvalidRequestContentException:
    """Return the refusal of a body whose byte ``position`` (0-based) cannot be read."""
    line = body.count(b"\n", 0, position) + 1
    column = position - body.rfind(b"\n", 0, position)
    return InvalidRequestContentException(_PREFIX + reason + _SUFFIX.format(line=line, column=column))


def _name_bad_byte(error: UnicodeDecodeError) -> str:
    kind = "start" if error.reason == "invalid start byte" else "middle"
    return f"Invalid UTF-8 {kind} byte 0x{error.object[error.start]:02x}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"Non-standard token '{name}'")


_read = json.JSONDecoder(parse_constant=_refuse_constant).decode
