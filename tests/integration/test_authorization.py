"""Who may do what at level sigv4: real clients, real signatures, one real server.

Source: docs/aws-behaviour.md, versions-permissions 5.5, 5.6 and 5.8.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
import trustme
from botocore import UNSIGNED, xform_name
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from lambent.api.operations import OPERATIONS
from tests.integration.conftest import RUNTIME, Functions, RunningServer, pack, running_server
from tests.integration.events_harness import control
from tests.integration.test_accounts import BY_ARN, CALLS, call
from tests.integration.test_cli import Command
from tests.integration.wire import INVOKE, Answer, Peer, request
from tests.waiting import wait_for

OWN, OTHER = "111122223333", "444455556666"
REGION = "us-east-1"
FUNCTION = f"arn:aws:lambda:{REGION}:{OWN}:function:hello"
ABSENT = f"arn:aws:lambda:{REGION}:{OWN}:function:absent"
INVOKING = "lambda:InvokeFunction"
# Leaves a mark for each run, so that what never ran can be told.
SOURCE = """
import os

def handler(event, context):
    with open(os.environ["MARKS"], "a") as marks:
        marks.write("x")
    return [context.invoked_function_arn.split(":", 4)[4], len(event) if isinstance(event, str) else event]
"""

Statement = dict[str, Any]
Refusal = tuple[int, str, str]


def allow(action: str = INVOKING, resource: str = "*", **elements: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **elements}


def deny(action: str = INVOKING, resource: str = "*", **elements: Any) -> Statement:
    return {**allow(action, resource, **elements), "Effect": "Deny"}


EVERYTHING = allow("*")
OWN_ROLE, OTHER_ROLE = (f"arn:aws:iam::{account}:role/execution" for account in (OWN, OTHER))


@dataclass
class User:
    """A user of the server, and a client that signs as that user."""

    server: RunningServer
    arn: str
    access_key_id: str
    secret: str
    client: Any

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    def may(self, *statements: Statement) -> None:
        """Give the user another policy; the server has it when this returns."""
        account, name = self.arn.split(":")[4], self.arn.split("/")[1]
        asked = {"name": name, "account": account, "policy": document(*statements)}
        reply = control(self.server, "POST", "/put-policy", json.dumps(asked).encode(), name="iam")
        assert reply.status == 200

    def invoke(self, function: str = "hello", **members: Any) -> Any:
        return json.load(self.client.invoke(FunctionName=function, **members)["Payload"])


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def client_of(
    server: RunningServer, access_key_id: str, secret: str, region: str = REGION, **config: Any
) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=server.url,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, **config),
    )


class World:
    """The server, its users, and the function ``hello`` of the account OWN with version 1 and alias live."""

    def __init__(self, server: RunningServer, marks: Path) -> None:
        self.server = server
        self._marks = marks
        self._users = 0
        self.admin = self.user(EVERYTHING)
        admin = self.admin.client
        marking = {"Variables": {"MARKS": str(marks)}}
        Functions(admin)(SOURCE, FunctionName="hello", Role=OWN_ROLE, Environment=marking)
        admin.publish_version(FunctionName="hello")
        admin.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")

    def user(self, *statements: Statement, account: str = OWN, name: str | None = None) -> User:
        """Return a new user; without statements it has no policy."""
        self._users += 1
        asked = {"name": name or f"user-{self._users}", "account": account}
        if statements:
            asked["policy"] = document(*statements)
        reply = control(self.server, "POST", "/add-user", json.dumps(asked).encode(), name="iam")
        assert reply.status == 200, reply.json
        made = reply.json
        key, secret = made["AccessKeyId"], made["SecretAccessKey"]
        return User(self.server, made["Arn"], key, secret, client_of(self.server, key, secret))

    @property
    def runs(self) -> int:
        """How often the function has run."""
        return self._marks.stat().st_size if self._marks.exists() else 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("authorization")
    with running_server(folder, LAMBENT_AUTH_LEVEL="sigv4") as server:
        yield World(server, folder / "marks")


@pytest.fixture
def permit(world: World) -> Iterator[Callable[..., None]]:
    """Add statements to the function's policies; they are gone after the test."""
    added: list[dict[str, str]] = []

    def add(principal: str, qualifier: str | None = None, action: str = INVOKING, **more: str) -> None:
        place = {"FunctionName": "hello", "StatementId": f"s{len(added)}"}
        if qualifier is not None:
            place["Qualifier"] = qualifier
        world.admin.client.add_permission(**place, Action=action, Principal=principal, **more)
        added.append(place)

    yield add
    for place in added:
        world.admin.client.remove_permission(**place)


