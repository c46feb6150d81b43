"""Bytes on a socket: what clients send that no SDK here does, and what every answer carries.

The golden requests are those of docs/aws-behaviour.md, clients 1, 2 and 7, byte for byte: five clients
of other languages cannot run in these tests, their requests can.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.integration.conftest import Functions, RunningServer

UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
ECHO = "def handler(event, context): return [event, context.client_context is not None]"


class Answer(NamedTuple):
    """One response as it came: every header in lower case, those that came twice twice."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header that came at most once."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """A caller with a socket of its own."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def shut(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def interim(self) -> bytes:
        """Read an answer that has neither length nor body."""
        lines = b""
        while not lines.endswith(b"\r\n\r\n"):
            lines += self._file.readline()
        return lines

    def receive(self, *, has_body: bool = True) -> Answer:
        """Read one answer; check what every answer must carry."""
        status_line = self._file.readline().decode("latin-1")
        version, status, reason = status_line.rstrip("\r\n").split(" ", 2)
        assert version == "HTTP/1.1"
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            assert line.endswith(b"\r\n"), "the head was cut off"
            head += line if head else b"\r\n" * (line == b"\r\n") + line
        message = http.client.parse_headers(io.BytesIO(head))
        headers = [(name.lower(), value) for name, value in message.items()]
        answer = Answer(int(status), reason, headers, b"")
        length = int(answer.header("content-length") or 0)
        answer = answer._replace(body=self._file.read(length) if has_body else b"")
        _check(answer, has_body=has_body)
        return answer

    def is_at_end(self) -> bool:
        """Whether the server has closed the connection, with nothing more to read."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


def _check(answer: Answer, *, has_body: bool) -> None:
    request_id = answer.header("x-amzn-requestid")
    assert request_id is not None
    assert UUID.fullmatch(request_id)
    assert answer.header("date")
    assert answer.header("content-encoding") is None
    assert answer.header("transfer-encoding") is None
    for name, value in answer.headers:
        assert value.isascii(), (name, value)
        assert value.isprintable(), (name, value)
    if answer.status == 204:
        assert answer.header("content-length") is None
    if answer.status < 400:
        assert answer.header("x-amzn-errortype") is None
        return
    error_type = answer.header("x-amzn-errortype")
    assert error_type is not None
    assert re.fullmatch(r"[A-Za-z]+", error_type)
    assert answer.header("content-type") == "application/json"
    if has_body:
        # Clients break on anything but an object, and on these members.
        assert len({"message", "Message"} & set(answer.json)) == 1
        assert not {"__type", "code"} & set(answer.json)


@pytest.fixture
def peer(server: RunningServer) -> Iterator[Peer]:
    """A connection to the shared server."""
    peer = Peer(server.port)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def hello(server: RunningServer) -> Iterator[str]:
    """The function ``hello`` in the server's own account in us-east-1."""
    client = server.client()
    yield Functions(client)(ECHO, FunctionName="hello")
    client.delete_function(FunctionName="hello")


INVOKE = "/2015-03-31/functions/{}/invocations"


