"""Requests to the kernel that the standard library has no function for.

Everything here works without ``ctypes`` too, then with weaker promises: a zygote still
sees the server's end by end-of-file, but functions do not die with a killed zygote.
"""

from __future__ import annotations

import os
import signal
from typing import Any

try:
    import ctypes

    _libc: Any = ctypes.CDLL(None, use_errno=True)
except (ImportError, OSError):  # an interpreter that was built without libffi
    _libc = None

# https://man7.org/linux/man-pages/man2/prctl.2.html
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, argument: int) -> None:
    if _libc is not None:
        _libc.prctl(option, argument, 0, 0, 0)


def signal_when_parent_dies(number: int) -> None:
    """Ask for a signal to this process when the thread that forked it ends.

    The request is lost when the parent is gone already: check that afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends (subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def child_pids() -> list[int]:
    """Return the ids of all children of the calling process, zombies included.

    Only right in a process without further threads, since the kernel keeps the list per thread.
    """
    own = os.getpid()
    try:
        with open(f"/proc/self/task/{own}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return _child_pids_from_status(own)


def _child_pids_from_status(parent: int) -> list[int]:
    """Return the children of ``parent`` for kernels that keep no list of them."""
    found = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The command may contain blanks and parentheses: what follows it starts after the last one.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(name))
    return found


def kill(pid: int) -> bool:
    """Send SIGKILL to one process.

    Returns:
        False when this process may not do that (then waiting for its end is pointless).
    """
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def kill_group(pid: int) -> None:
    """Send SIGKILL to the process group that ``pid`` made, and to ``pid``, which may have left it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    kill(pid)


def kill_descendants() -> None:
    """Kill every descendant and return when none is left.

    Needs :func:`adopt_orphans`: the children of a killed process become ours and are
    found by the next round, however they detached themselves.
    """
    while True:
        killable = [pid for pid in child_pids() if kill(pid)]
        if not killable:
            return
        try:
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
