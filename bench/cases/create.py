"""CreateFunction per second, beside the least that a durable creation can do.

The goal is absolute: a deployment of many functions must not wait for us.  The
yardstick tells a slow disk from a slow server: code written to a file and
synced, then one row committed by SQLite with ``synchronous=FULL``.
"""

import os
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import Server

FUNCTIONS = 200


def run(_: Options) -> list[Figure]:
    """Return creations per second, with boto3 in eight threads."""
    yardstick = FUNCTIONS / _write_durably()
    with Server() as server:
        ours = FUNCTIONS / server.create([f"f{i}" for i in range(FUNCTIONS)])
    return [Figure("CreateFunction", "/s", yardstick, ours, Goal("≥", 50, of="ours"))]


def _write_durably() -> float:
    """Store as many small codes and rows, one after the other; return seconds."""
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as directory:
        store = sqlite3.connect(Path(directory, "store"), isolation_level=None)
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA synchronous=FULL")
        store.execute("CREATE TABLE function (name TEXT PRIMARY KEY, document TEXT)")
        started = time.perf_counter()
        for i in range(FUNCTIONS):
            with Path(directory, f"code{i}").open("wb") as code:
                code.write(bytes(300))
                code.flush()
                os.fsync(code.fileno())
            store.execute("INSERT INTO function VALUES (?, ?)", (f"f{i}", "x" * 1000))
        took = time.perf_counter() - started
        store.close()
    return took
