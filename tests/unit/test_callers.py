"""Credentials to account and region, at level none."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from lambent.api.authenticate import Authenticator
from lambent.api.request import Request
from lambent.model.invocations import Caller


def _identify(authorization: str | None, target: str = "/") -> Caller:
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    request = Request(b"GET", target.encode(), headers)
    caller = Authenticator("000000000000", "us-east-1").identify(request)
    assert caller is not None
    return caller


def _signed(scope: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00"


@pytest.mark.parametrize(
    ("scope", "caller"),
    [
        ("AKIDEXAMPLE/20261120/eu-west-1/lambda/aws4_request", ("000000000000", "eu-west-1", "AKIDEXAMPLE")),
        (
            "123456789012/20261120/us-west-2/lambda/aws4_request",
            ("123456789012", "us-west-2", "123456789012"),
        ),
        ("AKIDEXAMPLE/20261120//lambda/aws4_request", ("000000000000", "us-east-1", "AKIDEXAMPLE")),
        ("1234567890123/20261120/x-y-1/lambda/aws4_request", ("000000000000", "x-y-1", "1234567890123")),
        ("nonsense", ("000000000000", "us-east-1", "nonsense")),
    ],
)
def test_the_credential_scope_selects_account_and_region(scope: str, caller: tuple[str, str, str]) -> None:
    assert _identify(_signed(scope)) == Caller(*caller)


def test_an_unsigned_call_is_the_servers_own_account_and_region() -> None:
    assert _identify(None) == Caller("000000000000", "us-east-1", None)


def test_a_presigned_call_is_read_from_its_query() -> None:
    target = "/f?X-Amz-Credential=123456789012%2F20261120%2Feu-central-1%2Flambda%2Faws4_request"
    assert _identify(None, target) == Caller("123456789012", "eu-central-1", "123456789012")


@pytest.mark.parametrize("region", ["..", "a b", "é", "\0", "x" * 65, "eu-west-1\n"])
def test_what_can_be_no_region_counts_as_none(region: str) -> None:
    scope = f"any/20261120/{region}/lambda/aws4_request"
    assert _identify(_signed(scope)).region == "us-east-1"
    assert _identify(None, f"/f?X-Amz-Credential={quote(scope, safe='')}").region == "us-east-1"


@pytest.mark.parametrize(
    "authorization", ["", "Bearer abc", "AWS4-HMAC-SHA256 Credential=", "Credential=////"]
)
def test_other_authorization_headers_are_the_servers_own_account(authorization: str) -> None:
    assert _identify(authorization).account == "000000000000"