def refusal(ask: Callable[..., Any], **members: Any) -> Refusal:
    """Return status, code and text with which a call is refused; no hint tells of others."""
    with pytest.raises(ClientError) as caught:
        ask(**members)
    response = caught.value.response
    assert "x-lambent-hint" not in response["ResponseMetadata"]["HTTPHeaders"]
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


def denied(user: User, reason: str, action: str = INVOKING, resource: str = FUNCTION) -> Refusal:
    """Return how a user is refused."""
    because = {
        "identity": f"because no identity-based policy allows the {action} action",
        "resource": f"because no resource-based policy allows the {action} action",
        "identity denies": "with an explicit deny in an identity-based policy",
        "resource denies": "with an explicit deny in a resource-based policy",
    }[reason]
    text = f"User: {user.arn} is not authorized to perform: {action} on resource: {resource} {because}"
    return 403, "AccessDeniedException", text


# -- who it is


UNKNOWN = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
MISMATCH = (
    403,
    "InvalidSignatureException",
    (
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details."
    ),
)


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
    wrong = client_of(world.server, admin.access_key_id, admin.secret[:-1] + "?")
    for ask, members in (
        (wrong.invoke, {"FunctionName": "hello"}),
        (wrong.invoke, {"FunctionName": "hello", "Payload": b'"' + b"x" * 100_000 + b'"'}),
        (wrong.list_functions, {}),
    ):
        assert refusal(ask, **members) == MISMATCH
    # Nor is an account a key here, or a key of another spelling.
    for key in ("AKIDUNKNOWN", OWN, "000000000000", admin.access_key_id.lower()):
        assert refusal(client_of(world.server, key, admin.secret).invoke, FunctionName="hello") == UNKNOWN


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


def signed_request(
    user: User,
    method: str = "POST",
    path: str = INVOKE.format("hello"),
    body: bytes = b"",
    *,
    expires_s: int | None = None,
    sent: bytes | None = None,
    service: str = "lambda",
    at: datetime | None = None,
    **headers: str,
) -> bytes:
    """Return a request as botocore signs it, with ``sent`` instead of the body if it is given."""
    keys = Credentials(user.access_key_id, user.secret)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    signed = AWSRequest(method, f"http://127.0.0.1{path}", given)
    signer = (
        SigV4Auth(keys, service, REGION)
        if expires_s is None
        else SigV4QueryAuth(keys, service, REGION, expires_s)
    )
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=at or datetime.now(UTC)),
        # Given as data, presigning would move it into the query.
        mock.patch.object(AWSRequest, "body", body),
    ):
        signer.add_auth(signed)
    url = urlsplit(signed.url)
    named = {name.replace("-", "_"): value for name, value in signed.headers.items()}
    target = url.path + (f"?{url.query}" if url.query else "")
    return request(method, target, body if sent is None else sent, **named)


def send(server: RunningServer, user: User, **options: Any) -> Answer:
    """Send what :func:`signed_request` returns, and return the raw answer."""
    peer = Peer(server.port)
    peer.send(signed_request(user, **options))
    answer = peer.receive()
    peer.close()
    return answer


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


