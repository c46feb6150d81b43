r"""Messages of ``application/vnd.amazon.eventstream``: how AWS streams answers over HTTP.

A stream is one message after another; all integers are big-endian::

    u32 length       of the whole message
    u32 head_length  of the headers
    u32 crc          CRC-32 of the eight bytes before it
    headers          each: u8 length of the name, name, u8 type, value
    payload
    u32 crc          CRC-32 of everything before it

Lambda sends values of type 7 alone, text with its length as u16 before it; values of the
other types are read too. :func:`encode` writes a message, :class:`Decoder` reads a stream
as it arrives.

The messages of InvokeWithResponseStream, whose headers stand at the end of this file::

    PayloadChunk     the function's bytes, as many chunks as they fill; none if it failed
    InvokeComplete   {"ErrorCode", "ErrorDetails", "LogResult"}, each where it applies

Source: docs/aws-behaviour.md, invoke 1.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias
from uuid import UUID

CONTENT_TYPE = "application/vnd.amazon.eventstream"
MAX_MESSAGE_BYTES = 16 << 20
"""Longer messages are none: some decoders of the SDKs refuse them, so does this one."""

Value: TypeAlias = str | bytes | bool | int | UUID

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_LEAST_BYTES = _PRELUDE.size + _CRC.size
_TEXT = 7
_BYTES = 6
_UUID = 9
_FLAGS = {0: True, 1: False}
# Of type 8, milliseconds since the epoch.
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_NUMBERS[8] = _NUMBERS[5]


class Message(NamedTuple):
    """One message: its headers by name, and its payload."""

    headers: Mapping[str, Value]
    payload: bytes


class EventStreamError(ValueError):
    """The bytes are no event stream, or were changed on their way."""


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Return the headers of a message, for :func:`encode`.

    Args:
        headers: names of 1 to 255 bytes of UTF-8, values of at most 65,535.
    """
    parts = []
    for name, value in headers.items():
        key, text = name.encode(), value.encode()
        parts.append(bytes((len(key),)) + key + bytes((_TEXT,)) + _LENGTH.pack(len(text)) + text)
    return b"".join(parts)


def encode(headers: bytes, payload: bytes | memoryview) -> bytes:
    """Return a whole message.

    Args:
        headers: as :func:`encode_headers` makes them; the same for many messages.
        payload: so long that the message has no more than ``MAX_MESSAGE_BYTES``.
    """
    lengths = struct.pack(">II", _LEAST_BYTES + len(headers) + len(payload), len(headers))
    prelude = lengths + _CRC.pack(zlib.crc32(lengths))
    crc = zlib.crc32(payload, zlib.crc32(headers, zlib.crc32(prelude)))
    return b"".join((prelude, headers, payload, _CRC.pack(crc)))


class Decoder:
    """Reads a stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    @property
    def is_between_messages(self) -> bool:
        """Whether every message that began has come to its end."""
        return not self._waiting

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield each message that ``data`` completes; to be read to its end.

        Raises:
            EventStreamError: a length or checksum is wrong, or a header cannot be read;
                nothing after it can be understood.
        """
        waiting = self._waiting
        waiting += data
        while len(waiting) >= _PRELUDE.size:
            length, head_length, crc = _PRELUDE.unpack_from(waiting)
            if zlib.crc32(waiting[:8]) != crc:
                raise EventStreamError("The checksum of a message's lengths is wrong.")
            if not _LEAST_BYTES + head_length <= length <= MAX_MESSAGE_BYTES:
                raise EventStreamError(f"A message of {length} bytes with {head_length} of headers is none.")
            if len(waiting) < length:
                return
            message = bytes(waiting[:length])
            del waiting[:length]
            yield _read(message, _PRELUDE.size + head_length)


def _read(message: bytes, head_end: int) -> Message:
    end = len(message) - _CRC.size
    if zlib.crc32(memoryview(message)[:end]) != _CRC.unpack_from(message, end)[0]:
        raise EventStreamError("The checksum of a message is wrong.")
    return Message(_read_headers(message[_PRELUDE.size : head_end]), message[head_end:end])


def _read_headers(head: bytes) -> dict[str, Value]:
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(head):
            name, at = _cut(head, at + 1, head[at])
            headers[name.decode()], at = _read_value(head, at + 1, head[at])
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise EventStreamError(f"The headers of a message cannot be read: {error}.") from error
    return headers


def _read_value(head: bytes, at: int, kind: int) -> tuple[Value, int]:
    """Return the value of a type that begins at a place, and where it ends."""
    if kind in (_TEXT, _BYTES):
        value, at = _cut(head, at + _LENGTH.size, _LENGTH.unpack_from(head, at)[0])
        return (value.decode() if kind == _TEXT else value), at
    if kind in _NUMBERS:
        number = _NUMBERS[kind]
        return int(number.unpack_from(head, at)[0]), at + number.size
    if kind in _FLAGS:
        return _FLAGS[kind], at
    if kind == _UUID:
        value, at = _cut(head, at, 16)
        return UUID(bytes=value), at
    raise EventStreamError(f"Headers have no values of type {kind}.")


def _cut(head: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(head):
        raise IndexError("one is longer than all of them together")
    return head[at : at + length], at + length


CHUNK = encode_headers(
    {
        ":message-type": "event",
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
    }
)
COMPLETE = encode_headers(
    {":message-type": "event", ":event-type": "InvokeComplete", ":content-type": "application/json"}
)
