"""Results and errors to bytes: what every client can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.api.answers import Answers
from lambent.clock import ManualClock
from lambent.model import errors
from lambent.model.errors import ServiceError

# docs/aws-behaviour.md, clients 1: the date of the golden answers.
GOLDEN_SECOND = 1_795_203_547.9


class Parsed:
    """A response as an independent parser reads it."""

    def __init__(self, response: bytes) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.is_complete = False
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(response)
        self.status = parser.get_status_code()
        assert self.is_complete
        head = response.partition(b"\r\n\r\n")[0]
        assert all(32 <= byte < 127 for line in head.split(b"\r\n") for byte in line)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode().lower(), value.decode()))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(GOLDEN_SECOND)


@pytest.fixture
def answers(clock: ManualClock) -> Answers:
    return Answers(clock)


def test_a_result_has_its_headers_once_and_its_body_untouched(answers: Answers) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    parsed = Parsed(answers.render(200, "id", b"{}", [("x-a", "1")]))
    assert (parsed.status, parsed.body) == (200, b"{}")
    assert parsed.headers == [
        ("date", "Fri, 20 Nov 2026 19:39:07 GMT"),
        ("x-amzn-requestid", "id"),
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("x-a", "1"),
        ("connection", "keep-alive"),
    ]


def test_a_204_has_neither_length_nor_body_and_a_202_has_length_zero(answers: Answers) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    assert (
        not {"content-length", "content-type"} & dict(Parsed(answers.render(204, "id", b"")).headers).keys()
    )
    assert dict(Parsed(answers.render(202, "id", b"")).headers)["content-length"] == "0"


def test_the_connections_end_is_announced(answers: Answers) -> None:
    parsed = Parsed(answers.render(200, "id", b"", keep_alive=False))
    assert dict(parsed.headers)["connection"] == "close"


def test_the_date_is_right_to_the_second(answers: Answers, clock: ManualClock) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    seen = []
    for _ in range(3):
        seen.append(answers.date_line())
        clock.advance(0.5)
    assert seen[0] == "Date: Fri, 20 Nov 2026 19:39:07 GMT\r\n"
    assert seen[1] == seen[2] == "Date: Fri, 20 Nov 2026 19:39:08 GMT\r\n"


ERRORS: list[tuple[ServiceError, int, dict[str, str]]] = [
    (errors.ResourceNotFoundException("x"), 404, {"Type": "User", "Message": "x"}),
    (errors.ResourceConflictException("x"), 409, {"Type": "User", "message": "x"}),
    (errors.PolicyLengthExceededException("x"), 400, {"Type": "User", "message": "x"}),
    (errors.PreconditionFailedException("x"), 412, {"Type": "User", "message": "x"}),
    (errors.InvalidParameterValueException("x"), 400, {"Type": "User", "message": "x"}),
    (errors.InvalidRequestContentException("x"), 400, {"Type": "User", "message": "x"}),
    (errors.ValidationException("x"), 400, {"message": "x"}),
    (errors.RequestEntityTooLargeException("x"), 413, {"message": "x"}),
    (errors.ServiceException("x"), 500, {"Type": "Service", "Message": "x"}),
    (errors.InvalidRuntimeException("x"), 502, {"Type": "Service", "Message": "x"}),
    (errors.InvalidZipFileException("x"), 502, {"Type": "Service", "Message": "x"}),
    (errors.UnknownOperationException(), 404, {"Message": "Unknown operation"}),
    (errors.UnknownOperationException(status=405), 405, {"Message": "Unknown operation"}),
    (errors.BadRequestException("x", status=431), 431, {"message": "x"}),
]


@pytest.mark.parametrize(("error", "status", "body"), ERRORS, ids=lambda each: type(each).__name__)
def test_errors_have_their_status_type_and_body(
    answers: Answers, error: ServiceError, status: int, body: dict[str, str]
) -> None:
    # Source: docs/aws-behaviour.md, invoke 1.4.
    response = answers.render_error(error, "id")
    parsed = Parsed(response)
    headers = dict(parsed.headers)
    assert (parsed.status, headers["x-amzn-errortype"]) == (status, type(error).__name__)
    assert (headers["content-type"], headers["x-amzn-requestid"]) == ("application/json", "id")
    assert list(json.loads(parsed.body).items()) == list(body.items())
    assert b": " not in parsed.body.replace(b"x", b"")


def test_a_throttle_tells_its_reason_first_and_when_to_come_again(answers: Answers) -> None:
    # The golden answer of docs/aws-behaviour.md, clients 1.
    parsed = Parsed(
        answers.render_error(errors.TooManyRequestsException("ConcurrentInvocationLimitExceeded"), "id")
    )
    assert parsed.body == (
        b'{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
    )
    assert (parsed.status, dict(parsed.headers)["x-amz-retry-after"]) == (429, "1000")


@given(st.text())
def test_no_text_can_break_an_answer(text: str) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    answers = Answers(ManualClock(GOLDEN_SECOND))
    error = errors.InvalidParameterValueException(text, headers=(("x-lambent-warning", text),))
    parsed = Parsed(answers.render_error(error, "id", [("x-lambent-hint", text)]))
    assert parsed.status == 400
    assert set(json.loads(parsed.body)) == {"Type", "message"}
    assert [name for name, _ in parsed.headers].count("content-length") == 1
    if text.encode("utf-8", "replace").decode() == text:
        assert json.loads(parsed.body)["message"] == text


HAVE_THEIR_OWN_TEXT: tuple[type[Any], ...] = (
    errors.UnknownOperationException,
    errors.MissingAuthenticationTokenException,
    errors.UnrecognizedClientException,
    errors.ExpiredTokenException,
)


def _kinds(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


@pytest.mark.parametrize("kind", list(_kinds(ServiceError)))
def test_every_refusal_is_an_object_with_one_text_and_its_name_only_in_the_header(
    answers: Answers, kind: type[ServiceError]
) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    error = kind() if kind in HAVE_THEIR_OWN_TEXT else kind("text")
    parsed = Parsed(answers.render_error(error, "id"))
    body = json.loads(parsed.body)
    assert len({"message", "Message"} & set(body)) == 1
    assert not {"__type", "code", "Code"} & set(body)
    headers = dict(parsed.headers)
    assert len(headers) == len(parsed.headers)
    assert headers["x-amzn-errortype"] == kind.__name__
    assert headers["content-type"] == "application/json"
