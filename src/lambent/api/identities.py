"""``/_lambent/iam``: the users and roles of this server, and their policies.

::

    GET  ?account=      {"Identities": […]}    never with secrets
    POST /add-user      {"name", "policy"}     the user, with AccessKeyId and SecretAccessKey
    POST /add-role      {"name", "trust", "policy"}
    POST /put-policy    {"name", "policy", "role"}
    POST /rotate        {"name"}               the user, with those of its new key
    POST /rm            {"name", "role"}

Every POST may have an ``account``, which otherwise is the server's, and answers ``UserName`` or
``RoleName`` and ``Arn``; ``policy`` and ``trust`` are documents as text. A name means the user;
the role where ``role`` is true or no user has the name. Members of answers have the names of
AWS's IAM.

Source: docs/aws-behaviour.md, versions-permissions 5.8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from lambent.api.json_body import parse_struct
from lambent.clock import Clock
from lambent.model.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    UnknownOperationException,
)
from lambent.model.functions import partition
from lambent.model.identities import (
    AccessKey,
    Identity,
    IdentityKey,
    IdentityKind,
    Role,
    User,
    is_identity_name,
)
from lambent.model.policies import MalformedPolicy
from lambent.storage.contracts import AlreadyExists
from lambent.storage.identities import IdentityMissing, IdentityStore

_ACCOUNT = re.compile(r"[0-9]{12}")

_Answer: TypeAlias = dict[str, Any]


class _Named(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    account: str | None = None


class _Chosen(_Named, kw_only=True):
    role: bool = False


class _NewUser(_Named, kw_only=True):
    policy: str | None = None


class _NewRole(_NewUser, kw_only=True):
    trust: str


class _NewPolicy(_Chosen, kw_only=True):
    policy: str


class Identities:
    """Answers whoever may say who may call; the caller has been let in before.

    Args:
        store: started.
        clock: for the times at which users, roles and keys are created.
        account: of requests that name none.
        region: the server's, for the partition in the ARNs of new users and roles.
    """

    def __init__(self, *, store: IdentityStore, clock: Clock, account: str, region: str) -> None:
        self._store = store
        self._clock = clock
        self._account = account
        self._partition = partition(region)
        self._verbs: dict[bytes, tuple[type[Any], Callable[[Any], Awaitable[_Answer]]]] = {
            b"add-user": (_NewUser, self._add_user),
            b"add-role": (_NewRole, self._add_role),
            b"put-policy": (_NewPolicy, self._put_policy),
            b"rotate": (_Named, self._rotate),
            b"rm": (_Chosen, self._remove),
        }

    async def answer(self, method: bytes, rest: bytes, query: Mapping[str, str], body: bytes) -> bytes:
        """Return the JSON that answers a request.

        Args:
            method: of HTTP.
            rest: of the path, behind ``iam/``.
            query: decoded.
            body: JSON.

        Raises:
            InvalidParameterValueException: a name, an account, a policy or the body cannot be used.
            ResourceConflictException: the name is taken.
            ResourceNotFoundException: there is no such user or role.
            UnknownOperationException: no such path, or not with this method.
        """
        if method == b"GET" and rest == b"":
            shown = [_describe(each) for each in self._store.identities(query.get("account"))]
            return json.dumps({"Identities": shown}).encode()
        if method != b"POST" or rest not in self._verbs:
            raise UnknownOperationException(status=405)
        kind, act = self._verbs[rest]
        asked = parse_struct(body, kind)
        try:
            return json.dumps(await act(asked)).encode()
        except MalformedPolicy as error:
            raise InvalidParameterValueException(str(error)) from error

    def account_of_key(self, access_key_id: str) -> str | None:
        """Return the account of the user who has a key; None where nobody has it."""
        credential = self._store.find_credential(access_key_id)
        return None if credential is None else credential.principal.account

    async def _add_user(self, asked: _NewUser) -> _Answer:
        now = self._clock.now()
        key = AccessKey.new(now)
        user = User(
            account=self._account_of(asked),
            name=_new_name(asked),
            access_key=key,
            policy=asked.policy,
            partition=self._partition,
            created_at=now,
        )
        await self._create(user)
        return _with_secret(user, key)

    async def _add_role(self, asked: _NewRole) -> _Answer:
        role = Role(
            account=self._account_of(asked),
            name=_new_name(asked),
            trust=asked.trust,
            policy=asked.policy,
            partition=self._partition,
            created_at=self._clock.now(),
        )
        await self._create(role)
        return _name(role)

    async def _create(self, identity: Identity) -> None:
        try:
            await self._store.create(identity)
        except AlreadyExists as error:
            what = identity.key.kind.capitalize()
            raise ResourceConflictException(f"{what} with name {identity.name} already exists.") from error

    async def _put_policy(self, asked: _NewPolicy) -> _Answer:
        found = self._find(asked)
        try:
            return _name(await self._store.put_policy(found.key, asked.policy))
        except IdentityMissing as error:
            raise _missing(found.key) from error

    async def _rotate(self, asked: _Named) -> _Answer:
        key = IdentityKey(self._account_of(asked), IdentityKind.USER, asked.name)
        access_key = AccessKey.new(self._clock.now())
        try:
            user = await self._store.replace_access_key(key, access_key)
        except IdentityMissing as error:
            raise _missing(key) from error
        return _with_secret(user, access_key)

    async def _remove(self, asked: _Chosen) -> _Answer:
        found = self._find(asked)
        if not await self._store.delete(found.key):
            raise _missing(found.key)
        return _name(found)

    def _find(self, asked: _Chosen) -> Identity:
        """Return the user of that name, or the role."""
        account = self._account_of(asked)
        kinds = [IdentityKind.ROLE] if asked.role else [IdentityKind.USER, IdentityKind.ROLE]
        for kind in kinds:
            found = self._store.identity(IdentityKey(account, kind, asked.name))
            if found is not None:
                return found
        raise _missing(IdentityKey(account, kinds[0], asked.name), *kinds[1:])

    def _account_of(self, asked: _Named) -> str:
        account = asked.account or self._account
        if _ACCOUNT.fullmatch(account) is None:
            raise InvalidParameterValueException(f"The account {account!r} is not 12 digits.")
        return account


def _new_name(asked: _Named) -> str:
    if not is_identity_name(asked.name):
        raise InvalidParameterValueException(
            f"The name {asked.name!r} cannot be used: accepted are 1 to 64 letters, digits and characters "
            "of _+=,.@-"
        )
    return asked.name


def _missing(key: IdentityKey, *others: IdentityKind) -> ResourceNotFoundException:
    what = " or ".join([key.kind, *others])
    return ResourceNotFoundException(
        f"The {what} with name {key.name} cannot be found in the account {key.account}."
    )


def _name(identity: Identity) -> _Answer:
    member = "UserName" if isinstance(identity, User) else "RoleName"
    return {member: identity.name, "Arn": identity.arn}


def _with_secret(user: User, key: AccessKey) -> _Answer:
    return {**_name(user), "AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret}


def _describe(identity: Identity) -> _Answer:
    shown = {**_name(identity), "CreateDate": _render(identity.created_at)}
    if isinstance(identity, User):
        key = identity.access_key
        shown |= {
            "UserId": identity.user_id,
            "AccessKeyId": None if key is None else key.access_key_id,
            "AccessKeyCreateDate": None if key is None else _render(key.created_at),
        }
    else:
        shown |= {"RoleId": identity.role_id, "AssumeRolePolicyDocument": json.loads(identity.trust)}
    policy = None if identity.policy is None else json.loads(identity.policy)
    return {**shown, "PolicyDocument": policy}


def _render(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["Identities"]
