"""What a process and all of its descendants cost, read from ``/proc``.

Children count wherever they are: a session or a group of their own does not
hide them, only a parent outside the tree would.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """Return ``pid`` and its descendants that are alive now."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            # The name may hold spaces and brackets; the parent is the second field after it.
            stat = _read(entry / "stat")
            if stat:
                children[int(stat.rpartition(")")[2].split()[1])].append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children[parent]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the members of the tree of ``pid`` have used so far.

    Each process has a clock of its CPU time, which anybody may read: nanoseconds,
    threads that have ended included, where the 10 ms ticks of ``stat`` would lose
    much of what 32 nearly idle processes do.  A process that has ended takes its
    time with it: only differences over a steady state mean anything.
    """
    seconds = 0.0
    for member in tree(pid):
        # What clock_getcpuclockid(3) returns; Python does not offer it.
        clock = ~member << 3 | 2
        with contextlib.suppress(OSError):
            seconds += time.clock_gettime(clock)
    return seconds


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of the tree: shared pages count once, divided among their holders."""
    kilobytes = 0
    for member in tree(pid):
        for line in _read(PROC / str(member) / "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024


def _read(path: Path) -> str:
    """Return a file's text, empty when the process has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
