"""The ``context`` argument of a handler.

Names, order of attributes and texts are those of AWS's runtime
(https://docs.aws.amazon.com/lambda/latest/dg/python-context.html); programs read
``vars(context)`` and print it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


def _shown(value: object, names: list[str]) -> str:
    fields = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{value.__class__.__name__}([{fields}])"


class CognitoIdentity:
    """Who called through Amazon Cognito; both members are None otherwise."""

    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    def __init__(self, members: dict[str, Any]) -> None:
        """Take ``cognitoIdentityId`` and ``cognitoIdentityPoolId`` as the Runtime API names them."""
        self.cognito_identity_id = members.get("cognitoIdentityId")
        self.cognito_identity_pool_id = members.get("cognitoIdentityPoolId")

    def __repr__(self) -> str:
        """Show all members."""
        return _shown(self, self.__slots__)


class Client:
    """The mobile application that a client context describes."""

    # In the order in which they are shown.
    __slots__ = [
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    ]

    def __init__(self, members: dict[str, Any]) -> None:
        """Take the known members; others are dropped, missing ones are None."""
        for name in self.__slots__:
            setattr(self, name, members.get(name))

    def __repr__(self) -> str:
        """Show all members."""
        return _shown(self, self.__slots__)


class ClientContext:
    """What the caller sent as ``X-Amz-Client-Context``."""

    __slots__ = ["custom", "env", "client"]

    def __init__(self, members: dict[str, Any]) -> None:
        """Take the known members; others are dropped, missing ones are None."""
        self.custom = members.get("custom")
        self.env = members.get("env")
        client = members.get("client")
        self.client = None if client is None else Client(client)

    def __repr__(self) -> str:
        """Show all members."""
        return _shown(self, self.__slots__)


def _take_w3c_fields(client_context: Any) -> dict[str, str]:
    """Remove ``w3c`` from a client context and return its known fields that are texts."""
    if not isinstance(client_context, dict) or "w3c" not in client_context:
        return {}
    fields = client_context.pop("w3c")
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}


class LambdaContext:
    """Facts about the invocation and its function, handed to the handler."""

    # Log group, log stream, name, memory, version: read once, they are the same for all invocations.
    _function: tuple[str | None, ...] = (None, None, None, None, None)

    def __init__(
        self,
        invoke_id: str,
        client_context: Any,
        epoch_deadline_time_in_ms: int,
        invoked_function_arn: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        """Describe one invocation.

        Args:
            invoke_id: the request id.
            client_context: the decoded JSON, or None.
            epoch_deadline_time_in_ms: when the function's time is over, in milliseconds since the epoch.
            invoked_function_arn: as the caller named the function.
            tenant_id: of functions that keep tenants apart, else None.
        """
        self.aws_request_id = invoke_id
        (
            self.log_group_name,
            self.log_stream_name,
            self.function_name,
            self.memory_limit_in_mb,
            self.function_version,
        ) = self._function
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        if client_context is None:
            self._w3c_fields: dict[str, str] = {}
            self.client_context: ClientContext | None = None
        else:
            self._w3c_fields = _take_w3c_fields(client_context)
            self.client_context = ClientContext(client_context)
        self.identity = CognitoIdentity({})
        self._epoch_deadline_time_in_ms = epoch_deadline_time_in_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left, never less than 0."""
        left = self._epoch_deadline_time_in_ms - int(time.time() * 1000)
        return left if left > 0 else 0

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context that came with the invocation."""
        return dict(self._w3c_fields)

    def log(self, msg: object) -> None:
        """Write to the function's log as it is, without format or line end."""
        for handler in logging.getLogger().handlers:
            sink = getattr(handler, "log_sink", None)
            if sink is not None:
                sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self) -> str:
        """Show what a user would want in a log line."""
        return _shown(
            self,
            [
                "aws_request_id",
                "log_group_name",
                "log_stream_name",
                "function_name",
                "memory_limit_in_mb",
                "function_version",
                "invoked_function_arn",
                "client_context",
                "identity",
                "tenant_id",
            ],
        )


def read_function() -> None:
    """Read what describes the function, for all contexts, from the environment variables."""
    get = os.environ.get
    LambdaContext._function = (
        get("AWS_LAMBDA_LOG_GROUP_NAME"),
        get("AWS_LAMBDA_LOG_STREAM_NAME"),
        get("AWS_LAMBDA_FUNCTION_NAME"),
        get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        get("AWS_LAMBDA_FUNCTION_VERSION"),
    )
