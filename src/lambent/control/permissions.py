"""Resource policies of functions, versions and aliases: AddPermission, RemovePermission, GetPolicy.

Each has a policy of its own, stored as the text that GetPolicy answers. AddPermission's
parameters become a statement::

    {"Sid":…,"Effect":"Allow","Principal":…,"Action":…,"Resource":<ARN of the target>,"Condition":…}

Source: docs/aws-behaviour.md, versions-permissions 5.4, 5.6 and 5.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lambent import limits
from lambent.control.operation import (
    Call,
    Output,
    Services,
    Target,
    exists,
    find_target,
    not_found,
)
from lambent.control.states import check_revision, new_revision_id
from lambent.model.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambent.model.functions import LATEST, partition
from lambent.model.policies import MalformedPolicy, parse_policy
from lambent.storage.contracts import Conflict, StoredPolicy

Statement = Mapping[str, Any]

# Member, operator and key of what narrows a statement, in the order in which they are written.
_CONDITIONS = (
    ("SourceArn", "ArnLike", "AWS:SourceArn"),
    ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
    ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
    ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
    ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
    ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
)

_ACCOUNT = re.compile(r"[0-9]{12}")
_SERVICE = re.compile(r"[a-zA-Z0-9._-]+\.(amazonaws|amazon)\.com")
# No wildcards in a path: a principal is one identity.
_NAME, _PATH = r"[\w+=,.@-]{1,64}", r"([!-)+-.0->@-~]+/)*"
_IDENTITY = re.compile(
    rf"arn:([a-z-]+):(iam::\d{{12}}:(root|(user|role)/{_PATH}{_NAME})"
    rf"|sts::\d{{12}}:assumed-role/{_NAME}/{_NAME})",
    re.ASCII,
)


async def add_permission(services: Services, call: Call) -> Output:
    """Add a statement; the first one makes the policy.

    Raises:
        InvalidParameterValueException: ``$LATEST``, a principal that cannot be one, or a source
            whose wildcards and variables no policy may have.
        ResourceNotFoundException: function, version or alias is not there.
        PreconditionFailedException: the policy has another RevisionId, or is not there.
        ResourceConflictException: the policy has a statement of that id.
        PolicyLengthExceededException: the policy would be too long.
    """
    given = call.input
    target = find_target(call, "AddPermission")
    if target.qualifier == LATEST:
        raise InvalidParameterValueException(f"We currently do not support adding policies for {LATEST}.")
    await _check_target(services, target)
    added = _build_statement(target, given)
    while True:
        stored = await services.functions.load_policy(target.key, target.qualifier)
        check_revision(stored, given.get("RevisionId"), reader="GetPolicy")
        statements = _read_statements(stored)
        if any(statement["Sid"] == added["Sid"] for statement in statements):
            raise ResourceConflictException(
                f"The statement id ({added['Sid']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        policy = _write_policy([*statements, added])
        size = len(policy.document.encode())
        if size > limits.POLICY_BYTES:
            raise PolicyLengthExceededException(
                f"The final policy size ({size}) is bigger than the limit ({limits.POLICY_BYTES})."
            )
        _check_policy(policy)
        if await _replace(services, target, policy, stored):
            return {"Statement": _render(added)}
        await _check_target(services, target)


async def remove_permission(services: Services, call: Call) -> None:
    """Remove a statement; the policy goes with the last one.

    Raises:
        ResourceNotFoundException: function, version or alias, its policy or the
            statement is not there.
        PreconditionFailedException: the policy has another RevisionId, or is not there.
    """
    given = call.input
    target = find_target(call, "RemovePermission")
    while True:
        if await services.functions.load(target.key) is None:
            raise ResourceNotFoundException(f"No policy found for: {target.key.arn()}")
        await _check_target(services, target)
        stored = await services.functions.load_policy(target.key, target.qualifier)
        check_revision(stored, given.get("RevisionId"), reader="GetPolicy")
        if stored is None:
            raise ResourceNotFoundException("No policy is associated with the given resource.")
        statements = _read_statements(stored)
        left = [statement for statement in statements if statement["Sid"] != given["StatementId"]]
        if len(left) == len(statements):
            raise ResourceNotFoundException(
                f"Statement {given['StatementId']} is not found in resource policy."
            )
        if await _replace(services, target, _write_policy(left) if left else None, stored):
            return


async def get_policy(services: Services, call: Call) -> Output:
    """Return a policy.

    Raises:
        ResourceNotFoundException: there is none, or nothing that could have one.
    """
    target = find_target(call, "GetPolicy")
    stored = await services.functions.load_policy(target.key, target.qualifier)
    if stored is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": stored.document, "RevisionId": stored.revision_id}


async def _check_target(services: Services, target: Target) -> None:
    if not await exists(services, target):
        raise not_found(target)


def _check_policy(policy: StoredPolicy) -> None:
    """Refuse what nobody could evaluate afterwards: the function would be closed to everybody."""
    try:
        parse_policy(policy.document, resource_based=True)
    except MalformedPolicy as problem:
        raise InvalidParameterValueException(problem.sentence) from None


async def _replace(
    services: Services, target: Target, policy: StoredPolicy | None, stored: StoredPolicy | None
) -> bool:
    """Put ``policy`` in the place of what was read; False when somebody else was first."""
    expected = None if stored is None else stored.revision_id
    try:
        await services.functions.replace_policy(target.key, target.qualifier, policy, expected)
    except Conflict:
        return False
    return True


def _build_statement(target: Target, given: Mapping[str, Any]) -> Statement:
    """Return what AddPermission's parameters become; the order of keys is that of the text.

    Raises:
        InvalidParameterValueException: the principal cannot be one.
    """
    statement = {
        "Sid": given["StatementId"],
        "Effect": "Allow",
        "Principal": _build_principal(given["Principal"], partition(target.key.region)),
        "Action": given["Action"],
        "Resource": target.arn,
    }
    condition: dict[str, dict[str, str]] = {}
    for member, operator, key in _CONDITIONS:
        value = given.get(member)
        if value:
            condition.setdefault(operator, {})[key] = "true" if value is True else value
    return {**statement, "Condition": condition} if condition else statement


def _build_principal(text: str, own_partition: str) -> str | dict[str, str]:
    """Return a principal as policies have it.

    Raises:
        InvalidParameterValueException: it is neither ``*``, an account, an identity of
            IAM nor the name of a service.
    """
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:{own_partition}:iam::{text}:root"}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    identity = _IDENTITY.fullmatch(text)
    if identity is not None and identity[1] == own_partition:
        return {"AWS": text}
    raise InvalidParameterValueException(
        "The provided principal was invalid. Please check the principal and try again."
    )


def _read_statements(stored: StoredPolicy | None) -> list[Statement]:
    return [] if stored is None else list(msgspec.json.decode(stored.document)["Statement"])


def _write_policy(statements: Sequence[Statement]) -> StoredPolicy:
    document = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
    return StoredPolicy(_render(document), new_revision_id())


def _render(value: Mapping[str, Any]) -> str:
    """Return compact JSON."""
    return msgspec.json.encode(value).decode()


__all__ = ["add_permission", "get_policy", "remove_permission"]
