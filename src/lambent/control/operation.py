"""What every operation is given: the services it works with and the call it answers.

An operation is ``async def create_function(services, call) -> dict | None``: input
and output by the model's member names. The input has been parsed and checked
against the model before; a member that is not served yet has been refused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambent.clock import Clock
from lambent.control.code_source import FetchCode, S3CodeSource
from lambent.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lambent.model.functions import LATEST, FunctionHead, FunctionKey, FunctionVersion, is_version
from lambent.model.invocations import Caller
from lambent.model.names import derive_qualifier, locate, parse_function_reference
from lambent.model.provisioned import ProvisionedConfig, ProvisionedUse
from lambent.storage.contracts import CodeStore, FunctionStore

ACTIVATIONS_AT_ONCE = 4
"""Each unpacks files and runs a compiler: more at a time only take turns."""

Output = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Services:
    """What the operations of one server share.

    Attributes:
        prepare: makes ready what the first start of a version would otherwise wait
            for (compiles byte code); runs none of the function's code.
        runtime_check: raises InvalidParameterValueException for a runtime that is
            refused; returns a warning for one that is replaced by another, else None.
        account_limit: concurrent executions of an account.
        fetch_code: reads a package that lies in S3; unless given, no bucket exists.
        can_deliver: whether other services can be called with what became of events.
        start_task: runs a coroutine in the background, keeps it, reports its failure.
        provisioned_use: tells what there is of what is to be provisioned.
        link_secret: signs download links; they end with the server.
        activation_slots: bounds the activations at work.
    """

    functions: FunctionStore
    code: CodeStore
    clock: Clock
    prepare: Callable[[FunctionVersion, Path], Awaitable[None]]
    runtime_check: Callable[[str], str | None]
    account_limit: int
    start_task: Callable[[Coroutine[Any, Any, None], str], object]
    provisioned_use: Callable[[ProvisionedConfig], ProvisionedUse] = lambda _: ProvisionedUse()
    fetch_code: FetchCode = field(default_factory=lambda: S3CodeSource(None).fetch)
    can_deliver: bool = False
    link_secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    activation_slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(ACTIVATIONS_AT_ONCE)
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an operation.

    Attributes:
        input: by the model's member names, checked; blobs are bytes.
        base_url: ``http://127.0.0.1:3001``, as the caller reaches this server.
        warnings: told to the caller beside the answer; operations append to it.
    """

    caller: Caller
    request_id: str
    input: dict[str, Any]
    base_url: str
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """The function that a call names; ``qualifier`` as asked, None when none was."""

    key: FunctionKey
    qualifier: str | None

    @property
    def arn(self) -> str:
        """The ARN as asked: with the qualifier only when there was one."""
        return self.key.arn(self.qualifier)

    def require_latest(self) -> Target:
        """Return itself, for operations on the function as a whole.

        Raises:
            InvalidParameterValueException: the name ends in a version or an alias.
        """
        if self.qualifier not in {None, LATEST}:
            raise InvalidParameterValueException(
                f"This operation is on the whole function; its name must not end in :{self.qualifier}."
            )
        return self


def find_target(call: Call, action: str | None, *, narrow: bool = False) -> Target:
    """Return the function that ``FunctionName`` and ``Qualifier`` mean.

    Args:
        call: whose name is taken apart.
        action: the IAM action without its prefix, for the text of a refusal; None
            where AWS sends no text.
        narrow: the name follows the pattern of create and update.

    Raises:
        InvalidParameterValueException: name and parameter have different qualifiers.
        ResourceNotFoundException: the name tells another region.
        AccessDeniedException: the name tells another account.
    """
    reference = parse_function_reference(call.input["FunctionName"], narrow=narrow)
    assert reference is not None, "the codec has applied the pattern"
    qualifier = derive_qualifier(reference, call.input.get("Qualifier"))
    key = locate(reference, call.caller, action=action)
    return Target(key, qualifier)


async def load_function(services: Services, key: FunctionKey) -> FunctionHead:
    """Return the head of a function's ``$LATEST``.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    head = await services.functions.load(key)
    if head is None:
        raise ResourceNotFoundException(f"Function not found: {key.arn()}")
    return head


async def exists(services: Services, target: Target) -> bool:
    """Tell whether the function, version or alias is there; each operation has its own words for it."""
    qualifier = target.qualifier or LATEST
    if is_version(qualifier):
        return await services.functions.load(target.key, qualifier) is not None
    return await services.functions.load_alias(target.key, qualifier) is not None


def not_found(target: Target) -> ResourceNotFoundException:
    """Return the refusal of permissions and of provisioned concurrency, which tell aliases apart.

    Source: docs/aws-behaviour.md, versions-permissions 5.2.
    """
    is_alias = not is_version(target.qualifier or LATEST)
    return ResourceNotFoundException(
        f"{'Cannot find alias arn' if is_alias else 'Function not found'}: {target.arn}"
    )


__all__ = [
    "ACTIVATIONS_AT_ONCE",
    "Call",
    "Output",
    "Services",
    "Target",
    "exists",
    "find_target",
    "load_function",
    "not_found",
]
