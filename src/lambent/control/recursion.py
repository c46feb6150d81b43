"""What happens to a function in a loop: PutFunctionRecursionConfig, GetFunctionRecursionConfig.

Source: docs/aws-behaviour.md, async 2.5 and 2.7.
"""

from __future__ import annotations

from lambent.control.operation import Call, Output, Services, find_target, load_function
from lambent.control.states import new_revision_id
from lambent.storage.contracts import Conflict

_ALLOW, _TERMINATE = "Allow", "Terminate"


async def put_function_recursion_config(services: Services, call: Call) -> Output:
    """Say whether a function may be a part of a loop, or is stopped.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    wanted: str = call.input["RecursiveLoop"]
    target = find_target(call, "PutFunctionRecursionConfig", narrow=True).require_latest()
    while True:
        head = await load_function(services, target.key)
        changed = head.evolve(revision_id=new_revision_id(), may_loop=wanted == _ALLOW)
        try:
            await services.functions.replace(changed, head.revision_id)
        except Conflict:
            continue
        return {"RecursiveLoop": wanted}


async def get_function_recursion_config(services: Services, call: Call) -> Output:
    """Return what happens to a function in a loop; it is stopped unless it was allowed to go on.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    target = find_target(call, "GetFunctionRecursionConfig", narrow=True).require_latest()
    head = await load_function(services, target.key)
    return {"RecursiveLoop": _ALLOW if head.may_loop else _TERMINATE}


__all__ = ["get_function_recursion_config", "put_function_recursion_config"]
