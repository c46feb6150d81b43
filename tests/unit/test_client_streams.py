"""Streamed answers: what a caller gets of an event stream's bytes, however they are cut."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.client import DecodingError, FunctionError, HttpResponse, ServiceError, TransportError
from lambent.client.messages import Headers
from lambent.client.streams import JsonLines, LineSplitter, StreamReader, TextDecoder, Transformer
from lambent.wire.eventstream import CHUNK, COMPLETE, encode, encode_headers

HEAD = Headers(
    {
        "content-type": "application/vnd.amazon.eventstream",
        "x-amzn-requestid": "r",
        "x-amz-executed-version": "3",
        "transfer-encoding": "chunked",
    }
)


def stream(*chunks: bytes, **end: str) -> bytes:
    events = [encode(CHUNK, chunk) for chunk in chunks]
    return b"".join([*events, encode(COMPLETE, json.dumps(end).encode())])


def read(data: bytes, size: int = 7) -> tuple[list[bytes], StreamReader]:
    reader = StreamReader(HttpResponse(200, HEAD), 1)
    chunks: list[bytes] = []
    for start in range(0, len(data) + 1, size):
        if not reader.complete:
            chunks += reader.feed(data[start : start + size])
    if not reader.complete:
        chunks += reader.feed(b"")
    return chunks, reader


@given(st.data())
def test_a_flipped_bit_is_noticed_or_leaves_the_stream_unfinished(data: Any) -> None:
    wire = bytearray(stream(b"payload"))
    position = data.draw(st.integers(0, len(wire) * 8 - 1))
    wire[position // 8] ^= 1 << position % 8
    with pytest.raises((DecodingError, TransportError)):
        read(bytes(wire))


def test_chunks_and_the_log() -> None:
    log = base64.b64encode(b"START").decode()
    chunks, reader = read(stream(b"a", b"", b"bc", LogResult=log))
    assert chunks == [b"a", b"bc"]
    assert (reader.complete, reader.logs) == (True, "START")


def test_a_function_may_fail_after_it_has_begun() -> None:
    details = json.dumps({"errorType": "ValueError", "errorMessage": "boom", "stackTrace": ["x"]})
    reader = StreamReader(HttpResponse(200, HEAD), 2)
    found = list(reader.feed(encode(CHUNK, b"a")))
    with pytest.raises(FunctionError) as caught:
        list(reader.feed(stream(ErrorCode="ValueError", ErrorDetails=details)))
    assert found == [b"a"]
    error = caught.value
    assert (error.type, error.message, error.stack_trace) == ("ValueError", "boom", ("x",))
    assert (error.may_have_run, error.attempts, error.result.executed_version) == (True, 2, "3")


def test_details_of_a_failure_may_be_plain_text() -> None:
    with pytest.raises(FunctionError) as caught:
        read(stream(ErrorCode="Runtime.TruncatedResponse", ErrorDetails="cut"))
    assert (caught.value.type, caught.value.message) == ("Runtime.TruncatedResponse", "cut")


@pytest.mark.parametrize("cut", [0, 5, 11, 12, 40, -1])
def test_a_stream_without_its_last_event_is_half_an_answer(cut: int) -> None:
    data = stream(b"abc")
    with pytest.raises(TransportError) as caught:
        read(data[:cut])
    assert caught.value.may_have_run


def test_the_service_may_fail_within_a_stream() -> None:
    headers = {":message-type": "exception", ":exception-type": "ServiceException"}
    with pytest.raises(ServiceError) as caught:
        read(encode(encode_headers(headers), b'{"Message":"m"}'))
    assert (caught.value.code, caught.value.message, caught.value.may_have_run) == (
        "ServiceException",
        "m",
        True,
    )
    headers = {":message-type": "error", ":error-code": "Internal", ":error-message": "m"}
    with pytest.raises(ServiceError, match="Internal"):
        read(encode(encode_headers(headers), b""))


def test_events_of_a_later_day_are_passed_over() -> None:
    later = encode_headers({":message-type": "event", ":event-type": "Heartbeat"})
    chunks, _ = read(encode(later, b"x") + stream(b"a"))
    assert chunks == [b"a"]


@pytest.mark.parametrize("end", [b"[]", b"{", b"\xff"])
def test_a_last_event_that_cannot_be_read_is_no_success(end: bytes) -> None:
    with pytest.raises(DecodingError):
        read(encode(COMPLETE, end))


def test_an_answer_that_is_no_stream() -> None:
    with pytest.raises(TransportError, match="application/json"):
        StreamReader(HttpResponse(200, Headers({"content-type": "application/json"})), 1)


def transformed(transformer: Transformer, chunks: Iterable[bytes]) -> list[Any]:
    found = [each for chunk in chunks for each in transformer.feed(chunk)]
    return [*found, *transformer.finish()]


@given(st.text(), st.integers(1, 5), st.sampled_from(["utf-8", "utf-16-le", "latin-1"]))
def test_text_never_splits_a_character(
    text: str, size: int, encoding: Literal["utf-8", "utf-16-le", "latin-1"]
) -> None:
    data = text.encode(encoding, "replace")
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert "".join(transformed(TextDecoder(encoding), chunks)) == data.decode(encoding)


@given(st.text(), st.integers(1, 5))
def test_lines_end_with_a_newline_alone(text: str, size: int) -> None:
    data = text.encode()
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    expected = text.split("\n")
    if not expected[-1]:
        expected.pop()
    assert transformed(LineSplitter(), chunks) == [line.removesuffix("\r") for line in expected]


def test_json_lines() -> None:
    chunks = [b'{"a":', b'1}\n\n{"a"', b":2}\r\n", b"3"]
    assert transformed(JsonLines(None), chunks) == [{"a": 1}, {"a": 2}, 3]
    with pytest.raises(DecodingError):
        transformed(JsonLines(None), [b"{\n"])
    with pytest.raises(DecodingError):
        transformed(JsonLines(int), [b'"x"'])


def test_bytes_that_are_no_text() -> None:
    for transformer in (TextDecoder("utf-8"), LineSplitter()):
        with pytest.raises(DecodingError):
            transformed(transformer, [b"\xff\n"])
    with pytest.raises(DecodingError):
        transformed(TextDecoder("utf-8"), ["é".encode()[:1]])
