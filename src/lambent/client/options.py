"""What a call may be told beside its function and its payload."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from lambent.client.messages import HttpRequest, HttpResponse
from lambent.client.requests import InvocationType, LogType
from lambent.client.retries import Retries, Timeout
from lambent.client.settings import Who

BeforeSign = Callable[[HttpRequest], HttpRequest]
AfterResponse = Callable[[HttpRequest, HttpResponse], None]
Progress = bool | Callable[[int], None]


class CallOptions(TypedDict, total=False):
    """Of one call; what is None or not given is the client's. See :meth:`Lambda.invoke`."""

    qualifier: str | None
    log_tail: bool
    log_type: LogType | str | None
    client_context: Mapping[str, object] | str | None
    tenant_id: str | None
    durable_execution_name: str | None
    idempotent: bool | None
    timeout: float | Timeout | None
    retries: Retries | int | None
    endpoint_url: str | None
    region_name: str | None
    credentials: Who | None
    before_sign: BeforeSign | None
    after_response: AfterResponse | None


class InvokeOptions(CallOptions, total=False):
    """Of one call whose type may be chosen."""

    invocation_type: InvocationType | str | None


class MapOptions(InvokeOptions, total=False):
    """Of a map. See :meth:`Lambda.map`."""

    concurrency: int
    return_exceptions: bool
    progress: Progress


class ClientOptions(TypedDict, total=False):
    """Of a client. See :class:`Lambda`."""

    endpoint_url: str | None
    region_name: str | None
    profile_name: str | None
    credentials: Who | None
    timeout: float | Timeout | None
    retries: Retries | int | None
    idempotent: bool
    max_connections: int
    verify: bool | str | ssl.SSLContext
    proxy: str | None
    app_id: str | None
    before_sign: BeforeSign | None
    after_response: AfterResponse | None


MEMBERS = frozenset(
    {
        "qualifier",
        "invocation_type",
        "log_tail",
        "log_type",
        "client_context",
        "tenant_id",
        "durable_execution_name",
    }
)
"""Those that are members of :class:`InvokeRequest`."""

KNOWN = frozenset(InvokeOptions.__annotations__) | frozenset(CallOptions.__annotations__)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse an option that no call has.

    Raises:
        TypeError: as Python does for a function's arguments.
    """
    if not options.keys() <= KNOWN:
        unknown = min(options.keys() - KNOWN)
        raise TypeError(f"got an unexpected keyword argument {unknown!r}")