# -- identity policies


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ([], "identity"),
        ([allow("lambda:GetFunction")], "identity"),
        ([allow(resource=f"{FUNCTION}:*")], "identity"),
        ([allow(resource=FUNCTION.replace("hello", "other"))], "identity"),
        ([allow(resource=FUNCTION.replace(OWN, OTHER))], "identity"),
        ([allow(resource=FUNCTION.replace("hello", "HELLO"))], "identity"),
        ([allow()], None),
        ([allow("lambda:*")], None),
        ([allow("LAMBDA:invoke*")], None),
        ([allow(resource=FUNCTION)], None),
        ([allow(resource=f"{FUNCTION}?*")], "identity"),
        ([allow(resource=f"{FUNCTION[:-2]}*")], None),
        ([allow(), deny()], "identity denies"),
        ([allow(), deny(resource=FUNCTION)], "identity denies"),
        ([allow(), deny(resource=f"{FUNCTION}:live")], None),
        ([{"Effect": "Allow", "NotAction": "lambda:Delete*", "Resource": "*"}], None),
        ([{"Effect": "Allow", "NotAction": "lambda:Invoke*", "Resource": "*"}], "identity"),
        ([{"Effect": "Allow", "Action": "*", "NotResource": FUNCTION}], "identity"),
        ([{"Effect": "Allow", "Action": "*", "NotResource": f"{FUNCTION}:*"}], None),
        ([allow(), {"Effect": "Deny", "NotAction": "lambda:Get*", "Resource": "*"}], "identity denies"),
    ],
)
def test_identity_policies(world: World, statements: list[Statement], reason: str | None) -> None:
    user = world.user(*statements)
    before = world.runs
    if reason is None:
        assert user.invoke() == [FUNCTION.split(":", 4)[4], {}]
        assert world.runs == before + 1
        return
    # Twice: what is remembered refuses as well.
    for _ in range(2):
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, reason)
    assert world.runs == before


NOW = datetime.now(UTC)
PAST, FUTURE = ((NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (-1, 1))


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1/128"]}}, False),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.1"}}, False),
        ({"StringLike": {"aws:username": "user-*"}}, True),
        ({"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/${aws:username}"}}, True),
        ({"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::444455556666:user/${aws:username}"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": PAST}, "DateLessThan": {"aws:CurrentTime": FUTURE}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": FUTURE}}, False),
        ({"NumericGreaterThan": {"aws:EpochTime": "1700000000"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"ArnLike": {"lambda:FunctionArn": FUNCTION}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, False),
        ({"Null": {"aws:PrincipalOrgID": "true"}}, True),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}, False),
        ({"StringEqualsIfExists": {"aws:SourceAccount": OTHER}}, True),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalType": ["User", "Account"]}}, True),
    ],
)
def test_conditions(world: World, conditions: dict[str, Any], holds: bool) -> None:
    user = world.user(allow(Condition=conditions))
    if holds:
        assert user.invoke()
    else:
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, "identity")
    user.may(allow(), deny(Condition=conditions))
    if holds:
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, "identity denies")
    else:
        assert user.invoke()


def test_a_user_may_be_given_the_function_of_its_name(world: World) -> None:
    statement = allow(resource=f"arn:aws:lambda:*:{OWN}:function:${{aws:username}}")
    assert world.user(statement, name="hello").invoke()
    other = world.user(statement, name="hell")
    assert refusal(other.client.invoke, FunctionName="hello") == denied(other, "identity")


def test_https_is_secure_transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key, trusted = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "authority.pem"
    issued.cert_chain_pems[0].write_to_path(str(chain))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    settings = {"LAMBENT_SERVER_TLS_CERT": str(chain), "LAMBENT_SERVER_TLS_KEY": str(key)}
    with running_server(tmp_path, LAMBENT_AUTH_LEVEL="sigv4", **settings) as server:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
        insecure = {"Bool": {"aws:SecureTransport": "false"}}
        local = {"IpAddress": {"aws:SourceIp": "127.0.0.1"}}
        asked = {
            "name": "ann",
            "account": OWN,
            "policy": document(allow("*", Condition=local), deny("*", Condition=insecure)),
        }
        made = control(server, "POST", "/add-user", json.dumps(asked).encode(), name="iam").json
        client = client_of(server, made["AccessKeyId"], made["SecretAccessKey"])
        assert client.list_functions()["Functions"] == []
        client.close()


