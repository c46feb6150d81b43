"""Header values that have a grammar of their own: request ids and trace headers."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator

_BLOCK_BYTES = 4096
# Of a root, parent or sampling decision, whose longest is 35; they go into variables and answers.
_TRACE_PART_CHARACTERS = 128
_RANDOM_PARTS = struct.Struct(">IHHHHI")


def request_ids() -> Iterator[str]:
    """Yield random UUIDs (version 4, lower case) for ever, cut from blocks of randomness.

    ``uuid.uuid4`` asks the kernel each time and builds an object; this is five times cheaper.
    """
    while True:
        for low, mid, high, clock, node, rest in _RANDOM_PARTS.iter_unpack(os.urandom(_BLOCK_BYTES)):
            # Version 4 and the variant of RFC 9562 stand in fixed bits of the third and fourth group.
            # One operator where an f-string takes six steps: this runs for every request.
            parts = (low, mid, high & 0xFFF, clock & 0x3FFF | 0x8000, node, rest)
            yield "%08x-%04x-4%03x-%04x-%04x%08x" % parts  # noqa: UP031


def render_trace(received: bytes | None, now: float, request_id: str, lineage: str) -> str:
    """Return the trace header for the function and the response.

    The caller's root, parent and sampling are kept; without them a new root that is
    not sampled begins, its time from ``now`` (seconds since the epoch).

    Source: docs/aws-behaviour.md, execution 4.10 and invoke 1.2.
    """
    if received is None:
        unique = request_id.replace("-", "")[:24]
        return f"Root=1-{int(now):08x}-{unique};Sampled=0;Lineage={lineage}"
    kept = {}
    for part in received.decode("latin-1").split(";"):
        name, equals, value = part.strip().partition("=")
        if equals and len(value) <= _TRACE_PART_CHARACTERS and value.isprintable() and value.isascii():
            kept[name.lower()] = value
    if "root" not in kept:
        return render_trace(None, now, request_id, lineage)
    parent = f";Parent={kept['parent']}" if "parent" in kept else ""
    return f"Root={kept['root']}{parent};Sampled={kept.get('sampled', '0')};Lineage={lineage}"


def lineage_of(arn: str) -> str:
    """Return a function's part of the lineage: generation, hash of the ARN, depth."""
    return f"1:{zlib.crc32(arn.encode()):08x}:0"
