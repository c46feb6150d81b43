"""The requests of the clients that cannot run in these tests, replayed byte for byte, and their answers.

The requests stand in tests/golden_requests.py.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conformance.steps import modelled_errors

from tests.golden_requests import AMAZONKA, BOTO3, GO, JAVASCRIPT, PAWS, PAWS_WITHOUT_PAYLOAD, RUSOTO, RUST
from tests.integration.client_parsers import ParserRules, parse_as_amazonka, parse_as_paws, read_result
from tests.integration.conftest import RunningServer, wait_until_active
from tests.integration.events_harness import control
from tests.integration.wire import Peer

AMAZONKA_RULES = ParserRules("amazonka", AMAZONKA, parse_as_amazonka, read_result)
PAWS_RULES = ParserRules("paws", PAWS, parse_as_paws, read_result)
ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello"

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
    peer: Peer, prod: str, qualifier: bytes, status: int
) -> None:
    golden = BOTO3.replace(b"123456789012", b"000000000000").replace(b"%3Aprod", qualifier)
    peer.send(golden.replace(b"?Qualifier=%24LATEST", b"") + PAWS)
    answer = peer.receive()
    assert answer.status == status
    if status == 202:
        assert (answer.reason, answer.body, answer.header("content-length")) == ("Accepted", b"", "0")
        assert answer.names == ALWAYS | {"content-type", "content-length"}
    assert peer.receive().json == [{"a": 1}, False]


@pytest.mark.parametrize("client_rules", [AMAZONKA_RULES, PAWS_RULES], ids=lambda rules: rules.name)
@pytest.mark.parametrize(
    ("function", "body", "name", "status"),
    [
        pytest.param(b"nobody", b'{"a":1}', "ResourceNotFoundException", 404, id="not found"),
        pytest.param(b"hello", b"{", "InvalidRequestContentException", 400, id="no json"),
        pytest.param(b"hello%3A", b'{"a":1}', "ValidationException", 400, id="no name"),
        pytest.param(
            b"hello%3Aprod?Qualifier=1", b"{}", "InvalidParameterValueException", 400, id="two qualifiers"
        ),
        pytest.param(b"throttled", b'{"a":1}', "TooManyRequestsException", 429, id="throttled"),
        pytest.param(b"hello", b"x" * 6_291_457, "RequestEntityTooLargeException", 413, id="too large"),
    ],
)
def test_the_parsers_of_clients_that_cannot_run_here_find_name_status_and_text_of_a_refusal(
    peer: Peer,
    hello: str,
    throttled: str,
    client_rules: ParserRules,
    function: bytes,
    body: bytes,
    name: str,
    status: int,
) -> None:
    peer.send(_call(client_rules.golden, function, body))
    refusal = client_rules.parse_refusal(peer.receive())
    assert (refusal.name, refusal.status) == (name, status)
    # paws reads the text from the small `message` alone, and shows none for the others.
    assert bool(refusal.text) or (client_rules is PAWS_RULES and name == "ResourceNotFoundException")


@pytest.mark.parametrize("client_rules", [AMAZONKA_RULES, PAWS_RULES], ids=lambda rules: rules.name)
def test_the_parsers_of_clients_that_cannot_run_here_know_every_error_of_the_model(
    server: RunningServer, peer: Peer, hello: str, client_rules: ParserRules
) -> None:
    met = {}
    for name in modelled_errors():
        fault = {"function": hello, "error": name, "count": 1}
        assert control(server, "POST", "", json.dumps(fault).encode(), name="faults").status == 200
        peer.send(_call(client_rules.golden, hello.encode(), b"{}"))
        refusal = client_rules.parse_refusal(peer.receive())
        met[refusal.name] = refusal.status
        assert refusal.text or client_rules is PAWS_RULES
    assert met == modelled_errors()


@pytest.mark.parametrize("client_rules", [AMAZONKA_RULES, PAWS_RULES], ids=lambda rules: rules.name)
@pytest.mark.parametrize(
    ("target", "header", "result"),
    [
        pytest.param("hello", "", (200, "$LATEST"), id="invoke"),
        pytest.param("hello", "X-Amz-Invocation-Type: Event", (202, None), id="event"),
        pytest.param("hello", "X-Amz-Invocation-Type: DryRun", (204, None), id="dry run"),
        pytest.param("hello?Qualifier=1", "", (200, "1"), id="version"),
        pytest.param("hello?Qualifier=prod", "", (200, "1"), id="alias"),
        pytest.param("hello%3Aprod", "", (200, "1"), id="alias in the name"),
        pytest.param(f"{ARN}%3Aprod", "", (200, "1"), id="full ARN"),
        pytest.param("000000000000%3Afunction%3Ahello%3Aprod", "", (200, "1"), id="partial ARN"),
        pytest.param("hello", "X-Amz-Client-Context: e30=", (200, "$LATEST"), id="client context"),
    ],
)
def test_the_parsers_of_clients_that_cannot_run_here_read_a_result(
    peer: Peer,
    prod: str,
    client_rules: ParserRules,
    target: str,
    header: str,
    result: tuple[int, str | None],
) -> None:
    peer.send(_call(client_rules.golden, target.encode(), b'{"a":1}', header.encode()))
    read = client_rules.parse_result(peer.receive())
    answer = b'[{"a": 1}, %s]' % (b"true" if "Context" in header else b"false")
    assert (read["StatusCode"], read.get("ExecutedVersion")) == result
    assert read["Payload"] == (answer if result[0] == 200 else b"")
    assert not {"FunctionError", "LogResult"} & read.keys()


@pytest.mark.parametrize("client_rules", [AMAZONKA_RULES, PAWS_RULES], ids=lambda rules: rules.name)
def test_the_parsers_of_clients_that_cannot_run_here_read_an_error_of_the_function_and_its_log(
    peer: Peer, deploy: Callable[..., str], client_rules: ParserRules
) -> None:
    failing = deploy("def handler(event, context): raise ValueError('boom')")
    peer.send(_call(client_rules.golden, failing.encode(), b"{}", b"X-Amz-Log-Type: Tail"))
    read = client_rules.parse_result(peer.receive())
    assert (read["StatusCode"], read["FunctionError"]) == (200, "Unhandled")
    assert json.loads(read["Payload"])["errorMessage"] == "boom"
    assert b"REPORT RequestId" in base64.b64decode(read["LogResult"])


@pytest.mark.parametrize("client_rules", [AMAZONKA_RULES, PAWS_RULES], ids=lambda rules: rules.name)
def test_clients_that_cannot_run_here_may_send_the_largest_event_none_and_no_signature(
    peer: Peer, hello: str, client_rules: ParserRules
) -> None:
    text = b'"%s"' % (b"x" * 6_291_400)
    unsigned = re.sub(rb"(Authorization|X-Amz-Date): .*\r\n", b"", client_rules.golden)
    for golden, event, seen in (
        (client_rules.golden, text.ljust(6_291_456), text),
        (client_rules.golden, b"", b"{}"),
        (unsigned, b"1", b"1"),
    ):
        peer.send(_call(golden, b"hello", event))
        assert client_rules.parse_result(peer.receive())["Payload"] == b"[%s, false]" % seen


def _call(golden: bytes, target: bytes, body: bytes, header: bytes = b"") -> bytes:
    """Return a golden request for another function, with a query perhaps, another payload and one other header."""
    head, _, _ = golden.partition(b"\r\n\r\n")
    function, mark, query = target.partition(b"?")
    head = re.sub(
        rb"functions/[^ ]*", b"functions/" + function + b"/invocations" + mark + query, head, count=1
    )
    head = re.sub(rb"X-Amz-(Log|Invocation)-Type: .*\r\n", b"", head)
    head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
    return head + (b"\r\n" + header if header else b"") + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def prod(client: Any, hello: str) -> str:
    """The alias ``prod`` of version 1 of ``hello``."""
    client.publish_version(FunctionName=hello)
    wait_until_active(client, f"{hello}:1")
    client.create_alias(FunctionName=hello, Name="prod", FunctionVersion="1")
    return f"{hello}:prod"


@pytest.fixture
def throttled(client: Any, deploy: Callable[..., str]) -> str:
    name = deploy("def handler(event, context): return event", FunctionName="throttled")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    return name