def test_who_cuts_the_connection_is_still_who_it_is(world: World) -> None:
    # An event runs whether or not its caller waits for the answer.
    conditions = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    user = world.user(allow(), deny(Condition=conditions))
    before = world.runs
    for _ in range(30):
        peer = Peer(world.server.port)
        peer.send(signed_request(user, X_Amz_Invocation_Type="Event"))
        peer.reset()
    user.may(allow())
    assert user.client.invoke(FunctionName="hello", InvocationType="Event")["StatusCode"] == 202
    wait_for(lambda: world.runs > before)
    assert user.invoke()
    assert world.runs == before + 2


# -- resource policies


@pytest.mark.parametrize(
    ("principal", "statements", "reason"),
    [
        ("user", [], None),
        ("user", [deny()], "identity denies"),
        ("another user", [], "identity"),
        ("account", [], "identity"),
        ("account", [allow()], None),
        ("*", [], None),
        ("*", [deny(resource=FUNCTION)], "identity denies"),
        ("other account", [], "identity"),
        ("service", [], "identity"),
    ],
)
def test_resource_policies_in_the_same_account(
    world: World,
    permit: Callable[..., None],
    principal: str,
    statements: list[Statement],
    reason: str | None,
) -> None:
    user = world.user(*statements)
    permit(
        {
            "user": user.arn,
            "another user": user.arn + "0",
            "account": OWN,
            "other account": OTHER,
            "*": "*",
            "service": "s3.amazonaws.com",
        }[principal]
    )
    if reason is None:
        assert user.invoke()
    else:
        assert refusal(user.client.invoke, FunctionName="hello") == denied(user, reason)


@pytest.mark.parametrize(
    ("principal", "statements", "reason"),
    [
        (None, [], "identity"),
        (None, [allow()], "resource"),
        ("user", [], "identity"),
        ("user", [allow()], None),
        ("user", [allow(resource=FUNCTION)], None),
        ("user", [allow(), deny(resource=FUNCTION)], "identity denies"),
        ("account", [], "identity"),
        ("account", [allow()], None),
        ("*", [], "identity"),
        ("*", [allow()], None),
        ("owner", [allow()], "resource"),
        ("another user", [allow()], "resource"),
    ],
)
def test_across_accounts_both_policies_are_needed(
    world: World,
    permit: Callable[..., None],
    principal: str | None,
    statements: list[Statement],
    reason: str | None,
) -> None:
    user = world.user(*statements, account=OTHER)
    if principal is not None:
        permit(
            {"user": user.arn, "another user": user.arn + "0", "account": OTHER, "owner": OWN, "*": "*"}[
                principal
            ]
        )
    before = world.runs
    if reason is not None:
        for members in (
            {},
            {"InvocationType": "Event"},
            {"InvocationType": "DryRun"},
            {"Payload": b'"' + b"x" * 70_000 + b'"'},
        ):
            assert refusal(user.client.invoke, FunctionName=FUNCTION, **members) == denied(user, reason)
        assert refusal(user.client.invoke_async, FunctionName=FUNCTION, InvokeArgs=b"1") == denied(
            user, reason
        )
        assert world.runs == before
        return
    assert user.client.invoke(FunctionName=FUNCTION, InvocationType="DryRun")["StatusCode"] == 204
    assert world.runs == before
    assert user.invoke(FUNCTION) == [FUNCTION.split(":", 4)[4], {}]
    assert user.client.invoke(FunctionName=FUNCTION, InvocationType="Event")["StatusCode"] == 202
    assert user.client.invoke_async(FunctionName=FUNCTION, InvokeArgs=b"1")["Status"] == 202
    wait_for(lambda: world.runs == before + 3)
    # A bare name is one of the caller's own.
    assert refusal(user.client.invoke, FunctionName="hello")[1] in {
        "ResourceNotFoundException",
        "AccessDeniedException",
    }


@pytest.mark.parametrize("permitted", [None, "1", "live"])
def test_function_version_and_alias_have_policies_of_their_own(
    world: World, permit: Callable[..., None], permitted: str | None
) -> None:
    user = world.user(allow(), account=OTHER)
    permit(OTHER, permitted)
    for qualifier in (None, "1", "live", "$LATEST"):
        name = FUNCTION if qualifier is None else f"{FUNCTION}:{qualifier}"
        if qualifier == permitted:
            assert user.invoke(name)[0] == name.split(":", 4)[4]
            assert user.invoke(FUNCTION, **({"Qualifier": qualifier} if qualifier else {}))
        else:
            expected = denied(user, "resource", resource=name)
            assert refusal(user.client.invoke, FunctionName=name) == expected


