"""Processes that are nobody's children here, as the kernel tells of them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped yet does not."""
    try:
        return _fields(Path(f"/proc/{pid}"))[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process, zombies too: of a server its zygotes and functions."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children[int(_fields(folder)[1])].append(int(folder.name))
    found = [pid]
    for parent in found:
        found += children[parent]
    return found[1:]


def _fields(process: Path) -> list[str]:
    """Return what stands behind the name, which may hold spaces and brackets: state, parent, and so on."""
    return (process / "stat").read_text().rpartition(")")[2].split()
