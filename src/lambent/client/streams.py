"""A streamed answer without I/O: event-stream bytes in, the function's bytes, text or lines out."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from lambent.client.answers import read_error
from lambent.client.decoding import decode
from lambent.client.errors import DecodingError, FunctionError, LambentError, TransportError
from lambent.client.messages import HttpResponse
from lambent.client.results import InvokeResult, decode_log, read_function_error
from lambent.wire.eventstream import CONTENT_TYPE, Decoder, EventStreamError, Message


class StreamReader:
    """Reads one streamed answer; fed with bytes, gives the function's.

    Attributes:
        complete: the last event has come, and the function did not fail.
    """

    def __init__(self, response: HttpResponse, attempts: int) -> None:
        self.response = response
        self.attempts = attempts
        self.complete = response.status_code != 200
        self.log_result: str | None = None
        self._decoder = Decoder()
        content = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == 200 and content != CONTENT_TYPE:
            raise TransportError(
                f"the answer is {content or 'untyped'}, no event stream", may_have_run=True, attempts=attempts
            )

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what was read (nothing: the end) and yield the function's bytes.

        Raises:
            FunctionError: the function failed, perhaps after some chunks.
            ServiceError: the service did.
            TransportError: the stream ended before its last event.
            DecodingError: a checksum is wrong.
        """
        if not data:
            raise TransportError(
                "the stream ended without its last event", may_have_run=True, attempts=self.attempts
            )
        try:
            for message in self._decoder.feed(data):
                if message.headers.get(":message-type") != "event":
                    raise self._refusal(message)
                kind = message.headers.get(":event-type")
                if kind == "PayloadChunk":
                    if message.payload:
                        yield message.payload
                elif kind == "InvokeComplete":
                    self._end(message.payload)
                    return
        except EventStreamError as error:
            raise DecodingError(str(error), attempts=self.attempts) from error

    def _end(self, payload: bytes) -> None:
        try:
            members = json.loads(payload) if payload else {}
        except ValueError as error:
            raise DecodingError(f"the last event is no JSON: {error}", attempts=self.attempts) from error
        if not isinstance(members, dict):
            raise DecodingError("the last event is no object", attempts=self.attempts)
        log = members.get("LogResult")
        self.log_result = log if isinstance(log, str) else None
        code, details = members.get("ErrorCode"), members.get("ErrorDetails")
        if code:
            raise self._function_error(str(code), details if isinstance(details, str) else "")
        self.complete = True

    def _function_error(self, code: str, details: str) -> FunctionError:
        kind, message, trace = read_function_error(details)
        headers = self.response.headers
        result: InvokeResult[Any] = InvokeResult(
            self.response.status_code,
            details.encode(),
            "Unhandled",
            self.log_result,
            headers.get("x-amz-executed-version"),
            request_id=headers.get("x-amzn-requestid"),
            attempts=self.attempts,
            headers=headers,
        )
        return FunctionError(kind or code, message, stack_trace=trace, result=result)

    def _refusal(self, message: Message) -> LambentError:
        headers = {name: value for name, value in message.headers.items() if isinstance(value, str)}
        code = headers.get(":exception-type") or headers.get(":error-code") or ""
        told = HttpResponse(self.response.status_code, self.response.headers, message.payload)
        error = read_error(told, code=code, message=headers.get(":error-message"))
        error.may_have_run, error.attempts = True, self.attempts
        return error

    @property
    def logs(self) -> str:
        """The end of the log, after the last chunk, if it was asked for."""
        return decode_log(self.log_result)


class Transformer(Protocol):
    """Makes something else of chunks, one after the other."""

    def feed(self, chunk: bytes) -> Iterable[Any]:
        """Return what a chunk completes."""
        ...

    def finish(self) -> Iterable[Any]:
        """Return what is left at the end."""
        ...


class TextDecoder:
    """Chunks to text that never splits a character.

    Raises:
        DecodingError: the bytes are not of this encoding.
        LookupError: there is no such encoding.
    """

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def feed(self, chunk: bytes) -> Iterable[str]:
        """Return the characters that are whole now."""
        return self._decode(chunk, is_last=False)

    def finish(self) -> Iterable[str]:
        """Return nothing, or fail: the last character is cut."""
        return self._decode(b"", is_last=True)

    def _decode(self, chunk: bytes, *, is_last: bool) -> Iterable[str]:
        try:
            text = self._decoder.decode(chunk, is_last)
        except UnicodeDecodeError as error:
            raise DecodingError(f"stream: {error}") from error
        return (text,) if text else ()


class LineSplitter:
    r"""Chunks of UTF-8 to lines without their ends, which are ``\n`` or ``\r\n``."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterable[str]:
        """Return the lines that a chunk ends."""
        if b"\n" not in chunk:
            self._parts.append(chunk)
            return ()
        *lines, rest = (b"".join(self._parts) + chunk).split(b"\n")
        self._parts = [rest]
        return [_text(line) for line in lines]

    def finish(self) -> Iterable[str]:
        """Return the last line if nothing ends it."""
        rest = b"".join(self._parts)
        return (_text(rest),) if rest else ()


class JsonLines:
    """Chunks to one decoded value for each line that is not blank."""

    def __init__(self, returns: type[Any] | None) -> None:
        self._lines = LineSplitter()
        self._returns = returns

    def feed(self, chunk: bytes) -> Iterable[Any]:
        """Return the values that a chunk ends."""
        return self._decode(self._lines.feed(chunk))

    def finish(self) -> Iterable[Any]:
        """Return the last value."""
        return self._decode(self._lines.finish())

    def _decode(self, lines: Iterable[str]) -> Iterator[Any]:
        for line in lines:
            if not line.strip():
                continue
            try:
                yield decode(line.encode(), self._returns)
            except (ValueError, TypeError) as error:
                raise DecodingError(f"stream: {error}") from error


def _text(line: bytes) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise DecodingError(f"stream: {error}") from error
