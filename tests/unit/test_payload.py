"""What a caller sends besides names: the event and the client context."""

from __future__ import annotations

import base64
import json

import pytest

from lambent.api.payload import check_client_context, check_event
from lambent.model.errors import InvalidRequestContentException


@pytest.mark.parametrize(
    "body", [b"3", b'"x"', b"null", b"[]", b'{"a": [1.5e3, "\xc3\xa9", "\\ud83d\\ude00"]}', b" \n{}\t"]
)
def test_any_json_value_passes_untouched(body: bytes) -> None:
    assert check_event(body) is body


def test_an_empty_body_is_the_event_of_an_empty_object() -> None:
    assert check_event(b"") == b"{}"


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b"\x99", 1, 1),
        (b'{"a":\xff}', 1, 6),
        (b'{"a":1} x', 1, 9),
        (b"NaN", 1, 1),
        (b'{\n "a": Infinity}', 2, 7),
        (b"\xef\xbb\xbf{}", 1, 1),
        (b'{"a":01}', 1, 7),
        (b"{\n\n}}", 3, 2),
        (b"  ", 1, 3),
    ],
)
def test_what_is_not_json_is_refused_with_line_and_column(body: bytes, line: int, column: int) -> None:
    with pytest.raises(InvalidRequestContentException) as caught:
        check_event(body)
    prefix, _, suffix = str(caught.value.message).partition("\n")
    assert prefix.startswith("Could not parse request body into json: Could not parse payload into json: ")
    assert suffix == (
        " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); "
        f"line: {line}, column: {column}]"
    )


@pytest.mark.parametrize("body", [b'"\\ud800"', b'"\\udc00 text"', b'{"\\ud800key":1}', b'"\\ud800\\u0041"'])
def test_lone_surrogates_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestContentException):
        check_event(body)


def test_deep_nesting_is_refused_and_not_a_fault_of_ours() -> None:
    with pytest.raises(InvalidRequestContentException, match="nesting depth"):
        check_event(b"[" * 100_000 + b"]" * 100_000)


def test_a_client_context_is_decoded_to_its_json_text() -> None:
    text = json.dumps({"custom": {"é": 1}})
    encoded = base64.b64encode(text.encode()).decode()
    assert check_client_context(encoded) == text
    assert check_client_context(encoded.rstrip("=")) == text


@pytest.mark.parametrize(
    "decoded",
    [
        b"[]",
        b"3",
        b"{",
        b"\xff{}",
        b"",
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
)
def test_a_client_context_that_is_no_json_object_is_refused(decoded: bytes) -> None:
    with pytest.raises(InvalidRequestContentException) as caught:
        check_client_context(base64.b64encode(decoded).decode())
    assert caught.value.message == "Client context must be a valid Base64-encoded JSON object."


@pytest.mark.parametrize("text", ["{}", "e30*", "_-8=", "e30==="])
def test_a_client_context_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestContentException):
        check_client_context(text)


def test_a_client_context_of_3583_bytes_passes_and_one_more_does_not() -> None:
    padding = "x" * (3583 // 4 * 3 - len('{"a":""}') + 2)
    fitting = (
        base64.b64encode(json.dumps({"a": padding}, separators=(",", ":")).encode()).decode().rstrip("=")
    )
    assert len(fitting) == 3583
    check_client_context(fitting)
    with pytest.raises(InvalidRequestContentException, match="at most 3583 bytes"):
        check_client_context(fitting + "=")
