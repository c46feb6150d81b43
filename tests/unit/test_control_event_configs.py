"""Configurations of events where several change them at once."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.rig import created, open_rig

from lambent.control.event_configs import (
    delete_function_event_invoke_config,
    get_function_event_invoke_config,
    put_function_event_invoke_config,
    update_function_event_invoke_config,
)
from lambent.control.functions import delete_function
from lambent.model.errors import ResourceNotFoundException


def test_configs_that_are_changed_at_once_keep_every_change() -> None:
    async def scenario() -> None:
        async with open_rig(":memory:") as rig:
            await created(rig)
            name = {"FunctionName": "f"}
            bucket = {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}
            await put_function_event_invoke_config(rig.services, rig.call(**name, MaximumRetryAttempts=2))
            await asyncio.gather(
                *(
                    update_function_event_invoke_config(rig.services, rig.call(**name, **change))
                    for change in (
                        {"MaximumRetryAttempts": 0},
                        {"MaximumEventAgeInSeconds": 60},
                        {"DestinationConfig": bucket},
                    )
                )
            )
            shown = await get_function_event_invoke_config(rig.services, rig.call(**name))
            assert (shown["MaximumRetryAttempts"], shown["MaximumEventAgeInSeconds"]) == (0, 60)
            assert shown["DestinationConfig"]["OnFailure"] == bucket["OnFailure"]

    asyncio.run(scenario())


def test_a_function_that_goes_meanwhile_keeps_no_config() -> None:
    async def scenario() -> None:
        async with open_rig(":memory:") as rig:
            await created(rig)
            call = rig.call(FunctionName="f", MaximumRetryAttempts=0)
            _, answer = await asyncio.gather(
                delete_function(rig.services, rig.call(FunctionName="f")),
                put_function_event_invoke_config(rig.services, call),
                return_exceptions=True,
            )
            assert isinstance(answer, ResourceNotFoundException)
            assert answer.message == "The function doesn't exist."
            await created(rig)
            with pytest.raises(ResourceNotFoundException, match="doesn't have an EventInvokeConfig"):
                await get_function_event_invoke_config(rig.services, rig.call(FunctionName="f"))

    asyncio.run(scenario())


def test_an_update_does_not_bring_back_what_is_deleted_meanwhile() -> None:
    async def scenario() -> None:
        async with open_rig(":memory:") as rig:
            await created(rig)
            call = rig.call(FunctionName="f", MaximumRetryAttempts=0)
            await put_function_event_invoke_config(rig.services, call)
            _, answer = await asyncio.gather(
                delete_function_event_invoke_config(rig.services, rig.call(FunctionName="f")),
                update_function_event_invoke_config(rig.services, call),
                return_exceptions=True,
            )
            assert isinstance(answer, ResourceNotFoundException)
            assert "doesn't have an EventInvokeConfig" in str(answer.message)

    asyncio.run(scenario())
