"""Signature to caller.

At level ``none`` any credentials or none are taken: a key that the server issued is its
principal's, a 12-digit access key id is the account, any other one the server's; the
credential scope names the region.

At level ``sigv4`` a request counts as its caller's only with a valid signature over method,
target, the signed headers and the body, in ``Authorization`` or in the query.

Source: docs/aws-behaviour.md, versions-permissions 5.5 and 5.8.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from lambent import limits
from lambent.api.request import Request
from lambent.clock import Clock
from lambent.model.errors import (
    ExpiredTokenException,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from lambent.model.identities import Credential
from lambent.model.invocations import Caller
from lambent.wire.sigv4 import (
    ALGORITHM,
    SIGNATURE,
    TERMINATOR,
    Scope,
    SignedHeaders,
    SignedTarget,
    UnverifiableTarget,
    hash_body,
    read_target,
    sign_canonical,
    signing_key,
)

# What is hashed where it is: up to a fifth of a millisecond.
SMALL_BODY_BYTES = 65_536

_REMEMBERED = 4096
# Callers choose what is remembered; longer texts are parsed each time.
_REMEMBERED_BYTES = 512
# Callers choose it, and it becomes a part of ARNs, of variables and of the names of folders.
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_TIMESTAMP = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_EXPIRES = re.compile(rb"[0-9]{1,6}")
# Of a caller's text that an answer repeats.
_QUOTED = 200
_SERVICE = "lambda"
_SCOPE_END = f"/{_SERVICE}/{TERMINATOR}".encode()
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)
_IN_HEADER = (b"Credential", b"Signature", b"SignedHeaders")
_IN_QUERY = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    SIGNATURE,
    b"X-Amz-SignedHeaders",
    b"X-Amz-Date",
    b"X-Amz-Expires",
)
_TOKEN_IN_QUERY = b"X-Amz-Security-Token"
# One of them makes a request a presigned one.
_MARKS = frozenset((b"X-Amz-Algorithm", b"X-Amz-Credential", SIGNATURE))

_Value = TypeVar("_Value")
_UNSEEN = (None, None)

FindCredential = Callable[[str], Credential | None]
"""Finds the credential of an access key id that the server issued, at once.

It returns the same object until the credential changes: what is derived from it is remembered
with it, and made anew for another one.
"""


FindSession = Callable[[str, bytes], Credential | None]
"""Finds the credential of a session by access key id and token; otherwise as :data:`FindCredential`."""


def _find_none(_: str) -> Credential | None:
    return None


def _find_no_session(_: str, __: bytes) -> Credential | None:
    return None


class Authenticator:
    """Tells callers by what their requests say: level ``none``.

    Args:
        account: of callers whose access key id is not 12 digits.
        region: of callers that sign with no region, or with what can be none.
        find_credential: finds keys that the server issued.
        find_session: finds the keys of a session by key id and token, likewise.
    """

    is_checking = False
    """Whether signatures are checked, so that a request may be refused for its caller."""

    def __init__(
        self,
        account: str,
        region: str,
        find_credential: FindCredential = _find_none,
        find_session: FindSession = _find_no_session,
    ) -> None:
        self._anonymous = Caller(account, region)
        self._find_credential = find_credential
        self._find_session = find_session
        self._callers: dict[bytes, tuple[Caller, Credential | None]] = {}

    def identify(self, request: Request, body_hash: bytes = b"") -> Caller | None:  # noqa: ARG002
        """Return who sent a request.

        Args:
            request: whole.
            body_hash: SHA-256 of the body in hexadecimal, where it is known.

        Returns:
            None when the body is too large to be hashed at once: then this is to be called
            again with its hash. Everything else has been checked by then.

        Raises:
            AuthenticationError: it is not proved who called; at level ``sigv4`` only.
        """
        authorization = request.headers.get(b"authorization")
        if authorization is None:
            if b"X-Amz-Credential=" not in request.target:
                return self._anonymous
            presigned = dict(request.query_pairs()).get("X-Amz-Credential", "")
            authorization = f"Credential={presigned}".encode("latin-1", "replace")
        # Everything up to the first comma is the same for all of a caller's requests of one day.
        text = authorization.partition(b",")[0]
        caller, issued = self._callers.get(text, _UNSEEN)
        if caller is None or self._find_credential(caller.access_key_id or "") is not issued:
            caller, issued = self._parse(text)
            if len(text) <= _REMEMBERED_BYTES:
                _remember(self._callers, text, (caller, issued))
        token = request.headers.get(b"x-amz-security-token")
        if token is not None and caller.access_key_id is not None:
            session = self._find_session(caller.access_key_id, token)
            if session is not None:
                return Caller(session.principal.account, caller.region, caller.access_key_id)
        return caller

    def _parse(self, credential: bytes) -> tuple[Caller, Credential | None]:
        """Return the caller, and the credential that the server issued for its key."""
        text = credential.decode("latin-1").partition("Credential=")[2].strip()
        # An access key id may itself contain slashes; the scope's four parts are counted from the end.
        key, *scope = text.rsplit("/", 4)
        if not key:
            return self._anonymous, None
        issued = self._find_credential(key)
        if issued is not None:
            account = issued.principal.account
        else:
            is_account = len(key) == 12 and key.isascii() and key.isdigit()
            account = key if is_account else self._anonymous.account
        return Caller(account, self._region(scope[1] if len(scope) == 4 else ""), key), issued

    def _region(self, text: str) -> str:
        return text if _REGION.fullmatch(text) else self._anonymous.region


class _Signer(NamedTuple):
    """What is the same for all of a caller's requests of one day with the same signed headers."""

    credential: Credential
    caller: Caller
    headers: SignedHeaders
    date: bytes
    scope: bytes
    key: hmac.HMAC


