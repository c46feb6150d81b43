"""Event streams: written as botocore reads them, read however they arrive, refused when a byte is wrong."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Mapping
from itertools import pairwise
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire.eventstream import (
    Decoder,
    EventStreamError,
    Message,
    encode,
    encode_headers,
)

NAMES = st.text(min_size=1, max_size=60).filter(lambda name: len(name.encode()) < 256)
HEADERS = st.dictionaries(NAMES, st.text(max_size=200), max_size=6)
MESSAGES = st.lists(st.builds(Message, HEADERS, st.binary(max_size=300)), max_size=5)


def _stream(messages: list[Message]) -> bytes:
    return b"".join(
        encode(encode_headers({name: str(value) for name, value in headers.items()}), payload)
        for headers, payload in messages
    )


@given(MESSAGES)
def test_botocore_reads_what_is_written(messages: list[Message]) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(_stream(messages))
    assert [Message(event.headers, event.payload) for event in buffer] == messages


@given(MESSAGES, st.lists(st.integers(0, 2000), max_size=12))
def test_a_stream_is_read_in_whatever_pieces_it_arrives(messages: list[Message], cuts: list[int]) -> None:
    stream = _stream(messages)
    ends = [0, *sorted(cuts), len(stream)]
    decoder = Decoder()
    read = [message for begin, end in pairwise(ends) for message in decoder.feed(stream[begin:end])]
    assert read == messages
    assert decoder.is_between_messages


@given(st.builds(Message, HEADERS, st.binary(max_size=300)), st.data())
def test_a_changed_byte_is_found(message: Message, data: st.DataObject) -> None:
    stream = bytearray(_stream([message]))
    place = data.draw(st.integers(0, len(stream) - 1))
    stream[place] ^= data.draw(st.integers(1, 255))
    decoder = Decoder()
    with pytest.raises(EventStreamError):
        list(decoder.feed(bytes(stream)))


@given(st.binary(max_size=400))
def test_headers_of_any_bytes_are_read_as_by_botocore_or_refused(head: bytes) -> None:
    stream = encode(head, b"payload")
    try:
        buffer = EventStreamBuffer()
        buffer.add_data(stream)
        theirs: Mapping[str, object] | None = next(buffer).headers
    except Exception:
        theirs = None
    try:
        ours: Mapping[str, object] | None = next(Decoder().feed(stream)).headers
    except EventStreamError:
        ours = None
    # Headers that botocore refuses and we read, or the other way round, are those that nobody sends.
    if ours is not None and theirs is not None:
        assert {name: _plain(value) for name, value in ours.items()} == theirs


def _plain(value: object) -> object:
    return value.bytes if isinstance(value, UUID) else value


def test_values_of_every_type_are_read() -> None:
    identifier = UUID("01234567-89ab-cdef-0123-456789abcdef")
    values = {
        "true": (b"\x00", True),
        "false": (b"\x01", False),
        "byte": (b"\x02\xff", -1),
        "short": (b"\x03" + struct.pack(">h", -300), -300),
        "integer": (b"\x04" + struct.pack(">i", 70_000), 70_000),
        "long": (b"\x05" + struct.pack(">q", -(2**40)), -(2**40)),
        "bytes": (b"\x06\x00\x02\xff\x00", b"\xff\x00"),
        "text": (b"\x07\x00\x02\xc3\xa9", "é"),
        "timestamp": (b"\x08" + struct.pack(">q", 1_700_000_000_000), 1_700_000_000_000),
        "uuid": (b"\x09" + identifier.bytes, identifier),
    }
    head = b"".join(bytes((len(name),)) + name.encode() + raw for name, (raw, _) in values.items())
    (message,) = Decoder().feed(encode(head, b""))
    assert message == ({name: value for name, (_, value) in values.items()}, b"")


@pytest.mark.parametrize(
    "head",
    [
        b"\x01",
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x07",
        b"\x01a\x07\x00\x05abc",
        b"\x01a\x09abc",
        b"\x01\xff\x00",
    ],
)
def test_headers_that_are_cut_or_unknown_are_refused(head: bytes) -> None:
    with pytest.raises(EventStreamError):
        list(Decoder().feed(encode(head, b"")))


@pytest.mark.parametrize(("length", "head_length"), [(15, 0), (16, 1), (20, 2**32 - 1), (2**24 + 1, 0)])
def test_lengths_that_cannot_be_are_refused_before_anything_is_kept(length: int, head_length: int) -> None:
    lengths = struct.pack(">II", length, head_length)
    with pytest.raises(EventStreamError, match=r"is none\.$"):
        list(Decoder().feed(lengths + struct.pack(">I", binascii.crc32(lengths))))


def test_half_a_message_is_waited_for() -> None:
    stream = encode(encode_headers({"a": "b"}), b"payload")
    decoder = Decoder()
    assert list(decoder.feed(stream[:-1])) == []
    assert not decoder.is_between_messages
    assert list(decoder.feed(stream[-1:])) == [({"a": "b"}, b"payload")]
