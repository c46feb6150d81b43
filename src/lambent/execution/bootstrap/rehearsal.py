"""Practice of a function's whole life, before anything is asked of the process.

The zygote does it once: what is loaded lazily is loaded, and CPython has specialized the
hot loop in memory that all functions share. Each parked child does it again, to copy the
memory pages that it is going to write: about 600 page faults, which are most of the time
between a fork and the first answer.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from typing import Any, Callable

from .context import read_function
from .faults import TaskPaths
from .handler import load_handler
from .invocations import READY, FrameLink, answer_invocations, render_invocation
from .jsontext import Encoder
from .logs import FunctionLog, LogSink, Streams
from .variables import replace_all

# CPython specializes a function after it ran a few times.
_INVOCATIONS = 20
_TRACE = "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0"
_VARIABLES = {f"LAMBENT_REHEARSAL_{number}": "value" * number for number in range(30)}
_MODULE = "practice"


def rehearse() -> None:
    """Be a function for a moment; afterwards the process is as it was."""
    task_root = os.path.dirname(os.path.abspath(__file__))
    ours, theirs = socket.socketpair()
    log_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    saved_path = list(sys.path)
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        replace_all({**_VARIABLES, "TZ": ":UTC"})
        time.tzset()
        sys.path.insert(0, task_root)
        streams = Streams()
        paths = TaskPaths(task_root)
        encoder = Encoder(ensure_ascii=True)
        log = FunctionLog(LogSink(log_fd, streams, False), paths, encoder, _VARIABLES)
        log.attach()
        logging.getLogger("rehearsal").warning("%s", "message")
        handler = load_handler(f"{_MODULE}.handler", paths)
        read_function()
        fd = ours.detach()
        link = FrameLink(fd, fd)
        link.send(READY, time.perf_counter_ns(), b"")
        answer_invocations(
            link, _feed(theirs, handler), encoder, log, streams, paths, frozenset([__file__]), []
        )
        link.close()
    finally:
        root.handlers[:] = handlers
        sys.path[:] = saved_path
        sys.modules.pop(_MODULE, None)
        theirs.close()
        os.close(log_fd)
        os.environ.clear()


def _feed(server: socket.socket, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a handler that invokes itself again until the rehearsal is over."""
    payload = json.dumps({"key": "value", "number": 1.5, "list": [1, None, True]}).encode()
    frame = render_invocation("00000000-0000-0000-0000-000000000000", 1, "arn", _TRACE, "", "", payload)
    left = _INVOCATIONS
    server.send(frame)

    def feeding(event: Any, context: Any) -> Any:
        nonlocal left
        left -= 1
        if left:
            server.send(frame)
        else:
            server.shutdown(socket.SHUT_WR)
        return handler(event, context)

    return feeding
