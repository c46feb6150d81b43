"""One execution environment: its life, its invocations, its log.

An environment has an id, a log stream, a temporary folder and at most one process
at a time. A timeout or crash *resets* it: the process goes, the temporary folder
stays, the next invocation starts a new process.

::

    FRESH ──run──▶ STARTING ──ready──▶ RUNNING ──result──▶ IDLE ──run──▶ RUNNING
                    ▲  │                  │                 │
                   run └─init fails twice─┤                 │
                    │                     ▼                 │
                  RESET ◀─────timeout, crash────────────────┘      any ──close──▶ CLOSED

The first init of an environment comes before its first invocation and has a limit of its
own. If it fails, it is run again *inside* the invocation, under the function's timeout; so
is every init after a reset. Source: docs/aws-behaviour.md, execution 4.1.

A provisioned environment is initialised before anybody calls (STARTING ──ready──▶ IDLE) and
is never started again: whoever keeps it puts another one in its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from lambent import limits
from lambent.clock import Clock
from lambent.execution.logs import platform_lines, shown_error_type
from lambent.execution.process import FunctionProcess
from lambent.execution.zygote import Exit
from lambent.model.functions import FunctionVersion
from lambent.model.invocations import Invocation, InvocationResult
from lambent.model.observer import SILENT, Observer
from lambent.wire import frames
from lambent.wire.frames import render_invocation_head

# CloudWatch Logs takes events of at most 256 KiB.
_LINE_BYTES = 262_144
# A longer event is given away when the function gets it, and not held until it answers.
_KEPT_BYTES = 65_536
_KILLED = 9
_SIGNAL_NAMES = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    11: "segmentation fault",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
}
"""What Go's ``syscall.Signal`` prints, which AWS passes on. Source: docs/aws-behaviour.md, invoke 1.3."""


class Phase(Enum):
    """Where an environment is in its life."""

    FRESH = auto()
    RESET = auto()
    STARTING = auto()
    RUNNING = auto()
    IDLE = auto()
    CLOSED = auto()


# Kinds of frames that answer an invocation: function error and content type.
_ANSWERS: dict[int, tuple[str | None, str]] = {
    frames.RESULT: (None, "application/json"),
    frames.BINARY: (None, "application/unknown"),
    frames.ERROR: ("Unhandled", "application/json"),
}
_NEXT = {
    Phase.FRESH: {Phase.STARTING, Phase.CLOSED},
    Phase.RESET: {Phase.STARTING, Phase.CLOSED},
    Phase.STARTING: {
        Phase.RUNNING,
        Phase.IDLE,
        Phase.RESET,
        Phase.FRESH,
        Phase.STARTING,
        Phase.CLOSED,
    },
    Phase.RUNNING: {Phase.IDLE, Phase.RESET, Phase.CLOSED},
    Phase.IDLE: {Phase.RUNNING, Phase.RESET, Phase.CLOSED},
    Phase.CLOSED: set(),
}

Done = Callable[["InvocationResult"], None]


class Launcher(Protocol):
    """Who starts an environment's processes."""

    def launch(self, environment: ExecutionEnvironment) -> None:
        """Start a process in the background: ``adopt`` is called, or ``start_failed``."""
        ...


class Log(Protocol):
    """Where an environment's lines go."""

    def append(self, group: tuple[str, str, str], stream: str, at: float, text: bytes) -> None:
        """Take whole lines; see ``storage/contracts.py``, LogStore."""
        ...


