"""The asynchronous client: the core's steps carried out by aiohttp and tasks of one loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, Unpack, cast

from lambent.client.client import Client
from lambent.client.exchanges import Exchange, Steps
from lambent.client.fan import Fan, Outcome, given_out
from lambent.client.fluent import InvocationBuilder
from lambent.client.functions import BoundFunction
from lambent.client.messages import HttpResponse
from lambent.client.options import (
    AfterResponse,
    BeforeSign,
    CallOptions,
    InvokeOptions,
    MapOptions,
    Progress,
)
from lambent.client.payloads import UNSET
from lambent.client.requests import InvocationType, InvokeRequest, LogType
from lambent.client.results import InvokeResult, T
from lambent.client.retries import Gate, Retries, Timeout
from lambent.client.settings import Who
from lambent.client.streams import JsonLines, LineSplitter, StreamReader, TextDecoder, Transformer

try:
    from lambent.client.aio_connections import AsyncConnections
except ImportError as error:
    if (error.name or "").partition(".")[0] != "aiohttp":
        raise
    raise ImportError("AsyncLambda needs aiohttp: pip install 'lambent[aio]'", name="aiohttp") from error

if TYPE_CHECKING:
    from lambent.client.local import LocalFunctions

R = TypeVar("R")


class AsyncTransport(Protocol):
    """Carries out an exchange, for asyncio."""

    async def exchange(self, exchange: Exchange) -> HttpResponse:
        """Do as :meth:`Transport.exchange`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class AsyncLambda(Client[AsyncTransport]):
    """Calls functions from one event loop; safe to share by its tasks, and an asynchronous context manager.

    Arguments are those of :class:`Lambda`. Who does not close it leaves that to the end of the loop.

    Raises:
        ValidationError: timeout or retries cannot be.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def invoke(
        self,
        function: str | InvokeRequest,
        payload: object = UNSET,
        *,
        qualifier: str | None = None,
        invocation_type: InvocationType | str | None = None,
        log_tail: bool = False,
        log_type: LogType | str | None = None,
        client_context: Mapping[str, object] | str | None = None,
        tenant_id: str | None = None,
        durable_execution_name: str | None = None,
        returns: type[T] | None = None,
        idempotent: bool | None = None,
        timeout: float | Timeout | None = None,  # noqa: ASYNC109 - of the call, as Lambda's
        retries: Retries | int | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        credentials: Who | None = None,
        before_sign: BeforeSign | None = None,
        after_response: AfterResponse | None = None,
    ) -> InvokeResult[T]:
        """Call a function once and return its result; arguments and errors as of :meth:`Lambda.invoke`."""
        options = {
            "qualifier": qualifier,
            "invocation_type": invocation_type,
            "log_tail": log_tail,
            "log_type": log_type,
            "client_context": client_context,
            "tenant_id": tenant_id,
            "durable_execution_name": durable_execution_name,
            "idempotent": idempotent,
            "timeout": timeout,
            "retries": retries,
            "endpoint_url": endpoint_url,
            "region_name": region_name,
            "credentials": credentials,
            "before_sign": before_sign,
            "after_response": after_response,
        }
        return await self._run(self._core.invoke(function, payload, options, returns))

    async def send(
        self, function: str | InvokeRequest, payload: object = UNSET, **options: Unpack[CallOptions]
    ) -> str:
        """Hand an event over and return the request id; the function runs later."""
        return await self._run(self._core.send(function, payload, options))

    async def check(self, function: str | InvokeRequest, **options: Unpack[CallOptions]) -> None:
        """Ask whether a call would be accepted; raises the error that it would meet."""
        await self._run(self._core.check(function, options))

    def function(
        self, name: str, *, returns: type[T] | None = None, **options: Unpack[InvokeOptions]
    ) -> AsyncFunction[T]:
        """Return a function with its options, to be called by its payload."""
        return AsyncFunction(self, name, returns, options)

    def map(
        self,
        function: str | InvokeRequest,
        payloads: Iterable[object],
        *,
        concurrency: int = 16,
        returns: type[T] | None = None,
        return_exceptions: bool = False,
        progress: Progress = False,
        **options: Unpack[InvokeOptions],
    ) -> AsyncIterator[T]:
        """Call a function for each payload; used with ``async for``. As :meth:`Lambda.map`."""
        fan = Fan(payloads, concurrency=concurrency, ordered=True, progress=progress)
        outcomes = self._fan_out(fan, function, returns, options)
        return _values(outcomes, return_exceptions=return_exceptions)

    def map_unordered(
        self,
        function: str | InvokeRequest,
        payloads: Iterable[object],
        *,
        concurrency: int = 16,
        returns: type[T] | None = None,
        return_exceptions: bool = False,
        progress: Progress = False,
        **options: Unpack[InvokeOptions],
    ) -> AsyncIterator[tuple[int, T]]:
        """Do as :meth:`map`, and yield the payload's index with each result, as they complete."""
        fan = Fan(payloads, concurrency=concurrency, ordered=False, progress=progress)
        outcomes = self._fan_out(fan, function, returns, options)
        return _indexed(outcomes, return_exceptions=return_exceptions)

    def stream(
        self, function: str | InvokeRequest, payload: object = UNSET, **options: Unpack[CallOptions]
    ) -> AsyncResponseStream:
        """Call a function and read its answer as it comes.

        Sent when the stream is awaited, entered with ``async with``, or first read.
        """
        return AsyncResponseStream(self._run(self._core.open_stream(function, payload, options)))

    def invocation(
        self, function: str | None = None
    ) -> InvocationBuilder[Coroutine[Any, Any, InvokeResult[Any]]]:
        """Return a call to be filled member by member; its ``send()`` is awaited."""
        return InvocationBuilder(self.invoke, function)

    async def wait_until_active(
        self,
        function: str,
        *,
        timeout: float = 300.0,  # noqa: ASYNC109 - as Lambda's
    ) -> None:
        """Return when the function can be called; raises as :meth:`Lambda.wait_until_active`."""
        await self._run(self._core.wait_until(function, "State", "Active", timeout))

    async def wait_until_updated(
        self,
        function: str,
        *,
        timeout: float = 300.0,  # noqa: ASYNC109 - as Lambda's
    ) -> None:
        """Return when the last update is in effect; raises as :meth:`Lambda.wait_until_updated`."""
        await self._run(self._core.wait_until(function, "LastUpdateStatus", "Successful", timeout))

    def _connect(self, **limits: Any) -> AsyncTransport:
        return AsyncConnections(self._core.settings, self._core.clock, **limits)

    def _stay_here(self, functions: LocalFunctions) -> AsyncTransport:
        from lambent.client.local_transport import AsyncLocalTransport  # noqa: PLC0415 - for tests alone

        return AsyncLocalTransport(functions)

    async def _run(self, steps: Steps[R]) -> R:
        """Carry out a call's steps."""
        resume: Callable[[Any], Any] = steps.send
        reply: Any = None
        while True:
            try:
                step = resume(reply)
            except StopIteration as stop:
                return cast("R", stop.value)
            resume, reply = steps.send, None
            try:
                if type(step) is Exchange:
                    reply = await self._transport.exchange(step)
                elif type(step) is float:
                    await self._core.clock.sleep(step)
                else:
                    reply = await asyncio.to_thread(step)
            except Exception as error:  # noqa: BLE001 - the core decides what it means
                resume, reply = steps.throw, error

    async def _fan_out(
        self,
        fan: Fan,
        function: str | InvokeRequest,
        returns: type[Any] | None,
        options: InvokeOptions,
    ) -> AsyncIterator[Outcome]:
        gate = Gate()
        done: asyncio.Queue[Outcome] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()
        start_task = asyncio.get_running_loop().create_task

        async def call(index: int, payload: object) -> None:
            try:
                steps = self._core.value(function, payload, options, returns, gate)
                done.put_nowait(Outcome(index, await self._run(steps)))
            except BaseException as error:  # noqa: BLE001 - raised, or given out, at its place
                done.put_nowait(Outcome(index, None, error))

        def start() -> None:
            for index, payload in fan.starts():
                task = start_task(call(index, payload))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        try:
            start()
            while fan.in_flight or fan.has_ready:
                while (outcome := fan.ready()) is not None:
                    yield outcome
                    # What was given out made place for the next.
                    start()
                if fan.in_flight:
                    fan.ended(await done.get())
                    start()
        finally:
            fan.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _values(outcomes: AsyncIterator[Outcome], *, return_exceptions: bool) -> AsyncIterator[Any]:
    async with contextlib.aclosing(
        cast("Any", _indexed(outcomes, return_exceptions=return_exceptions))
    ) as pairs:
        async for _, value in pairs:
            yield value


