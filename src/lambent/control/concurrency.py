"""Reserved concurrency: PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.

It is a member of the function's head; whoever admits invocations learns of a change from
the store's change feed, before the operation has answered.

Source: docs/aws-behaviour.md, concurrency 3.3 and 3.6.
"""

from __future__ import annotations

from lambent import limits
from lambent.control.operation import Call, Output, Services, Target, find_target, load_function
from lambent.control.states import new_revision_id
from lambent.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lambent.model.functions import LATEST, FunctionHead
from lambent.storage.contracts import Conflict, ReservedTooLittle, ReservedTooMuch


async def put_function_concurrency(services: Services, call: Call) -> Output:
    """Reserve concurrency for a function; it is a guarantee and a ceiling, 0 switches the function off.

    Raises:
        ResourceNotFoundException: there is no such function.
        InvalidParameterValueException: too little would stay unreserved, more is
            provisioned, or the name ends in a version or alias.
    """
    wanted: int = call.input["ReservedConcurrentExecutions"]
    await _change(services, _find_function(call, "PutFunctionConcurrency"), wanted)
    return {"ReservedConcurrentExecutions": wanted}


async def get_function_concurrency(services: Services, call: Call) -> Output:
    """Return what is reserved; nothing for a function that shares the account's concurrency.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    target = _find_function(call, "GetFunctionConcurrency")
    return render_reserved(await load_function(services, target.key))


async def delete_function_concurrency(services: Services, call: Call) -> None:
    """Let the function share the account's concurrency again.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    await _change(services, _find_function(call, "DeleteFunctionConcurrency"), None)


def render_reserved(head: FunctionHead) -> Output:
    """Return the member that shows it, or none."""
    reserved = head.reserved_concurrency
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


def unreserved_minimum(services: Services) -> int:
    """Return how much of the account's concurrency nothing may be set aside of."""
    return min(limits.UNRESERVED_CONCURRENCY_MIN, services.account_limit)


def _find_function(call: Call, action: str) -> Target:
    target = find_target(call, action, narrow=True)
    if target.qualifier is not None:
        raise InvalidParameterValueException(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
            "operation. Please specify either a function name or an unqualified function ARN."
        )
    return target


async def _change(services: Services, target: Target, wanted: int | None) -> None:
    minimum = unreserved_minimum(services)
    while True:
        head = await services.functions.load(target.key)
        if head is None:
            raise ResourceNotFoundException(f"Function not found: {target.key.arn(LATEST)}")
        changed = head.evolve(revision_id=new_revision_id(), reserved_concurrency=wanted)
        grows = (wanted or 0) > (head.reserved_concurrency or 0)
        at_most = services.account_limit - minimum if grows else None
        try:
            await services.functions.replace(changed, head.revision_id, reserved_at_most=at_most)
        except Conflict:
            continue
        except ReservedTooLittle as error:
            # The blanks are AWS's.
            raise InvalidParameterValueException(
                f" ReservedConcurrentExecutions  {wanted} should not be lower than "
                f"function's total provisioned concurrency [{error.provisioned}]."
            ) from None
        except ReservedTooMuch:
            raise InvalidParameterValueException.untyped(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
            ) from None
        return


__all__ = [
    "delete_function_concurrency",
    "get_function_concurrency",
    "put_function_concurrency",
    "render_reserved",
    "unreserved_minimum",
]
