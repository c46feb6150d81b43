"""Who it is, by real signatures in headers and in the query: what is taken, what is refused and how."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.integration.authorization.world import (
    MISMATCH,
    OWN,
    REGION,
    UNKNOWN,
    World,
    allow,
    denied,
    deny,
    refusal,
    send,
)
from tests.integration.wire import INVOKE, Peer, request


def test_who_does_not_sign_is_refused(world: World) -> None:
    client = botocore.session.get_session().create_client(
        "lambda",
        endpoint_url=world.server.url,
        region_name=REGION,
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
    )
    missing = (403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    assert refusal(client.invoke, FunctionName="hello") == missing
    assert refusal(client.list_functions) == missing
    assert refusal(client.get_function, FunctionName="a name that is none") == missing


def test_a_wrong_secret_and_an_unknown_key_are_refused(world: World) -> None:
    admin = world.admin
    wrong = world.server.client(account=admin.access_key_id, secret=admin.secret[:-1] + "?")
    for ask, members in (
        (wrong.invoke, {"FunctionName": "hello"}),
        (wrong.invoke, {"FunctionName": "hello", "Payload": b'"' + b"x" * 100_000 + b'"'}),
        (wrong.list_functions, {}),
    ):
        assert refusal(ask, **members) == MISMATCH
    # Nor is an account a key here, or a key of another spelling.
    for key in ("AKIDUNKNOWN", OWN, "000000000000", admin.access_key_id.lower()):
        assert (
            refusal(world.server.client(account=key, secret=admin.secret).invoke, FunctionName="hello")
            == UNKNOWN
        )


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(-6, "Signature expired: "), (6, "Signature not yet current: "), (-4, None), (4, None)],
)
def test_a_clock_may_be_off_by_less_than_five_minutes(world: World, minutes: int, text: str | None) -> None:
    there = datetime.now(UTC) + timedelta(minutes=minutes)
    with mock.patch("botocore.auth.get_current_datetime", return_value=there):
        if text is None:
            assert world.admin.client.list_functions()["Functions"]
            return
        status, code, message = refusal(world.admin.client.list_functions)
    assert (status, code) == (403, "InvalidSignatureException")
    assert message.startswith(text)
    assert "5 min.)" in message


@pytest.mark.parametrize("service", ["s3", "sts"])
def test_a_signature_for_another_service_is_refused(world: World, service: str) -> None:
    answer = send(world.server, world.admin, service=service)
    assert answer.header("x-amzn-errortype") == "InvalidSignatureException"
    assert answer.status == 403


def test_presigned_urls_are_good_for_as_long_as_they_say(world: World) -> None:
    user = world.user(allow())
    answer = send(world.server, user, body=b"[7]", expires_s=60)
    assert (answer.status, answer.json[1]) == (200, [7])
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert send(world.server, user, body=b"[7]", expires_s=4000, at=an_hour_ago).status == 200
    expired = send(world.server, user, body=b"[7]", expires_s=3000, at=an_hour_ago)
    assert expired.header("x-amzn-errortype") == "InvalidSignatureException"
    assert expired.json["message"].startswith("Signature expired: ")
    # The body is signed too, and policies hold for them as for others.
    assert send(world.server, user, body=b"[7]", sent=b"[8]", expires_s=60).json["message"] == MISMATCH[2]
    user.may(deny())
    assert send(world.server, user, body=b"[7]", expires_s=60).json == {
        "Message": denied(user, "identity denies")[2]
    }


def test_presigned_urls_of_boto3_are_taken(world: World) -> None:
    url = world.admin.client.generate_presigned_url(
        "get_function", {"FunctionName": "hello", "Qualifier": "live"}
    )
    there = urlsplit(url)
    peer = Peer(world.server.port)
    peer.send(
        f"GET {there.path}?{there.query} HTTP/1.1\r\nHost: 127.0.0.1:{world.server.port}\r\n\r\n".encode()
    )
    answer = peer.receive()
    assert (answer.status, answer.json["Configuration"]["Version"]) == (200, "1")
    peer.close()


@pytest.mark.parametrize("expires_s", [None, 60])
def test_large_bodies_are_signed_too(world: World, expires_s: int | None) -> None:
    body = json.dumps("x" * 3_000_000).encode()
    before = world.runs
    assert send(world.server, world.admin, body=body, expires_s=expires_s).json[1] == 3_000_000
    forged = send(world.server, world.admin, body=body, sent=body[:-2] + b'y"', expires_s=expires_s)
    assert (forged.status, forged.json) == (403, {"message": MISMATCH[2]})
    stranger = world.user()
    refused = send(world.server, stranger, body=body, expires_s=expires_s)
    assert (refused.status, refused.json) == (403, {"Message": denied(stranger, "identity")[2]})
    assert world.runs == before + 1


def test_a_body_that_is_not_signed_is_refused(world: World) -> None:
    unsigned = send(world.server, world.admin, body=b"1", X_Amz_Content_Sha256="UNSIGNED-PAYLOAD")
    assert (unsigned.status, unsigned.json) == (403, {"message": MISMATCH[2]})


def test_refusals_byte_by_byte(world: World) -> None:
    nobody = world.user()
    peer = Peer(world.server.port)
    peer.send(request("POST", INVOKE.format("hello")))
    unsigned = peer.receive()
    assert (unsigned.status, unsigned.reason) == (403, "Forbidden")
    assert unsigned.header("x-amzn-errortype") == "MissingAuthenticationTokenException"
    assert unsigned.body == b'{"message":"Missing Authentication Token"}'
    # The path comes first, and the connection goes on.
    peer.send(request("POST", "/2015-03-31/nothing"))
    assert (peer.receive().status, unsigned.header("connection")) == (404, "keep-alive")
    peer.close()

    forged = send(world.server, world.admin, body=b"1", sent=b"2")
    assert (forged.status, len(forged.body)) == (403, 192)
    refused = send(world.server, nobody)
    assert (refused.status, refused.reason) == (403, "Forbidden")
    assert refused.header("x-amzn-errortype") == "AccessDeniedException"
    assert refused.header("content-type") == "application/json"
    assert (
        refused.body == json.dumps({"Message": denied(nobody, "identity")[2]}, separators=(",", ":")).encode()
    )


def test_the_servers_own_paths_need_no_signature_and_open_nothing(world: World) -> None:
    peer = Peer(world.server.port)
    for method, path, status in (
        ("GET", "/_lambent/health", 200),
        ("GET", "/_lambent/ready", 200),
        ("GET", "/_lambent/iam", 403),
        ("POST", "/_lambent/iam/add-user", 403),
        ("GET", "/_lambent/logs/hello", 403),
        ("GET", "/_lambent/stats", 403),
        ("GET", "/_lambent/code/x", 403),
        # Whatever an invocation's path is preceded by, it is none of them then.
        ("POST", "/_lambent/2015-03-31/functions/hello/invocations", 404),
        ("POST", "/_lambent/../2015-03-31/functions/hello/invocations", 404),
        ("POST", "/_lambent/%2e%2e/2015-03-31/functions/hello/invocations", 404),
        ("POST", "//2015-03-31/functions/hello/invocations", 404),
    ):
        peer.send(request(method, path, b"{}" if method == "POST" else b""))
        assert peer.receive().status == status, path
    peer.close()


def test_what_is_signed_may_come_by_any_name(world: World) -> None:
    foreign: dict[str, Any] = {"Origin": "https://page.example", "Sec_Fetch_Site": "cross-site"}
    assert send(world.server, world.admin, Host="lambda.example:3001", **foreign).status == 200
    peer = Peer(world.server.port)
    peer.send(request("GET", "/_lambent/health", **foreign))
    assert peer.receive().header("x-amzn-errortype") == "ForbiddenException"
    peer.send(request("POST", INVOKE.format("hello"), **foreign))
    assert peer.receive().header("x-amzn-errortype") == "MissingAuthenticationTokenException"
    peer.close()


def test_no_secret_is_in_the_log(world: World) -> None:
    world.check_log()
