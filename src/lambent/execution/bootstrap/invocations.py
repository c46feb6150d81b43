r"""The loop of a function: read a frame, run the handler, write a frame.

Frames, integers little-endian. Server to function, one per invocation::

    u32 length      bytes after this field
    u32 head_size   bytes of the head
    head            UTF-8: request id, deadline (epoch ms), invoked ARN, trace id,
                    tenant id, client context; separated by "\n", the last may
                    itself contain "\n"
    payload         the event

Function to server::

    u32 length      bytes after this field
    u8  kind        READY, RESULT, BINARY, ERROR, INIT_ERROR
    u32 max_rss_kb  resident set's high-water mark
    u32 duration_us of init for READY and INIT_ERROR, else from the frame's arrival to the answer
    payload         the result, or the error object's JSON

:func:`answer_invocations` is on the hot path: it is one flat loop with local names, because
each call saved is about 0.1 us of the few that the whole invocation takes.

What it needs of the standard library is bound before the user's code can replace it there:
AWS's runtime speaks to its server from C, out of reach.
"""

from __future__ import annotations

import json
import os
import struct
import time
from os import readv as _readv
from os import write as _write
from resource import RUSAGE_SELF, getrusage
from typing import Any, Callable

from .context import LambdaContext
from .faults import Fault, TaskPaths, exception_object, fault_object
from .jsontext import Encoder, decode
from .logs import FunctionLog, Streams
from .variables import TraceVariable

READY = 1
RESULT = 2
BINARY = 3
ERROR = 4
INIT_ERROR = 5

_INVOKE_HEADER = struct.Struct("<II")
_REPLY_HEADER = struct.Struct("<IBII")
_REPLY_EXTRA = _REPLY_HEADER.size - 4
_LENGTH_BYTES = 4

# Takes nearly every event in one read; a larger buffer would be mapped and unmapped for each.
_READ_BYTES = 65536
# Beyond this a copy that joins header and payload costs more than a second write.
_JOIN_BYTES = 65536
_MAX_DURATION_US = 0xFFFFFFFF
# Asking for the high-water mark takes 0.5 us. In 0.2 ms a function can touch two megabytes of
# new memory at most (a page costs 0.3 us or more): quick invocations are asked now and then.
_RSS_AFTER_US = 200
_RSS_MAX_AGE = 20


def render_invocation(
    request_id: str,
    deadline_ms: int,
    invoked_arn: str,
    trace_id: str,
    tenant_id: str,
    client_context: str,
    payload: bytes,
) -> bytes:
    """Return the frame that makes a function run once (here for rehearsals)."""
    head = f"{request_id}\n{deadline_ms}\n{invoked_arn}\n{trace_id}\n{tenant_id}\n{client_context}".encode()
    return _INVOKE_HEADER.pack(4 + len(head) + len(payload), len(head)) + head + payload


class FrameLink:
    """The function's ends of the two streams, usually pipes, that join it to the server.

    Two, one for each direction: on a socket pair, the server's reading of a reply would
    wake the function, which waits on the same socket, once more for nothing.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Own both descriptors, which may be the same."""
        self.fd = read_fd
        self._write_fd = write_fd
        self._owned = {read_fd, write_fd}
        # Not in the module: libraries that freeze time exchange clocks wherever modules hold one.
        self.clock = time.perf_counter_ns
        self.read = os.read
        self._max_rss_kb = 0
        self._age = _RSS_MAX_AGE

    def read_rest(self, data: bytes) -> bytes:
        """Return the whole frame that begins with ``data``, or nothing at end-of-file."""
        while len(data) < _LENGTH_BYTES:
            more = self.read(self.fd, _READ_BYTES) if data else b""
            if not more:
                return b""
            data += more
        size = _LENGTH_BYTES + _INVOKE_HEADER.unpack_from(data.ljust(_INVOKE_HEADER.size, b"\0"))[0]
        frame = bytearray(size)
        frame[: len(data)] = data
        view = memoryview(frame)[len(data) :]
        while view:
            count = _readv(self.fd, [view])
            if not count:
                return b""
            view = view[count:]
        return bytes(frame)

    def send(self, kind: int, started_ns: int, payload: bytes) -> None:
        """Send one frame whole.

        Args:
            kind: one of the five.
            started_ns: :attr:`clock` at the beginning of what is answered.
            payload: the result, or the error object's JSON.
        """
        duration_us = (self.clock() - started_ns) // 1000
        self._age += 1
        if duration_us > _RSS_AFTER_US or self._age > _RSS_MAX_AGE:
            self._max_rss_kb = getrusage(RUSAGE_SELF).ru_maxrss
            self._age = 0
        header = _REPLY_HEADER.pack(
            _REPLY_EXTRA + len(payload), kind, self._max_rss_kb, duration_us & _MAX_DURATION_US
        )
        if len(payload) <= _JOIN_BYTES:
            self._write(header + payload)
        else:
            self._write(header)
            self._write(payload)

    def _write(self, data: bytes) -> None:
        sent = _write(self._write_fd, data)
        while sent < len(data):
            sent += _write(self._write_fd, memoryview(data)[sent:])

    def close(self) -> None:
        """Close the descriptors; again does nothing, for their numbers may be others' by then."""
        while self._owned:
            os.close(self._owned.pop())

    def close_in_forked_children(self) -> list[bool]:
        """Keep processes that the function forks off the stream.

        Returns:
            A list that is empty in the function and is not in a process that it forked.
        """
        forked: list[bool] = []

        def leave() -> None:
            forked.append(True)
            self.close()

        os.register_at_fork(after_in_child=leave)
        return forked


