"""The Python client: calls functions of Lambent and of AWS Lambda alike.

::

    from lambent.client import Lambda

    with Lambda() as lam:
        hello = lam.function("hello")
        print(hello({"name": "Ada"}))

docs/client.md explains all of it. ``AsyncLambda`` needs ``pip install lambent[aio]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.client import errors
from lambent.client.errors import *  # noqa: F403 - one class for each error of the service

if TYPE_CHECKING:
    from lambent.client.aio import AsyncFunction, AsyncLambda, AsyncResponseStream
    from lambent.client.credentials import UNSIGNED, Credentials, Unsigned
    from lambent.client.fluent import InvocationBuilder
    from lambent.client.local_run import Handler
    from lambent.client.messages import HttpRequest, HttpResponse
    from lambent.client.options import CallOptions, ClientOptions, InvokeOptions
    from lambent.client.payloads import UNSET
    from lambent.client.requests import InvocationType, InvokeRequest, LogType
    from lambent.client.results import InvokeResult
    from lambent.client.retries import Retries, Timeout
    from lambent.client.sync import Function, Lambda, ResponseStream

# Imported when they are asked for: pytest loads this package for its fixtures in every run, aiohttp is
# an extra, and urllib3 takes most of the time.
_MODULES = {
    "UNSET": "payloads",
    "UNSIGNED": "credentials",
    "AsyncFunction": "aio",
    "AsyncLambda": "aio",
    "AsyncResponseStream": "aio",
    "CallOptions": "options",
    "ClientOptions": "options",
    "Credentials": "credentials",
    "Function": "sync",
    "Handler": "local_run",
    "HttpRequest": "messages",
    "HttpResponse": "messages",
    "InvocationBuilder": "fluent",
    "InvocationType": "requests",
    "InvokeOptions": "options",
    "InvokeRequest": "requests",
    "InvokeResult": "results",
    "Lambda": "sync",
    "LogType": "requests",
    "ResponseStream": "sync",
    "Retries": "retries",
    "Timeout": "retries",
    "Unsigned": "credentials",
}

__all__ = [
    "UNSET",
    "UNSIGNED",
    "AsyncFunction",
    "AsyncLambda",
    "AsyncResponseStream",
    "CallOptions",
    "ClientOptions",
    "Credentials",
    "Function",
    "Handler",
    "HttpRequest",
    "HttpResponse",
    "InvocationBuilder",
    "InvocationType",
    "InvokeOptions",
    "InvokeRequest",
    "InvokeResult",
    "Lambda",
    "LogType",
    "ResponseStream",
    "Retries",
    "Timeout",
    "Unsigned",
]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    """Import the module of a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
