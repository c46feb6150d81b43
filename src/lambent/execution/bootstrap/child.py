"""From the fork to a function that answers invocations."""

from __future__ import annotations

import gc
import importlib.machinery
import json
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from . import process
from .bytecode import use_compiled
from .context import read_function
from .faults import Fault, TaskPaths, exception_object, fault_object
from .handler import load_handler
from .invocations import INIT_ERROR, READY, FrameLink, answer_invocations
from .jsontext import Encoder
from .logs import FunctionLog, LogSink, Streams, open_standard_streams
from .rehearsal import rehearse
from .variables import replace_all

_MB = 1024 * 1024

# From these runtimes on AWS writes non-ASCII characters as they are (awslambdaric 4.2.2).
_UNICODE_RUNTIMES = frozenset(f"AWS_Lambda_python3.{minor}" for minor in range(12, 16))

# What sys.argv[0] holds on AWS.
_PROGRAM = "/var/runtime/bootstrap.py"

# What AWS's runtime has loaded too before it looks for the handler (awslambdaric 4.2.2): a file
# of the user with such a name is not seen there either. All other modules that the zygote
# has loaded the user may replace.
_LOADED_ON_AWS = frozenset(
    (
        "__future__ __main__ abc codecs collections contextlib copyreg decimal encodings enum "
        "functools genericpath importlib io json keyword linecache logging math numbers operator os "
        "posixpath re reprlib site sre_compile sre_constants sre_parse stat string sys textwrap "
        "threading token tokenize traceback types warnings weakref"
    ).split()
)

_OWN_PACKAGE = __package__ or ""
_KEPT = _LOADED_ON_AWS | {_OWN_PACKAGE, *sys.builtin_module_names}
_MODULE_SUFFIXES = frozenset(importlib.machinery.all_suffixes())

# File names of this package as they stand in its code objects; every module is loaded by now.
_OWN_FILES = frozenset(
    module.__file__ or "" for name, module in sys.modules.items() if name.startswith(f"{_OWN_PACKAGE}.")
)

# What a parked process gets: eight bytes of time before the server's packet, and three descriptors.
_HAND_OVER_BYTES = (1 << 20) + 8
_HAND_OVER_FDS = 3


class Spawn:
    """One function that is to be started, as the server asked for it."""

    def __init__(self, message: dict[str, Any], fds: list[int], started_ns: int) -> None:
        """Take the server's message.

        Args:
            message: see ``parent.py``.
            fds: where frames are read, where they are written, the log pipe's write end.
            started_ns: ``time.perf_counter_ns()`` when the start began.
        """
        self.message = message
        self.read_fd, self.write_fd, self.log_fd = fds
        self.started_ns = started_ns


def leave_zygote(parent: int) -> None:
    """Cut a fresh fork's ties to the zygote, whose process id is given, but one: it dies with it."""
    process.signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Orphans of the function stay with it, so that those of an ended one are told apart.
    process.adopt_orphans()
    os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def wait_parked(hand_over: socket.socket) -> Spawn:
    """Wait as a process that is ready to become any function.

    Args:
        hand_over: where the zygote sends :func:`render_hand_over` and the descriptors.
    """
    rehearse()
    packet, fds, _, _ = socket.recv_fds(hand_over, _HAND_OVER_BYTES, _HAND_OVER_FDS, socket.MSG_CMSG_CLOEXEC)
    hand_over.close()
    if len(fds) != _HAND_OVER_FDS:
        os._exit(0)  # end-of-file: the zygote is gone
    started_ns = int.from_bytes(packet[:8], "little")
    return Spawn(json.loads(packet[8:]), fds, started_ns)


def render_hand_over(packet: bytes, started_ns: int) -> bytes:
    """Return what a parked process needs besides the descriptors: the server's packet and the time."""
    return started_ns.to_bytes(8, "little") + packet


