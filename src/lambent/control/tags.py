"""Tags of functions: TagResource, UntagResource, ListTags, and those given at Create.

They belong to the function's head, not to a version: a change of tags is no update,
whatever state the function is in, and has a new RevisionId.

Source: docs/aws-behaviour.md, functions 7.10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lambent import limits
from lambent.control.operation import Call, Output, Services, load_function
from lambent.control.states import new_revision_id
from lambent.model.arns import parse_arn
from lambent.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lambent.model.functions import FunctionKey
from lambent.model.names import locate, parse_function_reference
from lambent.storage.contracts import Conflict

Tags = Mapping[str, str]


async def tag_resource(services: Services, call: Call) -> None:
    """Add tags; a key that is there gets its new value.

    Raises:
        InvalidParameterValueException: no tags, too many, or one of AWS's own.
        ResourceNotFoundException: there is no such function.
    """
    given: Tags = call.input["Tags"]

    def change(tags: Tags) -> Tags:
        if not given:
            raise _refused()
        merged = {**tags, **given}
        check_tags(given)
        check_tags(merged)
        return merged

    await _change(services, _find_function(call, "TagResource"), change)


async def untag_resource(services: Services, call: Call) -> None:
    """Remove tags; a key that is not there is as good as removed.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    keys = call.input["TagKeys"]

    def change(tags: Tags) -> Tags:
        return {key: value for key, value in tags.items() if key not in keys}

    await _change(services, _find_function(call, "UntagResource"), change)


async def list_tags(services: Services, call: Call) -> Output:
    """Return the function's tags.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    head = await load_function(services, _find_function(call, "ListTags"))
    return {"Tags": dict(head.tags)}


def check_tags(tags: Tags) -> None:
    """Refuse tags that no function may have.

    Raises:
        InvalidParameterValueException: more than 50, or a key of AWS's own (``aws:``).
    """
    if any(key.lower().startswith("aws:") for key in tags):
        raise _refused()
    if len(tags) > limits.TAGS_COUNT:
        raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")


def _find_function(call: Call, action: str) -> FunctionKey:
    """Return the function that ``Resource`` means; the codec has applied AWS's pattern.

    Raises:
        InvalidParameterValueException: a version or alias, or something that is not
            served yet.
        ResourceNotFoundException: another region's, or a capacity provider.
        AccessDeniedException: another account's.
    """
    arn = call.input["Resource"]
    kind = parse_arn(arn).resource.partition(":")[0]
    if kind == "capacity-provider":
        raise ResourceNotFoundException(f"Capacity provider not found: {arn}")
    if kind != "function":
        raise InvalidParameterValueException(f"Tags of a {kind} are not served by this version of Lambent.")
    reference = parse_function_reference(arn)
    assert reference is not None, "the pattern of names takes whatever that of tags takes"
    key = locate(reference, call.caller, action=action)
    if reference.qualifier is not None:
        raise InvalidParameterValueException(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return key


async def _change(services: Services, key: FunctionKey, change: Callable[[Tags], Tags]) -> None:
    while True:
        head = await load_function(services, key)
        changed = head.evolve(revision_id=new_revision_id(), tags=change(head.tags))
        try:
            await services.functions.replace(changed, head.revision_id)
        except Conflict:
            continue
        return


def _refused() -> InvalidParameterValueException:
    return InvalidParameterValueException("An error occurred and the request cannot be processed.")


__all__ = ["check_tags", "list_tags", "tag_resource", "untag_resource"]