async def _indexed(
    outcomes: AsyncIterator[Outcome], *, return_exceptions: bool
) -> AsyncIterator[tuple[int, Any]]:
    async with contextlib.aclosing(cast("Any", outcomes)):
        async for outcome in outcomes:
            yield given_out(outcome, return_exceptions=return_exceptions)


class AsyncResponseStream:
    """A streamed answer: ``async for`` gives bytes as they come; see :class:`ResponseStream`.

    The request is sent when it is awaited, entered with ``async with``, or first read; before that
    there is no ``status_code``.
    """

    def __init__(self, opening: Coroutine[Any, Any, tuple[HttpResponse, int]]) -> None:
        self._opening: Coroutine[Any, Any, tuple[HttpResponse, int]] | None = opening
        self._reader: StreamReader | None = None
        self._source: Any = None
        self._chunks: Any = self._read()

    @property
    def status_code(self) -> int:
        """Of the answer."""
        return self._opened().response.status_code

    @property
    def request_id(self) -> str | None:
        """Of the attempt that was answered."""
        return self.headers.get("x-amzn-requestid")

    @property
    def executed_version(self) -> str | None:
        """Which version runs."""
        return self.headers.get("x-amz-executed-version")

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, by names of any case."""
        return self._opened().response.headers

    @property
    def logs(self) -> str:
        """The end of the log, after the last chunk, if it was asked for."""
        return self._opened().logs

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._chunks
        return chunks

    async def aclose(self) -> None:
        """Stop reading; the function runs on."""
        await self._chunks.aclose()
        if self._opening is not None:
            self._opening.close()
            self._opening = None
        self._leave()

    def text(self, encoding: str = "utf-8") -> AsyncIterator[str]:
        """Yield text as it comes; a character that is split between chunks waits for its rest."""
        return self._transformed(TextDecoder(encoding))

    def lines(self) -> AsyncIterator[str]:
        """Yield lines of UTF-8 without their ends."""
        return self._transformed(LineSplitter())

    def json_lines(self, returns: type[T] | None = None) -> AsyncIterator[T]:
        """Yield the decoded value of each line; blank lines are passed over."""
        return self._transformed(JsonLines(returns))

    async def _transformed(self, transformer: Transformer) -> AsyncIterator[Any]:
        async for chunk in self._chunks:
            for each in transformer.feed(chunk):
                yield each
        for each in transformer.finish():
            yield each

    def _opened(self) -> StreamReader:
        if self._reader is None:
            raise RuntimeError("the stream is not open yet: await it, enter it, or read it")
        return self._reader

    async def _open(self) -> Self:
        opening, self._opening = self._opening, None
        if opening is not None:
            response, attempts = await opening
            self._source = response.source
            try:
                self._reader = StreamReader(response, attempts)
            except BaseException:
                self._leave()
                raise
        return self

    def _leave(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    async def _read(self) -> AsyncIterator[bytes]:
        await self._open()
        reader = self._opened()
        try:
            while not reader.complete:
                for chunk in reader.feed(await self._source.read()):
                    yield chunk
            source, self._source = self._source, None
            if source is not None:
                await source.finish()
        finally:
            self._leave()


class AsyncFunction(BoundFunction[T]):
    """A function with its options: ``await hello({"name": "Ada"})``. Made by :meth:`AsyncLambda.function`."""

    __slots__ = ()

    async def __call__(self, payload: object = UNSET, /, **options: Unpack[InvokeOptions]) -> T:
        """Call it and return the decoded result; raises as :meth:`Function.__call__`."""
        return (await self.invoke(payload, **options)).value()

    async def invoke(self, payload: object = UNSET, **options: Unpack[InvokeOptions]) -> InvokeResult[T]:
        """Do as :meth:`AsyncLambda.invoke`."""
        result: InvokeResult[T] = await self._client.invoke(self.name, payload, **self._typed(options))
        return result

    async def send(self, payload: object = UNSET, **options: Unpack[CallOptions]) -> str:
        """Do as :meth:`AsyncLambda.send`."""
        request_id: str = await self._client.send(self.name, payload, **self._with(options))
        return request_id

    async def check(self, **options: Unpack[CallOptions]) -> None:
        """Do as :meth:`AsyncLambda.check`."""
        await self._client.check(self.name, **self._with(options))

    def map(self, payloads: Iterable[object], **options: Unpack[MapOptions]) -> AsyncIterator[T]:
        """Do as :meth:`AsyncLambda.map`."""
        values: AsyncIterator[T] = self._client.map(self.name, payloads, **self._typed(options))
        return values

    def map_unordered(
        self, payloads: Iterable[object], **options: Unpack[MapOptions]
    ) -> AsyncIterator[tuple[int, T]]:
        """Do as :meth:`AsyncLambda.map_unordered`."""
        pairs: AsyncIterator[tuple[int, T]] = self._client.map_unordered(
            self.name, payloads, **self._typed(options)
        )
        return pairs

    def stream(self, payload: object = UNSET, **options: Unpack[CallOptions]) -> AsyncResponseStream:
        """Do as :meth:`AsyncLambda.stream`."""
        stream: AsyncResponseStream = self._client.stream(self.name, payload, **self._with(options))
        return stream
