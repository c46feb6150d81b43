"""How clients that cannot run in these tests read an answer: docs/aws-behaviour.md, clients 1, numbers 6 to 9."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.integration.wire import Answer


class Refusal(NamedTuple):
    """An error as a program of the client sees it."""

    name: str
    status: int
    text: str


class ParserRules(NamedTuple):
    """One client: a request of it, and how it reads what comes back."""

    name: str
    golden: bytes
    parse_refusal: Callable[[Answer], Refusal]
    parse_result: Callable[[Answer], dict[str, Any]]


def parse_as_amazonka(answer: Answer) -> Refusal:
    """The body's ``__type`` and ``code`` come before the header, the reason phrase after it.

    A prism matches when name and status are those of the model. Names are compared without their end.
    """
    assert not 200 <= answer.status < 300
    body = _object(answer.body)
    code = body.get("__type") or body.get("code") or answer.header("x-amzn-errortype") or answer.reason
    stem = code.rpartition("#")[2].partition(":")[0].removesuffix("Exception").removesuffix("Fault")
    return Refusal(f"{stem}Exception", answer.status, body.get("message") or body.get("Message") or "")


def parse_as_paws(answer: Answer) -> Refusal:
    """The header comes before the body, a name space stays, and the text is the small ``message`` alone."""
    assert answer.status >= 300
    body = _object(answer.body)
    code = answer.header("x-amzn-errortype") or body.get("code") or body.get("__type") or ""
    return Refusal(code.partition(":")[0], answer.status, body.get("message", ""))


def read_result(answer: Answer) -> dict[str, Any]:
    """Members from headers, each of which comes once and is visible ASCII; an absent one is left out."""
    members = {
        "FunctionError": answer.header("x-amz-function-error"),
        "LogResult": answer.header("x-amz-log-result"),
        "ExecutedVersion": answer.header("x-amz-executed-version"),
    }
    present = {name: value for name, value in members.items() if value is not None}
    assert all(value.isascii() and value.isprintable() for value in present.values())
    assert answer.header("content-encoding") is None
    return {"StatusCode": answer.status, "Payload": answer.body, **present}


def _object(body: bytes) -> dict[str, str]:
    """Anything but an object is an error of the parser for these clients."""
    parsed = json.loads(body)
    assert isinstance(parsed, dict)
    return parsed
