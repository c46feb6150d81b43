"""The synchronous client: the core's steps carried out by urllib3 and threads."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

from lambent.client.client import Client
from lambent.client.connections import Connections
from lambent.client.exchanges import Exchange, Steps, Transport
from lambent.client.fan import Fan, Outcome, given_out
from lambent.client.fluent import InvocationBuilder
from lambent.client.functions import BoundFunction
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

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from lambent.client.local import LocalFunctions

R = TypeVar("R")


class Lambda(Client[Transport]):
    """Calls functions; safe to share by threads, and a context manager.

    Args:
        endpoint_url: of the service; None for ``AWS_ENDPOINT_URL_LAMBDA``, ``AWS_ENDPOINT_URL``, the
            profile's, and then AWS's own of the region.
        region_name: None for ``AWS_REGION``, ``AWS_DEFAULT_REGION``, the profile's.
        profile_name: None for ``AWS_PROFILE``; profiles are read by botocore, if it is installed.
        credentials: keys, a callable that returns them, or ``UNSIGNED``; None for the variables, then
            the profile, SSO, the container or the machine.
        timeout: seconds for a whole call, or a :class:`Timeout`.
        retries: attempts in all, or :class:`Retries`; 1 never tries again.
        idempotent: functions may run more than once, so that more is tried again.
        max_connections: to one endpoint; further calls wait.
        verify: certificates: True, False, a file of authorities, or a context; ``AWS_CA_BUNDLE``.
        proxy: None for ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``; empty for none.
        app_id: stands in ``User-Agent``.
        before_sign: gets each attempt and returns it, perhaps changed.
        after_response: gets each attempt and its answer.

    Raises:
        ValidationError: timeout or retries cannot be.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls that wait to be tried again go on at once."""
        closed = self._closed
        self._wake_at_closing()
        closed.set()
        self._transport.close()

    def invoke(
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
        timeout: float | Timeout | None = None,
        retries: Retries | int | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        credentials: Who | None = None,
        before_sign: BeforeSign | None = None,
        after_response: AfterResponse | None = None,
    ) -> InvokeResult[T]:
        """Call a function once and return its result, also when the function failed.

        Args:
            function: a name or an ARN, or a request; arguments that are given win over its members.
            payload: bytes and files are sent as they are, anything else as JSON.
            qualifier: a version or an alias.
            invocation_type: RequestResponse if not given.
            log_tail: asks for the end of the log, see ``InvokeResult.logs``.
            log_type: the same in AWS's words.
            client_context: a mapping, or base64 text.
            tenant_id: of functions that keep tenants apart.
            durable_execution_name: of durable functions.
            returns: what ``InvokeResult.value()`` decodes to: a dataclass, a TypedDict, a pydantic
                model, ``bytes``; None for JSON as it is.
            idempotent: the function may run more than once.
            timeout: seconds for this call, or a :class:`Timeout`.
            retries: attempts in all.
            endpoint_url: of this call.
            region_name: of this call.
            credentials: of this call.
            before_sign: in place of the client's.
            after_response: in place of the client's.

        Raises:
            ServiceError: the service refused.
            TransportError: no whole answer came.
            ValidationError: the call is wrong in itself.
            ConfigurationError: region, credentials or endpoint are not known.
        """
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
        return self._run(self._core.invoke(function, payload, options, returns))

    def send(
        self, function: str | InvokeRequest, payload: object = UNSET, **options: Unpack[CallOptions]
    ) -> str:
        """Hand an event over and return the request id; the function runs later.

        Raises as :meth:`invoke` does.
        """
        return self._run(self._core.send(function, payload, options))

    def check(self, function: str | InvokeRequest, **options: Unpack[CallOptions]) -> None:
        """Ask whether a call would be accepted; nothing runs.

        Raises:
            ServiceError: the one that the call would meet.
        """
        self._run(self._core.check(function, options))

    def function(
        self, name: str, *, returns: type[T] | None = None, **options: Unpack[InvokeOptions]
    ) -> Function[T]:
        """Return a function with its options, to be called by its payload."""
        return Function(self, name, returns, options)

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
    ) -> Iterator[T]:
        """Call a function for each payload and yield the decoded results in the payloads' order.

        At most ``concurrency`` calls are in flight. A throttle makes all of them wait, and is tried again
        for up to 60 s. An error is raised at its place and cancels the rest.

        Args:
            function: as for :meth:`invoke`.
            payloads: read as results are taken, at most ``2 * concurrency`` ahead.
            concurrency: calls in flight.
            returns: as for :meth:`invoke`.
            return_exceptions: errors are yielded at their place instead.
            progress: True for a bar, or called with the number of calls that have ended.
            options: of each call.
        """
        fan = Fan(payloads, concurrency=concurrency, ordered=True, progress=progress)
        outcomes = self._fan_out(fan, concurrency, function, returns, options)
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
    ) -> Iterator[tuple[int, T]]:
        """Do as :meth:`map`, and yield the payload's index with each result, as they complete."""
        fan = Fan(payloads, concurrency=concurrency, ordered=False, progress=progress)
        outcomes = self._fan_out(fan, concurrency, function, returns, options)
        return _indexed(outcomes, return_exceptions=return_exceptions)

    def stream(
        self, function: str | InvokeRequest, payload: object = UNSET, **options: Unpack[CallOptions]
    ) -> ResponseStream:
        """Call a function and return its answer as it comes.

        Raises as :meth:`invoke` does; what goes wrong later is raised while reading.
        """
        response, attempts = self._run(self._core.open_stream(function, payload, options))
        try:
            return ResponseStream(StreamReader(response, attempts))
        except BaseException:
            response.source.close()
            raise

    def invocation(self, function: str | None = None) -> InvocationBuilder[InvokeResult[Any]]:
        """Return a call to be filled member by member."""
        return InvocationBuilder(self.invoke, function)

    def wait_until_active(self, function: str, *, timeout: float = 300.0) -> None:
        """Return when the function can be called.

        Raises:
            ServiceError: it has failed.
            CallTimeout: it took longer than ``timeout`` seconds.
        """
        self._run(self._core.wait_until(function, "State", "Active", timeout))

    def wait_until_updated(self, function: str, *, timeout: float = 300.0) -> None:
        """Return when the last update is in effect; raises as :meth:`wait_until_active`."""
        self._run(self._core.wait_until(function, "LastUpdateStatus", "Successful", timeout))

    def _connect(self, **limits: Any) -> Transport:
        self._wake_at_closing()
        return Connections(self._core.settings, self._core.clock, **limits)

    def _wake_at_closing(self) -> None:
        self._closed = threading.Event()
        # The one way to sleep that closing the client ends; who sleeps later than that does sleep.
        self._sleep: Callable[[float], object] = self._closed.wait

    def _stay_here(self, functions: LocalFunctions) -> Transport:
        from lambent.client.local_transport import LocalTransport  # noqa: PLC0415 - for tests alone

        return LocalTransport(functions)

    def _run(self, steps: Steps[R], calls: _Calls | None = None) -> R:
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
                    if calls is not None:
                        calls.enter(step)
                    reply = self._transport.exchange(step)
                elif type(step) is float:
                    (self._sleep if calls is None else calls.sleep)(step)
                else:
                    reply = step()
            except Exception as error:  # noqa: BLE001 - the core decides what it means
                resume, reply = steps.throw, error

    def _fan_out(
        self,
        fan: Fan,
        concurrency: int,
        function: str | InvokeRequest,
        returns: type[Any] | None,
        options: InvokeOptions,
    ) -> Iterator[Outcome]:
        calls, gate = _Calls(), Gate()
        done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

        def call(index: int, payload: object) -> None:
            try:
                steps = self._core.value(function, payload, options, returns, gate)
                done.put(Outcome(index, self._run(steps, calls)))
            except BaseException as error:  # noqa: BLE001 - raised, or given out, at its place
                done.put(Outcome(index, None, error))

        def start() -> None:
            for index, payload in fan.starts():
                threads.submit(call, index, payload)

        with _threads(concurrency, calls) as threads:
            try:
                start()
                while fan.in_flight or fan.has_ready:
                    while (outcome := fan.ready()) is not None:
                        yield outcome
                        # What was given out made place for the next.
                        start()
                    if fan.in_flight:
                        fan.ended(done.get())
                        start()
            finally:
                fan.close()


