"""GetAccountSettings."""

from __future__ import annotations

from lambent import limits
from lambent.control.operation import Call, Output, Services


async def get_account_settings(services: Services, call: Call) -> Output:
    """Return the account's limits and what it uses of them.

    Source: docs/aws-behaviour.md, functions 7.15.
    """
    usage = await services.functions.usage(call.caller.account, call.caller.region)
    return {
        "AccountLimit": {
            "TotalCodeSize": int(limits.ACCOUNT_CODE_BYTES),
            "CodeSizeUnzipped": int(limits.UNZIPPED_CODE_BYTES),
            "CodeSizeZipped": int(limits.ZIPPED_CODE_BYTES),
            "ConcurrentExecutions": services.account_limit,
            "UnreservedConcurrentExecutions": services.account_limit - usage.reserved,
        },
        "AccountUsage": {"TotalCodeSize": usage.code_bytes, "FunctionCount": usage.functions},
    }


__all__ = ["get_account_settings"]
