"""Tags over a real store. Expected values are those of docs/aws-behaviour.md, functions 7.10."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.rig import ACCOUNT, ARN, KEY, REGION, Operation, Rig, Run, created, refused, shown

from lambent.control.functions import create_function, get_function, update_function_configuration
from lambent.control.tags import list_tags, tag_resource, untag_resource
from lambent.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ServiceError,
)

TOO_MANY = "Number of tags exceeds resource tag limit."
REFUSED = "An error occurred and the request cannot be processed."
QUALIFIED = "Tags on function aliases and versions are not supported. Please specify a function ARN."


async def tags(rig: Rig) -> Any:
    return (await list_tags(rig.services, rig.call(Resource=ARN)))["Tags"]


def many(count: int, prefix: str = "k") -> dict[str, str]:
    return {f"{prefix}{number}": "v" for number in range(count)}


def test_a_function_has_the_tags_it_was_given(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        assert await tags(rig) == {}
        assert "Tags" not in await get_function(rig.services, rig.call(FunctionName="f"))
        await tag_resource(rig.services, rig.call(Resource=ARN, Tags={"a": "1", "b": "2"}))
        await tag_resource(rig.services, rig.call(Resource=ARN, Tags={"b": "3", "c": ""}))
        assert await tags(rig) == {"a": "1", "b": "3", "c": ""}
        await untag_resource(rig.services, rig.call(Resource=ARN, TagKeys=["a", "never"]))
        await untag_resource(rig.services, rig.call(Resource=ARN, TagKeys=["never"]))
        assert await tags(rig) == {"b": "3", "c": ""}
        reply = await get_function(rig.services, rig.call(FunctionName="f"))
        assert reply["Tags"] == {"b": "3", "c": ""}

    run(scenario)


def test_tags_of_create_are_there_at_once_and_stay_through_updates(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.gate.clear()
        reply = await create_function(rig.services, rig.create_call(Tags={"a": "1"}))
        assert "Tags" not in reply
        assert await tags(rig) == {"a": "1"}
        rig.gate.set()
        await rig.settled()
        await update_function_configuration(rig.services, rig.call(FunctionName="f", Timeout=4))
        await rig.settled()
        assert await tags(rig) == {"a": "1"}

    run(scenario)


@pytest.mark.parametrize(
    ("operation", "members"), [(tag_resource, {"Tags": {"a": "1"}}), (untag_resource, {"TagKeys": ["a"]})]
)
def test_a_change_of_tags_has_a_revision_of_its_own_and_is_no_update(
    run: Run, operation: Operation, members: dict[str, Any]
) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        before = await shown(rig)
        rig.clock.advance(60)
        await operation(rig.services, rig.call(Resource=ARN, **members))
        after = await shown(rig)
        assert after.pop("RevisionId") != before.pop("RevisionId")
        assert after == before

    run(scenario)


def test_tags_change_while_the_function_does(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.gate.clear()
        await create_function(rig.services, rig.create_call())
        await tag_resource(rig.services, rig.call(Resource=ARN, Tags={"a": "1"}))
        rig.gate.set()
        await rig.settled()
        assert (await shown(rig))["State"] == "Active"
        assert await tags(rig) == {"a": "1"}

    run(scenario)


def test_of_tags_given_at_once_none_is_lost(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        calls = [rig.call(Resource=ARN, Tags={f"k{number}": "v"}) for number in range(10)]
        await asyncio.gather(*(tag_resource(rig.services, call) for call in calls))
        assert await tags(rig) == many(10)

    run(scenario)


def test_fifty_tags_are_the_most(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, Tags=many(49))
        call = rig.call(Resource=ARN, Tags=many(2, "x"))
        await refused(rig, tag_resource, call, InvalidParameterValueException, TOO_MANY)
        call = rig.call(Resource=ARN, Tags=many(51))
        await refused(rig, tag_resource, call, InvalidParameterValueException, TOO_MANY)
        assert await tags(rig) == many(49)
        await tag_resource(rig.services, rig.call(Resource=ARN, Tags=many(50)))
        assert await tags(rig) == many(50)

    run(scenario)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, REFUSED),
        # functions 7.18
        ({"aws:x": "1"}, REFUSED),
        ({"AWS:x": "1"}, REFUSED),
    ],
)
def test_tags_that_nobody_may_give(run: Run, given: dict[str, str], text: str) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, Tags={"a": "1"})
        call = rig.call(Resource=ARN, Tags=given)
        await refused(rig, tag_resource, call, InvalidParameterValueException, text)
        assert await tags(rig) == {"a": "1"}

    run(scenario)


@pytest.mark.parametrize(("given", "text"), [(many(51), TOO_MANY), ({"aws:x": "1"}, REFUSED)])
def test_create_refuses_such_tags_too(run: Run, given: dict[str, str], text: str) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.create_call(Tags=given)
        await refused(rig, create_function, call, InvalidParameterValueException, text)
        assert await rig.functions.load(KEY) is None

    run(scenario)


@pytest.mark.parametrize(
    ("resource", "error", "text"),
    [
        (f"{ARN}x", ResourceNotFoundException, f"Function not found: {ARN}x"),
        # Before existence: functions 7.16.
        (f"{ARN}:never", InvalidParameterValueException, QUALIFIED),
        (f"{ARN}:7", InvalidParameterValueException, QUALIFIED),
        (f"{ARN}:$LATEST", InvalidParameterValueException, QUALIFIED),
        (
            ARN.replace(REGION, "us-east-1"),
            ResourceNotFoundException,
            f"Functions from 'us-east-1' are not reachable in this region ('{REGION}')",
        ),
        (ARN.replace(ACCOUNT, "999999999999"), AccessDeniedException, None),
        (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:c",
            ResourceNotFoundException,
            f"Capacity provider not found: arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:c",
        ),
        (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l",
            InvalidParameterValueException,
            "Tags of a layer are not served by this version of Lambent.",
        ),
    ],
)
@pytest.mark.parametrize(
    ("operation", "members"),
    [(tag_resource, {"Tags": {"a": "1"}}), (untag_resource, {"TagKeys": ["a"]}), (list_tags, {})],
    ids=["tag", "untag", "list"],
)
def test_what_has_no_tags(
    run: Run,
    operation: Operation,
    members: dict[str, Any],
    resource: str,
    error: type[ServiceError],
    text: str | None,
) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig)
        await refused(rig, operation, rig.call(Resource=resource, **members), error, text)

    run(scenario)


def test_a_function_called_function_has_tags(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        # functions 7.5: the name that most resembles the rest of an ARN.
        await created(rig, "function", Tags={"a": "1"})
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"
        assert await list_tags(rig.services, rig.call(Resource=arn)) == {"Tags": {"a": "1"}}

    run(scenario)
