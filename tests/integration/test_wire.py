"""Bytes on a socket: what clients send that no SDK here does, and what every answer carries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import RunningServer
from tests.integration.wire import INVOKE, Peer, request
from tests.waiting import wait_for

# ---------------------------------------------------------------------------- framing


def test_pipelined_requests_are_answered_in_their_order(peer: Peer, hello: str) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    requests = [request("POST", INVOKE.format(hello), str(number).encode()) for number in range(20)]
    requests.insert(7, request("GET", "/2015-03-31/functions/absent"))
    peer.send(b"".join(requests))
    answers = [peer.receive() for _ in requests]
    refused = answers.pop(7)
    assert refused.header("x-amzn-errortype") == "ResourceNotFoundException"
    assert [answer.json for answer in answers] == [[number, False] for number in range(20)]
    assert len({answer.header("x-amzn-requestid") for answer in answers}) == 20


def test_a_request_that_comes_in_small_pieces_is_the_same(peer: Peer, hello: str) -> None:
    data = request("POST", INVOKE.format(hello), b'{"a": "b"}')
    for start in range(0, len(data), 7):
        peer.send(data[start : start + 7])
    assert peer.receive().json == [{"a": "b"}, False]


def test_a_chunked_body_is_an_event(peer: Peer, hello: str) -> None:
    body = b'2\r\n{"\r\n3;extension=1\r\na":\r\n3\r\n 1}\r\n0\r\n\r\n'
    peer.send(request("POST", INVOKE.format(hello), body, Transfer_Encoding="chunked"))
    assert peer.receive().json == [{"a": 1}, False]
    peer.send(request("POST", INVOKE.format(hello), b"2"))
    assert peer.receive().json == [2, False]


def test_expect_is_answered_before_the_body(peer: Peer, hello: str) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    peer.send(request("POST", INVOKE.format(hello), Content_Length="3", Expect="100-continue"))
    assert peer.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.send(b"[1]")
    assert peer.receive().json == [[1], False]


def test_expect_with_too_large_a_body_is_refused_instead(peer: Peer, hello: str) -> None:
    peer.send(request("POST", INVOKE.format(hello), Content_Length="6291457", Expect="100-continue"))
    assert peer.receive().status == 413
    assert peer.is_at_end()


def test_connection_close_and_http_1_0_close(server: RunningServer, hello: str) -> None:
    for data in (
        request("POST", INVOKE.format(hello), b"1", Connection="close"),
        f"POST {INVOKE.format(hello)} HTTP/1.0\r\nContent-Length: 1\r\n\r\n1".encode(),
    ):
        peer = Peer(server.port)
        peer.send(data)
        answer = peer.receive()
        assert (answer.json, answer.header("connection")) == ([1, False], "close")
        assert peer.is_at_end()
        peer.close()


def test_a_caller_that_ends_its_side_still_gets_the_answer(peer: Peer, hello: str) -> None:
    peer.send(request("POST", INVOKE.format(hello), b"1"))
    peer.shut()
    assert peer.receive().json == [1, False]
    assert peer.is_at_end()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"nonsense nonsense nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header line\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_400_and_the_end_of_the_connection(peer: Peer, garbage: bytes) -> None:
    peer.send(garbage)
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "BadRequestException")
    assert answer.header("connection") == "close"
    assert peer.is_at_end()


def test_a_head_over_one_megabyte_is_a_431(peer: Peer) -> None:
    peer.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * (2 << 20))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (431, "BadRequestException")
    assert peer.is_at_end()


@pytest.mark.parametrize("framing", [{}, {"Transfer_Encoding": "chunked"}])
def test_a_caller_that_sends_all_before_it_reads_sees_the_413(
    peer: Peer, hello: str, framing: dict[str, str]
) -> None:
    # Source: docs/aws-behaviour.md, concurrency 3.6.
    body = b"x" * (8 << 20)
    if framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    peer.send(request("POST", INVOKE.format(hello), body, **framing))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (413, "RequestEntityTooLargeException")
    assert answer.header("connection") == "close"
    assert peer.is_at_end()


def test_boto3_sees_the_413(server: RunningServer, hello: str) -> None:
    client = server.client()
    for _ in range(3):
        with pytest.raises(client.exceptions.ClientError) as refusal:
            client.invoke(FunctionName=hello, Payload=b"x" * (32 << 20))
        assert refusal.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_body_over_the_limit_is_a_413_before_it_is_read(peer: Peer, hello: str) -> None:
    # docs/aws-behaviour.md, invoke 1.4: AWS calls the operation InvokeFunction here.
    peer.send(request("POST", INVOKE.format(hello), Content_Length="6291457"))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (413, "RequestEntityTooLargeException")
    assert answer.json == {
        "message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    }
    assert peer.is_at_end()


@pytest.mark.parametrize(
    ("method", "path", "length", "text"),
    [
        ("POST", "/2015-03-31/functions", 70_167_212,
         "Request must be smaller than 70167211 bytes for the CreateFunction operation"),
        ("PUT", "/2015-03-31/functions/f/code", 70_167_212,
         "Request must be smaller than 70167211 bytes for the UpdateFunctionCode operation"),
        ("PUT", "/2015-03-31/functions/f/configuration", 5121,
         "Request must be smaller than 5120 bytes for the UpdateFunctionConfiguration operation"),
        ("POST", "/unknown", 6_291_457, "Request must be smaller than 6291456 bytes"),
    ],
)  # fmt: skip
def test_every_operation_has_a_limit_of_its_own(
    peer: Peer, method: str, path: str, length: int, text: str
) -> None:
    peer.send(request(method, path, Content_Length=str(length)))
    answer = peer.receive()
    assert (answer.status, answer.json) == (413, {"message": text})


# ---------------------------------------------------------------------------- connections


def test_accepted_sockets_ask_whether_a_silent_peer_is_still_there(peer: Peer) -> None:
    # Source: docs/aws-behaviour.md, clients 1: a call may be silent for 15 minutes.
    peer.send(request("GET", "/_lambent/health"))
    peer.receive()
    timer, jiffies = peer.timer_of_the_server().split(":")
    assert timer == "02", "no keep-alive timer"
    assert int(jiffies, 16) <= 60 * os.sysconf("SC_CLK_TCK")


def test_a_function_goes_on_when_its_caller_leaves(
    server: RunningServer, deploy: Callable[..., str], tmp_path: Path
) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    begun, go_on, done = (tmp_path / name for name in ("begun", "go_on", "done"))
    name = deploy(
        "import pathlib, time\n"
        "def handler(event, context):\n"
        f"    pathlib.Path('{begun}').touch()\n"
        f"    while not pathlib.Path('{go_on}').exists(): time.sleep(0.01)\n"
        f"    pathlib.Path('{done}').touch()",
        Timeout=60,
    )
    peer = Peer(server.port)
    peer.send(request("POST", INVOKE.format(name)))
    wait_for(begun.exists)
    peer.close()
    go_on.touch()
    wait_for(done.exists)


@pytest.mark.parametrize("body", [b"", b'{"a": "' + b"x" * 3000 + b'"}'])
@pytest.mark.parametrize("chunked", [False, True])
def test_curl_offers_http_2_and_is_served_with_http_1_1(
    server: RunningServer, hello: str, body: bytes, chunked: bool
) -> None:
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in subprocess.check_output([curl, "--version"], text=True):
        pytest.skip("curl with HTTP/2 is not installed")
    options = ["--silent", "--show-error", "--fail", "--http2", "--noproxy", "*", "--data-binary", "@-"]
    if chunked:
        options += ["--header", "Transfer-Encoding: chunked"]
    # The second request goes over the same connection.
    urls = [server.url + INVOKE.format(hello)] * 2
    output = subprocess.check_output([curl, *options, *urls], input=body, timeout=30)
    assert output == json.dumps([json.loads(body or b"{}"), False]).encode() * 2


# ---------------------------------------------------------------------------- paths and methods


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/2015-03-31",
        "/2015-03-32/functions",
        "/2015-03-31/nothing/here",
        "/favicon.ico",
        "/%00",
        "/2015-03-31/functions/a/b/c/d/e/f",
        "*",
        pytest.param("/" + "a/" * 500, id="very many parts"),
        pytest.param("/" + "x" * 500_000, id="a very long part"),
        pytest.param("/?" + "a=b&" * 100_000, id="a very long query"),
    ],
)
def test_an_unknown_path_is_a_404_with_a_json_object(peer: Peer, path: str) -> None:
    peer.send(request("GET", path))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (404, "UnknownOperationException")
    assert answer.json == {"Message": "Unknown operation"}
    assert answer.header("connection") == "keep-alive"
    peer.send(request("GET", "/_lambent/health"))
    assert peer.receive().status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", INVOKE.format("hello")),
        ("DELETE", "/2015-03-31/functions"),
        ("PATCH", "/2015-03-31/functions/hello"),
        ("PUT", "/2016-08-19/account-settings"),
        ("OPTIONS", "/2015-03-31/functions"),
    ],
)
def test_a_known_path_with_another_method_is_a_405(peer: Peer, method: str, path: str) -> None:
    peer.send(request(method, path))
    answer = peer.receive()
    assert (answer.status, answer.json) == (405, {"Message": "Unknown operation"})


@pytest.mark.parametrize("path", ["/2015-03-31/functions", "/_lambent/health", "/unknown"])
def test_the_answer_to_head_has_no_body_and_the_connection_goes_on(peer: Peer, path: str) -> None:
    peer.send(request("HEAD", path) + request("GET", "/_lambent/ready"))
    assert peer.receive(has_body=False).status in {404, 405}
    assert peer.receive().json == {"ready": True}


def test_the_names_that_no_client_checks_are_refused_in_the_grammar_of_validation(peer: Peer) -> None:
    # docs/aws-behaviour.md, clients 7: an empty name, spaces and slashes arrive.
    expected = {
        "": ("ValidationException", "'functionName' failed to satisfy constraint: "),
        "a%20b": ("ValidationException", "Value 'a b' at 'functionName' failed to satisfy constraint: "),
        "a%2Fb": ("ValidationException", "Value 'a/b' at 'functionName' failed to satisfy constraint: "),
        "%25": ("ValidationException", "Value '%' at 'functionName' failed to satisfy constraint: "),
        "%FF": ("ValidationException", "at 'functionName' failed to satisfy constraint: "),
    }
    for name, (error_type, text) in expected.items():
        peer.send(request("POST", INVOKE.format(name), b"{}"))
        answer = peer.receive()
        assert (answer.status, answer.header("x-amzn-errortype")) == (400, error_type), name
        assert text in answer.json["message"]
        assert re.match(r"\d validation errors? detected: ", answer.json["message"])


def test_a_raw_slash_in_a_name_is_an_unknown_path(peer: Peer) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    peer.send(request("POST", INVOKE.format("a/b"), b"{}"))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (404, "UnknownOperationException")


def test_a_post_to_functions_invocations_is_the_function_of_that_name_and_no_invoke(peer: Peer) -> None:
    # paws sends it for an empty name.
    peer.send(request("POST", "/2015-03-31/functions/invocations", b"{}"))
    answer = peer.receive()
    assert answer.status in {404, 405}


def test_header_names_come_in_any_case_and_content_types_do_not_matter(peer: Peer, hello: str) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    for content_type in ("application/octet-stream", "application/x-amz-json-1.1", "text/html", "nonsense"):
        data = (
            f"POST {INVOKE.format(hello)} HTTP/1.1\r\nhOST: 127.0.0.1\r\nCONTENT-TYPE: {content_type}\r\n"
            "x-AMZ-log-TYPE: Tail\r\ncontent-LENGTH: 2\r\nAccept-Encoding: gzip, br\r\n\r\n[]"
        )
        peer.send(data.encode())
        answer = peer.receive()
        assert (answer.status, answer.json) == (200, [[], False])
        assert answer.header("x-amz-log-result")
        assert answer.header("x-amz-executed-version") == "$LATEST"


@pytest.mark.parametrize("region", ["us-east-1", ""])
@pytest.mark.parametrize(
    "signed", ["host;x-amz-date", "accept;amz-sdk-request;content-length;content-type;host", ""]
)
@pytest.mark.parametrize("body_hash", ["UNSIGNED-PAYLOAD", "00", None])
def test_callers_may_sign_what_they_like(
    peer: Peer, hello: str, region: str, signed: str, body_hash: str | None
) -> None:
    # Source: docs/aws-behaviour.md, clients 1: old Go clients sign with an empty region.
    authorization = (
        f"AWS4-HMAC-SHA256 Credential=AKID/20261120/{region}/lambda/aws4_request, "
        f"SignedHeaders={signed}, Signature=00"
    )
    hashed = {} if body_hash is None else {"X_Amz_Content_SHA256": body_hash}
    peer.send(request("POST", INVOKE.format(hello), b"1", Authorization=authorization, **hashed))
    assert peer.receive().json == [1, False]


@pytest.mark.parametrize("slash", ["", "/"])
def test_invoke_async_is_an_event_with_and_without_its_slash(peer: Peer, hello: str, slash: str) -> None:
    # Source: docs/aws-behaviour.md, invoke 1.6 and clients 1: rusoto sends a slash.
    for function, status in ((hello, 202), (f"{hello}:$LATEST", 202), ("absent", 404)):
        peer.send(request("POST", f"/2014-11-13/functions/{function}/invoke-async{slash}", b"{}"))
        answer = peer.receive()
        assert answer.status == status
        if status == 202:
            assert answer.body == b""


def test_attempts_of_one_call_can_be_told_from_new_calls_in_the_log(
    server: RunningServer, peer: Peer, hello: str
) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    call = str(uuid.uuid4())
    for attempt in (1, 2):
        peer.send(
            request(
                "POST",
                INVOKE.format(hello),
                amz_sdk_invocation_id=call,
                Amz_Sdk_Request=f"attempt={attempt}; max=3",
            )
        )
        peer.receive()
    wait_for(lambda: server.errors.read_text().count(call) == 2)
    lines = [line for line in server.errors.read_text().splitlines() if call in line]
    assert ["attempt=2; max=3" in line for line in lines] == [False, True]


@pytest.mark.parametrize("given", ["DryRun", "DryRun \t"])
def test_a_dry_run_has_neither_body_nor_length(peer: Peer, hello: str, given: str) -> None:
    # Source: docs/aws-behaviour.md, clients 1.
    peer.send(request("POST", INVOKE.format(hello), b"{}", X_Amz_Invocation_Type=given))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amz-executed-version")) == (204, None)


@pytest.mark.parametrize(
    ("headers", "error_type", "text"),
    [
        ({"X_Amz_Invocation_Type": "Sync"}, "ValidationException",
         "Value 'Sync' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: ["),
        ({"X_Amz_Log_Type": "Head"}, "ValidationException",
         "Value 'Head' at 'logType' failed to satisfy constraint: Member must satisfy enum value set: ["),
        ({"X_Amz_Client_Context": "no!"}, "InvalidRequestContentException",
         "Client context must be a valid Base64-encoded JSON object."),
        ({"X_Amz_Client_Context": "W10="}, "InvalidRequestContentException",
         "Client context must be a valid Base64-encoded JSON object."),
        ({"x_amzn_RequestId": "7"}, "InvalidRequestContentException", "Request id must be a valid UUID."),
        ({"X_Amz_Tenant_Id": "t"}, "InvalidParameterValueException",
         "TenantId is not served by this version of Lambent."),
        ({"X_Amz_Durable_Execution_Name": "n"}, "InvalidParameterValueException",
         "DurableExecutionName is not served by this version of Lambent."),
    ],
)  # fmt: skip
def test_headers_of_invoke_are_checked_also_for_a_function_that_was_just_called(
    peer: Peer, hello: str, headers: dict[str, str], error_type: str, text: str
) -> None:
    peer.send(request("POST", INVOKE.format(hello), b"{}"))
    assert peer.receive().status == 200
    peer.send(request("POST", INVOKE.format(hello), b"{}", **headers))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, error_type)
    assert text in answer.json["message"]


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xef\xbb\xbf{}", b'"\xff"', b"{} {}", b"[" * 100_000])
def test_a_payload_that_is_no_json_is_refused_with_its_place(peer: Peer, hello: str, body: bytes) -> None:
    peer.send(request("POST", INVOKE.format(hello), body))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "InvalidRequestContentException")
    assert answer.json["Type"] == "User"
    assert answer.json["message"].startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )
    assert re.search(r"; line: \d+, column: \d+\]$", answer.json["message"])


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"FunctionName": 7}', b"\xff\xfe"])
def test_a_management_request_that_cannot_be_read_is_a_400(peer: Peer, body: bytes) -> None:
    peer.send(request("POST", "/2015-03-31/functions", body))
    answer = peer.receive()
    assert answer.status == 400
    assert answer.header("x-amzn-errortype") in {"InvalidRequestContentException", "SerializationException"}
