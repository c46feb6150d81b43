"""What a caller sends besides names: the event and the client context.

The event is checked and never rebuilt: the caller's bytes go to the function
untouched. msgspec checks the grammar without building anything (it takes any bytes
inside strings, so UTF-8 is checked before).
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from lambent import limits
from lambent.model.errors import InvalidRequestContentException

_check = msgspec.json.Decoder(msgspec.Raw).decode
_check_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_PLACE = re.compile(r" \(byte (\d+)\)$")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def check_event(body: bytes) -> bytes:
    """Return the event's bytes: ``body`` itself, or ``{}`` for an empty one.

    Raises:
        InvalidRequestContentException: not one JSON value in UTF-8, in AWS's words with
            the true line and column.

    Source: docs/aws-behaviour.md, invoke 1.1, 1.4 and 1.10.
    """
    if not body:
        return b"{}"
    try:
        if not body.isascii():
            body.decode()
        _check(body)
    except UnicodeDecodeError as error:
        raise _refusal(f"Invalid UTF-8 start byte 0x{body[error.start]:02x}", body, error.start) from None
    except RecursionError:
        raise _refusal("Document nesting depth exceeds the maximum allowed", body, 0) from None
    except msgspec.DecodeError as error:
        place = _PLACE.search(str(error))
        problem = str(error).removeprefix("JSON is malformed: ")
        if place is None:
            raise _refusal(problem, body, len(body)) from None
        # msgspec counts what follows the value from one further on.
        at = int(place[1]) - problem.startswith("trailing characters")
        raise _refusal(problem.removesuffix(place[0]), body, at) from None
    return body


def check_client_context(text: str) -> str:
    """Return the client context as JSON text.

    Raises:
        InvalidRequestContentException: not base64 (padding optional) of a JSON object in
            UTF-8, or longer than 3583 bytes of base64.

    Source: docs/aws-behaviour.md, invoke 1.4 and 1.10.
    """
    if len(text) > limits.CLIENT_CONTEXT_BYTES:
        raise InvalidRequestContentException(
            f"Client context must be at most {limits.CLIENT_CONTEXT_BYTES} bytes of Base64-encoded data."
        )
    invalid = InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.")
    if _BASE64.fullmatch(text) is None:
        raise invalid
    stripped = text.rstrip("=")
    try:
        decoded = base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True).decode()
        _check_object(decoded)
    except (binascii.Error, UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise invalid from None
    return decoded


def _refusal(problem: str, body: bytes, position: int) -> InvalidRequestContentException:
    line = body.count(b"\n", 0, position) + 1
    column = position - (body.rfind(b"\n", 0, position) + 1) + 1
    return InvalidRequestContentException(
        f"Could not parse request body into json: Could not parse payload into json: {problem}\n"
        " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); "
        f"line: {line}, column: {column}]"
    )
