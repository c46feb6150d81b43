"""What the tests of the functions API share: a package, AWS's members, a call's refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest

from tests.integration.conftest import ROLE, RUNTIME, pack

PACKAGE = pack(index="def handler(event, context): return 1")
OTHER_PACKAGE = pack(index="def handler(event, context): return 2")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")

# docs/aws-behaviour.md, functions 7.2: what stands in every reply, and what only some show.
EVERYWHERE = {
    "FunctionName", "FunctionArn", "Runtime", "Handler", "Role", "CodeSize", "CodeSha256", "LastModified",
    "RevisionId", "Version", "Description", "Timeout", "MemorySize", "PackageType", "Architectures",
    "EphemeralStorage", "TracingConfig", "SnapStart", "LoggingConfig",
}  # fmt: skip
STATE = {"State", "RuntimeVersionConfig"}
REASONS = {"StateReason", "StateReasonCode"}
UPDATE = {"LastUpdateStatus"}
UPDATE_REASONS = {"LastUpdateStatusReason", "LastUpdateStatusReasonCode"}


def create(client: Any, name: str, **configuration: Any) -> dict[str, Any]:
    """Create a function that is right but for ``configuration``; a member that is None is not sent."""
    given = {
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "index.handler",
        "Code": {"ZipFile": PACKAGE},
        **configuration,
    }
    return {**client.create_function(**{key: value for key, value in given.items() if value is not None})}


def place(name: str, qualifier: str | None) -> dict[str, str]:
    """Return the members that name a function, version or alias."""
    return {"FunctionName": name} if qualifier is None else {"FunctionName": name, "Qualifier": qualifier}


def members_of(reply: dict[str, Any]) -> set[str]:
    """Return the names of an answer's members."""
    return set(reply) - {"ResponseMetadata"}


def status_of(reply: dict[str, Any]) -> int:
    """Return an answer's HTTP status."""
    return int(reply["ResponseMetadata"]["HTTPStatusCode"])


def warning_of(reply: dict[str, Any]) -> str:
    """Return what an answer warns of, as a whole."""
    return str(reply["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-warning", ""))


def refusal(call: Callable[..., Any], **given: Any) -> tuple[int, str, str]:
    """Return status, code and text with which a call is refused."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**given)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )
