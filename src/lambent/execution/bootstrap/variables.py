"""Environment variables of the function's process, in Python's view and in the C library's."""

from __future__ import annotations

import os
from typing import Any

try:
    import ctypes

    _libc: Any = ctypes.CDLL(None)
    _libc.putenv.argtypes = [ctypes.c_void_p]
except (ImportError, OSError):
    _libc = None

# Trace headers are about 100 bytes; a longer one takes the slow way.
_TRACE_BUFFER_BYTES = 1024
# The C library keeps its address, so it lives as long as the process.
_trace_buffer: Any = ctypes.create_string_buffer(_TRACE_BUFFER_BYTES) if _libc is not None else None


def replace_all(variables: dict[str, str]) -> None:
    """Make ``variables`` the whole environment of this process."""
    os.environ.clear()
    os.environ.update(variables)


class TraceVariable:
    """``_X_AMZN_TRACE_ID``, which AWS's runtime sets anew for every invocation.

    glibc never frees a value that ``setenv`` stored (a million invocations would keep
    100 MB), so the C library is given a buffer of ours once, and the buffer's content is
    what changes. Where somebody else touched the variable meanwhile, it is installed again.
    """

    _KEY = "_X_AMZN_TRACE_ID"

    def __init__(self) -> None:
        self._environ = os.environ
        self._data: dict[bytes, bytes] = getattr(os.environ, "_data", {})
        self._last: bytes | None = None
        self._key = self._KEY.encode()
        self._prefix = self._key + b"="

    def set(self, trace_id: str) -> None:
        """Set the variable; an empty ``trace_id`` removes it."""
        if os.environ is not self._environ:
            self._set_plainly(os.environ, trace_id)
            return
        data = self._data
        if not trace_id:
            if self._key in data:
                del os.environ[self._KEY]
            self._last = None
            return
        value = trace_id.encode()
        text = self._prefix + value
        buffer = _trace_buffer
        if buffer is None or len(text) >= _TRACE_BUFFER_BYTES:
            os.environ[self._KEY] = trace_id
            self._last = None
            return
        if self._last is None or data.get(self._key) is not self._last:
            # Another object stands there: someone set, deleted or cleared it, and the
            # C library no longer points to the buffer.
            buffer.value = text
            _libc.putenv(ctypes.addressof(buffer))
        else:
            buffer.value = text
        data[self._key] = value
        self._last = value

    def _set_plainly(self, environ: Any, trace_id: str) -> None:
        """Set the variable in what the user has put in the place of ``os.environ``."""
        self._last = None
        if trace_id:
            environ[self._KEY] = trace_id
        elif self._KEY in environ:
            del environ[self._KEY]
