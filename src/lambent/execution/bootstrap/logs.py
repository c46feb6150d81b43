"""Standard streams, ``logging`` and error lines of the function: all of it goes into one pipe.

Formats are those of AWS's runtime (docs/aws-behaviour.md, execution 4.6 and 4.7): text or JSON as
``AWS_LAMBDA_LOG_FORMAT`` says, from the level ``AWS_LAMBDA_LOG_LEVEL`` on.

On AWS an error with its stack trace is one log event although it has many lines. Bytes in
a pipe cannot say that, so the server may ask for frames: then what the runtime itself
writes (not ``print``) stands between the other bytes as::

    u32 type, u32 length, u64 microseconds since the epoch, message      (big-endian)

with AWS's own type words, ``a55a00xx``, which no text without NUL characters contains.
Without frames every message simply ends in a line feed.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
import traceback
from os import write as _write
from typing import Any, cast

from .faults import TaskPaths
from .jsontext import Encoder

_TEXT_FRAME = 0xA55A0003
_JSON_FRAME = 0xA55A0002
_ERROR_INDENT = "\u00a0"  # AWS keeps leading blanks of trace lines as no-break spaces
_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_TEXT_DATE = "%Y-%m-%dT%H:%M:%S"
_JSON_DATE = "%Y-%m-%dT%H:%M:%SZ"

# Said before every init error; the text is AWS's, which users know (and search for).
_UNHANDLED = (
    "LAMBDA_WARNING: Unhandled exception. "
    "The most likely cause is an issue in the function code. "
    "However, in rare cases, a Lambda runtime update can cause unexpected function behavior. "
    "For functions using managed runtimes, runtime updates can be triggered by a function change, "
    "or can be applied automatically. "
    "To determine if the runtime has been updated, check the runtime version in the INIT_START log entry. "
    "If this error correlates with a change in the runtime version, you may be able to mitigate this error "
    "by temporarily rolling back to the previous runtime version. "
    "For more information, see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)

# Attributes of a record that are not `extra` of the user.
_RECORD_FIELDS = frozenset(
    {
        "name",
        "msg",
        "args",
        "levelname",
        "levelno",
        "pathname",
        "filename",
        "module",
        "exc_info",
        "exc_text",
        "stack_info",
        "lineno",
        "funcName",
        "created",
        "msecs",
        "relativeCreated",
        "thread",
        "threadName",
        "processName",
        "process",
        "aws_request_id",
        "tenant_id",
        "_frame_type",
    }
)
_extra_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


def open_standard_streams(*, unbuffered: bool) -> None:
    """Bind ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` to descriptors 0, 1 and 2 anew.

    The zygote does this once: the streams hold numbers, and what the numbers lead to is
    decided after the fork. Lines are written when they end, so that the order among
    ``print``, ``logging`` and subprocesses is kept.

    Args:
        unbuffered: write every piece at once, as ``PYTHONUNBUFFERED`` asks for.
    """
    # AWS sets LC_CTYPE=C.UTF-8, for which CPython chooses surrogateescape (PEP 538).
    for fd, name, errors in (
        (0, "stdin", "surrogateescape"),
        (1, "stdout", "surrogateescape"),
        (2, "stderr", "backslashreplace"),
    ):
        stream = _text_stream(fd, f"<{name}>", errors, unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _text_stream(fd: int, name: str, errors: str, unbuffered: bool) -> io.TextIOWrapper:
    mode = "w" if fd else "r"
    raw: Any = io.FileIO(fd, mode, closefd=False)
    raw.name = name
    buffer: Any = raw
    if mode == "r":
        buffer = io.BufferedReader(raw)
    elif not unbuffered:
        buffer = io.BufferedWriter(raw)
    stream: Any = io.TextIOWrapper(
        buffer, "utf-8", errors, "\n", line_buffering=mode == "w", write_through=unbuffered
    )
    stream.mode = mode
    return cast(io.TextIOWrapper, stream)


class Streams:
    """The two streams that were there before the user's code ran, whatever it put in their place."""

    def __init__(self) -> None:
        """Remember the streams of this moment."""
        self._out = sys.stdout
        self._err = sys.stderr

    def flush(self) -> None:
        """Write what is pending; a stream that the user closed or broke is none of our business."""
        try:
            self._out.flush()
        except (ValueError, OSError):
            pass
        try:
            self._err.flush()
        except (ValueError, OSError):
            pass


class LogSink:
    """Where the runtime's own messages go: straight into the pipe, past ``sys.stdout``."""

    def __init__(self, fd: int, streams: Streams, has_frames: bool) -> None:
        """Write to the pipe's end ``fd``, which stays the caller's."""
        self._fd = fd
        self._streams = streams
        self._has_frames = has_frames

    def log(self, message: str, frame_type: int = _TEXT_FRAME) -> None:
        """Write one message.

        Raises:
            UnicodeEncodeError: the message holds a lone surrogate; the same reaches a user on AWS.
        """
        data = message.encode("utf-8")
        if self._has_frames:
            microseconds = time.time_ns() // 1000
            header = (
                frame_type.to_bytes(4, "big") + len(data).to_bytes(4, "big") + microseconds.to_bytes(8, "big")
            )
            data = header + data
        elif not data.endswith(b"\n"):
            data += b"\n"
        self._streams.flush()  # half a line of print() comes first
        view = memoryview(data)
        while view:
            view = view[_write(self._fd, view) :]


class InvocationFilter(logging.Filter):
    """Gives every record the request id and tenant of the running invocation."""

    request_id = ""
    tenant_id: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the two attributes; nothing is held back."""
        record.aws_request_id = self.request_id
        record.tenant_id = self.tenant_id
        return True


class _Handler(logging.Handler):
    def __init__(self, log_sink: LogSink) -> None:
        super().__init__()
        self.log_sink = log_sink

    def emit(self, record: logging.LogRecord) -> None:
        # Like AWS's handler this does not catch: a message that cannot be formatted raises in user code.
        self.log_sink.log(self.format(record))


class _LevelHandler(_Handler):
    """Also tells the level of a message, where levels were asked for."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        frame_type = getattr(record, "_frame_type", None) or _frame_type(_TEXT_FRAME, _rounded_level(record))
        self.log_sink.log(text, frame_type)


class TextFormatter(logging.Formatter):
    """Formats records as AWS's runtime does unless JSON is asked for."""

    def __init__(self, paths: TaskPaths) -> None:
        """Show files of the function as ``paths`` does."""
        super().__init__(_TEXT_FORMAT, _TEXT_DATE)
        self._paths = paths

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return a stack trace with its files as AWS would show them."""
        return self._paths.shown_trace(super().formatException(ei))


class _JsonFormatter(logging.Formatter):
    def __init__(self, paths: TaskPaths) -> None:
        super().__init__(datefmt=_JSON_DATE)
        self._paths = paths

    def format(self, record: logging.LogRecord) -> str:
        record.levelno = _rounded_level(record)
        record.levelname = logging.getLevelName(record.levelno)
        record._frame_type = _frame_type(_JSON_FRAME, record.levelno)
        is_object = isinstance(record.msg, dict) and not record.args
        result: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if is_object else record.getMessage(),
            "logger": record.name,
            **self._error_fields(record),
        }
        tenant_id = getattr(record, "tenant_id", None)
        if tenant_id is not None:
            result["tenantId"] = tenant_id
        for key, value in record.__dict__.items():
            if key not in _RECORD_FIELDS and key not in result:
                result[key] = value
        return _extra_json({key: value for key, value in result.items() if value is not None}) + "\n"

    def _error_fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "stackTrace": None,
            "errorType": None,
            "errorMessage": None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": None,
        }
        if record.exc_info:
            kind, value, tb = cast(Any, record.exc_info)
            fields["stackTrace"] = [self._paths.shown_trace(line) for line in traceback.format_tb(tb)]
            fields["errorType"] = kind.__name__  # fails outside of an exception, as on AWS
            fields["errorMessage"] = str(value)
            fields["location"] = f"{self._paths.shown(record.pathname)}:{record.funcName}:{record.lineno}"
        return fields


def _rounded_level(record: logging.LogRecord) -> int:
    return min(50, max(0, record.levelno)) // 10 * 10


def _frame_type(base: int, level: int) -> int:
    """Return AWS's type word of a message: 0 is no level, then DEBUG to CRITICAL from 2 on."""
    return base + (4 * (level // 10 + 1) if level else 0)


class FunctionLog:
    """Everything about logging that one function needs."""

    def __init__(self, sink: LogSink, paths: TaskPaths, encoder: Encoder, variables: dict[str, str]) -> None:
        """Read the format and the level.

        Args:
            sink: where messages go.
            paths: how files are shown.
            encoder: of error objects, the same as for results.
            variables: of the function.
        """
        self._sink = sink
        self._paths = paths
        self._encoder = encoder
        self._is_json = variables.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        level = variables.get("AWS_LAMBDA_LOG_LEVEL", "")
        # logging has no TRACE; AWS's runtime takes it for DEBUG.
        self._level = "DEBUG" if level == "TRACE" else level.upper()
        self.invocation = InvocationFilter()

    def attach(self) -> None:
        """Give the root logger the handler that users find on AWS."""
        logging.Formatter.converter = time.gmtime
        root = logging.getLogger()
        handler = (_LevelHandler if self._is_json or self._level else _Handler)(self._sink)
        handler.setFormatter((_JsonFormatter if self._is_json else TextFormatter)(self._paths))
        if self._level in logging._nameToLevel:
            root.setLevel(self._level)
        handler.addFilter(self.invocation)
        root.addHandler(handler)

    def warn_of_unhandled(self) -> None:
        """Write AWS's warning that precedes the error of a failed init."""
        logging.getLogger().warning(_UNHANDLED)

    def write_error(self, error: dict[str, Any]) -> None:
        """Write an error object as AWS's runtime does: one event."""
        if self._is_json:
            now = time.strftime(_JSON_DATE, time.gmtime())
            text = self._encoder.encode({"timestamp": now, "level": "ERROR", **error})
            self._sink.log(text, _frame_type(_JSON_FRAME, logging.ERROR))
        else:
            self._sink.log(_error_text(error), _frame_type(_TEXT_FRAME, logging.ERROR))


def _error_text(error: dict[str, Any]) -> str:
    first = "[ERROR]"
    kind, message = error["errorType"], error["errorMessage"]
    if kind:
        first += f" {kind}"
    if message:
        first += f": {message}" if kind else f" {message}"
    lines = [first, "Traceback (most recent call last):"]
    for element in error["stackTrace"]:
        if element == "":
            lines.append("")
        for line in element.splitlines():
            text = line.lstrip(" ")
            lines.append(_ERROR_INDENT * (len(line) - len(text)) + text)
    return "\n".join(lines)
