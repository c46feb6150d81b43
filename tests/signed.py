"""Requests as botocore signs them, and as the server receives them."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambent.api.authenticate import SignatureAuthenticator
from lambent.api.connection import Listener
from lambent.api.request import Request
from lambent.clock import ManualClock
from lambent.model.identities import Credential, Principal, root
from tests.dialogue import Handler, Peer

NOW = datetime(2026, 11, 20, 19, 39, 7, tzinfo=UTC)
TIMESTAMP = "20261120T193907Z"
HOST = "127.0.0.1:3001"
ACCOUNT = "123456789012"
USER = Principal(f"arn:aws:iam::{ACCOUNT}:user/ann", ACCOUNT, "User", "AIDAEXAMPLE", "ann")
SESSION = Principal(
    f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s",
    ACCOUNT,
    "AssumedRole",
    "AROAEXAMPLE:s",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/r",
)
CREDENTIALS = {
    credential.access_key_id: credential
    for credential in (
        Credential("AKIDEXAMPLE", "secret", USER),
        Credential("AKIDOTHER", "another secret", root("210987654321")),
        Credential(
            "ASIDEXAMPLE", "secret", SESSION, session_token="to/ken+=", expires_at=NOW.timestamp() + 60
        ),
    )
}


def find_session(key_id: str, token: bytes) -> Credential | None:
    """Return the credential above."""
    return CREDENTIALS.get(key_id)


INVOKE = "/2015-03-31/functions/hello/invocations"


def authenticator(at: datetime = NOW) -> SignatureAuthenticator:
    """Return one that knows the credentials above."""
    return SignatureAuthenticator(
        "000000000000", "us-east-1", CREDENTIALS.get, ManualClock(at.timestamp()), find_session
    )


def sign(
    request: AWSRequest,
    body: bytes,
    keys: Credentials,
    *,
    region: str,
    service: str,
    expires_s: int | None,
    at: datetime,
) -> str:
    """Have botocore sign a request with this body, in the query if it is to expire; return path and query."""
    signer = (
        SigV4Auth(keys, service, region)
        if expires_s is None
        else SigV4QueryAuth(keys, service, region, expires_s)
    )
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=at),
        # Given as data, presigning would move it into the query.
        mock.patch.object(AWSRequest, "body", body),
    ):
        signer.add_auth(request)
    url = urlsplit(request.url)
    return str(url.path) + (f"?{url.query}" if url.query else "")


def signed(
    method: str = "POST",
    target: str = INVOKE,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    key_id: str = "AKIDEXAMPLE",
    secret: str | None = None,
    region: str = "us-east-1",
    service: str = "lambda",
    expires_s: int | None = None,
) -> Request:
    """Return a request that botocore signed at one instant, in the query if it is to expire."""
    credential = CREDENTIALS.get(key_id)
    keys = Credentials(
        key_id,
        secret or (credential.secret if credential else "unknown"),
        credential.session_token if credential else None,
    )
    request = AWSRequest(method, f"http://{HOST}{target}", headers or {})
    sent = sign(request, body, keys, region=region, service=service, expires_s=expires_s, at=NOW)
    named = {name.lower().encode(): value.encode("latin-1") for name, value in request.headers.items()}
    received = Request(method.encode(), sent.encode(), {b"host": HOST.encode(), **named})
    received.body = body
    return received


def receive(data: bytes) -> Request | None:
    """Return the request that a connection makes of these bytes; None if it refuses them."""
    handler = Handler()
    handler.body_limit = 10_000_000
    Peer(Listener(handler, ManualClock(), max_connections=1, request_timeout_s=60)).sends(data)
    return handler.requests[0][0] if handler.requests else None
