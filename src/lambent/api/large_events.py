"""Large events are checked in a process of their own.

Source of what is refused: :mod:`lambent.api.payload`.
"""

from __future__ import annotations

from lambent.api.payload import check_event
from lambent.model.errors import InvalidRequestContentException
from lambent.side_process import SideProcess


class LargeEventCheck(SideProcess):
    """Checks events beside the event loop; :meth:`close` ends what it started."""

    async def find_problem(self, event: bytes) -> str:
        """Return what :func:`lambent.api.payload.check_event` refuses an event for, or ""."""
        return await self.run(_find_problem, event)


def _find_problem(event: bytes) -> str:
    """Tell rather than raise: what passes is not sent back."""
    try:
        check_event(event)
    except InvalidRequestContentException as error:
        return str(error.message)
    return ""


__all__ = ["LargeEventCheck"]
