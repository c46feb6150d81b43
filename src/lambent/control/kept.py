"""Members that are checked, stored and shown as AWS shows them, and that nothing here acts upon.

They stand together in :attr:`~lambent.model.functions.FunctionVersion.kept`, by AWS's
names and in AWS's form. Whoever gives one of them a value that would change something
on AWS is told so.

Source: docs/aws-behaviour.md, functions 7.2, 7.6, 7.7 and 7.12.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lambent.aws import NO_ENDPOINT
from lambent.model.errors import InvalidParameterValueException
from lambent.model.functions import FunctionKey

_SNAPSTART_RUNTIME = re.compile(
    r"java(1[1-9]|[2-9][0-9])|python3\.(1[2-9]|[2-9][0-9])|dotnet([89]|[1-9][0-9])"
)

_STANDARD_QUEUE = re.compile(r"arn:[^:]+:(?:sqs|sns):[^:]+:[0-9]{12}:(?!.*\.fifo$).+")

_MISSING = {
    "VpcConfig": "functions run in the network of this machine",
    "FileSystemConfigs": "nothing is mounted",
    "KMSKeyArn": "nothing is encrypted with it",
    "SourceKMSKeyArn": "nothing is encrypted with it",
    "SnapStart": "no snapshots are made",
    "EphemeralStorage": "a function's temporary folder is as large as the disk allows",
    "TracingConfig": "no trace is recorded",
}
# What AWS does unasked, so nobody misses it.
_NOTHING = ("", "None", "PassThrough", 512, False)


def merge_kept(current: Mapping[str, Any], given: Mapping[str, Any], key: FunctionKey) -> dict[str, Any]:
    """Return the kept members after a change; one that is cleared is gone.

    VpcConfig alone never goes away again: emptied it is shown with empty lists. The id
    of the network is made up, one for each account and region.

    Args:
        current: as stored.
        given: input of an operation; members that are absent or None keep their value.
        key: the function's.
    """
    kept: dict[str, Any] = dict(current)
    if (network := given.get("VpcConfig")) is not None:
        kept["VpcConfig"] = _show_network(network, key)
    for member in ("FileSystemConfigs", "KMSKeyArn"):
        if given.get(member) is not None:
            kept[member] = given[member]
    if (target := (given.get("DeadLetterConfig") or {}).get("TargetArn")) is not None:
        kept["DeadLetterConfig"] = {"TargetArn": target} if target else None
    if (apply_on := (given.get("SnapStart") or {}).get("ApplyOn")) is not None:
        kept["SnapStart"] = {"ApplyOn": apply_on, "OptimizationStatus": "Off"}
    return {member: value for member, value in kept.items() if value}


def check_kept(kept: Mapping[str, Any], runtime: str) -> None:
    """Refuse kept members that do not go together, or not with the runtime.

    Raises:
        InvalidParameterValueException: a file system without a network; SnapStart for
            a runtime that AWS has no snapshots of; a dead-letter queue that is none.
    """
    target = kept.get("DeadLetterConfig", {}).get("TargetArn", "")
    if target and _STANDARD_QUEUE.fullmatch(target) is None:
        raise InvalidParameterValueException(
            f"The target {target} is no standard queue of SQS and no standard topic of SNS."
        )
    systems = kept.get("FileSystemConfigs")
    if systems and not kept.get("VpcConfig", {}).get("SubnetIds"):
        raise InvalidParameterValueException(
            f"Function must be configured to execute in a VPC to reference access point {systems[0]['Arn']}"
        )
    wants_snapshots = kept.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions"
    if wants_snapshots and _SNAPSTART_RUNTIME.fullmatch(runtime) is None:
        raise InvalidParameterValueException(f"{runtime} is not supported for SnapStart enabled functions.")


def tell_kept(given: Mapping[str, Any], *, can_deliver: bool = False) -> Iterator[str]:
    """Yield what to tell a caller about members that have no effect on this machine.

    Args:
        given: input of an operation; what it says of the code (``Code``) likewise.
        can_deliver: whether other services can be called.
    """
    if not can_deliver and _asks(given.get("DeadLetterConfig")):
        yield f"DeadLetterConfig is kept and shown, but {NO_ENDPOINT}"
    for member, missing in _MISSING.items():
        if _asks(given.get(member)):
            yield f"{member} is kept and shown, but {missing}"
    wanted = (given.get("Architectures") or [None])[0]
    here = {"aarch64": "arm64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    if wanted is not None and wanted != here:
        yield f"the architecture {wanted} is kept and shown, but this machine runs code for {here}"


def _asks(value: Any) -> bool:
    """Tell whether a value asks for anything but what AWS does unasked."""
    match value:
        case None:
            return False
        case dict():
            return any(map(_asks, value.values()))
        case list():
            return bool(value)
        case _:
            return value not in _NOTHING


def _show_network(given: Mapping[str, Any], key: FunctionKey) -> dict[str, Any]:
    subnets, groups = given.get("SubnetIds") or [], given.get("SecurityGroupIds") or []
    digits = hashlib.sha256(f"{key.account}/{key.region}".encode()).hexdigest()[:17]
    return {
        "SubnetIds": subnets,
        "SecurityGroupIds": groups,
        "VpcId": f"vpc-{digits}" if subnets or groups else "",
        "Ipv6AllowedForDualStack": given.get("Ipv6AllowedForDualStack") or False,
    }


__all__ = ["check_kept", "merge_kept", "tell_kept"]
