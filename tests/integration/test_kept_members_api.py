"""Members that are kept: shown as AWS shows them, cleared as there, warned about. Through boto3.

Expected values: docs/aws-behaviour.md, functions 7.2, 7.6, 7.7 and 7.12.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import wait_until_active
from tests.integration.functions_harness import (
    EVERYWHERE,
    PACKAGE,
    REASONS,
    STATE,
    create,
    members_of,
    refusal,
    warning_of,
)

ACCESS_POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
NETWORK = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
KEPT: dict[str, Any] = {
    "VpcConfig": NETWORK,
    "FileSystemConfigs": [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/data"}],
    "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
    "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"},
    "SnapStart": {"ApplyOn": "PublishedVersions"},
}


def _configuration(client: Any, name: str) -> dict[str, Any]:
    return dict(client.get_function(FunctionName=name)["Configuration"])


def test_kept_members_are_shown_everywhere_and_warned_about(client: Any, name: str) -> None:
    reply = create(client, name, Runtime="python3.13", **KEPT)
    assert members_of(reply) == EVERYWHERE | STATE | REASONS | set(KEPT)
    network = reply["VpcConfig"]
    assert network == {**NETWORK, "VpcId": network["VpcId"], "Ipv6AllowedForDualStack": False}
    assert reply["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    for member in ("FileSystemConfigs", "KMSKeyArn", "DeadLetterConfig"):
        assert reply[member] == KEPT[member]
    assert all(f"{member} is kept and shown" in warning_of(reply) for member in KEPT)
    wait_until_active(client, name)
    listed = next(each for each in client.list_functions()["Functions"] if each["FunctionName"] == name)
    for shown in (_configuration(client, name), listed):
        assert {member: shown[member] for member in KEPT} == {member: reply[member] for member in KEPT}


def test_kept_members_are_cleared_by_empty_values(client: Any, name: str) -> None:
    create(client, name, Runtime="python3.13", **KEPT)
    wait_until_active(client, name)
    updated = client.update_function_configuration(
        FunctionName=name,
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
        FileSystemConfigs=[],
        KMSKeyArn="",
        DeadLetterConfig={"TargetArn": ""},
        SnapStart={"ApplyOn": "None"},
    )
    assert warning_of(updated) == ""
    wait_until_active(client, name, "function_updated_v2")
    shown = _configuration(client, name)
    assert {"FileSystemConfigs", "KMSKeyArn", "DeadLetterConfig"} & set(shown) == set()
    assert shown["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert shown["VpcConfig"] == {
        "SubnetIds": [],
        "SecurityGroupIds": [],
        "VpcId": "",
        "Ipv6AllowedForDualStack": False,
    }


def test_the_key_of_a_package_is_shown_with_the_code(client: Any, name: str) -> None:
    key = KEPT["KMSKeyArn"]
    reply = create(client, name, Code={"ZipFile": PACKAGE, "SourceKMSKeyArn": key})
    assert "SourceKMSKeyArn" in warning_of(reply)
    assert members_of(reply) == EVERYWHERE | STATE | REASONS
    assert client.get_function(FunctionName=name)["Code"]["SourceKMSKeyArn"] == key


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"FileSystemConfigs": KEPT["FileSystemConfigs"]},
            f"Function must be configured to execute in a VPC to reference access point {ACCESS_POINT}",
        ),
        (
            {"SnapStart": KEPT["SnapStart"], "Runtime": "python3.11"},
            "python3.11 is not supported for SnapStart enabled functions.",
        ),
    ],
)
def test_what_aws_would_not_keep_is_refused(client: Any, name: str, given: dict[str, Any], text: str) -> None:
    refused = refusal(lambda: create(client, name, **given))
    assert refused == (400, "InvalidParameterValueException", text)
