"""Code that lies in S3: a real server of functions, a real S3 beside it, and S3s that misbehave.

Expected values: docs/aws-behaviour.md, functions 7.6 and 7.18.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from lambent.clock import ManualClock
from lambent.control.code_source import DOWNLOAD_S, S3CodeSource, S3Object
from lambent.limits import UNZIPPED_CODE_BYTES
from lambent.model.errors import (
    InvalidParameterValueException,
    ServiceError,
)
from tests.integration.conftest import RunningServer, running_server, wait_until_active
from tests.integration.functions_harness import OTHER_PACKAGE, PACKAGE, create, refusal

PLACE = S3Object("bucket", "key")
TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
UNREACHABLE = (
    "Error occurred while GetObject. S3 Error Code: InternalError. "
    "S3 Error Message: We encountered an internal error. Please try again."
)


@pytest.fixture(scope="session")
def s3(aws_url: str) -> Any:
    """A client of that S3, with a bucket that keeps versions."""
    client = boto3.client(
        "s3",
        endpoint_url=aws_url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="packages")
    client.put_bucket_versioning(Bucket="packages", VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture(scope="module")
def deploying(aws_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that reads code from that S3."""
    with running_server(tmp_path_factory.mktemp("server"), LAMBENT_AWS_ENDPOINT_URL=aws_url) as running:
        yield running


def _source(key: str, **more: str) -> dict[str, str]:
    return {"S3Bucket": "packages", "S3Key": key, **more}


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_a_function_is_made_and_changed_from_s3(deploying: RunningServer, s3: Any) -> None:
    client = deploying.client()
    key = "a folder/grün+1.zip"
    first = s3.put_object(Bucket="packages", Key=key, Body=PACKAGE)["VersionId"]
    s3.put_object(Bucket="packages", Key=key, Body=OTHER_PACKAGE)
    created = create(client, "f", Code=_source(key))
    assert (created["CodeSize"], created["CodeSha256"]) == (len(OTHER_PACKAGE), _sha256(OTHER_PACKAGE))
    wait_until_active(client, "f")
    assert client.invoke(FunctionName="f")["Payload"].read() == b"2"
    updated = client.update_function_code(FunctionName="f", **_source(key, S3ObjectVersion=first))
    assert updated["CodeSha256"] == _sha256(PACKAGE)
    wait_until_active(client, "f", "function_updated_v2")
    assert client.invoke(FunctionName="f")["Payload"].read() == b"1"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            {"S3Bucket": "never", "S3Key": "k"},
            (
                "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
                "S3 Error Message: The specified bucket does not exist"
            ),
        ),
        (
            _source("never"),
            (
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. "
                "S3 Error Message: The specified key does not exist."
            ),
        ),
        (
            _source("text"),
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
    ],
)
def test_what_s3_does_not_give_is_told_in_the_words_of_aws(
    deploying: RunningServer, s3: Any, source: dict[str, str], text: str
) -> None:
    client = deploying.client()
    s3.put_object(Bucket="packages", Key="text", Body=b"no zip")
    refused = (400, "InvalidParameterValueException", text)
    assert refusal(lambda: create(client, "g", Code=source)) == refused
    assert refusal(client.get_function, FunctionName="g")[0] == 404
    name = f"function-{os.urandom(4).hex()}"
    create(client, name)
    wait_until_active(client, name)
    assert refusal(client.update_function_code, FunctionName=name, **source) == refused


def test_without_the_setting_no_bucket_exists(client: Any, name: str) -> None:
    text = (
        "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
        "S3 Error Message: The specified bucket does not exist"
    )
    refused = refusal(lambda: create(client, name, Code=_source("k")))
    assert refused == (400, "InvalidParameterValueException", text)


# -- an S3 that misbehaves

Respond = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(respond: Respond) -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP with one answer for all; yield the URL and the list of paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            respond(self)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Keep standard error clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        try:
            handler.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            return

    return respond