def answer_invocations(
    link: FrameLink,
    handler: Callable[[Any, Any], Any],
    encoder: Encoder,
    log: FunctionLog,
    streams: Streams,
    paths: TaskPaths,
    own_files: frozenset[str],
    forked: list[bool],
) -> None:
    """Run the handler for every invocation until the server closes the stream.

    Returns at end-of-file, and in a process that the handler forked and that came back
    from it (``forked`` tells). ``SystemExit`` and ``KeyboardInterrupt`` pass through, as on AWS.
    """
    invocation = log.invocation
    set_trace = TraceVariable().set
    fd = link.fd
    read, clock, unpack = link.read, link.clock, _INVOKE_HEADER.unpack_from
    encode, send, flush = encoder.encode, link.send, streams.flush
    while True:
        data = read(fd, _READ_BYTES)
        started = clock()
        size = len(data)
        if size < _INVOKE_HEADER.size or unpack(data)[0] != size - _LENGTH_BYTES:
            data = link.read_rest(data)
            if not data:
                return
            started = clock()
        head_end = 8 + unpack(data)[1]
        head = data[8:head_end].decode().split("\n", 5)
        invocation.request_id = head[0]
        invocation.tenant_id = head[4] or None
        set_trace(head[3])
        try:
            answer = _attempt(handler, encode, head, data[head_end:])
            kind = RESULT if type(answer) is str else BINARY
        except Fault as fault:
            kind, failure = ERROR, fault_object(fault, head[0])
        except Exception as problem:
            kind, failure = ERROR, exception_object(problem, paths, own_files, head[0])
        if kind == ERROR:
            log.write_error(failure)
            answer = encode(failure)
        if forked:
            flush()
            return
        # Outside of the try: a lone surrogate ends the process, as it does on AWS.
        payload = answer.encode() if type(answer) is str else answer
        flush()
        send(kind, started, payload)
        # Large values must not outlive the invocation.
        del data, answer, payload


def _attempt(
    handler: Callable[[Any, Any], Any], encode: Callable[[Any], str], head: list[str], payload: bytes
) -> Any:
    """Run the handler once; return the result's JSON, or the ``bytes`` that the handler returned.

    Raises:
        Fault: what the caller sent cannot be read, or what the handler returned cannot be written.
    """
    request_id, deadline_ms, arn, _, tenant_id, client_context = head
    context = LambdaContext(
        request_id,
        _parse_client_context(client_context) if client_context else None,
        int(deadline_ms),
        arn,
        tenant_id or None,
    )
    try:
        event = decode(payload)
    except Exception as problem:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {problem}") from None
    result = handler(event, context)
    if isinstance(result, bytes):
        return result
    try:
        return encode(result)
    except Exception as problem:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {problem}") from None


def _parse_client_context(text: str) -> Any:
    try:
        return json.loads(text)
    except Exception as problem:
        raise Fault(
            "Runtime.LambdaContextUnmarshalError", f"Unable to parse Client Context JSON: {problem}"
        ) from None
