"""STS as far as functions and their callers need it: who am I, and let me act as that role.

``POST /`` with a form, ``Action=GetCallerIdentity`` or ``Action=AssumeRole``; answers are XML, as
AWS's query protocol has them.

Source: docs/aws-behaviour.md, versions-permissions 5.9.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from lambent.api.call import Call
from lambent.clock import Clock
from lambent.invocation.authorize import Access, Authorizer
from lambent.invocation.sessions import SessionKeys, session_principal
from lambent.model.arns import parse_arn
from lambent.model.errors import AccessDeniedException, ServiceError
from lambent.model.identities import Role
from lambent.model.policies import parse_policy

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_ACTIONS = ("AssumeRole", "GetCallerIdentity")
_ROLE = re.compile(r"arn:[^:]+:iam::(\d{12}):role/[\w+=,.@/-]+", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]*", re.ASCII)
_SESSION_NAME_CHARACTERS = range(2, 65)
_TAKEN = frozenset(("Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"))
_SECONDS = range(900, 43_201)
_DEFAULT_SECONDS = 3600
# Characters that may not stand in XML, not even escaped.
_NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_FORM_BYTES = 65_536
# The same refusals have other names here.
_CODES = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "ServiceException": "InternalFailure",
    "UnrecognizedClientException": "InvalidClientTokenId",
}


class Assume(Protocol):
    """Makes keys of a session; see :meth:`lambent.invocation.sessions.Sessions.assume`."""

    def __call__(self, role_arn: str, name: str, account: str, seconds: float) -> SessionKeys:
        """Return new keys."""
        ...


class ValidationError(ServiceError):
    """A parameter is missing, or has a value that it may not have."""

    status = 400


class InvalidAction(ServiceError):
    """There is no such action."""

    status = 400


class SecurityTokens:
    """Answers calls of STS.

    Args:
        assume: makes keys.
        find_role: finds a role by its ARN, at once.
        is_checking: whether policies decide: level ``sigv4``. At level ``none`` everybody may
            act as any role, made or not, and the keys mean its account.
    """

    def __init__(
        self,
        *,
        assume: Assume,
        find_role: Callable[[str], Role | None],
        authorizer: Authorizer,
        clock: Clock,
        is_checking: bool,
    ) -> None:
        self._assume = assume
        self._find_role = find_role
        self._authorizer = authorizer
        self._clock = clock
        self._is_checking = is_checking

    def answer(self, call: Call) -> bytes:
        """Return the XML that answers a call; its operation is noted.

        Raises:
            ServiceError: it is refused.
        """
        form = dict(parse_qsl(call.request.body.decode("utf-8", "replace"), keep_blank_values=True))
        action = form.get("Action", "")
        if action not in _ACTIONS:
            version = form.get("Version", "NO_VERSION_SPECIFIED")
            raise InvalidAction(f"Could not find operation {action or 'null'} for version {version}")
        call.operation = f"sts:{action}"
        if action == "AssumeRole":
            result = self._assume_role(call, form)
        else:
            principal = call.caller.principal
            result = _elements(
                {"Arn": principal.arn, "UserId": principal.user_id, "Account": call.caller.account}
            )
        return (
            f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{result}</{action}Result>'
            f"<ResponseMetadata><RequestId>{call.request_id}</RequestId></ResponseMetadata></{action}Response>"
        ).encode()

    def _assume_role(self, call: Call, form: Mapping[str, str]) -> str:
        arn, name, seconds = _check(form)
        account = parse_arn(arn).account
        role = self._find_role(arn)
        if self._is_checking:
            self._authorize(call, arn, account, role, form.get("ExternalId"))
        keys = self._assume(arn, name, account, seconds)
        principal = session_principal(arn, name, account, role)
        ends = datetime.fromtimestamp(self._clock.now() + seconds, UTC)
        credentials = {
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret,
            "SessionToken": keys.token,
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        user = {"AssumedRoleId": principal.user_id, "Arn": principal.arn}
        return (
            f"<AssumedRoleUser>{_elements(user)}</AssumedRoleUser>"
            f"<Credentials>{_elements(credentials)}</Credentials>"
        )

    def _authorize(
        self, call: Call, arn: str, account: str, role: Role | None, external_id: str | None
    ) -> None:
        """Ask the caller's policies and the role's trust; a role that is not there trusts nobody."""
        context = {} if external_id is None else {"sts:externalid": (external_id,)}
        access = Access("sts:AssumeRole", arn, account, context)
        trust = None if role is None else parse_policy(role.trust, resource_based=True)
        self._authorizer.authorize(call.caller, access, trust, call.exchange.origin)
        if role is None:
            raise AccessDeniedException(
                f"User: {call.caller.principal.arn} is not authorized to perform: sts:AssumeRole "
                f"on resource: {arn}"
            )


def is_meant(method: bytes, path: bytes, body: bytes) -> bool:
    """Tell whether a request is one of STS: none has a longer form, and reading one would hold others up."""
    return path == b"/" and method == b"POST" and len(body) <= _FORM_BYTES and b"Action=" in body


def render_error(error: ServiceError, request_id: str) -> bytes:
    """Return the XML of a refusal."""
    fault = "Receiver" if error.status >= 500 else "Sender"
    told = {"Type": fault, "Code": _CODES.get(error.code, error.code), "Message": error.message or ""}
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{_elements(told)}</Error>'
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _check(form: Mapping[str, str]) -> tuple[str, str, int]:
    """Return the role's ARN, the session's name, and for how many seconds."""
    for name in form.keys() - _TAKEN:
        raise ValidationError(f"{name} is not served by this version of Lambent.")
    for name in ("RoleArn", "RoleSessionName"):
        if name not in form:
            raise _invalid("null", name, "Member must not be null")
    arn, name, seconds = form["RoleArn"], form["RoleSessionName"], form.get("DurationSeconds")
    if problem := _out_of(_SESSION_NAME_CHARACTERS, len(name)):
        raise _invalid(f"'{name}'", "RoleSessionName", f"Member must have length {problem}")
    if _SESSION_NAME.fullmatch(name) is None:
        raise _invalid(
            f"'{name}'", "RoleSessionName", r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
        )
    if _ROLE.fullmatch(arn) is None:
        raise ValidationError(f"{arn} is invalid")
    if seconds is None:
        return arn, name, _DEFAULT_SECONDS
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10):
        raise ValidationError(f"DurationSeconds must be a whole number, not {seconds!r}")
    if problem := _out_of(_SECONDS, int(seconds)):
        raise _invalid(f"'{seconds}'", "DurationSeconds", f"Member must have value {problem}")
    return arn, name, int(seconds)


def _out_of(allowed: range, value: int) -> str:
    """Return which bound a value breaks, in AWS's words, or ""."""
    if value in allowed:
        return ""
    if value < allowed[0]:
        return f"greater than or equal to {allowed[0]}"
    return f"less than or equal to {allowed[-1]}"


def _invalid(shown: str, name: str, constraint: str) -> ValidationError:
    return ValidationError(
        f"1 validation error detected: Value {shown} at '{name[0].lower()}{name[1:]}' "
        f"failed to satisfy constraint: {constraint}"
    )


def _elements(values: Mapping[str, str]) -> str:
    shown = {name: escape(_NO_XML.sub("\ufffd", value)) for name, value in values.items()}
    return "".join(f"<{name}>{value}</{name}>" for name, value in shown.items())


__all__ = ["SecurityTokens", "is_meant", "render_error"]
