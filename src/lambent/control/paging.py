"""Pages of lists: the opaque text that says where the next one begins.

Source: docs/aws-behaviour.md, functions 7.9.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import TypeVar

from lambent import limits
from lambent.control.operation import Call
from lambent.model.errors import InvalidParameterValueException

T = TypeVar("T")

_CHECK_BYTES = 9


def page_size(call: Call) -> int:
    """Return how many entries the caller gets: as asked, and never more than AWS's page."""
    return min(call.input.get("MaxItems") or limits.LIST_PAGE, limits.LIST_PAGE)


def cut_page(call: Call, found: Sequence[T]) -> tuple[Sequence[T], bool]:
    """Return the entries of the page, and whether there are more.

    Args:
        call: that asked for them.
        found: one more than :func:`page_size` where there are so many.
    """
    size = page_size(call)
    return found[:size], len(found) > size


def render_marker(call: Call, scope: str, position: str) -> str:
    """Return the text behind which a page begins.

    Args:
        call: whose account and region the marker is for.
        scope: of what is listed: the operation, and the function where it is one's own.
        position: of the last entry shown.
    """
    return base64.urlsafe_b64encode(_check(call, scope, position) + position.encode()).decode()


def parse_marker(call: Call, scope: str) -> str | None:
    """Return the position that the call's ``Marker`` holds; None without one.

    Raises:
        InvalidParameterValueException: this account was not given that marker for this list.
    """
    marker = call.input.get("Marker")
    if not marker:
        return None
    try:
        text = base64.b64decode(marker.encode(), altchars=b"-_", validate=True)
        position = text[_CHECK_BYTES:].decode()
    except (binascii.Error, UnicodeError):
        position = ""
    if not position or render_marker(call, scope, position) != marker:
        raise InvalidParameterValueException("Invalid marker")
    return position


def _check(call: Call, scope: str, position: str) -> bytes:
    # Not a secret, there is nothing to protect: it tells markers from mistakes.
    text = f"{scope}\n{call.caller.account}\n{call.caller.region}\n{position}"
    return hashlib.sha256(text.encode()).digest()[:_CHECK_BYTES]


__all__ = ["cut_page", "page_size", "parse_marker", "render_marker"]
