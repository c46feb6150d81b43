"""Zygotes: one parent process per interpreter, from which environments are forked.

The server's half of the conversation whose other half is ``bootstrap/zygote.py``;
the messages are described there. A zygote is started from the main thread (its
death signal follows the thread that forked it), is a session of its own, and ends
with every descendant as soon as its control socket closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambent.execution.runtimes import Interpreter

_BOOTSTRAP = Path(__file__).parent / "bootstrap" / "zygote.py"
_MAX_PACKET = 1 << 18
_ENDED = int(signal.SIGKILL)  # reported for children of a zygote that died: the kernel kills them
END_S = 10.0
"""How long a zygote may take to end with its functions."""


class ZygoteDied(Exception):
    """The zygote ended, or never came up; its children are gone with it."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a function's process ended: raw wait status; high-water mark in KB."""

    status: int
    max_rss_kb: int


def is_read_at_exec(variable: str) -> bool:
    """Whether a variable only works when it is there as the program starts.

    The dynamic loader, the allocator and the interpreter read theirs once, so a
    forked child comes too late; functions with such variables get a zygote of
    their own, started with them.
    """
    return variable.startswith(("LD_", "PYTHON", "MALLOC_", "GLIBC_"))


class Zygote:
    """A running zygote.

    Owned by :class:`Zygotes`. Every method runs on the event loop's thread.
    """

    def __init__(self, interpreter: Interpreter, exec_variables: Mapping[str, str], held: int | None) -> None:
        self.interpreter = interpreter
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _MAX_PACKET)
        ours.setblocking(False)
        self._socket = ours
        command = [str(interpreter.path), *(() if exec_variables else ("-I",)), "-S", str(_BOOTSTRAP)]
        with theirs:
            passed = [theirs.fileno()]
            command.append(str(theirs.fileno()))
            if exec_variables:
                command.append("--exec-variables")
            if held is not None:
                passed.append(held)
                command.append(f"--hold={held}")
            self._process = subprocess.Popen(
                command, pass_fds=passed, stdin=subprocess.DEVNULL, env=dict(exec_variables)
            )
        self._next_id = 0
        self._exits: dict[int, Callable[[Exit], None]] = {}
        self._compilations: dict[int, asyncio.Future[None]] = {}
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._loop.add_reader(ours, self._on_readable)
        self._reaped: asyncio.Future[int] | None = None
        self.alive = True

    def spawn(
        self, order: Mapping[str, object], descriptors: list[int], on_exit: Callable[[Exit], None]
    ) -> int:
        """Fork a child; ``on_exit`` is called once, also when the fork failed or the zygote died.

        Args:
            order: members of the ``spawn`` message besides ``op`` and ``id``.
            descriptors: the pipes for invocations, replies and log; they may be closed after the call.
            on_exit: gets the exit report.

        Returns:
            The id to :meth:`kill` it by.
        """
        identifier = self._new_id()
        self._exits[identifier] = on_exit
        self._send({"op": "spawn", "id": identifier, **order}, descriptors)
        return identifier

    def kill(self, identifier: int) -> None:
        """End a child and its process group; nothing happens when it is gone already."""
        if identifier in self._exits:
            self._send({"op": "kill", "id": identifier})

    async def compile(self, folder: Path, pycache_prefix: Path) -> None:
        """Compile what can be compiled under ``folder`` to byte code, in a forked child."""
        identifier = self._new_id()
        done = self._compilations[identifier] = self._loop.create_future()
        order = {
            "op": "compile",
            "id": identifier,
            "folder": str(folder),
            "pycache_prefix": str(pycache_prefix),
        }
        self._send(order)
        await done

    @property
    def is_idle(self) -> bool:
        """Whether it has no children and compiles nothing."""
        return not (self._exits or self._compilations)

    async def close(self) -> None:
        """End the zygote and all its descendants; returns when it is reaped."""
        self.end()
        assert self._reaped is not None
        await self._reaped

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _send(self, message: Mapping[str, object], descriptors: list[int] | None = None) -> None:
        if not self.alive:
            raise ZygoteDied
        packet = json.dumps(message).encode()
        if len(packet) > _MAX_PACKET:
            raise ValueError(f"a message of {len(packet)} bytes does not fit into a packet")
        if self._unsent or not self._sent(packet, descriptors or []):
            # The kernel duplicates descriptors when they are sent; what waits needs its own.
            self._unsent.append((packet, [os.dup(descriptor) for descriptor in descriptors or []]))
            self._loop.add_writer(self._socket, self._on_writable)

    def _sent(self, packet: bytes, descriptors: list[int]) -> bool:
        try:
            socket.send_fds(self._socket, [packet], descriptors)
        except BlockingIOError:
            return False
        except OSError:
            self._loop.call_soon(self.end)
        return True

    def _on_writable(self) -> None:
        while self._unsent and self._sent(*self._unsent[0]):
            _close(self._unsent.popleft()[1])
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        while True:
            try:
                packet = self._socket.recv(_MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.end()
                return
            self._on_message(json.loads(packet))

    def _on_message(self, message: dict[str, int]) -> None:
        match message["op"]:
            case "exited":
                self._exits.pop(message["id"])(Exit(message["status"], message["max_rss_kb"]))
            case "failed" if message["id"] in self._exits:
                self._exits.pop(message["id"])(Exit(_ENDED, 0))
            case "failed" | "compiled" if message["id"] in self._compilations:
                # Byte code saves time and nothing else: what could not be compiled runs without.
                compilation = self._compilations.pop(message["id"])
                if not compilation.done():
                    compilation.set_result(None)

    def end(self) -> None:
        """Let go of the zygote, which then ends with every descendant; all are told. May be called twice."""
        if not self.alive:
            return
        self.alive = False
        self._reaped = self._loop.run_in_executor(None, self._wait)
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._unsent:
            _close(self._unsent.popleft()[1])
        exits, self._exits = self._exits, {}
        for on_exit in exits.values():
            on_exit(Exit(_ENDED, 0))
        for compilation in self._compilations.values():
            if not compilation.done():
                compilation.set_exception(ZygoteDied())

    def _wait(self) -> int:
        """Reap the process. A function may have stopped it: then it is killed, and the function with it."""
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Zygotes:
    """Every zygote of this server, started when first needed.

    Args:
        held: descriptor that stays open until a zygote has ended with all of its functions.
    """

    def __init__(self, held: int | None = None) -> None:
        self._held = held
        self._running: dict[tuple[Path, tuple[tuple[str, str], ...]], Zygote] = {}

    def get(self, interpreter: Interpreter, variables: Mapping[str, str]) -> Zygote:
        """Return the zygote for functions of this interpreter with these variables."""
        at_exec = tuple(sorted(item for item in variables.items() if is_read_at_exec(item[0])))
        key = (interpreter.path, at_exec)
        zygote = self._running.get(key)
        if zygote is None or not zygote.alive:
            self._end_idle()
            zygote = self._running[key] = Zygote(interpreter, dict(at_exec), self._held)
        return zygote

    def _end_idle(self) -> None:
        """End those that were started for functions with variables of their own, and have none left."""
        for key, zygote in list(self._running.items()):
            if not zygote.alive or (key[1] and zygote.is_idle):
                zygote.end()
                del self._running[key]

    async def close(self) -> None:
        """End all of them; no process is left when this returns."""
        running, self._running = self._running, {}
        await asyncio.gather(*(zygote.close() for zygote in running.values()))