def _request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body and not {"Content_Length", "Transfer_Encoding"} & set(headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


# ---------------------------------------------------------------------------- framing


def test_pipelined_requests_are_answered_in_their_order(peer: Peer, hello: str) -> None:
    requests = [_request("POST", INVOKE.format(hello), str(number).encode()) for number in range(20)]
    requests.insert(7, _request("GET", "/2015-03-31/functions/absent"))
    peer.send(b"".join(requests))
    answers = [peer.receive() for _ in requests]
    refused = answers.pop(7)
    assert refused.header("x-amzn-errortype") == "ResourceNotFoundException"
    assert [answer.json for answer in answers] == [[number, False] for number in range(20)]
    assert len({answer.header("x-amzn-requestid") for answer in answers}) == 20


def test_a_request_that_comes_in_small_pieces_is_the_same(peer: Peer, hello: str) -> None:
    data = _request("POST", INVOKE.format(hello), b'{"a": "b"}')
    for start in range(0, len(data), 7):
        peer.send(data[start : start + 7])
    assert peer.receive().json == [{"a": "b"}, False]


def test_a_chunked_body_is_an_event(peer: Peer, hello: str) -> None:
    body = b'2\r\n{"\r\n3;extension=1\r\na":\r\n3\r\n 1}\r\n0\r\n\r\n'
    peer.send(_request("POST", INVOKE.format(hello), body, Transfer_Encoding="chunked"))
    assert peer.receive().json == [{"a": 1}, False]
    peer.send(_request("POST", INVOKE.format(hello), b"2"))
    assert peer.receive().json == [2, False]


def test_expect_is_answered_before_the_body(peer: Peer, hello: str) -> None:
    peer.send(_request("POST", INVOKE.format(hello), Content_Length="3", Expect="100-continue"))
    assert peer.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.send(b"[1]")
    assert peer.receive().json == [[1], False]


def test_expect_with_too_large_a_body_is_refused_instead(peer: Peer, hello: str) -> None:
    peer.send(_request("POST", INVOKE.format(hello), Content_Length="6291457", Expect="100-continue"))
    assert peer.receive().status == 413
    assert peer.is_at_end()


def test_connection_close_and_http_1_0_close(server: RunningServer, hello: str) -> None:
    for data in (
        _request("POST", INVOKE.format(hello), b"1", Connection="close"),
        f"POST {INVOKE.format(hello)} HTTP/1.0\r\nContent-Length: 1\r\n\r\n1".encode(),
    ):
        peer = Peer(server.port)
        peer.send(data)
        answer = peer.receive()
        assert (answer.json, answer.header("connection")) == ([1, False], "close")
        assert peer.is_at_end()
        peer.close()


def test_a_caller_that_ends_its_side_still_gets_the_answer(peer: Peer, hello: str) -> None:
    peer.send(_request("POST", INVOKE.format(hello), b"1"))
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
    ],
)
def test_what_is_no_http_is_a_400_and_the_end_of_the_connection(peer: Peer, garbage: bytes) -> None:
    peer.send(garbage)
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "BadRequestException")
    assert answer.header("connection") == "close"
    assert peer.is_at_end()


def test_a_head_over_one_megabyte_is_a_431(peer: Peer) -> None:
    peer.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ")
    try:
        for _ in range(33):
            peer.send(b"x" * 32_768)
    except (ConnectionResetError, BrokenPipeError):
        return  # closed before all of it was sent, as it may be
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (431, "BadRequestException")


def test_a_body_over_the_limit_is_a_413_before_it_is_read(peer: Peer, hello: str) -> None:
    # docs/aws-behaviour.md, invoke 1.4: AWS calls the operation InvokeFunction here.
    peer.send(_request("POST", INVOKE.format(hello), Content_Length="6291457"))
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
    peer.send(_request(method, path, Content_Length=str(length)))
    answer = peer.receive()
    assert (answer.status, answer.json) == (413, {"message": text})


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
        "/" + "a/" * 500,
    ],
)
def test_an_unknown_path_is_a_404_with_a_json_object(peer: Peer, path: str) -> None:
    peer.send(_request("GET", path))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (404, "UnknownOperationException")
    assert answer.json == {"Message": "Unknown operation"}
    assert answer.header("connection") == "keep-alive"
    peer.send(_request("GET", "/_lambent/health"))
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
    peer.send(_request(method, path))
    answer = peer.receive()
    assert (answer.status, answer.json) == (405, {"Message": "Unknown operation"})


@pytest.mark.parametrize("path", ["/2015-03-31/functions", "/_lambent/health", "/unknown"])
def test_the_answer_to_head_has_no_body_and_the_connection_goes_on(peer: Peer, path: str) -> None:
    peer.send(_request("HEAD", path) + _request("GET", "/_lambent/ready"))
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
        peer.send(_request("POST", INVOKE.format(name), b"{}"))
        answer = peer.receive()
        assert (answer.status, answer.header("x-amzn-errortype")) == (400, error_type), name
        assert text in answer.json["message"]
        assert re.match(r"\d validation errors? detected: ", answer.json["message"])


def test_a_raw_slash_in_a_name_is_an_unknown_path(peer: Peer) -> None:
    peer.send(_request("POST", INVOKE.format("a/b"), b"{}"))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (404, "UnknownOperationException")


def test_a_post_to_functions_invocations_is_the_function_of_that_name_and_no_invoke(peer: Peer) -> None:
    # paws sends it for an empty name.
    peer.send(_request("POST", "/2015-03-31/functions/invocations", b"{}"))
    answer = peer.receive()
    assert answer.status in {404, 405}


def test_header_names_come_in_any_case_and_content_types_do_not_matter(peer: Peer, hello: str) -> None:
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


