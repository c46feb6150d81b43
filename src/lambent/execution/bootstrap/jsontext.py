"""JSON exactly as AWS's Python runtime reads and writes it.

That runtime uses simplejson (with ``use_decimal=False``, and ``ensure_ascii=False`` from
Python 3.12 on) plus a rule for ``Decimal``; see lambda_runtime_marshaller.py of
https://github.com/aws/aws-lambda-python-runtime-interface-client and
https://simplejson.readthedocs.io. Compared with the standard library it

- writes objects that have an ``_asdict`` method (named tuples) as objects, not arrays,
- takes ``bytes`` as UTF-8 text, in values and keys,
- writes a ``Decimal`` with all its digits.

The standard library's C encoder cannot be taught the first rule, so it is used only for
values which are plain throughout; ``marshal``, which accepts nothing but exact built-in
types, decides that in a tenth of the encoder's own time.
"""

from __future__ import annotations

import json
import json.decoder
import json.encoder
from decimal import Decimal
from marshal import dumps as _require_plain_types
from math import isnan
from typing import Any, Callable

# C code of the standard library, below its public functions (typeshed leaves it out).
_decoder: Any = json.decoder.JSONDecoder()
_loads = json.loads  # the user may replace json's own
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once
_make_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
_WHITESPACE = " \t\n\r"

# Marshal's words for more levels than 2000, which newer Pythons can still encode.
_TOO_DEEP = "object too deeply nested to marshal"
_RECURSION = "maximum recursion depth exceeded while encoding a JSON object"


def decode(payload: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: not JSON, or not UTF-8.
    """
    text = str(payload, "utf-8")
    try:
        value, end = _scan(text, 0)
    except StopIteration:  # white space in front, or no JSON at all
        return _loads(payload)
    if end != len(text) and text[end:].strip(_WHITESPACE):
        return _loads(payload)
    return value


def _float_text(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value == float("inf"):
        return "Infinity"
    if value == float("-inf"):
        return "-Infinity"
    return float.__repr__(value)


def _plain_default(value: object) -> str:
    """Help the C encoder with the one plain type that it does not know."""
    if type(value) is bytes:
        return value.decode()
    raise TypeError


class Encoder:
    """Writes results; one per process, reused because building the C encoder costs a microsecond."""

    def __init__(self, ensure_ascii: bool) -> None:
        """Make an encoder.

        Args:
            ensure_ascii: escape everything beyond ASCII, as runtimes before Python 3.12 do.
        """
        self._quote: Callable[[str], str] = (
            json.encoder.encode_basestring_ascii if ensure_ascii else json.encoder.encode_basestring
        )
        self._markers: dict[int, Any] = {}
        # Without the C encoder calling None fails, and everything goes the thorough way.
        self._parts = _make_encoder and _make_encoder(
            self._markers, _plain_default, self._quote, None, ": ", ", ", False, False, True
        )

    def encode(self, value: Any) -> str:
        """Return the JSON text of ``value``.

        Raises:
            Exception: what AWS's encoder raises for it; the message is shown to the caller.
        """
        try:
            _require_plain_types(value)
            return "".join(self._parts(value, 0))
        except RecursionError:
            self._markers.clear()
            raise
        except Exception as reason:
            # Not plain, or not encodable: the thorough way answers or finds the right words.
            self._markers.clear()
            if str(reason) == _TOO_DEEP:
                return "".join(self._parts(value, 0))
        parts: list[str] = []
        try:
            self._write(value, parts.append, {})
        except RecursionError:
            raise RecursionError(_RECURSION) from None
        return "".join(parts)

    def _write(self, value: Any, put: Callable[[str], None], active: dict[int, Any]) -> None:
        """Append the text of any value; ``active`` holds the containers that are being written."""
        if isinstance(value, str):
            put(self._quote(value))
        elif isinstance(value, bytes):
            put(self._quote(str(value, "utf-8")))
        elif value is None:
            put("null")
        elif value is True:
            put("true")
        elif value is False:
            put("false")
        elif isinstance(value, int):
            put(int.__repr__(value))
        elif isinstance(value, float):
            put(_float_text(value))
        elif isinstance(value, Decimal):
            # Without _asdict, so the order of these two tests does not matter.
            put("NaN" if value.is_nan() else str(value))
        else:
            self._write_container(value, put, active)

    def _write_container(self, value: Any, put: Callable[[str], None], active: dict[int, Any]) -> None:
        marker = id(value)
        members = _members_by_method(value)
        write: Callable[..., None] = self._write_members
        if members is not None:
            if not isinstance(members, dict):
                raise TypeError(f"_asdict() must return a dict, not {type(members).__name__}")
        elif isinstance(value, (list, tuple)):
            members, write = value, self._write_elements
        elif isinstance(value, dict):
            members = value
        else:
            raise TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")
        if marker in active:
            raise ValueError("Circular reference detected")
        active[marker] = value
        write(members, put, active)
        del active[marker]

    def _write_elements(self, elements: Any, put: Callable[[str], None], active: dict[int, Any]) -> None:
        separator = "["
        for element in elements:
            put(separator)
            separator = ", "
            self._write(element, put, active)
        put("[]" if separator == "[" else "]")

    def _write_members(self, members: Any, put: Callable[[str], None], active: dict[int, Any]) -> None:
        if not members:
            put("{}")
            return
        separator = "{"
        for key, value in members.items():
            put(separator)
            separator = ", "
            put(self._quote(_key_text(key)))
            put(": ")
            self._write(value, put, active)
        put("{}" if separator == "{" else "}")


def _members_by_method(value: Any) -> Any:
    """Return what a named tuple (or anything with its method) says that it consists of, else None."""
    method = getattr(value, "_asdict", None)
    if not callable(method):
        return None
    try:
        return method()
    except TypeError:  # of a class, or with other arguments: not the method that is meant
        return None


def _key_text(key: Any) -> str:
    """Return the text that stands for a dictionary's key."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return str(key, "utf-8")
    if isinstance(key, float):
        return _float_text(key)
    if key is True:
        return "true"
    if key is False:
        return "false"
    if key is None:
        return "null"
    if isinstance(key, int):
        return int.__repr__(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {key.__class__.__name__}")