def test_a_permission_for_a_source_is_not_for_callers(world: World, permit: Callable[..., None]) -> None:
    user = world.user(allow(), account=OTHER)
    permit("*", SourceArn="arn:aws:s3:::bucket")
    permit(OTHER, SourceAccount=OTHER)
    permit("*", PrincipalOrgID="o-0123456789")
    permit("*", action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
    assert refusal(user.client.invoke, FunctionName=FUNCTION) == denied(user, "resource")


def test_a_resource_policy_may_allow_more_than_invoke_in_its_account(
    world: World, permit: Callable[..., None]
) -> None:
    user = world.user()
    permit(user.arn, action="lambda:GetFunction")
    assert user.client.get_function(FunctionName="hello")["Configuration"]["FunctionName"] == "hello"
    action = "lambda:GetFunctionConfiguration"
    assert refusal(user.client.get_function_configuration, FunctionName="hello") == denied(
        user, "identity", action
    )


@pytest.mark.parametrize("operation", sorted({*CALLS, *BY_ARN} - {"Invoke"}))
def test_other_operations_are_refused_across_accounts_whatever_policies_say(
    world: World, permit: Callable[..., None], operation: str
) -> None:
    user = world.user(EVERYTHING, account=OTHER)
    permit(OTHER, action="lambda:*")
    member = "Resource" if operation in BY_ARN else "FunctionName"
    ask = getattr(user.client, xform_name(operation))
    members = {member: FUNCTION, **(CALLS | BY_ARN)[operation]}
    assert refusal(ask, **members) == denied(user, "resource", f"lambda:{operation}")


def test_a_permission_counts_from_the_moment_it_is_given_or_taken(world: World) -> None:
    user = world.user(allow(), account=OTHER)
    admin = world.admin.client
    place = {"FunctionName": "hello", "StatementId": "now"}
    for _ in range(3):
        assert refusal(user.client.invoke, FunctionName=FUNCTION) == denied(user, "resource")
        admin.add_permission(**place, Action=INVOKING, Principal=OTHER)
        assert user.invoke(FUNCTION)
        admin.remove_permission(**place)


# -- who may not know


@pytest.mark.parametrize("account", [OWN, OTHER])
@pytest.mark.parametrize("qualifier", ["", ":1", ":live", ":$LATEST"])
def test_strangers_do_not_learn_what_is_there(world: World, account: str, qualifier: str) -> None:
    user = world.user(*([allow()] if account == OTHER else []), account=account)
    reason = "resource" if account == OTHER else "identity"
    for function in (FUNCTION, ABSENT):
        name = function + qualifier
        for members in ({}, {"InvocationType": "DryRun"}, {"InvocationType": "Event"}):
            expected = denied(user, reason, resource=name)
            assert refusal(user.client.invoke, FunctionName=name, **members) == expected
        if account == OWN:
            expected = denied(user, "identity", "lambda:GetFunction", name)
            assert refusal(user.client.get_function, FunctionName=name) == expected


def test_who_may_is_told_what_is_not_there(world: World) -> None:
    user = world.user(allow("lambda:*"))
    assert refusal(user.client.invoke, FunctionName="absent") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ABSENT}:$LATEST",
    )
    # It is there in another account, of which nothing is said: see refusal.
    other = world.user(EVERYTHING, account=OTHER)
    assert refusal(other.client.invoke, FunctionName="hello")[0] == 404
    assert refusal(other.client.get_function, FunctionName="hello")[0] == 404


def test_dry_runs_ask_policies_and_run_nothing(world: World) -> None:
    before = world.runs
    user = world.user(allow(resource=f"{FUNCTION}:live"))
    dry = {"FunctionName": "hello", "InvocationType": "DryRun"}
    assert user.client.invoke(**dry, Qualifier="live")["StatusCode"] == 204
    assert refusal(user.client.invoke, **dry) == denied(user, "identity")
    assert refusal(user.client.invoke, **dry, Qualifier="1") == denied(
        user, "identity", resource=f"{FUNCTION}:1"
    )
    assert world.runs == before