class _Calls:
    """The calls of one map, so that the rest can be cancelled."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._current: dict[int, Exchange] = {}

    def enter(self, exchange: Exchange) -> None:
        """Note what this thread does now."""
        self._check()
        self._current[threading.get_ident()] = exchange

    def sleep(self, seconds: float) -> None:
        """Sleep; not longer than until the rest is cancelled."""
        self._cancelled.wait(seconds)
        self._check()

    def cancel(self) -> None:
        """Break off what is in flight: what it comes to is nobody's business any more."""
        self._cancelled.set()
        for exchange in list(self._current.values()):
            exchange.break_off()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise _CancelledError


class _CancelledError(Exception):
    """A call of a map that nobody waits for."""


@contextmanager
def _threads(count: int, calls: _Calls) -> Iterator[ThreadPoolExecutor]:
    # Only maps need it, and it is slow to import.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    threads = ThreadPoolExecutor(count, "lambent-map")
    try:
        yield threads
    finally:
        calls.cancel()
        threads.shutdown(cancel_futures=True)


def _values(outcomes: Iterator[Outcome], *, return_exceptions: bool) -> Iterator[Any]:
    for _, value in _indexed(outcomes, return_exceptions=return_exceptions):
        yield value


def _indexed(outcomes: Iterator[Outcome], *, return_exceptions: bool) -> Iterator[tuple[int, Any]]:
    with contextlib.closing(cast("Any", outcomes)):
        for outcome in outcomes:
            yield given_out(outcome, return_exceptions=return_exceptions)


