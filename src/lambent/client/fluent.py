"""The fluent form of a call, as users of the Rust SDK's builder know it. It only builds a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar, Unpack

from lambent.client.options import InvokeOptions, check_options
from lambent.client.payloads import UNSET, encode_json
from lambent.client.requests import InvocationType, InvokeRequest, LogType

R = TypeVar("R")


class InvocationBuilder(Generic[R]):
    """Fills an :class:`InvokeRequest` member by member; each method returns the builder.

    ``set_…`` takes None to unset a member, ``get_…`` reads it.

    Args:
        invoke: what sends the request.
        function: its name, if it is known already.
    """

    def __init__(self, invoke: Callable[..., R], function: str | None = None) -> None:
        self._invoke = invoke
        self._request = InvokeRequest(function=function)
        self._options: dict[str, Any] = {}

    def as_request(self) -> InvokeRequest:
        """Return what was filled in so far."""
        return self._request

    def customize(self, **options: Unpack[InvokeOptions]) -> Self:
        """Set options of this call alone, as ``timeout`` or ``retries``."""
        check_options(options)
        self._options |= options
        return self

    def send(self) -> R:
        """Invoke; of an asynchronous client the result is to be awaited."""
        return self._invoke(self._request, **self._options)

    def _set(self, **members: Any) -> Self:
        self._request = replace(self._request, **members)
        return self

    def function_name(self, value: str) -> Self:
        """Set the function: a name or an ARN."""
        return self._set(function=value)

    def set_function_name(self, value: str | None) -> Self:
        """Set or unset the function."""
        return self._set(function=value)

    def get_function_name(self) -> str | None:
        """Return the function."""
        return self._request.function

    def payload(self, value: object) -> Self:
        """Set the payload, as ``invoke`` takes it."""
        return self._set(payload=value)

    def payload_json(self, value: object) -> Self:
        """Set the payload to JSON of anything: also of what else would be sent as it is."""
        return self._set(payload=encode_json(value, "payload"))

    def set_payload(self, value: object) -> Self:
        """Set the payload, or unset it: None."""
        return self._set(payload=UNSET if value is None else value)

    def get_payload(self) -> object:
        """Return the payload, UNSET if there is none."""
        return self._request.payload

    def qualifier(self, value: str) -> Self:
        """Set the version or alias."""
        return self._set(qualifier=value)

    def set_qualifier(self, value: str | None) -> Self:
        """Set or unset the version or alias."""
        return self._set(qualifier=value)

    def get_qualifier(self) -> str | None:
        """Return the version or alias."""
        return self._request.qualifier

    def invocation_type(self, value: InvocationType | str) -> Self:
        """Set the type."""
        return self._set(invocation_type=value)

    def set_invocation_type(self, value: InvocationType | str | None) -> Self:
        """Set or unset the type."""
        return self._set(invocation_type=value)

    def get_invocation_type(self) -> InvocationType | str | None:
        """Return the type."""
        return self._request.invocation_type

    def log_type(self, value: LogType | str) -> Self:
        """Set whether the end of the log comes back."""
        return self._set(log_type=value)

    def set_log_type(self, value: LogType | str | None) -> Self:
        """Set or unset whether the end of the log comes back."""
        return self._set(log_type=value)

    def get_log_type(self) -> LogType | str | None:
        """Return whether the end of the log comes back."""
        return self._request.log_type

    def client_context(self, value: Mapping[str, object] | str) -> Self:
        """Set the client context."""
        return self._set(client_context=value)

    def set_client_context(self, value: Mapping[str, object] | str | None) -> Self:
        """Set or unset the client context."""
        return self._set(client_context=value)

    def get_client_context(self) -> Mapping[str, object] | str | None:
        """Return the client context."""
        return self._request.client_context

    def tenant_id(self, value: str) -> Self:
        """Set the tenant."""
        return self._set(tenant_id=value)

    def set_tenant_id(self, value: str | None) -> Self:
        """Set or unset the tenant."""
        return self._set(tenant_id=value)

    def get_tenant_id(self) -> str | None:
        """Return the tenant."""
        return self._request.tenant_id

    def durable_execution_name(self, value: str) -> Self:
        """Set the durable execution's name."""
        return self._set(durable_execution_name=value)

    def set_durable_execution_name(self, value: str | None) -> Self:
        """Set or unset the durable execution's name."""
        return self._set(durable_execution_name=value)

    def get_durable_execution_name(self) -> str | None:
        """Return the durable execution's name."""
        return self._request.durable_execution_name