def test_a_dry_run_has_neither_body_nor_length(peer: Peer, hello: str) -> None:
    peer.send(_request("POST", INVOKE.format(hello), b"{}", X_Amz_Invocation_Type="DryRun"))
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
        ({"X_Amz_Invocation_Type": "Event"}, "InvalidParameterValueException",
         "InvocationType Event is not served by this version of Lambent."),
        ({"X_Amz_Tenant_Id": "t"}, "InvalidParameterValueException",
         "TenantId is not served by this version of Lambent."),
        ({"X_Amz_Durable_Execution_Name": "n"}, "InvalidParameterValueException",
         "DurableExecutionName is not served by this version of Lambent."),
    ],
)  # fmt: skip
def test_headers_of_invoke_are_checked_also_for_a_function_that_was_just_called(
    peer: Peer, hello: str, headers: dict[str, str], error_type: str, text: str
) -> None:
    peer.send(_request("POST", INVOKE.format(hello), b"{}"))
    assert peer.receive().status == 200
    peer.send(_request("POST", INVOKE.format(hello), b"{}", **headers))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, error_type)
    assert text in answer.json["message"]


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xef\xbb\xbf{}", b'"\xff"', b"{} {}", b"[" * 100_000])
def test_a_payload_that_is_no_json_is_refused_with_its_place(peer: Peer, hello: str, body: bytes) -> None:
    peer.send(_request("POST", INVOKE.format(hello), body))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "InvalidRequestContentException")
    assert answer.json["Type"] == "User"
    assert answer.json["message"].startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )
    assert re.search(r"; line: \d+, column: \d+\]$", answer.json["message"])


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"FunctionName": 7}', b"\xff\xfe"])
def test_a_management_request_that_cannot_be_read_is_a_400(peer: Peer, body: bytes) -> None:
    peer.send(_request("POST", "/2015-03-31/functions", body))
    answer = peer.receive()
    assert answer.status == 400
    assert answer.header("x-amzn-errortype") in {"InvalidRequestContentException", "SerializationException"}


# ---------------------------------------------------------------------------- golden requests


def _golden(head: str, body: str = "") -> bytes:
    return head.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