def _error(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def _fetch(url: str, clock: ManualClock | None = None) -> bytes:
    return asyncio.run(S3CodeSource(url, clock).fetch(PLACE, "us-east-1"))


@pytest.mark.parametrize(
    ("respond", "error", "text"),
    [
        # Refused before the body is read: there is none.
        (_answer(200, length=UNZIPPED_CODE_BYTES), InvalidParameterValueException, TOO_LARGE),
        (_answer(200, b"half", length=8), InvalidParameterValueException, UNREACHABLE),
        (
            _answer(404, b"<not XML"),
            InvalidParameterValueException,
            "Error occurred while GetObject. S3 Error Code: 404. S3 Error Message: Not Found",
        ),
        (
            _answer(403, _error("AccessDenied", "Access Denied")),
            InvalidParameterValueException,
            "Error occurred while GetObject. S3 Error Code: AccessDenied. S3 Error Message: Access Denied",
        ),
        (
            _answer(301, _error("PermanentRedirect", "Elsewhere."), x_amz_bucket_region="us-east-2"),
            InvalidParameterValueException,
            (
                "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: "
                "The bucket is in this region: us-east-2. Please use this region to retry the request"
            ),
        ),
        (
            _answer(503, _error("SlowDown", "Please reduce your request rate.")),
            InvalidParameterValueException,
            (
                "Error occurred while GetObject. S3 Error Code: SlowDown. "
                "S3 Error Message: Please reduce your request rate."
            ),
        ),
    ],
)
def test_an_s3_that_fails_is_told_in_the_words_of_aws(
    respond: Respond, error: type[ServiceError], text: str
) -> None:
    with answering(respond) as (url, asked), pytest.raises(error) as caught:
        _fetch(url)
    assert caught.value.message == text
    # Asked twice at most, and never elsewhere.
    assert set(asked) == {"/bucket/key"}
    assert len(asked) <= 2


def test_a_body_of_unknown_length_is_read_no_further_than_a_package_may_go() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * (1 << 20))
        except (BrokenPipeError, ConnectionResetError):
            return

    with answering(endless) as (url, _), pytest.raises(InvalidParameterValueException) as caught:
        _fetch(url)
    assert caught.value.message == TOO_LARGE


def test_a_download_that_takes_too_long_is_given_up() -> None:
    clock = ManualClock()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        clock.advance(DOWNLOAD_S + 1)
        handler.wfile.write(b"x")

    with answering(slow) as (url, _), pytest.raises(InvalidParameterValueException) as caught:
        _fetch(url, _StartingAt(clock))
    assert caught.value.message == UNREACHABLE


class _StartingAt(ManualClock):
    """Tells the start of the download first, then the time of another clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self._started_at: float | None = clock.monotonic()

    def monotonic(self) -> float:
        started_at, self._started_at = self._started_at, None
        return self._clock.monotonic() if started_at is None else started_at


def test_nobody_there_is_told_too() -> None:
    with answering(_answer(200)) as (url, _):
        pass
    with pytest.raises(InvalidParameterValueException) as caught:
        _fetch(url)
    assert caught.value.message == UNREACHABLE


@pytest.mark.parametrize("key", [None, "AKIDOFTHESERVER"])
def test_a_url_is_asked_with_the_servers_credentials_or_with_any(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key is not None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    signatures = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        signatures.append(handler.headers["Authorization"])
        _answer(200, PACKAGE)(handler)

    with answering(respond) as (url, _):
        assert _fetch(url) == PACKAGE
    assert f"Credential={key or 'test'}/" in signatures[0]
    assert "/us-east-1/s3/aws4_request" in signatures[0]


def test_aws_itself_is_not_asked_without_credentials() -> None:
    with pytest.raises(InvalidParameterValueException) as caught:
        _fetch("aws")
    assert caught.value.message == (
        "Error occurred while GetObject. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
    )
