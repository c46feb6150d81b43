"""A call of every operation that names a function, and what came of it."""

from __future__ import annotations

from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from tests.integration.conftest import pack

# One call of every operation that names a function, beside its name.
CALLS: dict[str, dict[str, Any]] = {
    "Invoke": {},
    "GetFunction": {},
    "GetFunctionConfiguration": {},
    "UpdateFunctionCode": {"ZipFile": pack(index="x = 1")},
    "UpdateFunctionConfiguration": {"Timeout": 9},
    "DeleteFunction": {},
    "PublishVersion": {},
    "ListVersionsByFunction": {},
    "CreateAlias": {"Name": "other", "FunctionVersion": "1"},
    "GetAlias": {"Name": "live"},
    "UpdateAlias": {"Name": "live", "Description": "changed"},
    "DeleteAlias": {"Name": "live"},
    "ListAliases": {},
    "PutFunctionConcurrency": {"ReservedConcurrentExecutions": 1},
    "GetFunctionConcurrency": {},
    "DeleteFunctionConcurrency": {},
    "PutFunctionRecursionConfig": {"RecursiveLoop": "Allow"},
    "GetFunctionRecursionConfig": {},
    "PutProvisionedConcurrencyConfig": {"Qualifier": "1", "ProvisionedConcurrentExecutions": 2},
    "GetProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "ListProvisionedConcurrencyConfigs": {},
    "DeleteProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "GetFunctionEventInvokeConfig": {},
    "DeleteFunctionEventInvokeConfig": {},
    "ListFunctionEventInvokeConfigs": {},
    "AddPermission": {"StatementId": "other", "Action": "lambda:InvokeFunction", "Principal": "*"},
    "RemovePermission": {"StatementId": "own"},
    "GetPolicy": {},
}
# The same for those that name it by its ARN alone.
BY_ARN: dict[str, dict[str, Any]] = {
    "TagResource": {"Tags": {"a": "b"}},
    "UntagResource": {"TagKeys": ["a"]},
    "ListTags": {},
}


def call(client: Any, operation: str, **members: Any) -> tuple[str | None, int, str]:
    """Return code, status and text of the answer; no code when it succeeded."""
    try:
        reply = getattr(client, xform_name(operation))(**members)
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        return error.response["Error"]["Code"], metadata["HTTPStatusCode"], error.response["Error"]["Message"]
    return None, reply["ResponseMetadata"]["HTTPStatusCode"], ""