# -- every operation


def call_of(operation: str) -> tuple[str, dict[str, Any]]:
    """Return the resource and the members of a call that changes nothing."""
    if operation in {"ListFunctions", "GetAccountSettings"}:
        return "*", {}
    if operation in BY_ARN:
        return ABSENT, {"Resource": ABSENT, **BY_ARN[operation]}
    members = {
        **CALLS,
        "InvokeAsync": {"InvokeArgs": b"1"},
        # Refused, but only after policies have been asked.
        "CreateFunction": {
            "Role": OWN_ROLE,
            "Runtime": "python2.7",
            "Handler": "a.b",
            "Code": {"ZipFile": b"x"},
        },
    }[operation]
    qualifier = f":{members['Qualifier']}" if "Qualifier" in members else ""
    return ABSENT + qualifier, {"FunctionName": "absent", **members}


@pytest.fixture(scope="module")
def everybody(world: World) -> tuple[User, User]:
    """Two users whose policies each test sets."""
    return world.user(), world.user()


@pytest.mark.parametrize("operation", sorted({"Invoke", "InvokeAsync", *OPERATIONS}))
def test_one_action_is_needed_and_enough(world: World, everybody: tuple[User, User], operation: str) -> None:
    without, alone = everybody
    action = INVOKING if operation in {"Invoke", "InvokeAsync"} else f"lambda:{operation}"
    resource, members = call_of(operation)

    without.may(EVERYTHING, deny(action))
    expected = denied(without, "identity denies", action, resource)
    assert refusal(getattr(without.client, xform_name(operation)), **members) == expected
    without.may({"Effect": "Allow", "NotAction": action, "Resource": "*"})
    expected = denied(without, "identity", action, resource)
    assert refusal(getattr(without.client, xform_name(operation)), **members) == expected

    passing = [allow("iam:PassRole", OWN_ROLE)] if operation == "CreateFunction" else []
    alone.may(allow(action, resource), *passing)
    assert call(alone.client, operation, **members)[1] in {200, 204, 400, 404}


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
def test_a_role_must_be_ones_to_pass(world: World, operation: str) -> None:
    members: dict[str, Any] = {"FunctionName": "hello", "Role": OWN_ROLE}
    if operation == "CreateFunction":
        members |= {"Runtime": RUNTIME, "Handler": "a.b", "Code": {"ZipFile": pack(a="")}}
    user = world.user(allow(f"lambda:{operation}"))
    ask = getattr(user.client, xform_name(operation))
    expected = denied(user, "identity", "iam:PassRole", members["Role"])
    assert refusal(ask, **members) == expected
    to_lambda = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    to_others = {"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}}
    user.may(allow(f"lambda:{operation}"), allow("iam:PassRole", Condition=to_others))
    assert refusal(ask, **members) == expected
    user.may(allow(f"lambda:{operation}"), allow("iam:PassRole", Condition=to_lambda))
    # A role of another account is nobody's to pass.
    foreign = OTHER_ROLE
    expected = denied(user, "resource", "iam:PassRole", foreign)
    assert refusal(ask, **{**members, "Role": foreign}) == expected
    if operation == "CreateFunction":
        # The name is taken.
        assert refusal(ask, **members)[0] == 409
    else:
        assert ask(**members)["Role"] == members["Role"]
        world.admin.client.get_waiter("function_updated_v2").wait(FunctionName="hello")


def test_tags_at_create_are_a_permission_of_their_own(world: World) -> None:
    user = world.user(allow("lambda:CreateFunction"), allow("iam:PassRole"))
    _, members = call_of("CreateFunction")
    expected = denied(user, "identity", "lambda:TagResource", ABSENT)
    assert refusal(user.client.create_function, **members, Tags={"a": "b"}) == expected
    user.may(allow("lambda:CreateFunction"), allow("iam:PassRole"), allow("lambda:TagResource"))
    assert refusal(user.client.create_function, **members, Tags={"a": "b"})[0] == 400


def test_a_permission_that_nobody_could_evaluate_is_refused(world: World) -> None:
    admin = world.admin.client
    for source in ("*" * 1001, "${aws:username"):
        status, code, _ = refusal(
            admin.add_permission,
            FunctionName="hello",
            StatementId="broken",
            Action=INVOKING,
            Principal="*",
            SourceArn=f"arn:aws:s3:::{source}",
        )
        assert (status, code) == (400, "InvalidParameterValueException")
    assert world.admin.invoke()


def test_the_policy_of_the_documentation_does_what_it_says(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "start.md").read_text(encoding="utf-8")
    (policy,) = [block for block in page.split("```json\n")[1:] if '"Statement"' in block]
    statements = json.loads(policy.partition("```")[0])["Statement"]
    alice = world.user(*statements, name="alice")
    Functions(alice.client)(SOURCE, FunctionName="alice-hello", Role=OWN_ROLE)
    assert [each["FunctionName"] for each in alice.client.list_functions()["Functions"]] == [
        "alice-hello",
        "hello",
    ]
    assert refusal(alice.client.invoke, FunctionName="hello") == denied(alice, "identity")
    assert refusal(alice.client.delete_function, FunctionName="hello")[1] == "AccessDeniedException"
    shared = f"arn:aws:lambda:{REGION}:{OTHER}:function:shared"
    # Not from here; see the condition.
    assert refusal(alice.client.invoke, FunctionName=shared) == denied(alice, "identity", resource=shared)
    alice.client.delete_function(FunctionName="alice-hello")


# -- the commands, while the server runs


@dataclass
class Lambent:
    """Runs ``lambent`` beside the server, as whoever the variables say."""

    world: World
    folder: Path

    def __call__(self, *arguments: str, status: int = 0, user: User | None = None) -> tuple[str, str]:
        """Return what it wrote on standard output and on standard error."""
        there = {"LAMBENT_SERVER_DATA_DIR": str(self.world.server.data_dir)}
        environ = {} if user is None else user.environ
        done = subprocess.run(
            [sys.executable, "-m", "lambent", *arguments],
            check=False,
            capture_output=True,
            cwd=self.folder,
            env={**Command(self.folder, self.world.server).environ, **there, **environ},
            stdin=subprocess.DEVNULL,
            timeout=100,
        )
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    def write(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return name


@pytest.fixture
def lambent(world: World, tmp_path: Path) -> Lambent:
    return Lambent(world, tmp_path)


def test_users_come_change_and_go_under_an_open_connection(world: World, lambent: Lambent) -> None:
    account = ("--account", OWN)
    policy = lambent.write("policy.json", document(allow()))
    made = json.loads(lambent("iam", "add-user", "eve", *account, "--json")[0])
    client = client_of(world.server, made["AccessKeyId"], made["SecretAccessKey"], max_pool_connections=1)
    eve = User(world.server, made["Arn"], made["AccessKeyId"], made["SecretAccessKey"], client)
    assert refusal(client.invoke, FunctionName="hello") == denied(eve, "identity")

    lambent("iam", "put-policy", "eve", policy, *account)
    assert eve.invoke()
    closed = lambent.write("closed.json", document(allow(), deny()))
    lambent("iam", "put-policy", "eve", closed, *account)
    assert refusal(client.invoke, FunctionName="hello") == denied(eve, "identity denies")
    lambent("iam", "put-policy", "eve", policy, *account)
    assert eve.invoke()

    rotated = json.loads(lambent("iam", "rotate", "eve", *account, "--json")[0])
    assert refusal(client.invoke, FunctionName="hello") == UNKNOWN
    renewed = client_of(world.server, rotated["AccessKeyId"], rotated["SecretAccessKey"])
    assert renewed.invoke(FunctionName="hello")["StatusCode"] == 200
    # The new key with the old secret is nobody's.
    mixed = client_of(world.server, rotated["AccessKeyId"], made["SecretAccessKey"])
    assert refusal(mixed.invoke, FunctionName="hello") == MISMATCH

    lambent("iam", "rm", "eve", *account)
    assert refusal(renewed.invoke, FunctionName="hello") == UNKNOWN
    assert refusal(renewed.list_functions) == UNKNOWN
    # Another user of that name has none of its rights.
    lambent("iam", "add-user", "eve", *account)
    assert refusal(renewed.invoke, FunctionName="hello") == UNKNOWN


def test_the_command_signs_with_the_keys_that_it_is_given(world: World, lambent: Lambent) -> None:
    account = "777788889999"
    owner = world.user(EVERYTHING, account=account)
    lambent.write("greet.py", "def handler(event, context):\n    print('seen')\n    return event\n")
    arn = f"arn:aws:lambda:{REGION}:{account}:function:greet"
    assert arn in lambent("deploy", "greet.py", user=owner)[0]
    assert lambent("invoke", "greet", "[7]", user=owner)[0] == "[7]"
    assert lambent("invoke", "greet", "[7]", "--event", user=owner)[0]
    assert lambent("publish", "greet", user=owner)
    assert lambent("alias", "set", "greet", "live", "1", user=owner)
    assert lambent("invoke", "greet:live", "[8]", user=owner)[0] == "[8]"
    assert [each["FunctionArn"] for each in json.loads(lambent("list", "--json", user=owner)[0])] == [arn]
    # Over the owner's socket, and still about the account of the key.
    assert "seen" in lambent("logs", "greet", user=owner)[0]
    assert lambent("dlq", "list", user=owner)
    reader = world.user(allow("lambda:List*"), account=account)
    assert "greet" in lambent("list", user=reader)[0]
    _, said = lambent("rm", "greet", "--yes", status=2, user=reader)
    assert "AccessDeniedException: User: " in said
    assert "is not authorized to perform: lambda:DeleteFunction" in said
    lambent("rm", "greet", "--yes", user=owner)
    assert json.loads(lambent("list", "--json", user=owner)[0]) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "MissingAuthenticationTokenException"),
        (("--account", OWN), "UnrecognizedClientException"),
        (("--region", REGION), "UnrecognizedClientException"),
    ],
)
def test_the_command_says_how_to_be_somebody(lambent: Lambent, arguments: tuple[str, ...], code: str) -> None:
    _, said = lambent("invoke", "hello", *arguments, status=2)
    assert said.startswith(f"lambent: {code}: ")
    assert "AWS_ACCESS_KEY_ID" in said
    assert "`lambent iam add-user`" in said


