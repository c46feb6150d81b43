"""The requests of the clients that cannot run in these tests, replayed byte for byte, and their answers.

The requests stand in tests/golden_requests.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.golden_requests import AMAZONKA, BOTO3, GO, JAVASCRIPT, PAWS, PAWS_WITHOUT_PAYLOAD, RUSOTO, RUST
from tests.integration.conftest import wait_until_active
from tests.integration.wire import Peer

# Headers of an answer by their names, all of them: docs/aws-behaviour.md, invoke 1.2 and clients 1.
ALWAYS = frozenset(("date", "connection", "x-amzn-requestid"))
RESULT = ALWAYS | {
    "content-type",
    "content-length",
    "x-amzn-remapped-content-length",
    "x-amz-executed-version",
    "x-amzn-trace-id",
}
REFUSAL = ALWAYS | {"content-type", "content-length", "x-amzn-errortype"}


@pytest.mark.parametrize(
    ("request_bytes", "result", "tail"),
    [
        pytest.param(GO, [{}, True], True, id="go, with no region in the scope"),
        pytest.param(PAWS, [{"a": 1}, False], False, id="paws"),
        pytest.param(PAWS_WITHOUT_PAYLOAD, [{}, False], False, id="paws without payload"),
        pytest.param(RUSOTO, [{}, True], True, id="rusoto"),
        pytest.param(JAVASCRIPT, [{"a": 1}, False], False, id="javascript"),
        pytest.param(RUST, [{"a": 1}, False], False, id="rust"),
    ],
)
def test_golden_requests_invoke_the_function(
    peer: Peer, hello: str, request_bytes: bytes, result: object, tail: bool
) -> None:
    for _ in range(2):
        peer.send(request_bytes)
        answer = peer.receive()
        assert (answer.status, answer.reason, answer.json) == (200, "OK", result)
        assert answer.names == RESULT | ({"x-amz-log-result"} if tail else set())
        assert answer.header("content-type") == "application/json"
        assert answer.header("x-amz-executed-version") == "$LATEST"
        assert answer.header("connection") == "keep-alive"


@pytest.mark.parametrize(
    "request_bytes", [pytest.param(BOTO3, id="boto3"), pytest.param(AMAZONKA, id="amazonka")]
)
def test_golden_requests_whose_qualifiers_differ_are_refused_before_anything_is_looked_up(
    peer: Peer, request_bytes: bytes
) -> None:
    peer.send(request_bytes)
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "InvalidParameterValueException")
    assert answer.json == {
        "Type": "User",
        "message": "The derived qualifier from the function name does not match the specified qualifier.",
    }


@pytest.mark.parametrize("request_bytes", [GO, PAWS, PAWS_WITHOUT_PAYLOAD, RUSOTO, JAVASCRIPT, RUST])
def test_golden_requests_for_a_function_that_is_not_there_get_a_404(peer: Peer, request_bytes: bytes) -> None:
    peer.send(request_bytes.replace(b"/hello/", b"/nobody/"))
    answer = peer.receive()
    assert (answer.status, answer.reason) == (404, "Not Found")
    assert answer.names == REFUSAL
    assert answer.header("x-amzn-errortype") == "ResourceNotFoundException"
    assert answer.header("content-type") == "application/json"
    assert answer.body == (
        b'{"Type":"User",'
        b'"Message":"Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST"}'
    )


def test_a_golden_request_to_the_function_of_another_account_is_denied(peer: Peer) -> None:
    peer.send(AMAZONKA.replace(b"%3Aprod", b"").replace(b"?Qualifier=%24LATEST", b""))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (403, "AccessDeniedException")


def test_a_golden_request_for_a_function_that_fails_gets_its_error_with_a_200(
    peer: Peer, deploy: Callable[..., str]
) -> None:
    failing = deploy("def handler(event, context): raise ValueError('boom')")
    peer.send(GO.replace(b"/hello/", f"/{failing}/".encode()))
    answer = peer.receive()
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.names == RESULT | {"x-amz-function-error", "x-amz-log-result"}
    assert answer.header("x-amz-function-error") == "Unhandled"
    assert answer.header("x-amz-executed-version") == "$LATEST"
    assert (answer.json["errorMessage"], answer.json["errorType"]) == ("boom", "ValueError")
    assert answer.json["requestId"] == answer.header("x-amzn-requestid")


def test_a_golden_request_for_a_dry_run_gets_a_204_and_nothing_else(peer: Peer, hello: str) -> None:
    peer.send(RUST.replace(b"RequestResponse", b"DryRun") + PAWS)
    answer = peer.receive()
    assert (answer.status, answer.reason) == (204, "No Content")
    assert answer.names == ALWAYS
    assert peer.receive().json == [{"a": 1}, False]


@pytest.mark.parametrize(("qualifier", "status"), [(b"%3Aprod", 202), (b"", 202), (b"%3Aother", 404)])
def test_a_golden_request_for_an_event_gets_a_202_with_an_empty_body(
    peer: Peer, client: Any, hello: str, qualifier: bytes, status: int
) -> None:
    client.publish_version(FunctionName=hello)
    wait_until_active(client, f"{hello}:1")
    with contextlib.suppress(client.exceptions.ResourceConflictException):
        client.create_alias(FunctionName=hello, Name="prod", FunctionVersion="1")
    golden = BOTO3.replace(b"123456789012", b"000000000000").replace(b"%3Aprod", qualifier)
    peer.send(golden.replace(b"?Qualifier=%24LATEST", b"") + PAWS)
    answer = peer.receive()
    assert answer.status == status
    if status == 202:
        assert (answer.reason, answer.body, answer.header("content-length")) == ("Accepted", b"", "0")
        assert answer.names == ALWAYS | {"content-type", "content-length"}
    assert peer.receive().json == [{"a": 1}, False]
