"""How events of a function, version or alias are tried: the FunctionEventInvokeConfig operations.

Source: docs/aws-behaviour.md, async 2.2, 2.3 and 2.7.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lambent.aws import NO_ENDPOINT
from lambent.control.operation import Call, Output, Services, Target, exists, find_target
from lambent.control.paging import cut_page, page_size, parse_marker, render_marker
from lambent.model.arns import parse_arn
from lambent.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lambent.model.events import EventInvokeConfig, EventTarget
from lambent.model.functions import LATEST, FunctionKey
from lambent.model.names import parse_function_reference
from lambent.storage.contracts import Conflict

_FIELDS = {
    "MaximumRetryAttempts": "maximum_retry_attempts",
    "MaximumEventAgeInSeconds": "maximum_event_age_s",
}
_SIDES = {"OnSuccess": "on_success", "OnFailure": "on_failure"}

_FIFO = re.compile(r"arn:[^:]+:(sqs|sns):.*\.fifo")
# What the last part of an ARN looks like, by service; functions are looked up instead.
_RESOURCES = {
    "sqs": re.compile(r"[a-zA-Z0-9_-]+"),
    "sns": re.compile(r"[a-zA-Z0-9_-]+"),
    "events": re.compile(r"event-bus/[a-zA-Z0-9._/-]+"),
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]+[a-z0-9]"),
}


async def put_function_event_invoke_config(services: Services, call: Call) -> Output:
    """Store a configuration; what is not given has AWS's default, whatever was there before.

    Raises:
        ResourceNotFoundException: there is no such function, version or alias.
        InvalidParameterValueException: nothing is set, or a destination cannot be one.
    """
    target = find_target(call, "PutFunctionEventInvokeConfig")
    await _check_target(services, target)
    changes = _read_changes(call.input)
    if all(value is None for value in changes.values()):
        raise _nothing_given()
    await _check_destinations(services, call, target)
    config = EventInvokeConfig(
        target=EventTarget(target.key, target.qualifier or LATEST),
        modified_at=services.clock.now(),
        **changes,
    )
    try:
        await services.functions.put_event_config(config)
    except Conflict:
        raise _no_function() from None
    return _render(config)


async def update_function_event_invoke_config(services: Services, call: Call) -> Output:
    """Change what is given; an empty destination is cleared.

    Raises:
        ResourceNotFoundException: there is no such function, version or alias, or it has
            no configuration.
        InvalidParameterValueException: nothing is given, or a destination cannot be one.
    """
    target = find_target(call, "UpdateFunctionEventInvokeConfig")
    await _check_target(services, target)
    config = await _load(services, target)
    changes = _read_changes(call.input)
    if not changes:
        raise _nothing_given()
    await _check_destinations(services, call, target)
    while True:
        changed = dataclasses.replace(config, modified_at=services.clock.now(), **changes)
        try:
            await services.functions.put_event_config(changed, config)
        except Conflict:
            # Somebody else was first: the changes are made to what they left.
            config = await _load(services, target)
            continue
        return _render(changed)


async def get_function_event_invoke_config(services: Services, call: Call) -> Output:
    """Return a configuration.

    Raises:
        ResourceNotFoundException: there is none.
    """
    target = find_target(call, "GetFunctionEventInvokeConfig")
    return _render(await _load(services, target))


async def delete_function_event_invoke_config(services: Services, call: Call) -> None:
    """Remove a configuration: the defaults hold again.

    Raises:
        ResourceNotFoundException: there is none.
    """
    target = find_target(call, "DeleteFunctionEventInvokeConfig")
    if not await services.functions.delete_event_config(target.key, target.qualifier or LATEST):
        raise _no_config(target)


async def list_function_event_invoke_configs(services: Services, call: Call) -> Output:
    """Return a page of all configurations of a function, its versions and aliases.

    Raises:
        ResourceNotFoundException: there is no such function; nor version or alias, where
            the name ends in one.
    """
    target = find_target(call, "ListFunctionEventInvokeConfigs")
    await _check_target(services, target)
    scope = f"ListFunctionEventInvokeConfigs\n{target.key.name}"
    found = await services.functions.event_configs(
        target.key, after=parse_marker(call, scope) or "", limit=page_size(call) + 1
    )
    shown, has_more = cut_page(call, found)
    output: Output = {"FunctionEventInvokeConfigs": [_render(config) for config in shown]}
    if has_more:
        output["NextMarker"] = render_marker(call, scope, shown[-1].target.qualifier or LATEST)
    return output


async def _check_target(services: Services, target: Target) -> None:
    if not await exists(services, target):
        raise _no_function()


async def _load(services: Services, target: Target) -> EventInvokeConfig:
    config = await services.functions.load_event_config(target.key, target.qualifier or LATEST)
    if config is None:
        raise _no_config(target)
    return config


def _read_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are given; None for a destination that is given empty."""
    sides = given.get("DestinationConfig") or {}
    return {field: given[member] for member, field in _FIELDS.items() if member in given} | {
        field: sides[side].get("Destination") or None for side, field in _SIDES.items() if side in sides
    }


