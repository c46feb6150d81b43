"""Header values that have a grammar of their own: request ids and trace headers."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from urllib.parse import unquote

_BLOCK_BYTES = 4096
# Of a root, parent or sampling decision, whose longest is 35; they go into variables and answers.
_TRACE_PART_CHARACTERS = 128
# Of a chain over more functions the first ones are forgotten.
_LINEAGE_PARTS = 32
_LINEAGE_PART = re.compile(r"(?:1:)?([0-9a-f]{8}):([0-9]{1,6})")
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
    not sampled begins, its time from ``now`` (seconds since the epoch). The caller's
    lineage goes on: of the functions that led here each has a part, which counts its runs.

    Source: docs/aws-behaviour.md, execution 4.10, invoke 1.2 and async 2.5.
    """
    if received is None:
        unique = request_id.replace("-", "")[:24]
        return f"Root=1-{int(now):08x}-{unique};Sampled=0;Lineage={lineage}"
    kept = {}
    for part in received.decode("latin-1").split(";"):
        name, equals, value = part.strip().partition("=")
        if name.lower() == "lineage":
            lineage = _extend_lineage(value, lineage)
        elif equals and len(value) <= _TRACE_PART_CHARACTERS and value.isprintable() and value.isascii():
            kept[name.lower()] = value
    if "root" not in kept:
        return render_trace(None, now, request_id, lineage)
    parent = f";Parent={kept['parent']}" if "parent" in kept else ""
    return f"Root={kept['root']}{parent};Sampled={kept.get('sampled', '0')};Lineage={lineage}"


def lineage_of(arn: str) -> str:
    """Return a function's part of the lineage at its first run: generation, hash of the ARN, runs before."""
    return f"1:{zlib.crc32(arn.encode()):08x}:0"


def runs_before(trace: str) -> int:
    """Return how often a function has run already among the callers that its trace header tells of.

    Args:
        trace: of :func:`render_trace`: it ends with the function's own part.
    """
    runs = trace.rpartition(":")[2]
    return int(runs) if runs.isdecimal() else 0


def _extend_lineage(received: str, own: str) -> str:
    """Return the lineage with one run more of the function whose first part is ``own``."""
    runs = 0
    others = []
    # SDKs encode the bar: docs/aws-behaviour.md, async 2.5.
    for part in unquote(received).split("|"):
        match = _LINEAGE_PART.fullmatch(part)
        if match is not None and match[1] == own[2:-2]:
            runs = int(match[2]) + 1
        elif match is not None:
            others.append(part)
    return "|".join([*others[1 - _LINEAGE_PARTS :], f"{own[:-1]}{runs}"])
