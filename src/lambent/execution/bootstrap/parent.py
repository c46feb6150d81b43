"""The zygote: one process per runtime, from which functions are forked.

It is driven over a Unix SOCK_SEQPACKET socket, one JSON object per packet. Server to
zygote::

    {"op": "spawn", "id": 7, "handler": "m.f", "task_root": "/path", "variables": {...},
     "data_limit_mb": 320, "pycache_prefix": "/path" or null, "extra_path": ["/path"],
     "log_frames": false}                     with SCM_RIGHTS [frames in, frames out, log pipe]
    {"op": "kill", "id": 7}                   SIGKILL to the function and its group
    {"op": "compile", "id": 8, "folder": "/path", "pycache_prefix": "/path"}

and zygote to server::

    {"op": "ready", "version": [3, 11, 7], "pid": 99}       first
    {"op": "spawned", "id": 7, "pid": 100}
    {"op": "failed", "id": 7, "reason": "..."}              nothing was started
    {"op": "exited", "id": 7, "status": 9, "max_rss_kb": 1} wait status, as of waitpid
    {"op": "compiled", "id": 8}

``variables`` is the whole environment of the function. ``log_frames``: see ``logs.py``.
Byte code of ``task_root`` and ``extra_path`` is looked for below ``pycache_prefix``.

Who dies with whom: the server's end closes the control socket (and its death sends
SIGTERM, in case another process holds the other end); either makes the zygote kill all
its descendants, which as a subreaper it can find however they detached themselves, and
end. It must not be killed together with the server, or nobody would do that. Functions
are killed by the kernel when the zygote dies. A function is a subreaper too: orphans
arrive at the zygote only after their function has ended, and are killed then.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, NamedTuple

from . import preload, process
from .bytecode import compile_folder
from .child import Spawn, render_hand_over
from .logs import open_standard_streams
from .rehearsal import rehearse

# The sender's buffer is the limit in practice (/proc/sys/net/core/wmem_max).
_MAX_MESSAGE_BYTES = 1 << 20
_MAX_FDS = 8
_SPAWN_FDS = 3
# Open files of a function on AWS (docs/aws-behaviour.md, execution 4.2).
_OPEN_FILES = 1024
# Work ahead begins when nothing was asked for so long: not in the middle of a burst.
_QUIET_MS = 10
_COMPILE_NICE = 19
_COMPILE_CPU_SECONDS = 300


class Parked(NamedTuple):
    """A forked child that has rehearsed and waits to become a function."""

    pid: int
    hand_over: socket.socket


class Zygote:
    """Obeys the control socket until it ends; see the module's text for the messages."""

    def __init__(self, control: socket.socket, parked_count: int, held: int) -> None:
        """Take over the control socket.

        Args:
            control: SOCK_SEQPACKET.
            parked_count: how many children to keep ready, forked in quiet moments.
            held: descriptor that only this process keeps open; below 0 for none.
        """
        self._control = control
        self._held = held
        self._pid = os.getpid()
        self._functions: dict[int, int] = {}  # id -> process id, both of functions not yet reaped
        self._ids: dict[int, int] = {}
        self._compilers: dict[int, int] = {}  # process id -> id
        self._parked: list[Parked] = []
        self._parked_count = parked_count
        self._to_load = preload.names_to_load()
        self._is_quiet = False
        self._buffer = bytearray(_MAX_MESSAGE_BYTES)
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_told_to_end = False

    def serve(self) -> Spawn | socket.socket | None:
        """Work until end-of-file.

        Returns:
            None when all is over. In a forked child the function that it has to become, or
            the socket on which it will hear about that.
        """
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.signal(signal.SIGTERM, self._end)
        self._send({"op": "ready", "version": list(sys.version_info[:3]), "pid": self._pid})
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while not self._is_told_to_end:
            ready = {fd for fd, _ in poll.poll(self._patience_ms())}
            self._is_quiet = not ready
            if self._is_quiet:
                hand_over = self._prepare()
                if hand_over is not None:
                    return hand_over
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready:
                received = self._receive()
                if received is None:
                    return None
                spawn = self._obey(*received)
                if spawn is not None:
                    return spawn
        return None

    def close_descriptors(self) -> None:
        """Close, in a forked child, what no function may have: it could command the zygote."""
        self._control.close()
        for parked in self._parked:
            parked.hand_over.close()
        signal.set_wakeup_fd(-1)
        _close([self._wake_read, self._wake_write])
        if self._held >= 0:
            os.close(self._held)

    def _patience_ms(self) -> int | None:
        """Return how long to wait for a message before preparing for later ones."""
        if not self._to_load and len(self._parked) >= self._parked_count:
            return None
        return 0 if self._is_quiet else _QUIET_MS

    def _prepare(self) -> socket.socket | None:
        """Do one short piece of work ahead; returns something only in a parked child."""
        if not self._to_load:
            return self._park()
        preload.load(self._to_load.pop())
        if not self._to_load:
            _freeze()
        return None

    def _park(self) -> socket.socket | None:
        """Fork a child in advance; return its socket there and nothing here."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_MESSAGE_BYTES)
        try:
            pid = os.fork()
        except OSError:
            self._parked_count = 0  # the machine is at a limit; do without from now on
            return None
        if pid == 0:
            ours.close()
            return theirs
        _lead_group(pid)
        self._parked.append(Parked(pid, ours))
        return None

    def _hand_over(self, packet: bytes, fds: list[int], started_ns: int) -> int | None:
        """Let a parked child become the function; return its process id if there is one."""
        while self._parked:
            parked = self._parked.pop()
            with parked.hand_over:
                try:
                    socket.send_fds(parked.hand_over, [render_hand_over(packet, started_ns)], fds)
                except OSError:
                    process.kill(parked.pid)  # it has ended, or cannot be reached
                    continue
            return parked.pid
        return None

    @property
    def pid(self) -> int:
        """Process id of the zygote, also in its children."""
        return self._pid

    def _end(self, *_: object) -> None:
        self._is_told_to_end = True

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            self._is_told_to_end = True  # the server is gone

    def _receive(self) -> tuple[bytes, list[int]] | None:
        """Return one packet and the descriptors that came with it; None at end-of-file."""
        try:
            size, ancillary, flags, _ = self._control.recvmsg_into(
                [self._buffer],
                socket.CMSG_SPACE(_MAX_FDS * 4),
                socket.MSG_CMSG_CLOEXEC,
            )
        except ConnectionError:
            return None
        fds: list[int] = []
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds += [number for (number,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])]
        if size == 0 and not fds:
            return None
        if flags & socket.MSG_TRUNC:
            _close(fds)
            return b"{}", []
        return bytes(memoryview(self._buffer)[:size]), fds

    def _obey(self, packet: bytes, fds: list[int]) -> Spawn | None:
        """Do what a packet says; returns something only in the forked child."""
        message: dict[str, Any] = {}
        try:
            message.update(json.loads(packet))
            operation = message.get("op")
            if operation == "spawn":
                return self._spawn(packet, message, fds)
            if operation == "kill":
                pid = self._functions.get(message["id"])
                if pid is not None:
                    process.kill_group(pid)
            elif operation == "compile":
                self._compile(message)
            else:
                raise ValueError(f"unknown operation {operation!r}")
        except Exception as problem:
            reason = f"{type(problem).__name__}: {problem}"
            self._send({"op": "failed", "id": message.get("id"), "reason": reason})
        finally:
            if os.getpid() == self._pid:
                _close(fds)
        return None

    def _spawn(self, packet: bytes, message: dict[str, Any], fds: list[int]) -> Spawn | None:
        started_ns = time.perf_counter_ns()
        if len(fds) != _SPAWN_FDS:
            raise ValueError(f"spawn needs {_SPAWN_FDS} descriptors, got {len(fds)}")
        number = message["id"]
        if number in self._functions:
            raise ValueError(f"id {number} is in use")
        pid = self._hand_over(packet, fds, started_ns)
        if pid is None:
            pid = os.fork()
            if pid == 0:
                return Spawn(message, fds, started_ns)
            _lead_group(pid)
        self._functions[number] = pid
        self._ids[pid] = number
        self._send({"op": "spawned", "id": number, "pid": pid})
        return None

    def _compile(self, message: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                self.close_descriptors()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                process.signal_when_parent_dies(signal.SIGKILL)
                os.nice(_COMPILE_NICE)
                _lower_limit(resource.RLIMIT_CPU, _COMPILE_CPU_SECONDS)
                compile_folder(message["folder"], message["pycache_prefix"])
            finally:
                os._exit(0)
        self._compilers[pid] = message["id"]

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._ids.pop(pid, None)
            if number is not None:
                del self._functions[number]
                self._kill_left_behind(pid)
                self._send({"op": "exited", "id": number, "status": status, "max_rss_kb": usage.ru_maxrss})
                continue
            self._parked = [parked for parked in self._parked if parked.pid != pid]
            number = self._compilers.pop(pid, None)
            if number is not None:
                self._send({"op": "compiled", "id": number})
            else:
                self._kill_strangers()  # its children have become ours by now

    def _kill_left_behind(self, ended: int) -> None:
        """Kill what an ended function started and did not wait for."""
        try:
            os.killpg(ended, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._kill_strangers()

    def _kill_strangers(self) -> None:
        """Kill the orphans of functions that have ended: no child of the zygote was forked here."""
        wanted = {*self._ids, *self._compilers, *(parked.pid for parked in self._parked)}
        for pid in process.child_pids():
            if pid not in wanted:
                process.kill(pid)


def _wake_up(*_: object) -> None:
    """Exist: only signals with a Python handler reach the wake-up descriptor."""


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _lead_group(pid: int) -> None:
    """Give a child its process group from this side too, so that a kill right now finds it."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # it has already become something else, or ended


