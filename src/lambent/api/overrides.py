"""Where AWS behaves otherwise than its service model says: one table, each row with its source.

The model rules names, places and types. A limit, pattern, enum or status stands here only
if AWS was seen to apply or print another one, or if the oldest botocore that this
project supports has it differently: answers must not depend on which botocore is
installed. A row whose shape or member the installed model lacks is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambent import limits
from lambent.model import names, runtimes


@dataclass(frozen=True, slots=True)
class Override:
    """One row: facts that replace or, when None, remove a shape's own.

    Attributes:
        target: a shape (``Timeout``), or one member of a structure
            (``CreateFunctionRequest.Runtime``) where the shape is used differently.
        facts: the model's words ``min``, ``max``, ``pattern``, ``enum``; and ours:
            ``printed_enum`` (list shown instead of the one that is applied),
            ``flat`` (a list's element rule is printed without its wrapping),
            ``null_elements`` (null in a list is nothing to complain about).
        source: where it is known from.
    """

    target: str
    facts: Mapping[str, Any]
    source: str


_NAMES = "docs/aws-behaviour.md, invoke 1.1"
_CREATE = "docs/aws-behaviour.md, functions 7.4"
_ERRORS = "docs/aws-behaviour.md, functions 7.6"
_TAGS = "docs/aws-behaviour.md, functions 7.10"
_LAYERS = "docs/aws-behaviour.md, functions 7.11"
_CONTRADICTIONS = "docs/aws-behaviour.md, functions 7.17"
_NEWER_MODEL = "the service model of botocore 1.44"

_REGION = r"(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"
_ANY_ARN = rf"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:({_REGION})?:(\d{{12}})?:(.*)"
_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_TAG_TEXT = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"

OVERRIDES: tuple[Override, ...] = (
    # Names of functions. botocore before 1.44 lacks the regions of the European sovereign cloud.
    Override("NamespacedFunctionName", {"pattern": names.QUALIFIED_NAME}, _NAMES),
    Override("FunctionName", {"pattern": names.NARROW_NAME}, "docs/aws-behaviour.md, functions 7.5"),
    Override("UnqualifiedFunctionName", {"pattern": names.UNQUALIFIED_NAME}, _CONTRADICTIONS),
    Override("NumericLatestPublishedOrAliasQualifier", {"pattern": names.QUALIFIER}, _NAMES),
    # Configuration of functions.
    Override("Timeout", {"min": limits.TIMEOUT_S_MIN, "max": limits.TIMEOUT_S_MAX}, _CONTRADICTIONS),
    Override("MemorySize", {"min": limits.MEMORY_MB_MIN, "max": limits.MEMORY_MB_MAX}, _CONTRADICTIONS),
    Override(
        "EphemeralStorageSize",
        {"min": limits.EPHEMERAL_STORAGE_MB_MIN, "max": limits.EPHEMERAL_STORAGE_MB_MAX},
        _CONTRADICTIONS,
    ),
    # Refused later and in other words: lambent.model.runtimes.check_runtime.
    Override("CreateFunctionRequest.Runtime", {"enum": None}, _ERRORS),
    Override("UpdateFunctionConfigurationRequest.Runtime", {"enum": None}, _ERRORS),
    Override("RoleArn", {"min": 0, "max": 10_000}, _CREATE),
    Override("KMSKeyArn", {"min": 0, "max": 10_000}, _CREATE),
    Override("ResourceArn", {"min": 0, "max": 10_000}, _CREATE),
    Override("SubnetId", {"min": 0, "max": 1024, "pattern": "subnet-[0-9a-z]*"}, _ERRORS),
    Override("SubnetIds", {"null_elements": True}, _ERRORS),
    Override("SecurityGroupId", {"min": 0, "max": 1024, "pattern": "sg-[0-9a-zA-Z]*"}, _ERRORS),
    Override("SecurityGroupIds", {"null_elements": True}, _ERRORS),
    Override(
        "FileSystemArn",
        {
            "pattern": rf"arn:aws[a-zA-Z-]*:elasticfilesystem:{_REGION}:\d{{12}}:access-point/"
            r"fsap-[a-f0-9]{17}$|^arn:aws[-a-z]*:s3files:[0-9a-z-:]+:file-system/fs-[0-9a-f]{17,40}/"
            r"access-point/fsap-[0-9a-f]{17,40}"
        },
        _NEWER_MODEL,
    ),
    Override("S3Key", {"pattern": ".*"}, _NEWER_MODEL),
    Override("S3ObjectVersion", {"pattern": ".*"}, _NEWER_MODEL),
    # Permissions.
    Override("Action", {"min": 0, "max": 10_000}, _NEWER_MODEL),
    Override("Principal", {"min": 0, "max": 2048}, _NEWER_MODEL),
    Override(
        "Arn",
        {
            "min": 0,
            "max": 10_000,
            "pattern": rf"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:({_REGION})?:(\d{{12}})?:(.*)",
        },
        _NEWER_MODEL,
    ),
    Override(
        "DestinationArn",
        {"pattern": r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|" + _ANY_ARN},
        _NEWER_MODEL,
    ),
    # Tags.
    Override("TagKey", {"min": 1, "max": 128, "pattern": _TAG_TEXT}, _CREATE),
    Override("TagValue", {"min": 0, "max": 256, "pattern": _TAG_TEXT}, _CREATE),
    Override(
        "TaggableResource",
        {
            "min": 1,
            "max": 10_000,
            "pattern": rf"arn:(aws[a-zA-Z-]*):lambda:{_REGION}:\d{{12}}:("
            r"function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|"
            rf"code-signing-config:csc-[a-z0-9]{{17}}|event-source-mapping:{_UUID}|"
            "capacity-provider:[a-zA-Z0-9-_]+)",
        },
        _TAGS,
    ),
    # Layers.
    Override(
        "LayerVersionArn",
        {
            "min": 1,
            "max": 2048,
            "pattern": rf"(arn:(aws[a-zA-Z-]*)?:lambda:{_REGION}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)|"
            "(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
        },
        _LAYERS,
    ),
    # Every identifier of the model is taken, yet the list that is printed has only those in use.
    Override("CompatibleRuntimes", {"printed_enum": runtimes.SUPPORTED, "flat": True}, _LAYERS),
)

CHECKED_FIRST = frozenset(("Qualifier", "CompatibleRuntimes"))
"""Members whose problems are told before the others'; those follow in the model's order.

Source: docs/aws-behaviour.md, invoke 1.1 and functions 7.11.
"""

STATUSES: Mapping[str, int] = {
    # The model says 200.
    "DeleteFunction": 204,
}
"""Success status by operation. Source: docs/aws-behaviour.md, functions 7.1."""

MAX_BODY_BYTES: Mapping[str, int] = {
    "Invoke": limits.SYNC_REQUEST_BYTES,
    "InvokeWithResponseStream": limits.SYNC_REQUEST_BYTES,
    "InvokeAsync": limits.SYNC_REQUEST_BYTES,
    "CreateFunction": limits.CREATE_REQUEST_BYTES,
    "UpdateFunctionCode": limits.CREATE_REQUEST_BYTES,
    # Today's number is not known; a layer's zip may be as large as a function's.
    "PublishLayerVersion": limits.CREATE_REQUEST_BYTES,
    "UpdateFunctionConfiguration": limits.CONFIGURATION_REQUEST_BYTES,
}
"""Largest request body by operation; for the others ``limits.OTHER_REQUEST_BYTES``.

Source: docs/aws-behaviour.md, functions 7.4 and invoke 1.4.
"""

PRINTED_OPERATIONS: Mapping[str, str] = {"Invoke": "InvokeFunction"}
"""Operations that AWS calls otherwise in its texts. Source: docs/aws-behaviour.md, invoke 1.4."""

NO_EFFECT: Mapping[str, Any] = {
    "Architectures": ["x86_64"],
    "Code.S3ObjectStorageMode": "COPY",
    "EphemeralStorage.Size": 512,
    "InvocationType": "RequestResponse",
    "InvokeMode": "BUFFERED",
    "LoggingConfig.LogFormat": "Text",
    "LogType": "None",
    "MemorySize": 128,
    "PackageType": "Zip",
    "S3ObjectStorageMode": "COPY",
    "SnapStart.ApplyOn": "None",
    "Timeout": 3,
    "TracingConfig.Mode": "PassThrough",
    "UpdateRuntimeOn": "Auto",
}
"""Values that say what AWS does unasked, by member; so does whatever is False or empty.

A member that is not served always has AWS's default, so asking for it changes nothing.
Source: docs/aws-behaviour.md, functions 7.2 and 7.12.
"""