class ResponseStream:
    """A streamed answer: iterate it for bytes as they come. Leaving the block early closes the connection.

    Attributes:
        status_code: of the answer.
        request_id: of the attempt that was answered.
        executed_version: which version runs.
        headers: of the answer, by names of any case.
    """

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self.status_code = reader.response.status_code
        self.headers: Mapping[str, str] = reader.response.headers
        self.request_id = self.headers.get("x-amzn-requestid")
        self.executed_version = self.headers.get("x-amz-executed-version")
        self._chunks = _read(reader)

    @property
    def logs(self) -> str:
        """The end of the log, after the last chunk, if it was asked for."""
        return self._reader.logs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        chunks: Iterator[bytes] = self._chunks
        return chunks

    def close(self) -> None:
        """Stop reading; the function runs on."""
        self._chunks.close()
        # A generator that was never asked has no end of its own.
        if (source := self._reader.response.source) is not None:
            source.close()

    def text(self, encoding: str = "utf-8") -> Iterator[str]:
        """Yield text as it comes; a character that is split between chunks waits for its rest."""
        return self._transformed(TextDecoder(encoding))

    def lines(self) -> Iterator[str]:
        """Yield lines of UTF-8 without their ends."""
        return self._transformed(LineSplitter())

    def json_lines(self, returns: type[T] | None = None) -> Iterator[T]:
        """Yield the decoded value of each line; blank lines are passed over."""
        return self._transformed(JsonLines(returns))

    def _transformed(self, transformer: Transformer) -> Iterator[Any]:
        for chunk in self._chunks:
            yield from transformer.feed(chunk)
        yield from transformer.finish()


def _read(reader: StreamReader) -> Generator[bytes]:
    """Yield a stream's bytes; knows nothing of the stream, so that one that is dropped ends at once."""
    source = reader.response.source
    if source is None:
        return
    try:
        while not reader.complete:
            yield from reader.feed(source.read())
        source.finish()
    finally:
        source.close()


class Function(BoundFunction[T]):
    """A function with its options: ``hello({"name": "Ada"})``. Made by :meth:`Lambda.function`."""

    __slots__ = ()

    def __call__(self, payload: object = UNSET, /, **options: Unpack[InvokeOptions]) -> T:
        """Call it and return the decoded result.

        Raises:
            FunctionError: it failed. Other errors as of :meth:`Lambda.invoke`.
            DecodingError: the payload is no JSON, or does not fit.
        """
        return self.invoke(payload, **options).value()

    def invoke(self, payload: object = UNSET, **options: Unpack[InvokeOptions]) -> InvokeResult[T]:
        """Do as :meth:`Lambda.invoke`."""
        result: InvokeResult[T] = self._client.invoke(self.name, payload, **self._typed(options))
        return result

    def send(self, payload: object = UNSET, **options: Unpack[CallOptions]) -> str:
        """Do as :meth:`Lambda.send`."""
        request_id: str = self._client.send(self.name, payload, **self._with(options))
        return request_id

    def check(self, **options: Unpack[CallOptions]) -> None:
        """Do as :meth:`Lambda.check`."""
        self._client.check(self.name, **self._with(options))

    def map(self, payloads: Iterable[object], **options: Unpack[MapOptions]) -> Iterator[T]:
        """Do as :meth:`Lambda.map`."""
        values: Iterator[T] = self._client.map(self.name, payloads, **self._typed(options))
        return values

    def map_unordered(
        self, payloads: Iterable[object], **options: Unpack[MapOptions]
    ) -> Iterator[tuple[int, T]]:
        """Do as :meth:`Lambda.map_unordered`."""
        pairs: Iterator[tuple[int, T]] = self._client.map_unordered(
            self.name, payloads, **self._typed(options)
        )
        return pairs

    def stream(self, payload: object = UNSET, **options: Unpack[CallOptions]) -> ResponseStream:
        """Do as :meth:`Lambda.stream`."""
        stream: ResponseStream = self._client.stream(self.name, payload, **self._with(options))
        return stream