AWS = shutil.which(
    "aws", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)


@pytest.mark.skipif(AWS is None, reason="the AWS CLI is not installed (it is one of the dev extras)")
def test_the_aws_cli_signs_and_reads_refusals(world: World, tmp_path: Path) -> None:
    def aws(user: User, *arguments: str, **environ: str) -> tuple[int, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        there = {"HOME": str(tmp_path), "AWS_ENDPOINT_URL_LAMBDA": world.server.url, "AWS_MAX_ATTEMPTS": "1"}
        assert AWS is not None
        done = subprocess.run(
            [AWS, "lambda", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**inherited, **there, **user.environ, **environ},
            cwd=tmp_path,
            timeout=100,
        )
        return done.returncode, done.stderr

    user = world.user(allow(resource=f"{FUNCTION}:live"))
    live = ("invoke", "--function-name", f"{FUNCTION}:live", "out.json")
    assert aws(user, *live) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text())[0] == f"{FUNCTION}:live".split(":", 4)[4]
    status, said = aws(user, "invoke", "--function-name", "hello", "out.json")
    assert status != 0
    assert f"(AccessDeniedException) when calling the Invoke operation: {denied(user, 'identity')[2]}" in said
    status, said = aws(user, *live, AWS_SECRET_ACCESS_KEY="wrong")
    assert status != 0
    assert f"(InvalidSignatureException) when calling the Invoke operation: {MISMATCH[2]}" in said
    status, said = aws(user, *live, AWS_ACCESS_KEY_ID="AKIDUNKNOWN")
    assert status != 0
    assert f"(UnrecognizedClientException) when calling the Invoke operation: {UNKNOWN[2]}" in said
    assert aws(user, "list-functions")[0] != 0


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
    log = world.server.errors.read_text()
    assert world.admin.secret not in log
    assert "Traceback" not in log
