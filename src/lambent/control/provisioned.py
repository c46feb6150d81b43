"""Provisioned concurrency of versions and aliases: put, get, list and delete.

What is wanted is stored; how far it is, whoever keeps the environments knows. All
checks against what else is set aside are made inside the write.

Source: docs/aws-behaviour.md, concurrency 3.4 and 3.6.
"""

from __future__ import annotations

import time
from functools import partial

from lambent.control.concurrency import unreserved_minimum
from lambent.control.operation import (
    Call,
    Output,
    Services,
    Target,
    exists,
    find_target,
    load_function,
    not_found,
)
from lambent.control.paging import cut_page, page_size, parse_marker, render_marker
from lambent.control.states import new_revision_id
from lambent.model.errors import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
)
from lambent.model.functions import LATEST, Alias
from lambent.model.provisioned import INIT_FAILURE, ProvisionedConfig, ProvisionedStatus, ProvisionedUse
from lambent.storage.contracts import AliasMissing, Provisioning, VersionMissing


async def put_provisioned_concurrency_config(services: Services, call: Call) -> Output:
    """Have so many environments kept initialised; the answer is IN_PROGRESS, whatever is there already.

    Raises:
        ResourceNotFoundException: function, version or alias is not there.
        ResourceConflictException: something is provisioned for the same version in another way.
        InvalidParameterValueException: ``$LATEST``, an alias to it or with weights, or
            more than can be set aside.
    """
    target = _find_target(call, "PutProvisionedConcurrencyConfig", _UNPUBLISHED)
    config = ProvisionedConfig(
        key=target.key,
        qualifier=target.qualifier or LATEST,
        requested=call.input["ProvisionedConcurrentExecutions"],
        modified_at=services.clock.now(),
        revision_id=new_revision_id(),
    )
    check = partial(
        check_provisioned,
        config,
        account_limit=services.account_limit,
        minimum=unreserved_minimum(services),
    )
    try:
        await services.functions.put_provisioned(config, check)
    except (VersionMissing, AliasMissing):
        raise not_found(target) from None
    allocated = services.provisioned_use(config).allocated
    return _render(config, ProvisionedUse(ProvisionedStatus.IN_PROGRESS, allocated))


async def get_provisioned_concurrency_config(services: Services, call: Call) -> Output:
    """Return what is wanted, and what there is of it.

    Raises:
        ResourceNotFoundException: function, version or alias is not there.
        ProvisionedConcurrencyConfigNotFoundException: nothing is provisioned for it.
        InvalidParameterValueException: ``$LATEST``.
    """
    target = _find_target(call, "GetProvisionedConcurrencyConfig", _NO_VERSION)
    await _check_target(services, target)
    config = await services.functions.load_provisioned(target.key, target.qualifier or LATEST)
    if config is None:
        raise ProvisionedConcurrencyConfigNotFoundException(
            "No Provisioned Concurrency Config found for this function"
        )
    return _render(config, services.provisioned_use(config))


async def list_provisioned_concurrency_configs(services: Services, call: Call) -> Output:
    """Return a page of what is provisioned for a function's versions and aliases.

    Raises:
        ResourceNotFoundException: the function is not there.
    """
    target = find_target(call, "ListProvisionedConcurrencyConfigs", narrow=True).require_latest()
    await load_function(services, target.key)
    scope = f"ListProvisionedConcurrencyConfigs\n{target.key.name}"
    found = await services.functions.provisioned(
        target.key, after=parse_marker(call, scope) or "", limit=page_size(call) + 1
    )
    shown, has_more = cut_page(call, found)
    output: Output = {
        "ProvisionedConcurrencyConfigs": [
            {"FunctionArn": config.arn, **_render(config, services.provisioned_use(config))}
            for config in shown
        ]
    }
    if has_more:
        output["NextMarker"] = render_marker(call, scope, shown[-1].qualifier)
    return output


async def delete_provisioned_concurrency_config(services: Services, call: Call) -> None:
    """Keep no environments any more; nothing provisioned is as good as deleted.

    Raises:
        ResourceNotFoundException: function, version or alias is not there.
        InvalidParameterValueException: ``$LATEST``.
    """
    target = _find_target(call, "DeleteProvisionedConcurrencyConfig", _NO_VERSION)
    await _check_target(services, target)
    await services.functions.delete_provisioned(target.key, target.qualifier or LATEST)


def check_provisioned(
    config: ProvisionedConfig, found: Provisioning, *, account_limit: int, minimum: int
) -> None:
    """Refuse a config that cannot be had beside what is set aside already; less than before always can.

    Args:
        config: as it is to be.
        found: what is stored at this moment.
        account_limit: concurrent executions of the account.
        minimum: how much of them stays unreserved.

    Raises:
        ResourceConflictException: something is provisioned for the same version in another way.
        InvalidParameterValueException: it is for ``$LATEST`` or two versions, or too much.
    """
    if found.alias is not None:
        check_provisioned_alias(found.alias, found)
    elif any(version == config.qualifier for other, version in found.configs if other.arn != config.arn):
        raise ResourceConflictException("Version is pointed by a Provisioned Concurrency alias")
    requested = config.requested
    before = sum(other.requested for other, _ in found.configs if other.arn == config.arn)
    if requested <= before:
        return
    if found.reserved is not None:
        total = sum(other.requested for other, _ in found.configs)
        if total - before + requested > found.reserved:
            raise InvalidParameterValueException(
                "Requested Provisioned Concurrency should not be greater than the "
                "reservedConcurrentExecution for function"
            )
        return
    unreserved = account_limit - found.account_reserved
    if requested > unreserved:
        raise InvalidParameterValueException(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
            f"[{unreserved}]."
        )
    if found.account_provisioned - before + requested > unreserved - minimum:
        raise InvalidParameterValueException(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{minimum}]."
        )


def check_provisioned_alias(alias: Alias, found: Provisioning) -> None:
    """Refuse what an alias with provisioned concurrency may not point to.

    Raises:
        ResourceConflictException: something is provisioned for that version already.
        InvalidParameterValueException: ``$LATEST``, or two versions.
    """
    if alias.version == LATEST:
        raise InvalidParameterValueException(_UNPUBLISHED)
    if alias.weights:
        raise InvalidParameterValueException("Invalid alias configuration for Provisioned Concurrency")
    if any(version == alias.version for other, version in found.configs if other.qualifier != alias.name):
        raise ResourceConflictException(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )


_UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
_NO_VERSION = "The function resource provided must be an alias or a published version."


def _find_target(call: Call, action: str, refusal: str) -> Target:
    target = find_target(call, action, narrow=True)
    if target.qualifier in {None, LATEST}:
        raise InvalidParameterValueException(refusal)
    return target


async def _check_target(services: Services, target: Target) -> None:
    if not await exists(services, target):
        raise not_found(target)


def _render(config: ProvisionedConfig, use: ProvisionedUse) -> Output:
    shown: Output = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": use.allocated,
        "AllocatedProvisionedConcurrentExecutions": use.allocated,
        "Status": use.status.value,
    }
    if use.status is ProvisionedStatus.FAILED:
        shown["StatusReason"] = INIT_FAILURE
    moment = time.gmtime(config.modified_at)
    shown["LastModified"] = time.strftime("%Y-%m-%dT%H:%M:%S+0000", moment)
    return shown


__all__ = [
    "check_provisioned",
    "check_provisioned_alias",
    "delete_provisioned_concurrency_config",
    "get_provisioned_concurrency_config",
    "list_provisioned_concurrency_configs",
    "put_provisioned_concurrency_config",
]
