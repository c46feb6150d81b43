"""Input members to a version document, and back to AWS's FunctionConfiguration.

Source: docs/aws-behaviour.md, functions 7.2, 7.4 and 7.7, execution 4.3 and 4.7.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from lambent import limits
from lambent.control.kept import check_kept, merge_kept
from lambent.execution.launcher import runtime_version_arn
from lambent.model.errors import InvalidParameterValueException
from lambent.model.functions import (
    CodePackage,
    FunctionHead,
    FunctionKey,
    FunctionVersion,
    LoggingConfig,
    UpdateStatus,
)

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import FunctionConfigurationTypeDef

RESERVED_VARIABLES = frozenset(
    (
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_LEVEL",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    )
)
"""Names that the service sets itself. Source: docs/aws-behaviour.md, execution 4.3."""

_VARIABLES_REFUSED = (
    "Lambda was unable to configure your environment variables because the environment variables you have "
    "provided "
)
_DEFAULT_LEVEL = "INFO"


class Reply(Enum):
    """Which operation shows a configuration: each shows other members of state."""

    CREATE = "create"
    GET = "get"
    UPDATE = "update"
    LIST = "list"


def new_version(
    key: FunctionKey, given: Mapping[str, Any], code: CodePackage, *, now: float
) -> FunctionVersion:
    """Return the first document of a function, with AWS's default for what was not given.

    Args:
        key: of the new function.
        given: CreateFunction's input.
        code: its package.
        now: seconds since the epoch.

    Raises:
        InvalidParameterValueException: see :func:`changed_version`.
    """
    base = FunctionVersion(
        key=key,
        document_id="",
        generation=uuid.uuid4().hex,
        code=code,
        runtime=given["Runtime"],
        handler=given["Handler"],
        role=given["Role"],
        logging=LoggingConfig(group=f"/aws/lambda/{key.name}"),
        modified_at=now,
    )
    return changed_version(base, given, now=now)


def changed_version(
    current: FunctionVersion,
    given: Mapping[str, Any],
    *,
    now: float,
    code: CodePackage | None = None,
) -> FunctionVersion:
    """Return a new document: ``current`` with every member that is given.

    An object that is given replaces the old one whole, only LoggingConfig is merged.

    Args:
        current: what is changed; any document.
        given: input of an operation; members that are absent or None keep their value.
        now: seconds since the epoch.
        code: a new package.

    Raises:
        InvalidParameterValueException: a handler, environment variables, log levels, a
            file system or SnapStart that cannot be had.

    Source: docs/aws-behaviour.md, functions 7.7.
    """
    changes: dict[str, Any] = {
        field: given[member] for member, field in _PLAIN_MEMBERS.items() if given.get(member) is not None
    }
    if "\0" in changes.get("handler", ""):
        # The model's pattern lets it pass, and no process can be given it.
        raise InvalidParameterValueException("The handler must not contain a null character.")
    if given.get("Architectures"):
        changes["architecture"] = given["Architectures"][0]
    if given.get("EphemeralStorage") is not None:
        changes["ephemeral_storage_mb"] = given["EphemeralStorage"]["Size"]
    if given.get("TracingConfig") is not None:
        changes["tracing_mode"] = given["TracingConfig"].get("Mode") or current.tracing_mode
    if given.get("Environment") is not None:
        changes["variables"] = dict(given["Environment"].get("Variables") or {})
        check_variables(changes["variables"])
    if given.get("LoggingConfig") is not None:
        changes["logging"] = merge_logging(current.logging, given["LoggingConfig"])
    if code is not None:
        changes["code"] = code
    changes["kept"] = merge_kept(current.kept, given, current.key)
    check_kept(changes["kept"], changes.get("runtime", current.runtime))
    return dataclasses.replace(current, document_id=uuid.uuid4().hex, modified_at=now, **changes)


_PLAIN_MEMBERS = {
    "Runtime": "runtime",
    "Handler": "handler",
    "Role": "role",
    "Description": "description",
    "Timeout": "timeout_s",
    "MemorySize": "memory_mb",
}


def check_variables(variables: Mapping[str, str]) -> None:
    """Refuse environment variables that the service sets itself, or too many bytes of them.

    Raises:
        InvalidParameterValueException: with AWS's text; an ours for values that no
            process can be given.

    Source: docs/aws-behaviour.md, execution 4.3 and functions 7.6.
    """
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise InvalidParameterValueException(
            f"{_VARIABLES_REFUSED}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if any("\0" in value for value in variables.values()):
        raise InvalidParameterValueException(f"{_VARIABLES_REFUSED}contain a null character.")
    text = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidParameterValueException(
            f"{_VARIABLES_REFUSED}contain a character that has no UTF-8 form."
        ) from None
    if size > limits.ENVIRONMENT_BYTES:
        raise InvalidParameterValueException(
            f"{_VARIABLES_REFUSED}exceeded the 4KB limit. String measured: {text}"
        )


def merge_logging(current: LoggingConfig, given: Mapping[str, Any]) -> LoggingConfig:
    """Return logging settings with what is given over what was set.

    With JSON a level that nobody set is INFO; with Text there are no levels.

    Raises:
        InvalidParameterValueException: a level is given and the format is Text.

    Source: docs/aws-behaviour.md, execution 4.7 and functions 7.6.
    """
    group = given.get("LogGroup") or current.group
    log_format = given.get("LogFormat") or current.format
    application, system = given.get("ApplicationLogLevel"), given.get("SystemLogLevel")
    if log_format == "JSON":
        return LoggingConfig(
            group=group,
            format=log_format,
            application_level=application or current.application_level or _DEFAULT_LEVEL,
            system_level=system or current.system_level or _DEFAULT_LEVEL,
        )
    if application or system:
        raise InvalidParameterValueException(
            'LogLevel is not supported when LogFormat is set to "Text". '
            'Remove LogLevel from your request or change the LogFormat to "Json" and try again.'
        )
    return LoggingConfig(group=group, format=log_format)


def render_configuration(
    head: FunctionHead, reply: Reply, *, qualifier: str | None = None
) -> FunctionConfigurationTypeDef:
    """Return what AWS shows of ``$LATEST`` or of a published version.

    Args:
        head: the function.
        reply: decides which members of state are there.
        qualifier: suffix of the ARN, as the caller asked.

    Source: docs/aws-behaviour.md, functions 7.2 and 7.3.
    """
    version = head.latest
    shown: FunctionConfigurationTypeDef = {
        "FunctionName": version.key.name,
        "FunctionArn": version.key.arn(qualifier),
        "Runtime": version.runtime,  # type: ignore[typeddict-item]  # the stub knows a list of literals
        "Role": version.role,
        "Handler": version.handler,
        "CodeSize": version.code.size,
        "Description": version.description,
        "Timeout": version.timeout_s,
        "MemorySize": version.memory_mb,
        "LastModified": render_moment(version.modified_at),
        "CodeSha256": version.code.sha256_base64,
        "Version": version.version,
        "TracingConfig": {"Mode": version.tracing_mode},  # type: ignore[typeddict-item]
        "RevisionId": head.revision_id,
        "PackageType": "Zip",
        "Architectures": [version.architecture],  # type: ignore[list-item]
        "EphemeralStorage": {"Size": version.ephemeral_storage_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": _render_logging(version.logging),
    }
    shown |= version.kept  # type: ignore[typeddict-item]  # as AWS shows it
    if version.variables is not None:
        shown["Environment"] = {"Variables": dict(version.variables)}
    if reply is not Reply.LIST:
        shown["RuntimeVersionConfig"] = {"RuntimeVersionArn": runtime_version_arn(version)}
        _add_state(shown, head, reply)
    return shown


def _add_state(shown: FunctionConfigurationTypeDef, head: FunctionHead, reply: Reply) -> None:
    shown["State"] = head.state.value
    if head.state_reason is not None:
        text, code = head.state_reason
        shown["StateReason"] = text
        shown["StateReasonCode"] = code  # type: ignore[typeddict-item]
    if reply is Reply.CREATE or head.update_status is None:
        return
    shown["LastUpdateStatus"] = head.update_status.value
    if head.update_reason is not None and head.update_status is not UpdateStatus.SUCCESSFUL:
        text, code = head.update_reason
        shown["LastUpdateStatusReason"] = text
        shown["LastUpdateStatusReasonCode"] = code  # type: ignore[typeddict-item]


def _render_logging(logging: LoggingConfig) -> Any:
    shown = {"LogFormat": logging.format, "LogGroup": logging.group}
    if logging.application_level is not None:
        shown["ApplicationLogLevel"] = logging.application_level
    if logging.system_level is not None:
        shown["SystemLogLevel"] = logging.system_level
    return shown


def render_moment(at: float) -> str:
    """Return an instant as ``LastModified`` has it: ``2021-09-04T20:06:13.575+0000``.

    Source: docs/aws-behaviour.md, functions 7.1.
    """
    seconds, milliseconds = divmod(round(at * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}+0000"


__all__ = [
    "RESERVED_VARIABLES",
    "Reply",
    "changed_version",
    "check_variables",
    "merge_logging",
    "new_version",
    "render_configuration",
    "render_moment",
]
