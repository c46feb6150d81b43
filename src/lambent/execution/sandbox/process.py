"""Level ``process``: an ordinary process with resource limits."""

from __future__ import annotations

from lambent.model.functions import FunctionVersion

# Python, its libraries and the allocator's arenas of a few threads take this much before
# the function's own data; without it boto3 with ten threads fails at 128 MB.
HEADROOM_MB = 192


class ProcessSandbox:
    """Walls without any right beyond an ordinary user's.

    Memory is limited as data segment: a limit on address space breaks ordinary
    functions, whose libraries reserve far more than they touch.
    """

    level = "process"

    def walls(self, version: FunctionVersion) -> dict[str, object]:
        """Return the resource limits of one process, in MB."""
        return {"data_limit_mb": version.memory_mb + HEADROOM_MB}

    def describe(self) -> str:
        """Say what is, and what is not, kept apart."""
        return "process (functions run as this user and can read its files; memory is limited)"
