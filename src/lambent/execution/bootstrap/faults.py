"""Error objects: what the caller of a failing function gets as its body.

Shapes and texts are those of AWS's runtime (docs/aws-behaviour.md, invoke 1.3). Stack
traces name the code's folder ``/var/task`` wherever the code really lies.
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

SHOWN_TASK_ROOT = "/var/task"

# AWS's runtime drops leading frames whose file looks like its own bootstrap.py, also when it is the user's.
_RUNTIME_FILE = "/bootstrap.py"

# What AWS's runtime (4.2.2) shows of itself when the call of the handler fails before any code of
# the user runs: a handler without parameters, say.
_CALLER = "_attempt"
_CALL_OF_HANDLER = (
    f"/var/lang/lib/python3.{sys.version_info[1]}/site-packages/awslambdaric/bootstrap.py",
    178,
    "handle_event_request",
    "response = request_handler(event, lambda_context)",
)


class Fault(Exception):
    """The runtime's own verdict over the function, under one of AWS's ``Runtime.*`` types."""

    def __init__(self, error_type: str, message: str, stack_trace: list[str] | None = None) -> None:
        """Keep what the error object will show."""
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace


class TaskPaths:
    """Shows files of the function as they are called on AWS."""

    def __init__(self, task_root: str) -> None:
        """Remember where the code really is; ``task_root`` without a slash at its end."""
        self._prefix = task_root.rstrip("/") + "/"
        self._quoted = f'File "{self._prefix}'
        self._shown_quoted = f'File "{SHOWN_TASK_ROOT}/'
        self._is_moved = self._prefix != SHOWN_TASK_ROOT + "/"

    def shown(self, path: Any) -> Any:
        """Return the path as AWS would show it."""
        if self._is_moved and isinstance(path, str) and path.startswith(self._prefix):
            return f"{SHOWN_TASK_ROOT}/{path[len(self._prefix) :]}"
        return path

    def shown_trace(self, text: str) -> str:
        """Return a formatted stack trace with its files as AWS would show them."""
        return text.replace(self._quoted, self._shown_quoted) if self._is_moved else text

    def shown_message(self, text: str) -> str:
        """Return a message of the import system, which may end in a file's path."""
        return text.replace(self._prefix, SHOWN_TASK_ROOT + "/") if self._is_moved else text


def error_object(
    message: str, error_type: str, stack_trace: list[str] | None, request_id: str = ""
) -> dict[str, Any]:
    """Return the object whose JSON is the body; the order of its members is part of it."""
    return {
        "errorMessage": message or "",
        "errorType": error_type or "",
        "requestId": request_id,
        "stackTrace": stack_trace or [],
    }


def fault_object(fault: Fault, request_id: str = "") -> dict[str, Any]:
    """Return the error object of a fault that the runtime itself found."""
    return error_object(fault.message, fault.error_type, fault.stack_trace, request_id)


def exception_object(
    error: BaseException, paths: TaskPaths, own_files: frozenset[str], request_id: str = ""
) -> dict[str, Any]:
    """Return the error object of an exception of the user's code.

    Args:
        error: with its traceback.
        paths: how files are shown.
        own_files: file names of this package, whose leading frames are left out.
        request_id: empty during init.
    """
    tb: TracebackType | None = error.__traceback__
    caller = ""
    while tb is not None and tb.tb_frame.f_code.co_filename in own_files:
        caller = tb.tb_frame.f_code.co_name
        tb = tb.tb_next
    frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(tb)]
    for position, frame in enumerate(frames):
        if _RUNTIME_FILE not in frame[0]:
            frames = frames[position:]
            break
    if not frames and caller == _CALLER:
        frames = [_CALL_OF_HANDLER]
    shown: Any = [(paths.shown(frame[0]), *frame[1:]) for frame in frames]
    return error_object(str(error), type(error).__name__, traceback.format_list(shown), request_id)
