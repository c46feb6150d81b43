"""What is not served says so, by name, and nothing is ignored in silence.

docs/operations.md has the tables; a test of its own holds them to the code.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.model import ServiceModel, Shape
from botocore.session import get_session

from lambent.api.invoke import SERVED as SERVED_BY_INVOKE
from lambent.api.operations import OPERATIONS
from tests.integration.conftest import ROLE
from tests.integration.functions_harness import (
    ARN,
    EVERYWHERE,
    PACKAGE,
    REASONS,
    STATE,
    create,
    members_of,
    refusal,
)

MODEL: ServiceModel = get_session().get_service_model("lambda")
SERVED = {name: operation.members for name, operation in OPERATIONS.items()} | SERVED_BY_INVOKE

# A text for every pattern of the model: the first that fits is sent.
TEXTS = (
    "a", "1", "us-east-1", "000000000000", "arn:aws:lambda:us-east-1:000000000000:runtime/named", "lambda:GetLayerVersion", "subnet-1", "sg-1", "csc-12345678901234567", "provided",
    "00000000-0000-4000-8000-000000000000", ROLE, f"{ARN}f", f"{ARN}f:1",
    "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-12345678901234567",
    "arn:aws:lambda:us-east-1:000000000000:layer:l:1",
    "arn:aws:lambda:us-east-1:000000000000:capacity-provider:c",
    "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-12345678901234567",
    "arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:kms:us-east-1:000000000000:key/k",
    "arn:aws:secretsmanager:us-east-1:000000000000:secret:s", "/mnt/data", "$LATEST.PUBLISHED",
    f"{ARN}f:1/durable-execution/a/b", "host:9092", "2026-01-01T00:00:00Z", "lambda.amazonaws.com",
)  # fmt: skip


def _text(shape: Shape) -> str:
    facts = shape.metadata
    if "enum" in facts:
        # Not what AWS does unasked: that would change nothing, and so is not refused.
        return str(
            next(
                (each for each in facts["enum"] if each not in {"None", "Zip", "PassThrough", "COPY"}),
                facts["enum"][0],
            )
        )
    pattern = facts.get("pattern")
    length = range(facts.get("min", 0), facts.get("max", 10_000) + 1)
    for text in TEXTS:
        if len(text) in length and (pattern is None or "\\p{" in pattern or re.fullmatch(pattern, text)):
            return text
    return "a" * (length[0] or 1)


def _value(shape: Shape, *, whole: bool, within: tuple[str, ...] = ()) -> Any:
    """Return a value that the model takes: required members alone, or as ``whole`` all of them."""
    kind = shape.type_name
    if kind == "structure":
        names = shape.members if whole and shape.name not in within else shape.required_members
        return {
            name: _value(shape.members[name], whole=whole, within=(*within, shape.name))
            for name in names
            if shape.name not in within
        }
    if kind == "list":
        return [
            _value(shape.member, whole=whole, within=within) for _ in range(shape.metadata.get("min") or 1)
        ]
    if kind == "map":
        return {_text(shape.key): _value(shape.value, whole=whole, within=within)}
    if kind == "string":
        return _text(shape)
    if kind == "blob":
        return b"{}"
    if kind == "boolean":
        return True
    if kind == "timestamp":
        return 1_700_000_000
    return max(1, int(shape.metadata.get("min", 1)))


def _minimal(operation: str) -> dict[str, Any]:
    shape = MODEL.operation_model(operation).input_shape
    return {} if shape is None else dict(_value(shape, whole=False))


def _call(client: Any, operation: str, given: dict[str, Any]) -> tuple[int, str, str]:
    method = {name: python for python, name in client.meta.method_to_api_mapping.items()}[operation]
    return refusal(getattr(client, method), **given)


def _refused(name: str) -> tuple[int, str, str]:
    return 400, "InvalidParameterValueException", f"{name} is not served by this version of Lambent."


@pytest.mark.parametrize("operation", sorted(set(MODEL.operation_names) - set(SERVED)))
def test_every_operation_that_is_not_served_says_so(trusting: Any, operation: str) -> None:
    assert _call(trusting, operation, _minimal(operation)) == _refused(operation)


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        (operation, member)
        for operation, served in sorted(SERVED.items())
        for member in getattr(MODEL.operation_model(operation).input_shape, "members", ())
        if member not in served and not any(name.startswith(f"{member}.") for name in served)
    ],
)
def test_every_member_that_is_not_served_says_so(trusting: Any, operation: str, member: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    assert shape is not None
    given = {**_minimal(operation), member: _value(shape.members[member], whole=True)}
    assert _call(trusting, operation, given) == _refused(member)


@pytest.mark.parametrize("part", ["S3ObjectStorageMode", "ImageUri"])
def test_every_part_of_code_that_is_not_served_says_that_it_is_not_served(
    client: Any, name: str, part: str
) -> None:
    values = {
        "S3ObjectStorageMode": "REFERENCE",
        "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/repo:tag",
    }
    code = {"ZipFile": PACKAGE, part: values[part]}
    assert refusal(lambda: create(client, name, Code=code)) == _refused(f"Code.{part}")


@pytest.mark.parametrize(
    "given",
    [
        {"Publish": False},
        {"Layers": []},
        {"ImageConfig": {}},
        {"Code": {"ZipFile": PACKAGE, "S3ObjectStorageMode": "COPY"}},
    ],
)
def test_a_member_that_asks_for_nothing_is_no_reason_to_refuse(
    client: Any, name: str, given: dict[str, Any]
) -> None:
    assert members_of(create(client, name, **given)) == EVERYWHERE | STATE | REASONS
