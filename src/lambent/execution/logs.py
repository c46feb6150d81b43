"""What the platform itself writes into a function's log, as text and as JSON.

Texts and tabs as in docs/aws-behaviour.md, execution 4.6, events as in execution 4.7. The
format and the level belong to the function's version, so each environment is given its
lines once (:func:`platform_lines`); a method returns whole lines, or "" for nothing.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from typing import Protocol

from lambent.clock import Clock
from lambent.model.functions import FunctionVersion

_KNOWN_TYPE = re.compile(r"(?:Runtime|Function)\.[A-Z][a-zA-Z]+")
_UNKNOWN_TYPE = "Runtime.Unknown"
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30}
_DEBUG, _INFO, _WARN = _LEVELS.values()


class PlatformLines(Protocol):
    """The lines of one version, in the format and from the level on that it asks for."""

    def init_start(self, runtime: str, runtime_arn: str) -> str:
        """Return what a new process opens with: ``python:3.13.1`` and the ARN of the runtime."""
        ...

    def init_report(self, init_ms: float, phase: str, status: str, error_type: str | None) -> str:
        """Return what is said about an init that is over.

        Args:
            init_ms: how long it took.
            phase: ``init``, or ``invoke`` for one inside an invocation.
            status: ``success``, ``error`` or ``timeout``.
            error_type: of an error.
        """
        ...

    def start(self, request_id: str, began: float) -> str:
        """Return what opens the log of the invocation that began at this monotonic instant."""
        ...

    def end(
        self,
        request_id: str,
        duration_ms: float,
        max_memory_mb: int,
        init_ms: float | None,
        status: str | None,
        error_type: str | None,
    ) -> str:
        """Return what closes the log of an invocation.

        Args:
            request_id: of the invocation.
            duration_ms: time in the handler, and of an init inside the invocation.
            max_memory_mb: the process's high-water mark.
            init_ms: time of the cold start, None when the process was warm.
            status: ``timeout`` or ``error``, None for success.
            error_type: such as ``Runtime.ExitError``.
        """
        ...

    def verdict(self, payload: bytes) -> tuple[str | None, str | None]:
        """Return status and error type that :meth:`end` shows for an error of the handler."""
        ...


def platform_lines(
    version: FunctionVersion, clock: Clock, initialization_type: str = "on-demand"
) -> PlatformLines:
    """Return the lines of a version by its logging configuration.

    Args:
        version: that runs.
        clock: tells the events' times.
        initialization_type: as ``AWS_LAMBDA_INITIALIZATION_TYPE`` has it.
    """
    if version.logging.format == "JSON":
        return JsonLines(version, clock, initialization_type)
    return TextLines(version, initialization_type)


def shown_error_type(payload: bytes) -> str:
    """Return the type that logs show for an error object: AWS's own types, else ``Runtime.Unknown``.

    Source: docs/aws-behaviour.md, execution 4.6.
    """
    try:
        error_type = json.loads(payload)["errorType"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return _UNKNOWN_TYPE
    if isinstance(error_type, str) and _KNOWN_TYPE.fullmatch(error_type):
        return error_type
    return _UNKNOWN_TYPE


class TextLines:
    """``START``, ``END``, ``REPORT`` and their like; no level keeps them back."""

    __slots__ = ("_is_on_demand", "_memory_mb", "_version")

    def __init__(self, version: FunctionVersion, initialization_type: str) -> None:
        self._is_on_demand = initialization_type == "on-demand"
        self._version = version.version
        self._memory_mb = version.memory_mb

    def init_start(self, runtime: str, runtime_arn: str) -> str:
        """Return INIT_START."""
        return f"INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {runtime_arn}\n"

    def init_report(self, init_ms: float, phase: str, status: str, error_type: str | None) -> str:
        """Return INIT_REPORT, which on demand tells of failures only."""
        if status == "success" and self._is_on_demand:
            return ""
        kind = "" if error_type is None else f"\tError Type: {error_type}"
        return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}\tStatus: {status}{kind}\n"

    def start(self, request_id: str, began: float) -> str:  # noqa: ARG002 - a text tells no time
        """Return START."""
        return f"START RequestId: {request_id} Version: {self._version}\n"

    def end(
        self,
        request_id: str,
        duration_ms: float,
        max_memory_mb: int,
        init_ms: float | None,
        status: str | None,
        error_type: str | None,
    ) -> str:
        """Return END and REPORT."""
        init = "" if init_ms is None else f"Init Duration: {init_ms:.2f} ms\t"
        if status is not None:
            init += (
                f"Status: {status}" if error_type is None else f"Status: {status}\tError Type: {error_type}"
            )
        return (
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {math.ceil(duration_ms + (init_ms or 0.0))} ms\t"
            f"Memory Size: {self._memory_mb} MB\tMax Memory Used: {max_memory_mb} MB\t{init}\n"
        )

    def verdict(self, payload: bytes) -> tuple[None, None]:  # noqa: ARG002 - REPORT is silent about it
        """Return nothing: an exception of the handler is no matter of REPORT's."""
        return None, None