class ExecutionEnvironment:
    """Runs one invocation at a time of one version document.

    Owned by the pool, which hands it to one invocation after another.

    Args:
        init_limit_s: how long the first init may take before it is run again.
        released: told when an invocation is over, before its caller is; of a provisioned
            environment also when its init is over, and when it loses its process while idle.
        observer: told of each invocation that ended.
        is_provisioned: whether it is kept for provisioned concurrency.

    Attributes:
        deadline: monotonic instant at which :meth:`expire` is due; meaningful only
            while starting or running.
        idle_since: monotonic instant of the last answer.
        made_at: likewise of its making.
        has_answered: whether there was an answer.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_done",
        "_group",
        "_init_limit_s",
        "_init_ms",
        "_init_start_is_due",
        "_invocation",
        "_is_log_open",
        "_launcher",
        "_lines",
        "_log_store",
        "_memory_mb",
        "_observer",
        "_partial",
        "_phase",
        "_platform",
        "_process",
        "_released",
        "_suppressed_init",
        "_tail",
        "deadline",
        "folder",
        "has_answered",
        "id",
        "idle_since",
        "is_provisioned",
        "log_stream",
        "made_at",
        "version",
    )

    def __init__(
        self,
        version: FunctionVersion,
        identifier: str,
        log_stream: str,
        folder: str,
        launcher: Launcher,
        log_store: Log,
        clock: Clock,
        released: Callable[[ExecutionEnvironment], None],
        init_limit_s: float = limits.INIT_S,
        observer: Observer = SILENT,
        is_provisioned: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        self.version = version
        self.is_provisioned = is_provisioned
        self.has_answered = False
        self.id = identifier
        self.log_stream = log_stream
        self.folder = folder
        self.deadline = 0.0
        self.idle_since = 0.0
        self.made_at = clock.monotonic()
        self._phase = Phase.FRESH
        self._launcher = launcher
        self._log_store = log_store
        self._clock = clock
        self._released = released
        self._observer = observer
        self._group = (version.key.account, version.key.region, version.logging.group)
        self._process: FunctionProcess | None = None
        self._invocation: Invocation | None = None
        self._done: Done | None = None
        self._lines: list[bytes] = []
        self._tail = b""
        self._partial = b""
        self._is_log_open = False
        self._platform = platform_lines(version, clock, self.initialization_type)
        self._init_limit_s = init_limit_s
        self._init_start_is_due = False
        self._init_ms: float | None = None
        self._suppressed_init = False
        self._began = 0.0
        self._memory_mb = 0

    @property
    def phase(self) -> Phase:
        """Where the environment is in its life."""
        return self._phase

    @property
    def memory_mb(self) -> int:
        """The most that its process has used since it started; 0 without one."""
        return 0 if self._process is None else self._memory_mb

    @property
    def initialization_type(self) -> str:
        """What AWS calls the way in which it is initialised."""
        return "provisioned-concurrency" if self.is_provisioned else "on-demand"

    def initialize(self) -> None:
        """Start before anybody calls; ``released`` is told when that is over."""
        self._init_start_is_due = True
        self._start()

    def run(self, invocation: Invocation, done: Done) -> None:
        """Run one invocation; ``done`` is called once with its result, whatever happens."""
        self._invocation = invocation
        self._done = done
        if self._phase is Phase.IDLE:
            self._begin()
        else:
            self._suppressed_init = self._phase is Phase.RESET
            self._init_start_is_due = True
            self._start()

    def adopt(self, process: FunctionProcess) -> None:
        """Take over a process that is about to be launched; it will report READY."""
        if self._phase is Phase.STARTING and self._process is None:
            self._process = process
        else:
            process.abandon()

    def write_init_start(self, runtime: str, runtime_arn: str) -> None:
        """Write what a new process opens with, unless it runs an init for the second time."""
        if self._init_start_is_due:
            self._init_start_is_due = False
            self._append(self._platform.init_start(runtime, runtime_arn).encode())

    def start_failed(self, reason: str) -> None:
        """No process could be made: the invocation fails, the environment may be tried again."""
        if self._phase is Phase.STARTING:
            self._drop_process()
            self._close_log()
            self._move(Phase.RESET if self._suppressed_init else Phase.FRESH)
            if self._invocation is None:
                self._released(self)
                return
            self._fail("Runtime.ExitError", reason, status="error")

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        if self._phase is Phase.STARTING:
            if self._starts_again("timeout", None):
                return
        else:
            self._reset()
        timeout_s = self.version.timeout_s
        self._fail("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} seconds", status="timeout")

    def close(self) -> None:
        """End the process; a running invocation gets a result that says so."""
        if self._phase is Phase.CLOSED:
            return
        self._read_output()
        self._drop_process()
        self._move(Phase.CLOSED)
        if not self._is_log_open:
            self._close_log()
        if self._done is not None:
            self._fail("Runtime.ExitError", "Runtime exited with error: signal: killed", status="error")

    def on_frame(self, kind: int, max_rss_kb: int, duration_us: int, payload: bytes | None) -> None:
        """Take what the function's process says.

        A frame out of turn means that the function writes into its own pipe: then nothing it
        says can be believed, and the process is ended before it answers another invocation.
        """
        self._memory_mb = max_rss_kb >> 10
        phase = self._phase
        if phase is Phase.RUNNING and kind in _ANSWERS:
            self._phase = Phase.IDLE
            process = self._process
            if process is not None and (data := process.drain()):
                self._take_output(data)
            function_error, content_type = _ANSWERS[kind]
            if payload is None:
                payload, function_error = _RESPONSE_TOO_LARGE, "Unhandled"
            duration_ms = duration_us / 1000
            if self._suppressed_init:
                self._suppressed_init = False
                duration_ms = self._elapsed_ms()
            self._answer(payload, function_error, content_type, duration_ms)
        elif phase is Phase.STARTING and kind == frames.READY:
            self._ready()
        elif phase is Phase.STARTING and kind == frames.INIT_ERROR:
            self._init_failed(payload or b"null")
        else:
            self._crashed(_KILLED)

    def on_output(self, data: bytes) -> None:
        """Take what the process has written, at once, so that it can be followed."""
        self._take_output(data)
        self._flush_lines()

    def on_exit(self, ended: Exit) -> None:
        """The process ended by itself, or the system ended it."""
        self._memory_mb = max(self._memory_mb, ended.max_rss_kb >> 10)
        self._crashed(ended.status)

    def _start(self) -> None:
        self._move(Phase.STARTING)
        self._began = self._clock.monotonic()
        allowed = self.version.timeout_s if self._suppressed_init else self._init_limit_s
        self.deadline = self._began + allowed
        self._launcher.launch(self)

    def _ready(self) -> None:
        self._read_output()
        init_ms = self._elapsed_ms()
        if not (self._suppressed_init or self.is_provisioned):
            self._init_ms = init_ms
        phase = "invoke" if self._suppressed_init else "init"
        self._lines.append(self._platform.init_report(init_ms, phase, "success", None).encode())
        self._close_log()
        self._tail = b""
        if self._invocation is None:
            self._move(Phase.IDLE)
            self._released(self)
            return
        self._begin()

    def _starts_again(self, status: str, error_type: str | None) -> bool:
        """Report a failed init and run it again if this was before the invocation; else return False.

        Without an invocation whoever keeps the environment decides what follows.
        """
        self._read_output()
        self._drop_process()
        self._end_partial_line()
        phase = "invoke" if self._suppressed_init else "init"
        report = self._platform.init_report(self._elapsed_ms(), phase, status, error_type)
        self._lines.append(report.encode())
        self._flush_lines()
        if self._invocation is None:
            self._move(Phase.RESET)
            self._released(self)
            return True
        if self._suppressed_init:
            self._move(Phase.RESET)
            return False
        self._suppressed_init = True
        self._start()
        return True

    def _init_failed(self, payload: bytes) -> None:
        """The module could not be imported: ``payload`` is the error object that says why."""
        error_type = shown_error_type(payload)
        if not self._starts_again("error", error_type):
            duration_ms = self._elapsed_ms()
            self._answer(payload, "Unhandled", "application/json", duration_ms, "error", error_type)

    def _crashed(self, status: int) -> None:
        """The process is gone or worth nothing: end what it was doing, by its raw wait status."""
        phase = self._phase
        if phase is Phase.STARTING:
            if self._starts_again("error", "Runtime.ExitError"):
                return
        else:
            self._reset()
        if phase is Phase.IDLE:
            self._close_log()
            if self.is_provisioned:
                self._released(self)
        else:
            self._fail("Runtime.ExitError", _describe(status), status="error")

    def _reset(self) -> None:
        self._read_output()
        self._drop_process()
        self._move(Phase.RESET)

    def _begin(self) -> None:
        invocation = self._invocation
        process = self._process
        assert invocation is not None
        assert process is not None
        self._phase = Phase.RUNNING
        if self._lines or self._partial:
            self._close_log()
        left_s: float = self.version.timeout_s
        clock = self._clock
        now = clock.monotonic()
        if self._suppressed_init:
            # Both share the function's timeout.
            left_s = self.deadline - now
        else:
            self._began = now
            self.deadline = now + left_s
        request_id, _, invoked_arn, payload, client_context, trace_id, _ = invocation
        deadline_ms = int((clock.now() + left_s) * 1000)
        process.send(
            render_invocation_head(
                request_id, deadline_ms, invoked_arn, trace_id, "", client_context, len(payload)
            ),
            payload,
        )
        if len(payload) > _KEPT_BYTES:
            self._invocation = invocation._replace(payload=b"")

    def _fail(self, error_type: str, reason: str, *, status: str) -> None:
        assert self._invocation is not None
        message = f"RequestId: {self._invocation.request_id} Error: {reason}"
        text = json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":"))
        reported = None if status == "timeout" else error_type
        self._answer(text.encode(), "Unhandled", "application/json", self._elapsed_ms(), status, reported)

    def _answer(
        self,
        payload: bytes,
        function_error: str | None,
        content_type: str,
        duration_ms: float,
        status: str | None = None,
        error_type: str | None = None,
    ) -> None:
        invocation, done = self._invocation, self._done
        assert invocation is not None
        assert done is not None
        if function_error is not None and status is None:
            status, error_type = self._platform.verdict(payload)
        request_id = invocation.request_id
        end = self._platform.end(request_id, duration_ms, self._memory_mb, self._init_ms, status, error_type)
        if self._is_log_open:
            self._end_partial_line()
            self._lines.append(end.encode())
            text = b"".join(self._lines)
            self._lines.clear()
            self._is_log_open = False
        else:
            text = (self._platform.start(request_id, self._began) + end).encode()
        tail = None
        if invocation.tail:
            tail = (self._tail + text)[-limits.LOG_TAIL_BYTES :]
            self._tail = b""
        clock = self._clock
        if text:
            self._log_store.append(self._group, self.log_stream, clock.now(), text)
        self._observer.invocation_ended(self.version, function_error, duration_ms, self._init_ms)
        self._invocation = self._done = self._init_ms = None
        self.idle_since = clock.monotonic()
        self.has_answered = True
        self._released(self)
        done(InvocationResult(payload, function_error, content_type, tail, duration_ms))

    def _elapsed_ms(self) -> float:
        return (self._clock.monotonic() - self._began) * 1000

    def _open_log(self, invocation: Invocation) -> None:
        """Write the START line; done late, so that a silent invocation's lines are made at once."""
        self._is_log_open = True
        self._lines.append(self._platform.start(invocation.request_id, self._began).encode())

    def _close_log(self) -> None:
        """Give what came before an invocation (init, idle threads) to the stream, not to its tail."""
        self._end_partial_line()
        self._flush_lines()

    def _read_output(self) -> None:
        data = self._process.drain() if self._process is not None else b""
        if data:
            self._take_output(data)

    def _take_output(self, data: bytes) -> None:
        if self._invocation is not None and not self._is_log_open and self._phase is not Phase.STARTING:
            self._open_log(self._invocation)
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            self._lines.append(self._partial + whole + newline)
            self._partial = rest
        else:
            self._partial += rest
        if len(self._partial) > _LINE_BYTES:
            self._end_partial_line()

    def _end_partial_line(self) -> None:
        if self._partial:
            self._lines.append(self._partial + b"\n")
            self._partial = b""

    def _flush_lines(self) -> None:
        if not self._lines:
            return
        text = b"".join(self._lines)
        self._lines.clear()
        # What init writes is in the tail only if init fails in the end: see _ready.
        is_part = self._is_log_open or self._phase is Phase.STARTING
        if is_part and self._invocation is not None and self._invocation.tail:
            self._tail = (self._tail + text)[-limits.LOG_TAIL_BYTES :]
        self._append(text)

    def _append(self, text: bytes) -> None:
        if text:
            self._log_store.append(self._group, self.log_stream, self._clock.now(), text)

    def _drop_process(self) -> None:
        if self._process is not None:
            self._process.abandon()
            self._process = None

    def _move(self, phase: Phase) -> None:
        if phase not in _NEXT[self._phase]:
            raise AssertionError(f"an environment cannot go from {self._phase.name} to {phase.name}")
        self._phase = phase


_RESPONSE_TOO_LARGE = (
    b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (%d bytes).",'
    b'"errorType":"Function.ResponseSizeTooLarge"}' % limits.SYNC_RESPONSE_BYTES
)


def _describe(status: int) -> str:
    """Return AWS's sentence for a raw wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"Runtime exited with error: signal: {_SIGNAL_NAMES.get(number, f'signal {number}')}"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {code}"
