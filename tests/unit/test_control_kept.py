"""Members that are kept and shown: as AWS shows them, when they are cleared, when they are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.contract.rig import ACCOUNT, REGION, Rig, Run, created, refused, shown, zip_of

from lambent.control.functions import (
    create_function,
    get_function,
    update_function_code,
    update_function_configuration,
)
from lambent.model.errors import InvalidParameterValueException

NETWORK = {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
NO_NETWORK = {
    "Ipv6AllowedForDualStack": False,
    "SecurityGroupIds": [],
    "SubnetIds": [],
    "VpcId": "",
}
ACCESS_POINT = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-0123456789abcdef0"
FILES = [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/data"}]
KMS_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
SNAPSHOTS = {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
NO_SNAPSHOTS = {"ApplyOn": "None", "OptimizationStatus": "Off"}


async def updated(rig: Rig, **members: Any) -> Any:
    """Update the configuration and return the answer, once the update has ended."""
    reply = await update_function_configuration(rig.services, rig.call(FunctionName="f", **members))
    await rig.settled()
    return reply


@pytest.mark.parametrize(
    ("member", "given", "expected"),
    [
        # functions 7.2 and 7.12 [R]
        ("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}, NO_NETWORK),
        ("KMSKeyArn", KMS_KEY, KMS_KEY),
        ("DeadLetterConfig", {"TargetArn": QUEUE}, {"TargetArn": QUEUE}),
        ("SnapStart", {"ApplyOn": "PublishedVersions"}, SNAPSHOTS),
        ("SnapStart", {"ApplyOn": "None"}, NO_SNAPSHOTS),
        ("SnapStart", {}, NO_SNAPSHOTS),
    ],
)
def test_a_kept_member_is_shown_as_on_aws(run: Run, member: str, given: Any, expected: Any) -> None:
    async def scenario(rig: Rig) -> None:
        reply = await created(rig, **{member: given})
        assert reply[member] == expected
        assert (await shown(rig))[member] == expected
        reply = await updated(rig, Timeout=5)
        # functions 7.7: what is not sent is kept.
        assert reply[member] == expected

    run(scenario)


def test_a_network_is_shown_with_an_id_of_its_own(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        network = (await created(rig, VpcConfig=NETWORK))["VpcConfig"]
        assert re.fullmatch(r"vpc-[0-9a-f]{17}", network.pop("VpcId"))
        assert network == {**NETWORK, "Ipv6AllowedForDualStack": False}
        # functions 7.7: an object replaces the old one whole.
        reply = await updated(rig, VpcConfig={**NETWORK, "Ipv6AllowedForDualStack": True})
        assert reply["VpcConfig"]["Ipv6AllowedForDualStack"] is True
        # functions 7.2 [R]: never absent again.
        reply = await updated(rig, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
        assert reply["VpcConfig"] == NO_NETWORK
        assert (await updated(rig, Timeout=5))["VpcConfig"] == NO_NETWORK

    run(scenario)


@pytest.mark.parametrize(
    ("member", "given", "cleared"),
    [
        # functions 7.18
        ("FileSystemConfigs", FILES, []),
        ("KMSKeyArn", KMS_KEY, ""),
        ("DeadLetterConfig", {"TargetArn": QUEUE}, {"TargetArn": ""}),
    ],
)
def test_an_empty_value_clears_the_member(run: Run, member: str, given: Any, cleared: Any) -> None:
    async def scenario(rig: Rig) -> None:
        reply = await created(rig, VpcConfig=NETWORK, **{member: given})
        assert reply[member] == given
        assert member not in await updated(rig, **{member: cleared})
        assert member not in await shown(rig)
        assert member not in await created(rig, "g", **{member: cleared})

    run(scenario)


def test_an_empty_dead_letter_config_changes_nothing(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        await created(rig, DeadLetterConfig={"TargetArn": QUEUE})
        # functions 7.12 [R]
        assert (await updated(rig, DeadLetterConfig={}))["DeadLetterConfig"] == {"TargetArn": QUEUE}

    run(scenario)


def test_a_file_system_needs_a_network(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        # functions 7.6
        text = f"Function must be configured to execute in a VPC to reference access point {ACCESS_POINT}"
        without: list[dict[str, Any]] = [{}, {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}]
        for network in without:
            call = rig.create_call(FileSystemConfigs=FILES, **network)
            await refused(rig, create_function, call, InvalidParameterValueException, text)
        await created(rig, FileSystemConfigs=FILES, VpcConfig=NETWORK)
        call = rig.call(FunctionName="f", VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
        await refused(rig, update_function_configuration, call, InvalidParameterValueException, text)

    run(scenario)


@pytest.mark.parametrize(
    ("runtime", "has_snapshots"),
    [
        # functions 7.12
        ("python3.11", False),
        ("python3.12", True),
        ("python3.14", True),
        ("java11", True),
        ("java8.al2", False),
        ("dotnet6", False),
        ("dotnet8", True),
        ("dotnet10", True),
        ("nodejs22.x", False),
        ("provided.al2023", False),
    ],
)
def test_only_some_runtimes_have_snapshots(run: Run, runtime: str, has_snapshots: bool) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.create_call(Runtime=runtime, SnapStart={"ApplyOn": "PublishedVersions"})
        if has_snapshots:
            assert (await create_function(rig.services, call))["SnapStart"] == SNAPSHOTS
            return
        # functions 7.6
        text = f"{runtime} is not supported for SnapStart enabled functions."
        await refused(rig, create_function, call, InvalidParameterValueException, text)
        await created(rig, SnapStart={"ApplyOn": "PublishedVersions"})
        call = rig.call(FunctionName="f", Runtime=runtime)
        await refused(rig, update_function_configuration, call, InvalidParameterValueException, text)
        await updated(rig, Runtime=runtime, SnapStart={"ApplyOn": "None"})

    run(scenario)


def test_the_key_of_a_package_is_shown_with_the_code_and_goes_with_it(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        async def code() -> Any:
            return (await get_function(rig.services, rig.call(FunctionName="f")))["Code"]

        await created(rig, Code={"ZipFile": zip_of(), "SourceKMSKeyArn": KMS_KEY})
        assert (await code())["SourceKMSKeyArn"] == KMS_KEY
        await updated(rig, Timeout=5)
        assert (await code())["SourceKMSKeyArn"] == KMS_KEY
        # functions 7.18
        await update_function_code(rig.services, rig.call(FunctionName="f", ZipFile=zip_of()))
        await rig.settled()
        assert "SourceKMSKeyArn" not in await code()
        call = rig.call(FunctionName="f", ZipFile=zip_of(), SourceKMSKeyArn=KMS_KEY)
        await update_function_code(rig.services, call)
        await rig.settled()
        assert (await code())["SourceKMSKeyArn"] == KMS_KEY

    run(scenario)


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"VpcConfig": NETWORK}, ["VpcConfig"]),
        ({"VpcConfig": NETWORK, "FileSystemConfigs": FILES}, ["VpcConfig", "FileSystemConfigs"]),
        ({"KMSKeyArn": KMS_KEY}, ["KMSKeyArn"]),
        ({"DeadLetterConfig": {"TargetArn": QUEUE}}, ["DeadLetterConfig"]),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, ["SnapStart"]),
        ({"EphemeralStorage": {"Size": 513}}, ["EphemeralStorage"]),
        ({"TracingConfig": {"Mode": "Active"}}, ["TracingConfig"]),
        ({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False}}, []),
        ({"FileSystemConfigs": [], "KMSKeyArn": "", "DeadLetterConfig": {"TargetArn": ""}}, []),
        ({"SnapStart": {"ApplyOn": "None"}, "TracingConfig": {"Mode": "PassThrough"}}, []),
        ({"EphemeralStorage": {"Size": 512}, "DeadLetterConfig": {}}, []),
    ],
)
def test_who_gives_what_has_no_effect_is_told_so(run: Run, members: dict[str, Any], named: list[str]) -> None:
    async def scenario(rig: Rig) -> None:
        call = rig.create_call(**members)
        await create_function(rig.services, call)
        assert [warning.partition(" is kept and shown, but ")[0] for warning in call.warnings] == named
        await rig.settled()
        call = rig.call(FunctionName="f", **members)
        await update_function_configuration(rig.services, call)
        assert [warning.partition(" is kept and shown, but ")[0] for warning in call.warnings] == named
        await rig.settled()
        # Nobody is told again who does not ask again.
        call = rig.call(FunctionName="f", Timeout=5)
        await update_function_configuration(rig.services, call)
        assert call.warnings == []

    run(scenario)


def test_the_key_of_a_package_is_told_too(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        calls = [
            rig.create_call(Code={"ZipFile": zip_of(), "SourceKMSKeyArn": KMS_KEY}),
            rig.call(FunctionName="f", ZipFile=zip_of(), SourceKMSKeyArn=KMS_KEY),
        ]
        for operation, call in zip((create_function, update_function_code), calls, strict=True):
            await operation(rig.services, call)
            await rig.settled()
            assert call.warnings == [
                "SourceKMSKeyArn is kept and shown, but nothing is encrypted with it",
            ]

    run(scenario)
