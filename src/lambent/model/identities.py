"""Who calls, and what of them is kept: users with an access key, roles, and their policies."""

from __future__ import annotations

import base64
import re
import secrets
import string
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from lambent.model.policies import Policy

# Of a user's or role's name. Source: docs/aws-behaviour.md, versions-permissions 5.8.
_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ID_LETTERS = string.ascii_uppercase + string.digits
_KEY_LETTERS = string.ascii_uppercase + "234567"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts as.

    Attributes:
        arn: of the user, the session, or the account's root.
        account: 12 digits.
        kind: ``Account`` for an account's root, ``User``, ``AssumedRole``, ``Service`` or ``Anonymous``.
        user_id: what the condition key ``aws:userid`` says.
        username: of a user; else None.
        role_arn: of the role behind a session; else None.
    """

    arn: str
    account: str
    kind: str
    user_id: str
    username: str | None = None
    role_arn: str | None = None


def root(account: str, partition: str = "aws") -> Principal:
    """Return the root of an account, who may do everything in it."""
    return Principal(f"arn:{partition}:iam::{account}:root", account, "Account", account)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a signature is checked with, and who has signed when it is right.

    Attributes:
        policies: identity policies of the principal, compiled.
        session_token: comes with the requests of a session; None for a long-term key.
        expires_at: seconds since the epoch; None where it never does.
    """

    access_key_id: str
    secret: str = field(repr=False)
    principal: Principal
    policies: tuple[Policy, ...] = ()
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


class IdentityKind(StrEnum):
    """What an identity is."""

    USER = "user"
    ROLE = "role"


class IdentityKey(NamedTuple):
    """What names an identity; a user and a role of an account may share a name."""

    account: str
    kind: IdentityKind
    name: str


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-term key: 20 characters that are sent, and 40 that never are."""

    access_key_id: str
    secret: str = field(repr=False)
    created_at: float

    @classmethod
    def new(cls, now: float) -> AccessKey:
        """Return a key that nobody has, created ``now`` (seconds since the epoch)."""
        return cls(new_access_key_id("AKIA"), new_secret(), now)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A caller with a key of its own.

    Attributes:
        user_id: 21 characters that no other user has, also none of the same name before or after.
        access_key: None where its secret was given up, with the key that had sealed it.
        policy: one IAM policy document as text; without one the user may do nothing.
        partition: of its ARN.
        created_at: seconds since the epoch.
    """

    account: str
    name: str
    user_id: str = field(default_factory=lambda: f"AIDA{_random(_ID_LETTERS, 17)}")
    access_key: AccessKey | None
    policy: str | None = None
    partition: str = "aws"
    created_at: float

    @property
    def key(self) -> IdentityKey:
        """What names it."""
        return IdentityKey(self.account, IdentityKind.USER, self.name)

    @property
    def arn(self) -> str:
        """The user's ARN."""
        return f"arn:{self.partition}:iam::{self.account}:user/{self.name}"

    @property
    def principal(self) -> Principal:
        """Who its requests act as."""
        return Principal(self.arn, self.account, "User", self.user_id, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What others may act as for a while; it has no key of its own.

    Attributes:
        role_id: as a user's id.
        trust: who may take the role on: a policy document with principals, as text.
        policy: what it may do then, as a user's.
        partition: of its ARN.
        created_at: seconds since the epoch.
    """

    account: str
    name: str
    role_id: str = field(default_factory=lambda: f"AROA{_random(_ID_LETTERS, 17)}")
    trust: str
    policy: str | None = None
    partition: str = "aws"
    created_at: float

    @property
    def key(self) -> IdentityKey:
        """What names it."""
        return IdentityKey(self.account, IdentityKind.ROLE, self.name)

    @property
    def arn(self) -> str:
        """The role's ARN."""
        return f"arn:{self.partition}:iam::{self.account}:role/{self.name}"


Identity: TypeAlias = User | Role


def new_access_key_id(prefix: str) -> str:
    """Return 20 characters that no other key has; ``AKIA`` begins long-term keys, ``ASIA`` sessions'."""
    return prefix + _random(_KEY_LETTERS, 16)


def new_secret() -> str:
    """Return the 40 characters of a secret."""
    return base64.b64encode(secrets.token_bytes(30)).decode()


def is_identity_name(text: str) -> bool:
    """Tell whether a user or role may be called so: 1 to 64 letters, digits and ``_+=,.@-``."""
    return _NAME.fullmatch(text) is not None


def _random(letters: str, count: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(count))


__all__ = [
    "AccessKey",
    "Credential",
    "Identity",
    "IdentityKey",
    "IdentityKind",
    "Principal",
    "Role",
    "User",
    "is_identity_name",
    "new_access_key_id",
    "new_secret",
    "root",
]
