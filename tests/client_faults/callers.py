"""Both clients behind one synchronous face, so that each test is written once and run with both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lambent.client import AsyncLambda, Credentials, InvokeResult, Lambda, Timeout

OPTIONS: dict[str, Any] = {
    "region_name": "us-east-1",
    "credentials": Credentials("AKIDEXAMPLE", "secret"),
    # Longer than anything here takes; a client that waits for what never comes fails its test by this.
    "timeout": Timeout(read=15),
}


def _short() -> float:
    """Return what makes the delays between attempts so short that no test waits for them."""
    return 0.001


class SyncCaller:
    """Calls with :class:`Lambda`."""

    def __init__(self, **options: Any) -> None:
        self.client = Lambda(**{**OPTIONS, **options})
        self.client._core.random = _short

    def invoke(self, *args: Any, **options: Any) -> InvokeResult[Any]:
        """Call once."""
        return self.client.invoke(*args, **options)

    def read_stream(self, *args: Any, **options: Any) -> bytes:
        """Stream, and read the stream to its end."""
        with self.client.stream(*args, **options) as stream:
            return b"".join(stream)

    def leave_stream(self, *args: Any, **options: Any) -> bytes:
        """Stream, and leave after the first chunk."""
        with self.client.stream(*args, **options) as stream:
            return next(iter(stream))

    def map(self, *args: Any, **options: Any) -> list[Any]:
        """Map, and take all values."""
        return list(self.client.map(*args, **options))

    def close(self) -> None:
        """Close the client."""
        self.client.close()


class AsyncCaller:
    """Calls with :class:`AsyncLambda`, one call at a time, on a loop of its own."""

    def __init__(self, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = self.runner.run(self._make({**OPTIONS, **options}))

    async def _make(self, options: dict[str, Any]) -> AsyncLambda:
        client = AsyncLambda(**options)
        client._core.random = _short
        return client

    def invoke(self, *args: Any, **options: Any) -> InvokeResult[Any]:
        """Call once."""
        return self.runner.run(self.client.invoke(*args, **options))

    def read_stream(self, *args: Any, **options: Any) -> bytes:
        """Stream, and read the stream to its end."""

        async def read() -> bytes:
            async with await self.client.stream(*args, **options) as stream:
                return b"".join([chunk async for chunk in stream])

        return self.runner.run(read())

    def leave_stream(self, *args: Any, **options: Any) -> bytes:
        """Stream, and leave after the first chunk."""

        async def read() -> bytes:
            async with await self.client.stream(*args, **options) as stream:
                async for chunk in stream:
                    return chunk
            raise AssertionError("the stream was empty")

        return self.runner.run(read())

    def map(self, *args: Any, **options: Any) -> list[Any]:
        """Map, and take all values."""

        async def take() -> list[Any]:
            return [value async for value in self.client.map(*args, **options)]

        return self.runner.run(take())

    def close(self) -> None:
        """Close the client and its loop."""
        self.runner.run(self.client.aclose())
        self.runner.close()


Caller = SyncCaller | AsyncCaller
KINDS: dict[str, type[Caller]] = {"sync": SyncCaller, "async": AsyncCaller}


@contextmanager
def caller(kind: str, url: str, **options: Any) -> Iterator[Caller]:
    """Give a caller that is closed when the block ends."""
    made = KINDS[kind](endpoint_url=url, **options)
    try:
        yield made
    finally:
        made.close()
