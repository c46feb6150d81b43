"""Whatever is asked of a server in the words of the service model: an answer, never a fault of ours.

One real server for all requests, so that what one of them leaves behind meets the
next. In a normal run the requests are always the same; for a long run with other ones:
``FUZZ_EXAMPLES=20000 pytest tests/properties/test_api_fuzz.py``.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import botocore.parsers
import botocore.session
import botocore.validate
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.conftest import ROLE, RUNTIME, RunningServer, pack, running_server, wait_until_active
from tests.properties.api_requests import KEPT, PASSING, Drawn, operations, requests
from tests.properties.fuzzed import EXAMPLES, fuzzed

from lambent.api.invoke import SERVED as SERVED_BY_INVOKE
from lambent.api.operations import OPERATIONS
from lambent.wire.eventstream import CONTENT_TYPE, Decoder

SERVED = sorted({*SERVED_BY_INVOKE, *OPERATIONS})
UNSERVED = sorted(set(operations()) - set(SERVED))
REQUEST_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")

_MODEL = botocore.session.get_session().get_service_model("lambda")
_PARSER = botocore.parsers.create_parser("rest-json")
_VALIDATOR = botocore.validate.ParamValidator()


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Caller:
    """A connection to one server, opened anew when the server closes it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def send(self, drawn: Drawn) -> Answer:
        """Send a request; its answer comes within a minute."""
        connection = self._connection
        # A body that is too long is refused while it is still being sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(drawn.method, drawn.target, drawn.body or None, drawn.headers)
        with connection.getresponse() as response:
            return Answer(response.status, response.headers, response.read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A connection to a server of its own."""
    with running_server(tmp_path_factory.mktemp("fuzz")) as server:
        caller = Caller(server)
        yield caller
        caller.close()


@pytest.fixture(autouse=True)
def functions(caller: Caller) -> None:
    """Make those functions and aliases that are not there."""
    client = caller.server.client()
    for name in (KEPT, *PASSING):
        with contextlib.suppress(client.exceptions.ResourceConflictException):
            client.create_function(
                FunctionName=name,
                Runtime=RUNTIME,
                Role=ROLE,
                Handler="index.handler",
                Code={"ZipFile": pack(index="def handler(event, context): return event")},
            )
        wait_until_active(client, name)
        wait_until_active(client, name, "function_updated_v2")
        client.publish_version(FunctionName=name)
        with contextlib.suppress(client.exceptions.ResourceConflictException):
            client.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
        client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
        with contextlib.suppress(client.exceptions.ResourceConflictException):
            client.add_permission(FunctionName=name, StatementId="s", Action="*", Principal="*")
        # What was drawn may have left no room for the next line.
        client.delete_function_concurrency(FunctionName=name)
    client.put_provisioned_concurrency_config(
        FunctionName=KEPT, Qualifier="1", ProvisionedConcurrentExecutions=1
    )


def check(drawn: Drawn, answer: Answer) -> None:
    """Check what holds for every answer to any request."""
    status, headers, body = answer
    assert status < 500, body
    assert REQUEST_ID.fullmatch(headers["x-amzn-RequestId"])
    assert len(headers.get_all("x-amzn-RequestId", [])) == 1
    if status >= 400:
        assert re.fullmatch(r"[A-Za-z]+", headers["x-amzn-ErrorType"])
        assert headers["Content-Type"] == "application/json"
        told = json.loads(body)
        assert isinstance(told, dict)
        assert len({"message", "Message"} & set(told)) == 1
        return
    assert "x-amzn-ErrorType" not in headers
    shape = _MODEL.operation_model(drawn.operation).output_shape
    if shape is None:
        assert body == b""
        return
    if headers["Content-Type"] == CONTENT_TYPE:
        *chunks, complete = Decoder().feed(body)
        assert {message.headers[":event-type"] for message in chunks} <= {"PayloadChunk"}
        assert complete.headers[":event-type"] == "InvokeComplete"
        shape, body = shape.members["EventStream"].members["InvokeComplete"], complete.payload
    elif drawn.operation == "InvokeWithResponseStream":
        assert (status, body) == (204, b"")
        return
    parsed = _PARSER.parse({"status_code": status, "headers": dict(headers.items()), "body": body}, shape)
    del parsed["ResponseMetadata"]
    assert _VALIDATOR.validate(parsed, shape).generate_report() == ""


CREATE = {
    "FunctionName": "pinned",
    "Runtime": RUNTIME,
    "Role": ROLE,
    "Handler": "index.handler",
    "Code": {"ZipFile": base64.b64encode(pack(index="handler = print")).decode()},
}


@pytest.mark.parametrize(
    "drawn",
    [
        # A region that cannot be the name of a folder: it ended the thread that writes logs.
        pytest.param(
            Drawn(
                "CreateFunction",
                "POST",
                "/2015-03-31/functions?X-Amz-Credential=any/20261120/%00/lambda/aws4_request",
                {},
                json.dumps(CREATE).encode(),
            ),
            id="region that is no name",
        ),
    ],
)
def test_requests_that_once_did_harm_are_answered(caller: Caller, drawn: Drawn) -> None:
    check(drawn, caller.send(drawn))
    invoke = f"/2015-03-31/functions/pinned/invocations?{drawn.target.partition('?')[2]}"
    while caller.send(Drawn("Invoke", "POST", invoke, {}, b"")).status == 409:
        continue
    check_server(caller.server)


def check_server(server: RunningServer) -> None:
    """Check that nothing went wrong that no caller was told of, and that all functions can be read."""
    assert server.process.poll() is None
    assert "Traceback" not in server.errors.read_text()
    for account, region in (("any", "us-east-1"), ("111122223333", "us-east-1"), ("any", "eu-west-1")):
        client = server.client(account=account, region=region)
        pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
        names = [function["FunctionName"] for page in pages for function in page["Functions"]]
        assert names == sorted(set(names))
        for name in names:
            assert client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == name
        if account == "any" and region == "us-east-1":
            assert KEPT in names


@pytest.mark.timeout(0 if EXAMPLES else 120)
@pytest.mark.parametrize("operation", SERVED)
def test_every_request_to_an_operation_is_answered_and_some_succeed(caller: Caller, operation: str) -> None:
    answers: Counter[int] = Counter()

    @fuzzed(120)
    @given(drawn=requests(operation))
    def ask(drawn: Drawn) -> None:
        answer = caller.send(drawn)
        check(drawn, answer)
        answers[answer.status] += 1

    ask()
    check_server(caller.server)
    assert any(status < 300 for status in answers), answers


@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_requests_to_all_operations_in_any_order_are_answered(caller: Caller) -> None:
    @fuzzed(200)
    @given(drawn=st.sampled_from(SERVED).flatmap(requests))
    def ask(drawn: Drawn) -> None:
        check(drawn, caller.send(drawn))

    ask()
    check_server(caller.server)


@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_every_request_to_what_is_not_served_is_refused(caller: Caller) -> None:
    @fuzzed(100)
    @given(drawn=st.sampled_from(UNSERVED).flatmap(requests))
    def ask(drawn: Drawn) -> None:
        answer = caller.send(drawn)
        check(drawn, answer)
        assert answer.status >= 400

    ask()
    check_server(caller.server)
