"""Which operations are served, and which of their members: the one flat table.

Everything else in the model answers 400. docs/operations.md lists the same, and a
test keeps both equal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lambent.control import (
    account,
    aliases,
    concurrency,
    event_configs,
    functions,
    permissions,
    provisioned,
    recursion,
    tags,
    versions,
)
from lambent.control.operation import Call, Services


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation's function and the members of its input that it acts on."""

    run: Callable[[Services, Call], Awaitable[dict[str, Any] | None]]
    members: frozenset[str]


def _operation(run: Callable[[Services, Call], Awaitable[dict[str, Any] | None]], members: str) -> Operation:
    return Operation(run, frozenset(members.split()))


_EVENT_CONFIG = "FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig"
_CONFIGURATION = (
    "FunctionName Role Handler Description Timeout MemorySize Environment Runtime "
    "TracingConfig EphemeralStorage LoggingConfig "
    "VpcConfig FileSystemConfigs KMSKeyArn DeadLetterConfig SnapStart "
)

OPERATIONS: dict[str, Operation] = {
    "CreateFunction": _operation(
        functions.create_function,
        _CONFIGURATION + "Code.ZipFile Code.S3Bucket Code.S3Key Code.S3ObjectVersion Code.SourceKMSKeyArn "
        "PackageType Architectures Tags Publish",
    ),
    "GetFunction": _operation(functions.get_function, "FunctionName Qualifier"),
    "GetFunctionConfiguration": _operation(functions.get_function_configuration, "FunctionName Qualifier"),
    "UpdateFunctionCode": _operation(
        functions.update_function_code,
        "FunctionName ZipFile S3Bucket S3Key S3ObjectVersion SourceKMSKeyArn Architectures DryRun Publish "
        "RevisionId",
    ),
    "UpdateFunctionConfiguration": _operation(
        functions.update_function_configuration, _CONFIGURATION + "RevisionId"
    ),
    "DeleteFunction": _operation(functions.delete_function, "FunctionName Qualifier"),
    "ListFunctions": _operation(functions.list_functions, "FunctionVersion Marker MaxItems"),
    "PutFunctionConcurrency": _operation(
        concurrency.put_function_concurrency, "FunctionName ReservedConcurrentExecutions"
    ),
    "GetFunctionConcurrency": _operation(concurrency.get_function_concurrency, "FunctionName"),
    "DeleteFunctionConcurrency": _operation(concurrency.delete_function_concurrency, "FunctionName"),
    "PutProvisionedConcurrencyConfig": _operation(
        provisioned.put_provisioned_concurrency_config,
        "FunctionName Qualifier ProvisionedConcurrentExecutions",
    ),
    "GetProvisionedConcurrencyConfig": _operation(
        provisioned.get_provisioned_concurrency_config, "FunctionName Qualifier"
    ),
    "ListProvisionedConcurrencyConfigs": _operation(
        provisioned.list_provisioned_concurrency_configs, "FunctionName Marker MaxItems"
    ),
    "DeleteProvisionedConcurrencyConfig": _operation(
        provisioned.delete_provisioned_concurrency_config, "FunctionName Qualifier"
    ),
    "TagResource": _operation(tags.tag_resource, "Resource Tags"),
    "UntagResource": _operation(tags.untag_resource, "Resource TagKeys"),
    "ListTags": _operation(tags.list_tags, "Resource"),
    "PublishVersion": _operation(versions.publish_version, "FunctionName CodeSha256 Description RevisionId"),
    "ListVersionsByFunction": _operation(versions.list_versions_by_function, "FunctionName Marker MaxItems"),
    "CreateAlias": _operation(
        aliases.create_alias, "FunctionName Name FunctionVersion Description RoutingConfig"
    ),
    "GetAlias": _operation(aliases.get_alias, "FunctionName Name"),
    "UpdateAlias": _operation(
        aliases.update_alias, "FunctionName Name FunctionVersion Description RoutingConfig RevisionId"
    ),
    "DeleteAlias": _operation(aliases.delete_alias, "FunctionName Name"),
    "ListAliases": _operation(aliases.list_aliases, "FunctionName FunctionVersion Marker MaxItems"),
    "PutFunctionEventInvokeConfig": _operation(event_configs.put_function_event_invoke_config, _EVENT_CONFIG),
    "UpdateFunctionEventInvokeConfig": _operation(
        event_configs.update_function_event_invoke_config, _EVENT_CONFIG
    ),
    "GetFunctionEventInvokeConfig": _operation(
        event_configs.get_function_event_invoke_config, "FunctionName Qualifier"
    ),
    "DeleteFunctionEventInvokeConfig": _operation(
        event_configs.delete_function_event_invoke_config, "FunctionName Qualifier"
    ),
    "ListFunctionEventInvokeConfigs": _operation(
        event_configs.list_function_event_invoke_configs, "FunctionName Marker MaxItems"
    ),
    "AddPermission": _operation(
        permissions.add_permission,
        "FunctionName Qualifier StatementId Action Principal SourceArn SourceAccount PrincipalOrgID "
        "EventSourceToken FunctionUrlAuthType InvokedViaFunctionUrl RevisionId",
    ),
    "RemovePermission": _operation(
        permissions.remove_permission, "FunctionName Qualifier StatementId RevisionId"
    ),
    "GetPolicy": _operation(permissions.get_policy, "FunctionName Qualifier"),
    "PutFunctionRecursionConfig": _operation(
        recursion.put_function_recursion_config, "FunctionName RecursiveLoop"
    ),
    "GetFunctionRecursionConfig": _operation(recursion.get_function_recursion_config, "FunctionName"),
    "GetAccountSettings": _operation(account.get_account_settings, ""),
}