def become_function(spawn: Spawn) -> None:
    """Be the function: import the handler and answer invocations; ends with the process."""
    message = spawn.message
    variables: dict[str, str] = message["variables"]
    os.dup2(spawn.log_fd, 1)
    os.dup2(spawn.log_fd, 2)
    os.set_blocking(1, True)
    replace_all(variables)
    if variables.get("TZ") is not None:
        time.tzset()
    if variables.get("PYTHONUNBUFFERED"):
        open_standard_streams(unbuffered=True)
    gc.enable()
    _set_up_interpreter(message)
    _limit_data(message.get("data_limit_mb"))

    streams = Streams()
    paths = TaskPaths(message["task_root"])
    encoder = Encoder(ensure_ascii=variables.get("AWS_EXECUTION_ENV") not in _UNICODE_RUNTIMES)
    sink = LogSink(spawn.log_fd, streams, bool(message.get("log_frames")))
    log = FunctionLog(sink, paths, encoder, variables)
    link = FrameLink(spawn.read_fd, spawn.write_fd)

    log.attach()
    forked = link.close_in_forked_children()
    try:
        handler = load_handler(message["handler"], paths)
        failure = None
    except Fault as fault:
        failure = fault_object(fault)
    except Exception as error:
        failure = exception_object(error, paths, _OWN_FILES)
    if failure is not None and not forked:
        log.warn_of_unhandled()
        log.write_error(failure)
        payload = encoder.encode(failure).encode()
        streams.flush()
        link.send(INIT_ERROR, spawn.started_ns, payload)
        sys.exit(1)

    if forked:
        streams.flush()
        os._exit(0)
    read_function()
    streams.flush()
    link.send(READY, spawn.started_ns, b"")
    answer_invocations(link, handler, encoder, log, streams, paths, _OWN_FILES, forked)
    # AWS ends an idle environment with SIGKILL: no atexit, no waiting for threads.
    os._exit(0)


def _set_up_interpreter(message: dict[str, Any]) -> None:
    """Give ``sys`` and the module table the looks of a program that AWS started."""
    task_root = message["task_root"]
    extra_path = message.get("extra_path") or []
    search_path = [path for path in message["variables"].get("PYTHONPATH", "").split(":") if path]
    os.chdir(task_root)
    _forget_replaced_modules([task_root, *search_path])
    # An interpreter that obeys PYTHONPATH (see zygote.py) has put it there itself.
    sys.path[:0] = [task_root, *(path for path in search_path if path not in sys.path)]
    sys.path += extra_path
    sys.argv = [_PROGRAM]
    sys.modules["__main__"] = type(sys)("__main__")
    sys.dont_write_bytecode = True
    prefix = message.get("pycache_prefix")
    if prefix:
        use_compiled(prefix, [task_root, *extra_path])


def _forget_replaced_modules(folders: list[str]) -> None:
    """Unload what the zygote has loaded when the function brings a module of such a name.

    Then all of it goes, for the others are to find the function's module too. Their C
    halves, which begin with an underscore, stay: they are not made to be loaded twice.
    """
    if any(_replaces_module(folder) for folder in folders):
        for name in list(sys.modules):
            stem = name.partition(".")[0]
            if stem not in _KEPT and not stem.startswith("_"):
                del sys.modules[name]


def _replaces_module(folder: str) -> bool:
    """Return whether an import from ``folder`` would take the place of a module that is loaded."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        stem, _, suffix = name.partition(".")
        if stem in sys.modules and stem not in _KEPT and _is_module(folder, name, suffix):
            return True
    return False


def _is_module(folder: str, name: str, suffix: str) -> bool:
    """Return whether an import would take this entry; a folder without ``__init__`` comes last there."""
    if suffix:
        return f".{suffix}" in _MODULE_SUFFIXES
    return os.path.exists(f"{folder}/{name}/__init__.py")


def _limit_data(limit_mb: int | None) -> None:
    """Bound the data of the process; address space is no measure of what a function uses."""
    if not limit_mb:
        return
    limit = limit_mb * _MB
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