async def _check_destinations(services: Services, call: Call, target: Target) -> None:
    """Refuse destinations that nothing could be sent to, and tell when nothing is sent.

    Raises:
        InvalidParameterValueException: another kind of resource, a queue or topic that is
            FIFO, a function that is not there, or the function itself.
    """
    sides = call.input.get("DestinationConfig") or {}
    given = {side: arn for side, member in sides.items() if (arn := member.get("Destination"))}
    for side, arn in given.items():
        if parse_arn(arn).service == "lambda":
            await _check_function(services, call, target, arn)
        elif _FIFO.fullmatch(arn):
            raise InvalidParameterValueException(
                f"The destination {arn} is FIFO; only standard queues and topics can be destinations."
            )
        elif not _is_destination(arn, side):
            raise InvalidParameterValueException(
                f"The provided destination config {_print_config(sides)} is invalid."
            )
    if not services.can_deliver and any(parse_arn(arn).service != "lambda" for arn in given.values()):
        call.warnings.append(f"DestinationConfig is kept and shown, but {NO_ENDPOINT}")


async def _check_function(services: Services, call: Call, target: Target, arn: str) -> None:
    reference = parse_function_reference(arn, narrow=True)
    if reference is not None:
        key = FunctionKey(call.caller.account, call.caller.region, reference.name)
        named = Target(key, reference.qualifier)
        # Another account's, another region's, or no function at all: the ARN is another one.
        if named.arn == arn:
            if key == target.key:
                raise InvalidParameterValueException(
                    "You can't specify the function as a destination for itself."
                )
            if await exists(services, named):
                return
    raise InvalidParameterValueException(f"The destination ARN {arn} is invalid.")


def _is_destination(arn: str, side: str) -> bool:
    """Tell whether an ARN, well-formed by the model, is of a kind that takes records."""
    _, service, region, account, resource = parse_arn(arn)
    if service == "s3" and side != "OnFailure":
        return False
    is_regional = service != "s3"
    pattern = _RESOURCES.get(service)
    return (
        pattern is not None
        and bool(region) == bool(account) == is_regional
        and pattern.fullmatch(resource) is not None
    )


def _print_config(sides: Mapping[str, Mapping[str, str]]) -> str:
    """Return destinations as AWS's Java prints them."""
    parts = []
    for side in _SIDES:
        shown = "null"
        if side in sides:
            shown = f"{side}(destination={sides[side].get('Destination', 'null')})"
        parts.append(f"{side[0].lower()}{side[1:]}={shown}")
    return f"DestinationConfig({', '.join(parts)})"


def _no_function() -> ResourceNotFoundException:
    return ResourceNotFoundException("The function doesn't exist.")


def _no_config(target: Target) -> ResourceNotFoundException:
    arn = target.key.arn(target.qualifier or LATEST)
    return ResourceNotFoundException(f"The function {arn} doesn't have an EventInvokeConfig")


def _nothing_given() -> InvalidParameterValueException:
    return InvalidParameterValueException(
        "You must specify at least one of error handling or destination setting."
    )


def _render(config: EventInvokeConfig) -> Output:
    return {
        "LastModified": config.modified_at,
        "FunctionArn": config.target.arn,
        "MaximumRetryAttempts": config.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": config.maximum_event_age_s,
        "DestinationConfig": {
            "OnSuccess": {"Destination": config.on_success},
            "OnFailure": {"Destination": config.on_failure},
        },
    }


__all__ = [
    "delete_function_event_invoke_config",
    "get_function_event_invoke_config",
    "list_function_event_invoke_configs",
    "put_function_event_invoke_config",
    "update_function_event_invoke_config",
]