BOTO3 = _golden(
    """
POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello%3Aprod/invocations?Qualifier=%24LATEST HTTP/1.1
Host: 127.0.0.1:9101
Accept-Encoding: identity
X-Amz-Invocation-Type: Event
User-Agent: Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1 os/linux#6.18.44-fc-v669 md/arch#x86_64 lang/python#3.11.7 md/pyimpl#CPython m/b,D,N,g,Z cfg/retry-mode#legacy Botocore/1.43.11
X-Amz-Date: 20261120T193907Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date;x-amz-invocation-type, Signature=68ef55ad27204725df086e7e4ef6765dfec89c6ea31c186621682613aad78879
amz-sdk-invocation-id: 7ddfad26-1eb1-41b1-959e-1656e159bc02
amz-sdk-request: attempt=1
Content-Length: 9
""",
    '{"a":"x"}',
)
GO = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
Host: 127.0.0.1:9102
User-Agent: aws-sdk-go-v2/1.17.1 os/linux lang/go/1.19.8 md/GOOS/linux md/GOARCH/amd64 api/lambda/1.24.8
Content-Length: 2
Amz-Sdk-Invocation-Id: 900f8f20-e77c-4aee-9b72-0fbd2abf9d3e
Amz-Sdk-Request: attempt=1; max=3
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120//lambda/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-client-context;x-amz-date;x-amz-invocation-type;x-amz-log-type, Signature=11ea22892485365c90bf645b269724849dbc3d12ad887ec32b2b616e79897411
Content-Type: application/octet-stream
X-Amz-Client-Context: eyJjdXN0b20iOnt9fQ==
X-Amz-Date: 20261120T193959Z
X-Amz-Invocation-Type: RequestResponse
X-Amz-Log-Type: Tail
Accept-Encoding: gzip
""",
    "{}",
)
PAWS = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
Host: 127.0.0.1:9103
Accept-Encoding: deflate, gzip, br, zstd
User-Agent: paws/0.8.10 (R4.2.2; linux-gnu; x86_64)
Accept: application/json
Content-Length: 7
X-Amz-Date: 20261120T194317Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=accept;content-length;content-type;host;x-amz-date, Signature=e99ffb482e8265e378e4c4d4a4a5d09bd20ccdc3d82b12c98e7541411129b4d1
Content-Type: application/json
""",
    '{"a":1}',
)
PAWS_WITHOUT_PAYLOAD = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
Host: 127.0.0.1:9103
Accept: */*
Accept-Encoding: deflate, gzip, br, zstd
User-Agent: paws/0.8.10 (R4.2.2; linux-gnu; x86_64)
X-Amz-Date: 20261120T194317Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=d38fee1bcfb9ce192faf9cc4c83a3b5d86472e8faba10010de7de3a9475fa82a
Content-Length: 0
"""
)
RUSOTO = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=content-type;host;x-amz-client-context;x-amz-content-sha256;x-amz-date;x-amz-invocation-type;x-amz-log-type, Signature=16738132f0a23f99f13973ed8aa4a91fcbabfb082740a9cb64dfbacbd4c26d91
content-length: 2
content-type: application/x-amz-json-1.1
host: 127.0.0.1:9106
x-amz-client-context: eyJjdXN0b20iOnt9fQ==
x-amz-content-sha256: 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
x-amz-date: 20261120T194601Z
x-amz-invocation-type: RequestResponse
x-amz-log-type: Tail
user-agent: rusoto/0.48.0 rust/1.95.0 linux
""",
    "{}",
)
JAVASCRIPT = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
content-type: application/octet-stream
content-length: 7
x-amz-user-agent: aws-sdk-js/3.1161.0
user-agent: aws-sdk-js/3.1161.0 ua/2.1 os/linux#6.18.44-fc-v669 lang/js md/nodejs#20.20.2 api/lambda#3.1161.0 m/N,E,g
host: 127.0.0.1:9104
amz-sdk-invocation-id: 900ffd79-40c3-446f-a5e3-bffd919ba880
amz-sdk-request: attempt=1; max=3
x-amz-date: 20261120T194227Z
x-amz-content-sha256: 015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-user-agent, Signature=9798c9ea3af7269418c20daffc5dcc21e091c643745dda63a946d0f516e8e6c2
Connection: keep-alive
""",
    '{"a":1}',
)
AMAZONKA = _golden(
    """
POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello%3Aprod/invocations?Qualifier=%24LATEST HTTP/1.1
Host: 127.0.0.1:9109
Accept-Encoding: gzip
Content-Length: 7
X-Amz-Content-SHA256: 015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862
X-Amz-Date: 20261120T194317Z
X-Amz-Invocation-Type: RequestResponse
X-Amz-Log-Type: Tail
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-invocation-type;x-amz-log-type, Signature=27a9766d2526534d770a7e19c1fc5d5d6e508fedbaf9b347e6dd56d8bae7385e
""",
    '{"a":1}',
)
RUST = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
x-amz-invocation-type: RequestResponse
content-type: application/octet-stream
content-length: 7
user-agent: aws-sdk-rust/1.3.10 os/linux lang/rust/1.95.0
x-amz-user-agent: aws-sdk-rust/1.3.10 ua/2.1 api/lambda/1.100.0 os/linux lang/rust/1.95.0
x-amz-date: 20261120T194317Z
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-invocation-type;x-amz-user-agent, Signature=1091abf76bb9cb9e73b40c0ff4770c9557679c7863304ec80f3fcd8f47d394e6
amz-sdk-request: attempt=1; max=3
amz-sdk-invocation-id: 3f2b1c9e-5a0e-4c55-9b1e-0d6a0c3e7f11
host: 127.0.0.1:9108
""",
    '{"a":1}',
)


@pytest.mark.parametrize(
    ("request_bytes", "result", "has_tail"),
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
    peer: Peer, hello: str, request_bytes: bytes, result: object, has_tail: bool
) -> None:
    for _ in range(2):
        peer.send(request_bytes)
        answer = peer.receive()
        assert (answer.status, answer.json) == (200, result)
        assert (answer.header("x-amz-log-result") is not None) is has_tail
        assert answer.header("content-type") == "application/json"
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
    assert (answer.status, answer.header("x-amzn-errortype")) == (404, "ResourceNotFoundException")
    assert answer.json == {
        "Type": "User",
        "Message": "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST",
    }


def test_a_golden_request_to_the_function_of_another_account_is_denied(peer: Peer) -> None:
    peer.send(AMAZONKA.replace(b"%3Aprod", b"").replace(b"?Qualifier=%24LATEST", b""))
    answer = peer.receive()
    assert (answer.status, answer.header("x-amzn-errortype")) == (403, "AccessDeniedException")
