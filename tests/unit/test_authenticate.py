"""Who is let in at level sigv4, and the exact words for everybody else."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from tests.golden_requests import (
    AMAZONKA,
    AMAZONKA_ONCE_ENCODED,
    BOTO3,
    GO,
    JAVASCRIPT,
    KEYS,
    PAWS,
    PAWS_WITHOUT_PAYLOAD,
    RUSOTO,
    RUST,
)
from tests.signed import (
    ACCOUNT,
    CREDENTIALS,
    HOST,
    INVOKE,
    NOW,
    SESSION,
    TIMESTAMP,
    USER,
    authenticator,
    find_session,
    receive,
    signed,
)

from lambent.api.authenticate import SMALL_BODY_BYTES, Authenticator, SignatureAuthenticator
from lambent.api.request import Request
from lambent.clock import ManualClock
from lambent.model.errors import ServiceError
from lambent.model.identities import Credential, root
from lambent.model.invocations import Caller
from lambent.wire.sigv4 import hash_body

GOLDEN = [BOTO3, GO, PAWS, PAWS_WITHOUT_PAYLOAD, RUSOTO, JAVASCRIPT, AMAZONKA, AMAZONKA_ONCE_ENCODED, RUST]
MISMATCH = (
    "InvalidSignatureException",
    (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key and signing method. Consult the service documentation for details."
    ),
)
UNKNOWN = ("UnrecognizedClientException", "The security token included in the request is invalid.")
MISSING = ("MissingAuthenticationTokenException", "Missing Authentication Token")


def refusal(request: Request, at: datetime = NOW) -> tuple[str, str]:
    """Return code and text of what a request is refused for."""
    with pytest.raises(ServiceError) as refused:
        authenticator(at).identify(request)
    error = refused.value
    assert (error.status, error.body()) == (403, {"message": error.message})
    return error.code, str(error.message)


def is_accepted(request: Request, at: datetime = NOW) -> bool:
    return authenticator(at).identify(request) is not None


def with_authorization(old: str, new: str) -> Request:
    request = signed()
    given = request.headers[b"authorization"]
    assert old.encode() in given
    request.headers[b"authorization"] = given.replace(old.encode(), new.encode())
    return request


def presigned(old: str = "", new: str = "") -> Request:
    request = signed(expires_s=3600)
    assert old.encode() in request.target
    return Request(b"POST", request.target.replace(old.encode(), new.encode()), request.headers)


# -- who is let in


@pytest.mark.parametrize("golden", GOLDEN)
def test_golden_requests_are_their_callers(golden: bytes) -> None:
    request = receive(golden)
    assert request is not None
    signed_at = datetime.fromisoformat(request.headers[b"x-amz-date"].decode())
    caller = authenticator(signed_at).identify(request)
    assert caller == Caller(ACCOUNT, "us-east-1", KEYS.access_key_id)
    assert caller.credential is CREDENTIALS[KEYS.access_key_id]


def test_the_wrong_signature_has_192_bytes() -> None:
    assert len(f'{{"message":"{MISMATCH[1]}"}}') == 192


def test_a_caller_is_the_principal_of_the_key_in_the_region_of_the_scope() -> None:
    caller = authenticator().identify(signed(region="eu-west-1", key_id="AKIDOTHER"))
    assert caller == Caller("210987654321", "eu-west-1", "AKIDOTHER")
    caller = authenticator().identify(signed(region=""))
    assert caller is not None
    assert caller.region == "us-east-1"
    assert caller.credential is not None
    assert caller.credential.principal is USER


@pytest.mark.parametrize("expires_s", [None, 60])
def test_a_session_calls_with_its_token(expires_s: int | None) -> None:
    caller = authenticator().identify(signed(key_id="ASIDEXAMPLE", expires_s=expires_s))
    assert caller is not None
    assert caller.credential is not None
    assert caller.credential.principal is SESSION


def test_a_presigned_request_is_its_signers() -> None:
    caller = authenticator().identify(signed(target=f"{INVOKE}?Qualifier=%24LATEST", expires_s=3600))
    assert caller == Caller(ACCOUNT, "us-east-1", "AKIDEXAMPLE")


def test_parameters_of_authorization_may_come_in_any_order() -> None:
    request = signed()
    algorithm, _, text = request.headers[b"authorization"].partition(b" ")
    request.headers[b"authorization"] = algorithm + b" " + b",".join(reversed(text.split(b", ")))
    assert is_accepted(request)
    assert is_accepted(request)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 299, 300])
def test_a_clock_may_be_five_minutes_off(seconds: int) -> None:
    assert is_accepted(signed(), NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-300, 0, 604_800])
def test_a_presigned_request_may_come_until_it_expires(seconds: int) -> None:
    assert is_accepted(signed(expires_s=604_800), NOW + timedelta(seconds=seconds))


def test_a_signature_that_was_accepted_is_refused_once_it_is_too_old() -> None:
    clock = ManualClock(NOW.timestamp())
    checks = SignatureAuthenticator("000000000000", "us-east-1", CREDENTIALS.get, clock, find_session)
    checks.identify(signed())
    clock.advance(301)
    with pytest.raises(ServiceError):
        checks.identify(signed())


@pytest.mark.parametrize("expires_s", [None, 60])
def test_a_key_that_is_removed_or_rotated_is_refused_at_once(expires_s: int | None) -> None:
    keys = dict(CREDENTIALS)
    checks = SignatureAuthenticator("0" * 12, "us-east-1", keys.get, ManualClock(NOW.timestamp()))
    request = signed(expires_s=expires_s)
    assert checks.identify(request) is not None
    keys["AKIDEXAMPLE"] = Credential("AKIDEXAMPLE", "new", USER)
    with pytest.raises(ServiceError) as refused:
        checks.identify(request)
    assert refused.value.code == "InvalidSignatureException"
    assert checks.identify(signed(secret="new", expires_s=expires_s)) is not None
    del keys["AKIDEXAMPLE"]
    with pytest.raises(ServiceError) as refused:
        checks.identify(signed(secret="new", expires_s=expires_s))
    assert refused.value.code == "UnrecognizedClientException"


def test_a_function_without_a_name_is_left_to_validation() -> None:
    request = signed(target="/2015-03-31/functions//invocations")
    assert is_accepted(request)
    assert request.path == b"/2015-03-31/functions//invocations"


@pytest.mark.parametrize("detour", ["/./hello", "/../functions/hello", "/hello/", "/hello/x/.."])
def test_other_ways_to_write_the_path_that_was_signed_are_refused(detour: str) -> None:
    request = signed("GET", "/2015-03-31/functions/hello")
    assert refusal(Request(b"GET", f"/2015-03-31/functions{detour}".encode(), request.headers)) == MISMATCH


def test_names_that_are_sent_twice_are_read_in_the_order_that_was_signed() -> None:
    request = signed(target=f"{INVOKE}?Qualifier=b&Qualifier=a")
    swapped = Request(b"POST", f"{INVOKE}?Qualifier=a&Qualifier=b".encode(), request.headers)
    assert is_accepted(request)
    assert is_accepted(swapped)
    assert request.query_pairs() == swapped.query_pairs() == [("Qualifier", "a"), ("Qualifier", "b")]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", ["X-Amz-Invocation-Type", "x-amz-invocation-type"])
def test_of_a_header_that_is_sent_twice_the_value_that_counts_is_the_checked_one(
    name: str, before: bool
) -> None:
    request = signed(headers={"X-Amz-Invocation-Type": "Event"})
    lines = [f"{each.decode()}: {value.decode()}" for each, value in request.headers.items()]
    place = next(i for i, line in enumerate(lines) if line.startswith("x-amz-invocation-type"))
    lines.insert(place + (not before), f"{name}: DryRun")
    received = receive("\r\n".join([f"POST {INVOKE} HTTP/1.1", *lines, "Content-Length: 0", "", ""]).encode())
    assert received is not None
    if received.headers[b"x-amz-invocation-type"] == b"Event":
        assert is_accepted(received)
    else:
        assert refusal(received) == MISMATCH


# -- large bodies


@pytest.mark.parametrize("expires_s", [None, 60])
def test_a_large_body_is_hashed_elsewhere(expires_s: int | None) -> None:
    body = b"x" * (SMALL_BODY_BYTES + 1)
    request = signed(body=body, expires_s=expires_s)
    checks = authenticator()
    assert checks.identify(request) is None
    assert checks.identify(request, hash_body(body)) is not None
    with pytest.raises(ServiceError):
        checks.identify(request, hash_body(b"y" * len(body)))


def test_a_large_body_is_not_hashed_for_strangers() -> None:
    request = signed(body=b"x" * (SMALL_BODY_BYTES + 1), key_id="AKIDSTRANGER")
    assert refusal(request) == UNKNOWN


# -- who is not


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (Request(b"POST", INVOKE.encode(), {b"host": HOST.encode()}), *MISSING),
        (Request(b"POST", f"{INVOKE}?X-Amz-Date=1".encode(), {}), *MISSING),
        (signed(secret="wrong"), *MISMATCH),
        (signed(key_id="AKIDSTRANGER"), *UNKNOWN),
        (signed(key_id="123456789012"), *UNKNOWN),
        (signed(secret="wrong", expires_s=60), *MISMATCH),
        (signed(key_id="AKIDSTRANGER", expires_s=60), *UNKNOWN),
        (
            signed(service="sqs"),
            "InvalidSignatureException",
            "Credential should be scoped to correct service: 'lambda'. ",
        ),
        (
            with_authorization("aws4_request", "aws5"),
            "InvalidSignatureException",
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. ",
        ),
        (
            with_authorization("/20261120/", "/20261121/"),
            "InvalidSignatureException",
            (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                "'20261121' != '20261120', from '20261120T193907Z'."
            ),
        ),
        (
            with_authorization("=host;", "="),
            "InvalidSignatureException",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (with_authorization("=host;x-amz-date", "=x-amz-date;host"), *MISMATCH),
        (with_authorization("=host;", "=host;host;"), *MISMATCH),
        (with_authorization("=host;", "=Host;"), *MISMATCH),
        (with_authorization("=host;x-amz-date", "=host;x-amz-date;x-unknown"), *MISMATCH),
        (
            with_authorization("AWS4-HMAC-SHA256", "Bearer"),
            "IncompleteSignatureException",
            (
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' "
                "parameter. Authorization header requires 'SignedHeaders' parameter."
            ),
        ),
        (
            Request(b"POST", INVOKE.encode(), {b"authorization": b"Bearer \xff"}),
            "IncompleteSignatureException",
            (
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' "
                "parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires "
                "existence of either a 'X-Amz-Date' or a 'Date' header."
            ),
        ),
        (
            with_authorization("Signature=", "Sign="),
            "IncompleteSignatureException",
            "Authorization header requires 'Signature' parameter.",
        ),
        (
            with_authorization("Credential=", "Credential=x, Credential="),
            "IncompleteSignatureException",
            "A parameter of the Authorization header is given twice.",
        ),
        (
            with_authorization("AKIDEXAMPLE/", ""),
            "IncompleteSignatureException",
            (
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                "got '20261120/us-east-1/lambda/aws4_request'"
            ),
        ),
        (
            presigned("&X-Amz-Expires=3600"),
            "IncompleteSignatureException",
            "Query-string authentication requires the 'X-Amz-Expires' parameter.",
        ),
        (
            presigned("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            "IncompleteSignatureException",
            "X-Amz-Algorithm only supports 'AWS4-HMAC-SHA256'.",
        ),
        (
            presigned("X-Amz-Date=", "X-Amz-Date=20261120T000000Z&X-Amz-Date="),
            "IncompleteSignatureException",
            "A query parameter of the signature is given twice.",
        ),
        (
            presigned("X-Amz-Date=20261120T193907Z", "X-Amz-Date=20261320T193907Z"),
            "IncompleteSignatureException",
            (
                "Date must be in ISO-8601 'basic format'. Got '20261320T193907Z'. "
                "See http://en.wikipedia.org/wiki/ISO_8601"
            ),
        ),
        *[
            (
                presigned("Expires=3600", f"Expires={seconds}"),
                "IncompleteSignatureException",
                "X-Amz-Expires must be between 1 and 604800 seconds.",
            )
            for seconds in ("0", "604801", "-1", "1.5", "x", "9" * 5000, quote("³"))
        ],
        (presigned("Expires=3600", "Expires=7200"), *MISMATCH),
    ],
)
def test_refusals(request_: Request, code: str, text: str) -> None:
    assert refusal(request_) == (code, text)
    # And again: what is remembered of the first one changes nothing.
    assert refusal(request_) == (code, text)


def test_a_request_without_a_date_is_incomplete() -> None:
    request = signed()
    checks = authenticator()
    checks.identify(request)
    del request.headers[b"x-amz-date"]
    with pytest.raises(ServiceError) as refused:
        checks.identify(request)
    assert (refused.value.code, refused.value.message) == (
        "IncompleteSignatureException",
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    )


@pytest.mark.parametrize(
    "date", ["", "20261120", "2026-11-20T19:39:07Z", "20261120T193960Z", "00000000T000000Z", "é"]
)
def test_a_date_must_be_one(date: str) -> None:
    request = signed()
    checks = authenticator()
    checks.identify(request)
    request.headers[b"x-amz-date"] = date.encode()
    with pytest.raises(ServiceError) as refused:
        checks.identify(request)
    assert refused.value.code == "IncompleteSignatureException"


def test_a_request_that_comes_too_late_is_told_by_how_much() -> None:
    assert refusal(signed(), NOW + timedelta(seconds=300.5)) == (
        "InvalidSignatureException",
        f"Signature expired: {TIMESTAMP} is now earlier than {TIMESTAMP} (20261120T194407Z - 5 min.)",
    )


def test_a_request_that_comes_too_early_is_told_by_how_much() -> None:
    assert refusal(signed(), NOW - timedelta(seconds=301)) == (
        "InvalidSignatureException",
        (
            f"Signature not yet current: {TIMESTAMP} is still later than 20261120T193906Z "
            "(20261120T193406Z + 5 min.)"
        ),
    )
    assert refusal(signed(expires_s=604_800), NOW - timedelta(seconds=301))[0] == "InvalidSignatureException"


def test_a_presigned_request_expires() -> None:
    assert refusal(signed(expires_s=60), NOW + timedelta(seconds=61)) == (
        "InvalidSignatureException",
        f"Signature expired: {TIMESTAMP} is now earlier than 20261120T193908Z (20261120T194008Z - 60 s.)",
    )


@pytest.mark.parametrize("token", [None, b"", b"other"])
def test_a_session_without_its_token_is_nobody(token: bytes | None) -> None:
    request = signed(key_id="ASIDEXAMPLE")
    del request.headers[b"x-amz-security-token"]
    if token is not None:
        request.headers[b"x-amz-security-token"] = token
    assert refusal(request) == UNKNOWN


def test_a_long_term_key_with_a_token_is_nobody() -> None:
    assert refusal(signed(headers={"X-Amz-Security-Token": "any"})) == UNKNOWN
    assert refusal(signed(target=f"{INVOKE}?X-Amz-Security-Token=any", expires_s=60)) == UNKNOWN


def test_a_session_ends() -> None:
    assert refusal(signed(key_id="ASIDEXAMPLE"), NOW + timedelta(seconds=60)) == (
        "ExpiredTokenException",
        "The security token included in the request is expired",
    )


@pytest.mark.parametrize(
    "given",
    [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "",
        "0" * 64,
    ],
)
def test_the_hash_of_the_body_must_be_that_of_the_body(given: str) -> None:
    assert refusal(signed(headers={"X-Amz-Content-SHA256": given}, body=b"{}")) == MISMATCH


def test_a_presigned_request_has_the_body_that_was_signed() -> None:
    request = signed(body=b"{}", expires_s=60)
    assert is_accepted(request)
    request.body = b"[]"
    assert refusal(request) == MISMATCH
    free = signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, expires_s=60)
    assert refusal(free) == MISMATCH


def test_a_request_that_is_signed_twice_is_refused() -> None:
    twice = signed(target=signed(expires_s=60).target.decode())
    assert refusal(twice)[0] == "InvalidSignatureException"
    hidden = signed(target=f"{INVOKE}?X%2DAmz%2DSignature=0")
    assert refusal(hidden)[0] == "InvalidSignatureException"


@pytest.mark.parametrize("target", ["/" + "%3A" * 30_000, "/?" + "a=b&" * 1001])
def test_targets_that_nobody_signs_are_refused(target: str) -> None:
    assert refusal(signed(target=target)) == MISMATCH


# -- level none


def test_at_level_none_the_keys_that_were_issued_come_first() -> None:
    keys = {"210987654321": Credential("210987654321", "s", root("111122223333"))}
    trusting = Authenticator("000000000000", "us-east-1", keys.get)
    request = signed(key_id="210987654321", secret="wrong")
    caller = trusting.identify(request)
    assert caller == Caller("111122223333", "us-east-1", "210987654321")
    assert caller is not None
    assert caller.credential is None
    keys.clear()
    assert trusting.identify(request) == Caller("210987654321", "us-east-1", "210987654321")