class _Claim(NamedTuple):
    """What a request says of its signature.

    Attributes:
        credential: access key id and scope.
        token: of a session, b"" for none.
        window_s: how long it is good for.
    """

    credential: bytes
    signed_headers: bytes
    signature: bytes
    timestamp: bytes
    token: bytes
    window_s: int


class SignatureAuthenticator(Authenticator):
    """Tells callers by their signatures: level ``sigv4``.

    A header that is sent several times reaches nobody but with its last value, which is the one that is
    checked. Headers that are not signed are taken as they are.

    Args:
        region: of callers that sign with no region, or with what can be none.
        find_credential: finds the keys that the server issued; nobody has another one.
        find_session: finds the keys of a session by key id and token, likewise.
    """

    is_checking = True

    def __init__(
        self,
        account: str,
        region: str,
        find_credential: FindCredential,
        clock: Clock,
        find_session: FindSession = _find_no_session,
    ) -> None:
        super().__init__(account, region, find_credential, find_session)
        self._clock = clock
        self._signers: dict[bytes, _Signer] = {}
        self._targets: dict[bytes, SignedTarget] = {}
        self._instants: dict[bytes, float] = {}

    def identify(self, request: Request, body_hash: bytes = b"") -> Caller | None:
        """Return who sent a request, as :meth:`Authenticator.identify` says.

        The request's query becomes the one that was signed: names that are sent twice mean
        the same in any order then.
        """
        headers = request.headers
        authorization = headers.get(b"authorization")
        if authorization is None:
            return self._identify_presigned(request, body_hash)
        target = self._targets.get(request.target)
        if target is None:
            target = _read_target(request)
            if not _MARKS.isdisjoint([name for name, _ in target.pairs]):
                raise InvalidSignatureException(
                    "Only one way to sign is allowed: the Authorization header or the query."
                )
            if len(request.target) <= _REMEMBERED_BYTES:
                _remember(self._targets, request.target, target)
        timestamp = headers.get(b"x-amz-date", b"")
        token = headers.get(b"x-amz-security-token", b"")
        prefix, _, signature = authorization.rpartition(b"Signature=")
        signer = self._signers.get(prefix)
        if (
            signer is None
            or not timestamp
            or self._find(signer.credential.access_key_id, token) is not signer.credential
        ):
            claim = _parse_authorization(authorization, timestamp, token)
            signer = self._find_signer(claim, request)
            # What stands before the signature tells all the rest, if nothing stands behind it.
            is_whole = claim.signature == signature and len(prefix) <= _REMEMBERED_BYTES
            # What is scoped to another service is good for its path alone.
            if is_whole and signer.scope.endswith(_SCOPE_END):
                _remember(self._signers, prefix, signer)
        else:
            claim = _Claim(b"", b"", signature, timestamp, token, limits.SIGNATURE_WINDOW_S)
        return self._check(request, target, signer, claim, body_hash)

    def _identify_presigned(self, request: Request, body_hash: bytes) -> Caller | None:
        if b"X-Amz-" not in request.target:
            raise MissingAuthenticationTokenException
        target = _read_target(request)
        members = [pair for pair in target.pairs if pair[0] in _IN_QUERY or pair[0] == _TOKEN_IN_QUERY]
        given = dict(members)
        if _MARKS.isdisjoint(given):
            raise MissingAuthenticationTokenException
        if len(given) < len(members):
            raise IncompleteSignatureException("A query parameter of the signature is given twice.")
        token = given.get(_TOKEN_IN_QUERY) or request.headers.get(b"x-amz-security-token", b"")
        claim = _parse_presigned(given, token)
        return self._check(request, target, self._find_signer(claim, request), claim, body_hash)

    def _find_signer(self, claim: _Claim, request: Request) -> _Signer:
        """Return whose signature it is said to be.

        Raises:
            AuthenticationError: the scope is no scope or another service's, or nobody has the key.
        """
        text = claim.credential.decode("latin-1")
        key_id, *scope = text.split("/")
        if len(scope) != 4 or not key_id:
            raise IncompleteSignatureException(
                "Credential must have exactly 5 slash-delimited elements, "
                f"e.g. keyid/date/region/service/term, got '{text[:_QUOTED]}'"
            )
        self._read_instant(claim.timestamp)
        credential = self._find(key_id, claim.token)
        if credential is None:
            raise UnrecognizedClientException
        date, region, service, terminator = scope
        if service != _SERVICE and not (service == "sts" and request.path == b"/"):
            raise InvalidSignatureException(f"Credential should be scoped to correct service: '{_SERVICE}'. ")
        if terminator != TERMINATOR:
            raise InvalidSignatureException(
                f"Credential should be scoped with a valid terminator: '{TERMINATOR}', "
                f"not '{terminator[:_QUOTED]}'. "
            )
        try:
            headers = SignedHeaders(claim.signed_headers)
        except ValueError:
            raise InvalidSignatureException(_MISMATCH) from None
        if b"host" not in headers:
            raise InvalidSignatureException(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
            )
        return _Signer(
            credential,
            Caller(credential.principal.account, self._region(region), key_id, credential),
            headers,
            date.encode("latin-1"),
            claim.credential[len(key_id) + 1 :],
            signing_key(credential.secret, Scope(date, region, service)),
        )

    def _find(self, key_id: str, token: bytes) -> Credential | None:
        return self._find_session(key_id, token) if token else self._find_credential(key_id)

    def _check(
        self, request: Request, target: SignedTarget, signer: _Signer, claim: _Claim, body_hash: bytes
    ) -> Caller | None:
        """Check what changes from request to request; arguments and result as of :meth:`identify`."""
        now = self._clock.now()
        _, _, signature, timestamp, token, window_s = claim
        credential = signer.credential
        if token or credential.session_token is not None or credential.expires_at is not None:
            _check_token(credential, token, now)
        age_s = now - self._read_instant(timestamp)
        if timestamp[:8] != signer.date:
            raise InvalidSignatureException(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{signer.date.decode('latin-1')[:_QUOTED]}' != '{timestamp[:8].decode()}', "
                f"from '{timestamp.decode()}'."
            )
        if not -limits.SIGNATURE_WINDOW_S <= age_s <= window_s:
            raise _not_now(timestamp.decode(), now, age_s, window_s)
        if not body_hash:
            if len(request.body) > SMALL_BODY_BYTES:
                return None
            body_hash = hash_body(request.body)
        headers = request.headers
        # Words like UNSIGNED-PAYLOAD would leave the body free, and are no hash.
        if headers.get(b"x-amz-content-sha256", body_hash) != body_hash:
            raise InvalidSignatureException(_MISMATCH)
        for path, query in target.forms:
            try:
                canonical = signer.headers.canonical_request(request.method, path, query, headers, body_hash)
            except KeyError:
                break
            if hmac.compare_digest(sign_canonical(signer.key, timestamp, signer.scope, canonical), signature):
                request.query = target.query
                return signer.caller
        raise InvalidSignatureException(_MISMATCH)

    def _read_instant(self, timestamp: bytes) -> float:
        """Return the instant of a signature's time, in seconds since the epoch.

        Raises:
            IncompleteSignatureException: it is none.
        """
        instant = self._instants.get(timestamp)
        if instant is None:
            try:
                if _TIMESTAMP.fullmatch(timestamp) is None:
                    raise ValueError(timestamp)
                instant = datetime.strptime(timestamp.decode() + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
            except ValueError:
                raise IncompleteSignatureException(
                    "Date must be in ISO-8601 'basic format'. "
                    f"Got '{timestamp.decode('latin-1')[:_QUOTED]}'. "
                    "See http://en.wikipedia.org/wiki/ISO_8601"
                ) from None
            _remember(self._instants, timestamp, instant)
        return instant


def _remember(known: dict[bytes, _Value], text: bytes, value: _Value) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[text] = value


def _read_target(request: Request) -> SignedTarget:
    try:
        return read_target(request.path, request.query)
    except UnverifiableTarget:
        raise InvalidSignatureException(_MISMATCH) from None


def _parse_authorization(authorization: bytes, timestamp: bytes, token: bytes) -> _Claim:
    """Return what the ``Authorization`` header says.

    Raises:
        IncompleteSignatureException: it is none of this algorithm, or has not all of its parts.
    """
    algorithm, _, text = authorization.partition(b" ")
    given: dict[bytes, bytes] = {}
    if algorithm == ALGORITHM:
        for part in text.split(b","):
            name, _, value = part.strip().partition(b"=")
            if name in given:
                raise IncompleteSignatureException("A parameter of the Authorization header is given twice.")
            given[name] = value
    missing = _names_of_missing(_IN_HEADER, given)
    problems = [f"Authorization header requires '{name}' parameter." for name in missing]
    if not timestamp:
        problems.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if problems:
        raise IncompleteSignatureException(" ".join(problems))
    return _Claim(
        given[b"Credential"],
        given[b"SignedHeaders"],
        given[b"Signature"],
        timestamp,
        token,
        limits.SIGNATURE_WINDOW_S,
    )


def _parse_presigned(given: Mapping[bytes, bytes], token: bytes) -> _Claim:
    """Return what the query of a presigned URL says.

    Raises:
        IncompleteSignatureException: it has not all of its parts, another algorithm or no life.
    """
    problems = [
        f"Query-string authentication requires the '{name}' parameter."
        for name in _names_of_missing(_IN_QUERY, given)
    ]
    if given.get(b"X-Amz-Algorithm", ALGORITHM) != ALGORITHM:
        problems.append(f"X-Amz-Algorithm only supports '{ALGORITHM.decode()}'.")
    expires = given.get(b"X-Amz-Expires", b"1")
    window_s = int(expires) if _EXPIRES.fullmatch(expires) else 0
    if not limits.PRESIGNED_S_MIN <= window_s <= limits.PRESIGNED_S_MAX:
        problems.append(
            f"X-Amz-Expires must be between {limits.PRESIGNED_S_MIN} and {limits.PRESIGNED_S_MAX} seconds."
        )
    if problems:
        raise IncompleteSignatureException(" ".join(problems))
    return _Claim(
        given[b"X-Amz-Credential"],
        given[b"X-Amz-SignedHeaders"],
        given[SIGNATURE],
        given[b"X-Amz-Date"],
        token,
        window_s,
    )


def _names_of_missing(names: Sequence[bytes], given: Mapping[bytes, bytes]) -> list[str]:
    return [name.decode() for name in names if not given.get(name)]


def _check_token(credential: Credential, token: bytes, now: float) -> None:
    """Check that a session's key comes with its token, in time, and that any other comes with none.

    Raises:
        AuthenticationError: otherwise.
    """
    expected = (credential.session_token or "").encode()
    if not hmac.compare_digest(expected, token):
        raise UnrecognizedClientException
    if credential.expires_at is not None and credential.expires_at <= now:
        raise ExpiredTokenException


def _not_now(timestamp: str, now: float, age_s: float, window_s: int) -> InvalidSignatureException:
    if age_s < 0:
        latest = _stamp(now + limits.SIGNATURE_WINDOW_S)
        return InvalidSignatureException(
            f"Signature not yet current: {timestamp} is still later than {latest} ({_stamp(now)} + 5 min.)"
        )
    life = "5 min." if window_s == limits.SIGNATURE_WINDOW_S else f"{window_s} s."
    return InvalidSignatureException(
        f"Signature expired: {timestamp} is now earlier than {_stamp(now - window_s)} "
        f"({_stamp(now)} - {life})"
    )


def _stamp(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y%m%dT%H%M%SZ")
