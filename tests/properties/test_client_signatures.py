"""What the client signs is what botocore signs: the same request, header for header."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest import mock

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st
from tests.client_steps import World, answer, core
from tests.properties.fuzzed import fuzzed

from lambent.client import Credentials, InvokeRequest
from lambent.clock import ManualClock

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ENDPOINTS = (
    "http://127.0.0.1:3001",
    "http://localhost",
    "https://lambda.eu-west-1.amazonaws.com",
    "https://host:443",
    "http://[::1]:3001",
)
REGIONS = ("us-east-1", "eu-central-1", "us-gov-west-1")
# Of names and members: AWS's patterns are narrower than what clients send.
names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=64).filter(
    lambda text: text not in {".", ".."}
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40).map(
    str.strip
)

_clients: dict[tuple[str, str, str | None], Any] = {}


def boto3_client(endpoint: str, region: str, token: str | None) -> Any:
    key = endpoint, region, token
    if key not in _clients:
        _clients[key] = boto3.client(
            "lambda",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key=SECRET,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
    return _clients[key]


def signed_by_botocore(client: Any, members: dict[str, Any], at: datetime) -> AWSPreparedRequest:
    sent: list[AWSPreparedRequest] = []

    def answer_here(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 204, {}, mock.Mock(stream=lambda: iter([b""])))

    client.meta.events.register("before-send.lambda.Invoke", answer_here, unique_id="here")
    try:
        with mock.patch("botocore.auth.get_current_datetime", return_value=at):
            client.invoke(**members)
    finally:
        client.meta.events.unregister("before-send.lambda.Invoke", unique_id="here")
    return sent[0]


@fuzzed(300)
@given(
    endpoint=st.sampled_from(ENDPOINTS),
    region=st.sampled_from(REGIONS),
    token=st.sampled_from([None, "to/ken+="]),
    at=st.integers(10**9, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    members=st.fixed_dictionaries(
        {"function": names},
        optional={
            "payload": st.binary(max_size=200),
            "qualifier": names,
            "invocation_type": header_values,
            "log_type": header_values,
            "client_context": header_values,
            "tenant_id": header_values,
            "durable_execution_name": header_values,
        },
    ),
)
def test_requests_are_signed_as_botocore_signs_them(
    endpoint: str, region: str, token: str | None, at: datetime, members: dict[str, Any]
) -> None:
    made = core(
        ManualClock(at.timestamp()),
        endpoint_url=endpoint,
        region_name=region,
        credentials=Credentials("AKIDEXAMPLE", SECRET, token),
    )
    request = InvokeRequest(**members)
    with made.record() as recorded:
        World(made, answer(204, b"")).invoke(request)
    ours = recorded[0]

    theirs = signed_by_botocore(boto3_client(endpoint, region, token), request.to_dict(), at)

    assert ours.headers["authorization"] == _text(theirs.headers["Authorization"])
    assert ours.headers["x-amz-date"] == _text(theirs.headers["X-Amz-Date"])
    assert ours.headers.get("x-amz-security-token") == _text(theirs.headers.get("X-Amz-Security-Token"))
    assert ours.url.partition("://")[2].partition("/")[2] == theirs.url.partition("://")[2].partition("/")[2]
    assert ours.body == (theirs.body or b"")


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
