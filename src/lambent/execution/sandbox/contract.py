"""What a sandbox level is."""

from __future__ import annotations

from typing import Protocol

from lambent.model.functions import FunctionVersion


class Sandbox(Protocol):
    """Walls around each process of an environment.

    A level is put up by the bootstrap in the forked child, before any code of the
    function runs. What holds at every level: the child has no descriptor but its own
    frame socket and log pipe, none of the server's variables, and a process group of
    its own; after its end nothing of that group is left.
    """

    level: str
    """``process`` or ``full``."""

    def walls(self, version: FunctionVersion) -> dict[str, object]:
        """Return the members of the ``spawn`` message that put the walls up."""
        ...

    def describe(self) -> str:
        """Return one sentence for the start-up summary: what this level keeps apart."""
        ...
