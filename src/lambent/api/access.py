"""Operation to what its caller must be allowed: action, resource, conditions.

The action is named like the operation, but for Invoke and its kin. The resource is the
function's ARN, with the qualifier where the operation has that parameter and it is given.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
and docs/aws-behaviour.md, versions-permissions 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lambent.invocation.authorize import Access
from lambent.model.arns import parse_arn
from lambent.model.functions import FunctionKey
from lambent.model.invocations import Caller
from lambent.model.names import derive_qualifier, parse_function_reference, resolve_key

INVOKE_ACTION = "lambda:InvokeFunction"
"""Of Invoke, InvokeAsync and InvokeWithResponseStream alike."""

_ACTIONS = dict.fromkeys(("Invoke", "InvokeAsync", "InvokeWithResponseStream"), INVOKE_ACTION)
_PASS_ROLE = frozenset(("CreateFunction", "UpdateFunctionConfiguration"))
_MEMBER_KEYS = {
    "AddPermission": {
        "Principal": "lambda:principal",
        "FunctionUrlAuthType": "lambda:functionurlauthtype",
    },
}


class Asked(NamedTuple):
    """All that a call asks for.

    Attributes:
        function: whose policy is asked too, for the first access, and the qualifier; None where there is
            no function.
        accesses: each must be allowed.
    """

    function: tuple[FunctionKey, str | None] | None
    accesses: list[Access]


def invoke_access(key: FunctionKey, qualifier: str | None) -> Access:
    """Return what it takes to invoke a function."""
    return Access(INVOKE_ACTION, key.arn(qualifier), key.account, {"lambda:functionarn": (key.arn(),)})


def find_accesses(operation: str, members: Mapping[str, Any], caller: Caller) -> Asked:
    """Return what a call of ``operation`` with these members asks for.

    Raises:
        InvalidParameterValueException: name and parameter have different qualifiers.
        ResourceNotFoundException: the name tells another region.
    """
    action = _ACTIONS.get(operation, f"lambda:{operation}")
    named = members.get("FunctionName", members.get("Resource"))
    # An ARN of something else would pass for a function's name and qualifier.
    is_function = "FunctionName" in members or parse_arn(named or "").resource.startswith("function:")
    reference = parse_function_reference(named) if is_function else None
    if reference is None:
        # Of accounts as a whole, and of ARNs of what is no function.
        return Asked(None, [Access(action, named or "*", caller.account)])
    qualifier = derive_qualifier(reference, members.get("Qualifier"))
    key = resolve_key(reference, caller.account, caller.region)
    context = {"lambda:functionarn": (key.arn(),)}
    for member, name in _MEMBER_KEYS.get(operation, {}).items():
        if member in members:
            context[name] = (members[member],)
    accesses = [Access(action, key.arn(qualifier), key.account, context)]
    if operation == "CreateFunction" and members.get("Tags"):
        accesses.append(Access("lambda:TagResource", key.arn(), key.account, context))
    if operation in _PASS_ROLE and "Role" in members:
        role = members["Role"]
        passed_to = {"iam:passedtoservice": ("lambda.amazonaws.com",)}
        accesses.append(Access("iam:PassRole", role, parse_arn(role).account, passed_to))
    return Asked((key, qualifier), accesses)


__all__ = ["INVOKE_ACTION", "Asked", "find_accesses", "invoke_access"]
