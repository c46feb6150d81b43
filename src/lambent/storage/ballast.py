"""Room on the disk that is set aside, to be let go when the disk is full.

Whoever is to remove something from a database needs room first: SQLite appends to its log
before it frees a page. Without such a reserve a full disk stops the very work that would
make room.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Ballast:
    """A file of zeros that takes up ``size`` bytes until it is let go.

    Args:
        path: of the file; one that is left from before is used.
        size: in bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self.is_held = False
        """Whether the room is taken up."""

    def hold(self) -> bool:
        """Take the room up, or tell that there is not enough."""
        if self.is_held:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError:
            # What part of it there was is needed by somebody else.
            self._remove()
            return False
        self.is_held = True
        return True

    def release(self) -> bool:
        """Let the room go; False when that was done before."""
        was_held, self.is_held = self.is_held, False
        self._remove()
        return was_held

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


__all__ = ["Ballast"]