class JsonLines:
    """The same as events ``platform.*``, each with a level: those below ``SystemLogLevel`` are left out.

    Success is told at INFO by ``start`` and ``report``, at DEBUG by the rest; failure at WARN.
    """

    def __init__(self, version: FunctionVersion, clock: Clock, initialization_type: str) -> None:
        self._initialization_type = initialization_type
        self._name = version.key.name
        self._version = version.version
        self._memory_mb = version.memory_mb
        self._least = _LEVELS.get(version.logging.system_level or "INFO", _INFO)
        self._clock = clock

    def init_start(self, runtime: str, runtime_arn: str) -> str:
        """Return ``platform.initStart``."""
        record = {
            "initializationType": self._initialization_type,
            "phase": "init",
            "runtimeVersion": runtime,
            "runtimeVersionArn": runtime_arn,
            "functionName": self._name,
            "functionVersion": self._version,
        }
        return self._event(_INFO, "initStart", record)

    def init_report(self, init_ms: float, phase: str, status: str, error_type: str | None) -> str:
        """Return ``platform.initRuntimeDone`` and ``platform.initReport``."""
        level = _DEBUG if status == "success" else _WARN
        record = {
            "initializationType": self._initialization_type,
            "phase": phase,
            "status": status,
            **_typed(error_type),
        }
        report = {**record, "metrics": {"durationMs": round(init_ms, 3)}}
        return self._event(level, "initRuntimeDone", record) + self._event(level, "initReport", report)

    def start(self, request_id: str, began: float) -> str:
        """Return ``platform.start``, with the time at which the invocation began."""
        ago_s = self._clock.monotonic() - began
        return self._event(_INFO, "start", {"requestId": request_id, "version": self._version}, ago_s)

    def end(
        self,
        request_id: str,
        duration_ms: float,
        max_memory_mb: int,
        init_ms: float | None,
        status: str | None,
        error_type: str | None,
    ) -> str:
        """Return ``platform.runtimeDone`` and ``platform.report``; there is no event for END."""
        duration = round(duration_ms, 3)
        metrics: dict[str, object] = {
            "durationMs": duration,
            "billedDurationMs": math.ceil(duration_ms + (init_ms or 0.0)),
            "memorySizeMB": self._memory_mb,
            "maxMemoryUsedMB": max_memory_mb,
        }
        if init_ms is not None:
            metrics["initDurationMs"] = round(init_ms, 3)
        outcome = {"status": status or "success", **_typed(error_type)}
        done = {"requestId": request_id, **outcome, "metrics": {"durationMs": duration}}
        report = {"requestId": request_id, **outcome, "metrics": metrics}
        failed = status is not None
        return self._event(_WARN if failed else _DEBUG, "runtimeDone", done) + self._event(
            _WARN if failed else _INFO, "report", report
        )

    def verdict(self, payload: bytes) -> tuple[str, str]:
        """Return ``error`` and the type that the error object names."""
        return "error", shown_error_type(payload)

    def _event(self, level: int, kind: str, record: Mapping[str, object], ago_s: float = 0.0) -> str:
        if level < self._least:
            return ""
        at = self._clock.now() - ago_s
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"
        event = {"time": stamp, "type": f"platform.{kind}", "record": record}
        return json.dumps(event, separators=(",", ":")) + "\n"


def _typed(error_type: str | None) -> dict[str, str]:
    return {} if error_type is None else {"errorType": error_type}
