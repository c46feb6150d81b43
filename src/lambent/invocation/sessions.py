"""Keys of functions: a session of the function's role for each environment.

The session's token is what is to be known of it, sealed with the server's key: no table holds
sessions, and a server that starts anew knows those of before. What the role may do is looked up
when a request comes, so that a changed policy holds for sessions that have begun.

Source: docs/aws-behaviour.md, execution 4.3 and versions-permissions 5.8.
"""

from __future__ import annotations

import base64
import binascii
import functools
import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from lambent import limits
from lambent.clock import Clock
from lambent.model.arns import parse_arn
from lambent.model.functions import FunctionVersion, partition
from lambent.model.identities import Credential, Principal, Role, new_access_key_id, new_secret
from lambent.model.policies import parse_policy
from lambent.storage.sealing import Sealer, Unsealable

_PURPOSE = "session token"
_REMEMBERED = 4096
# A role has many sessions, and compiling ten KB takes five milliseconds.
_compiled = functools.lru_cache(256)(parse_policy)


class SessionKeys(NamedTuple):
    """What a process needs to sign as a session."""

    access_key_id: str
    secret: str
    token: str


class _Session(msgspec.Struct, array_like=True, frozen=True):
    """What a token says, sealed."""

    access_key_id: str
    secret: str
    role_arn: str
    name: str
    account: str
    expires_at: float


class Sessions:
    """Makes keys of sessions, and tells whose they are.

    Args:
        sealer: seals the tokens.
        find_role: finds a role by its ARN, at once; the same object until the role changes.
        clock: for the end of sessions.
    """

    def __init__(self, sealer: Sealer, find_role: Callable[[str], Role | None], clock: Clock) -> None:
        self._sealer = sealer
        self._find_role = find_role
        self._clock = clock
        self._known: dict[bytes, tuple[Role | None, Credential]] = {}

    def begin(self, version: FunctionVersion) -> SessionKeys:
        """Return new keys of a session of a function's role, named like the function."""
        return self.assume(version.role, version.key.name, version.key.account, limits.SESSION_S)

    def assume(self, role_arn: str, name: str, account: str, seconds: float) -> SessionKeys:
        """Return new keys of a session of a role.

        Args:
            role_arn: of the role, which need not be there.
            name: of the session.
            account: in which it acts.
            seconds: for which the keys are good.
        """
        session = _Session(
            access_key_id=new_access_key_id("ASIA"),
            secret=new_secret(),
            role_arn=role_arn,
            name=name,
            account=account,
            expires_at=self._clock.now() + seconds,
        )
        sealed = self._sealer.seal(msgspec.json.encode(session), _PURPOSE)
        return SessionKeys(session.access_key_id, session.secret, base64.b64encode(sealed).decode())

    def credential_of(self, version: FunctionVersion) -> Credential:
        """Return as whom the server acts for a function: its role, with keys that nobody gets."""
        session = _Session("", "", version.role, version.key.name, version.key.account, 0.0)
        return _credential(session, self._find_role(version.role), b"")

    def find(self, access_key_id: str, token: bytes) -> Credential | None:
        """Return whose session it is, also when it is over; None when the server gave out no such keys.

        The same object until the role changes.
        """
        known = self._known.get(token)
        if known is None:
            session = self._open(token)
            if session is None:
                return None
            role = self._find_role(session.role_arn)
            known = role, _credential(session, role, token)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[token] = known
        role, credential = known
        if self._find_role(credential.principal.role_arn or "") is not role:
            del self._known[token]
            return self.find(access_key_id, token)
        return credential if secrets.compare_digest(credential.access_key_id, access_key_id) else None

    def _open(self, token: bytes) -> _Session | None:
        try:
            sealed = base64.b64decode(token, validate=True)
            return msgspec.json.decode(self._sealer.unseal(sealed, _PURPOSE), type=_Session)
        except (Unsealable, binascii.Error, msgspec.DecodeError):
            return None


def session_principal(role_arn: str, name: str, account: str, role: Role | None) -> Principal:
    """Return as whom a session acts.

    Args:
        role_arn: of its role.
        name: of the session.
        account: in which it acts.
        role: None for one that nobody made.
    """
    role_name = role_arn.rpartition("/")[2]
    part = parse_arn(role_arn).partition or partition("")
    # A role that nobody made has no id, and no policy: its sessions may do nothing.
    role_id = role_name if role is None else role.role_id
    return Principal(
        f"arn:{part}:sts::{account}:assumed-role/{role_name}/{name}",
        account,
        "AssumedRole",
        f"{role_id}:{name}",
        role_arn=role_arn,
    )


def _credential(session: _Session, role: Role | None, token: bytes) -> Credential:
    principal = session_principal(session.role_arn, session.name, session.account, role)
    policies = () if role is None or role.policy is None else (_compiled(role.policy),)
    return Credential(
        session.access_key_id, session.secret, principal, policies, token.decode(), session.expires_at
    )


__all__ = ["SessionKeys", "Sessions", "session_principal"]