def _lower_limit(kind: int, value: int) -> None:
    """Set a soft limit, and nothing beyond the hard one."""
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, hard))


def _leave_server(control: socket.socket) -> None:
    """Become independent of the server's signals and descriptors, but not of its life."""
    process.signal_when_parent_dies(signal.SIGTERM)
    server_pid = struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    if server_pid > 0 and os.getppid() != server_pid and not process.is_alive(server_pid):
        os._exit(0)  # it died before the request above took effect
    try:
        os.setsid()
    except PermissionError:
        pass  # the server started us as a session of our own already
    process.adopt_orphans()


def _normalize_signals() -> None:
    """Undo what the server ignores or blocks: it would reach every function and its subprocesses."""
    for number in signal.valid_signals():
        # Python ignores these two in every program; SIGINT has Python's own handler.
        if number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            continue
        try:
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _take_control_socket(fd: int, held: int) -> socket.socket:
    """Return the control socket on a low descriptor, with all other inherited ones but ``held`` closed.

    Standard input becomes /dev/null; 1 and 2 stay, for tracebacks of the zygote itself.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for number in (1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(null, number)
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2 and int(entry) not in (fd, held):
            try:
                os.close(int(entry))
            except OSError:
                continue  # the descriptor of the listing itself
    low = os.dup(fd)
    os.close(fd)
    return socket.socket(fileno=low)


def _freeze() -> None:
    """Keep collections off what is there: they would touch, and so copy, pages that children share."""
    gc.collect()
    gc.freeze()


def start(fd: int, parked_count: int, held: int) -> tuple[Zygote, Spawn | socket.socket | None]:
    """Be a zygote on control socket ``fd`` until it ends or this process is a forked child.

    ``held`` is a descriptor that only the zygote keeps open; below 0 for none.

    Returns:
        The zygote, and what :meth:`Zygote.serve` returned.
    """
    control = _take_control_socket(fd, held)
    _leave_server(control)
    _normalize_signals()
    os.environ.clear()  # a function inherits nothing
    open_standard_streams(unbuffered=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower_limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    zygote = Zygote(control, parked_count, held)
    rehearse()
    gc.disable()
    _freeze()
    role = zygote.serve()
    if role is None:
        process.kill_descendants()
    return zygote, role
