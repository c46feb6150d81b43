"""Carries exchanges to functions of this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lambent.client.credentials import Credentials
from lambent.client.exchanges import Exchange
from lambent.client.messages import HttpResponse
from lambent.client.options import ClientOptions

if TYPE_CHECKING:
    from lambent.client.local import LocalFunctions


REGION = "us-east-1"


def local_options(options: ClientOptions) -> ClientOptions:
    """Return a client's options with what is looked up for calls that go somewhere."""
    return {
        "region_name": REGION,
        "credentials": Credentials("local", "local"),
        "retries": 1,
        **options,
        "endpoint_url": "http://local",
    }


class LocalTransport:
    """Answers by the handlers."""

    def __init__(self, functions: LocalFunctions) -> None:
        self._functions = functions

    def exchange(self, exchange: Exchange) -> HttpResponse:
        """Run the handler and return the whole answer."""
        response = self._functions.answer(exchange.as_request("", None, 1))
        if exchange.streamed and response.status_code == 200:
            response.source, response.body = _Source(response.body), b""
        return response

    def close(self) -> None:
        """There is nothing to close."""


class AsyncLocalTransport:
    """The same for asyncio: handlers run in threads, so that they do not hold the loop up."""

    def __init__(self, functions: LocalFunctions) -> None:
        self._transport = LocalTransport(functions)

    async def exchange(self, exchange: Exchange) -> HttpResponse:
        """Run the handler and return the whole answer."""
        response = await asyncio.to_thread(self._transport.exchange, exchange)
        if response.source is not None:
            response.source = _AsyncSource(response.source)
        return response

    async def close(self) -> None:
        """There is nothing to close."""


class _Source:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def finish(self) -> None:
        """There is no connection."""

    def close(self) -> None:
        """There is no connection."""


class _AsyncSource:
    def __init__(self, source: _Source) -> None:
        self._source = source

    async def read(self) -> bytes:
        return self._source.read()

    async def finish(self) -> None:
        """There is no connection."""

    def close(self) -> None:
        """There is no connection."""
