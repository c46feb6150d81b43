"""Create, read, update, delete and list aliases.

One alias that is not there is told in three wordings, as AWS does: by what reads it,
by what updates it, and by what invokes it (:mod:`lambent.invocation.resolve`).

Source: docs/aws-behaviour.md, versions-permissions 5.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from lambent import limits
from lambent.control.operation import Call, Output, Services, Target, find_target, load_function
from lambent.control.paging import cut_page, page_size, parse_marker, render_marker
from lambent.control.provisioned import check_provisioned_alias
from lambent.control.states import check_revision, new_revision_id
from lambent.model.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambent.model.functions import LATEST, Alias
from lambent.storage.contracts import AlreadyExists, Conflict, VersionMissing


async def create_alias(services: Services, call: Call) -> Output:
    """Store a new alias.

    Raises:
        ResourceNotFoundException: function or version is not there.
        InvalidParameterValueException: the weights cannot be had.
        ResourceConflictException: the function has an alias of that name.
    """
    given = call.input
    target = find_target(call, "CreateAlias", narrow=True).require_latest()
    alias = Alias(
        key=target.key,
        name=given["Name"],
        version=given["FunctionVersion"],
        weights=_weights(given),
        description=given.get("Description") or "",
        revision_id=new_revision_id(),
    )
    await load_function(services, target.key)
    check_weights(alias)
    try:
        await services.functions.create_alias(alias)
    except VersionMissing as missing:
        _refuse_version(target, missing)
    except AlreadyExists:
        raise ResourceConflictException(f"Alias already exists: {alias.arn}") from None
    return _render(alias)


async def get_alias(services: Services, call: Call) -> Output:
    """Return an alias.

    Raises:
        ResourceNotFoundException: function or alias is not there.
    """
    target = find_target(call, "GetAlias", narrow=True).require_latest()
    alias = await services.functions.load_alias(target.key, call.input["Name"])
    if alias is None:
        raise ResourceNotFoundException(f"Cannot find alias arn: {target.key.arn(call.input['Name'])}")
    return _render(alias)


async def update_alias(services: Services, call: Call) -> Output:
    """Change what is given; a RoutingConfig that is given replaces the old one whole.

    Raises:
        ResourceNotFoundException: alias or version is not there.
        PreconditionFailedException: another RevisionId was expected.
        InvalidParameterValueException: the weights cannot be had, or what is provisioned
            for the alias cannot be for what it would point to.
        ResourceConflictException: something is provisioned for that version already.
    """
    given = call.input
    target = find_target(call, "UpdateAlias", narrow=True).require_latest()
    while True:
        alias = await services.functions.load_alias(target.key, given["Name"])
        if alias is None:
            raise ResourceNotFoundException(f"Alias not found: {target.key.arn(given['Name'])}")
        check_revision(alias, given.get("RevisionId"))
        changes: dict[str, Any] = {
            field: given[member]
            for member, field in (("FunctionVersion", "version"), ("Description", "description"))
            if given.get(member) is not None
        }
        if given.get("RoutingConfig") is not None:
            changes["weights"] = _weights(given)
        changed = dataclasses.replace(alias, revision_id=new_revision_id(), **changes)
        check_weights(changed)
        try:
            await services.functions.replace_alias(
                changed, alias.revision_id, partial(check_provisioned_alias, changed)
            )
        except VersionMissing as missing:
            _refuse_version(target, missing)
        except Conflict:
            # Somebody else was first: all checks hold for what is there now, or refuse it.
            continue
        return _render(changed)


async def delete_alias(services: Services, call: Call) -> None:
    """Remove an alias; one that is not there is as good as deleted.

    Raises:
        ResourceNotFoundException: the function is not there.
    """
    target = find_target(call, "DeleteAlias", narrow=True).require_latest()
    await load_function(services, target.key)
    await services.functions.delete_alias(target.key, call.input["Name"])


async def list_aliases(services: Services, call: Call) -> Output:
    """Return a page of a function's aliases by name, of one version if it is given.

    Raises:
        ResourceNotFoundException: the function is not there.
    """
    target = find_target(call, "ListAliases", narrow=True).require_latest()
    await load_function(services, target.key)
    scope = f"ListAliases\n{target.key.name}"
    found = await services.functions.aliases(
        target.key,
        version=call.input.get("FunctionVersion"),
        after=parse_marker(call, scope) or "",
        limit=page_size(call) + 1,
    )
    shown, has_more = cut_page(call, found)
    output: Output = {"Aliases": [_render(alias) for alias in shown]}
    if has_more:
        output["NextMarker"] = render_marker(call, scope, shown[-1].name)
    return output


def check_weights(alias: Alias) -> None:
    """Refuse weights that the model allows and AWS does not.

    Raises:
        InvalidParameterValueException: too many, of the same version, or of ``$LATEST``.
    """
    if len(alias.weights) > limits.ALIAS_WEIGHTS_COUNT:
        raise InvalidParameterValueException(
            f"Number of items in AdditionalVersionWeights cannot be greater than {limits.ALIAS_WEIGHTS_COUNT}"
        )
    if alias.weights and alias.version == LATEST:
        raise InvalidParameterValueException.untyped(
            f"{LATEST} is not supported for an alias pointing to more than 1 version"
        )
    if alias.version in alias.weights:
        raise InvalidParameterValueException(
            f"Invalid function version {alias.version}. "
            f"Function version {alias.version} is already included in routing configuration."
        )


def _refuse_version(target: Target, missing: VersionMissing) -> NoReturn:
    raise ResourceNotFoundException(f"Function not found: {target.key.arn(missing.version)}") from None


def _weights(given: Mapping[str, Any]) -> dict[str, float]:
    return dict((given.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def _render(alias: Alias) -> Output:
    shown: Output = {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.weights:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return shown


__all__ = ["check_weights", "create_alias", "delete_alias", "get_alias", "list_aliases", "update_alias"]
