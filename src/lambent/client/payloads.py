"""Events in: what a caller gives as payload and client context, as bytes of the wire."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from lambent.client.errors import ValidationError

CLIENT_CONTEXT_BYTES = 3583
"""Of base64 text. Source: docs/aws-behaviour.md, invoke 1.1."""


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""In place of a payload: the body is empty. ``None`` is JSON's ``null``."""


def encode_payload(payload: object) -> bytes:
    """Return a payload's bytes: bytes untouched, a file's content, or compact JSON.

    Raises:
        ValidationError: it is no JSON, or the file cannot be read.
    """
    if isinstance(payload, bytes):
        return payload
    if payload is UNSET:
        return b""
    if isinstance(payload, bytearray | memoryview):
        return bytes(payload)
    if isinstance(payload, Path):
        try:
            return payload.read_bytes()
        except OSError as error:
            raise ValidationError(f"payload: {error}") from error
    return encode_json(payload, "payload")


def encode_json(value: object, name: str) -> bytes:
    """Return compact JSON in UTF-8; ``name`` stands in the error's text.

    Raises:
        ValidationError: ``value`` cannot be written as JSON.
    """
    try:
        return _encode(value).encode()
    # RecursionError: a structure that contains itself deeper than the encoder looks.
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"{name} cannot be written as JSON: {error}") from error


def encode_client_context(context: Mapping[str, object] | str) -> str:
    """Return a client context as its header holds it: text as it is, a mapping in base64.

    Raises:
        ValidationError: it is longer than the service takes, or neither of the two.
    """
    if isinstance(context, str):
        text = context
    elif isinstance(context, Mapping):
        text = b64encode(encode_json(dict(context), "client_context")).decode()
    else:
        raise ValidationError(f"client_context is a mapping or a str, not {type(context).__name__}")
    if len(text) > CLIENT_CONTEXT_BYTES:
        raise ValidationError(
            f"client_context has {len(text)} bytes of base64, at most {CLIENT_CONTEXT_BYTES} are taken"
        )
    return text


def _members(value: Any) -> object:
    """Return what JSON holds of an object that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    # A pydantic model, whether or not pydantic is installed for anybody else.
    if hasattr(type(value), "__pydantic_fields__"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is none of JSON's types, no dataclass and no pydantic model")


_encode = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_members
).encode
