"""The server at level sigv4 that the tests of this folder share: its users, what they ask, how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.integration.conftest import Functions, RunningServer, publish_live
from tests.integration.events_harness import control
from tests.integration.wire import INVOKE, Answer, Peer, request
from tests.signed import sign

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

UNKNOWN = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
MISMATCH = (
    403,
    "InvalidSignatureException",
    (
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details."
    ),
)

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
        publish_live(admin, "hello")

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
        client = self.server.client(account=key, secret=secret)
        return User(self.server, made["Arn"], key, secret, client)

    @property
    def runs(self) -> int:
        """How often the function has run."""
        return self._marks.stat().st_size if self._marks.exists() else 0

    def check_log(self) -> None:
        """See that the server wrote of no secret, and of no error of its own."""
        log = self.server.errors.read_text()
        assert self.admin.secret not in log
        assert "Traceback" not in log


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
    at = at or datetime.now(UTC)
    target = sign(signed, body, keys, region=REGION, service=service, expires_s=expires_s, at=at)
    named = {name.replace("-", "_"): value for name, value in signed.headers.items()}
    return request(method, target, body if sent is None else sent, **named)


def send(server: RunningServer, user: User, **options: Any) -> Answer:
    """Send what :func:`signed_request` returns, and return the raw answer."""
    peer = Peer(server.port)
    peer.send(signed_request(user, **options))
    answer = peer.receive()
    peer.close()
    return answer
