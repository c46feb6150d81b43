r"""Frames between the server and the bootstrap of a managed Python function.

Both directions carry length-prefixed frames, each on a pipe of its own; all integers
are little-endian.

Server to function, one frame per invocation::

    u32 length      bytes after this field
    u32 head_size   bytes of the head
    head            UTF-8: request id, deadline (epoch ms), invoked ARN, trace id,
                    tenant id, client context; separated by "\n", the last may
                    itself contain "\n"
    payload         the event, bytes as the caller sent them

Function to server::

    u32 length      bytes after this field
    u8  kind        one of READY, RESULT, BINARY, ERROR, INIT_ERROR
    u32 max_rss_kb  resident set's high-water mark
    u32 duration_us time spent (init for READY and INIT_ERROR, else the handler's)
    payload         the result, or the error object's JSON

A function sends READY once after its module is imported (or INIT_ERROR, and then
ends), afterwards exactly one RESULT, BINARY or ERROR per invocation.
The bootstrap runs on older Pythons without this package and holds its own half.
"""

from __future__ import annotations

import struct

READY = 1
RESULT = 2
BINARY = 3
ERROR = 4
INIT_ERROR = 5
KINDS = frozenset({READY, RESULT, BINARY, ERROR, INIT_ERROR})

INVOKE_HEADER = struct.Struct("<II")
REPLY_HEADER = struct.Struct("<IBII")


def render_invocation_head(
    request_id: str,
    deadline_ms: int,
    invoked_arn: str,
    trace_id: str,
    tenant_id: str,
    client_context: str,
    payload_bytes: int,
) -> bytes:
    """Return what stands before the payload in the frame that makes the function run once."""
    head = f"{request_id}\n{deadline_ms}\n{invoked_arn}\n{trace_id}\n{tenant_id}\n{client_context}".encode()
    return INVOKE_HEADER.pack(4 + len(head) + payload_bytes, len(head)) + head
