"""Download links: ``Code.Location`` of GetFunction, a plain GET for ten minutes.

The link carries an instant and a signature over it and the package's hash; whoever
holds it may read that one package. The secret is made when the server starts, so
links end with it.

Source: docs/aws-behaviour.md, functions 7.3.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from lambent import limits
from lambent.control.operation import Services
from lambent.model.errors import AccessDeniedException, ResourceNotFoundException

PATH = "/_lambent/code/"


def render_link(services: Services, base_url: str, sha256: str) -> str:
    """Return a URL that answers with the zip as it was uploaded."""
    expires = int(services.clock.now()) + limits.CODE_LOCATION_S
    query = urlencode({"expires": expires, "signature": _sign(services, sha256, str(expires))})
    return f"{base_url}{PATH}{sha256}?{query}"


async def open_link(services: Services, sha256: str, query: Mapping[str, str]) -> bytes:
    """Return the package that a link leads to.

    Args:
        services: the ones that made the link.
        sha256: last part of the link's path.
        query: ``expires`` and ``signature``.

    Raises:
        AccessDeniedException: the link is not ours, was changed, or is too old.
        ResourceNotFoundException: the package is no longer kept.
    """
    expires, signature = query.get("expires", ""), query.get("signature", "")
    expected = _sign(services, sha256, expires)
    # Compared as bytes: text that is not ASCII would raise.
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        raise AccessDeniedException("This link to a function's code is not valid.")
    # What is signed is our own text: a number.
    if not re.fullmatch(r"[0-9]+", expires) or int(expires) < services.clock.now():
        raise AccessDeniedException(
            "This link to a function's code has expired. GetFunction gives a new one."
        )
    data = await services.code.read(sha256)
    if data is None:
        raise ResourceNotFoundException("The code that this link leads to is no longer kept.")
    return data


def _sign(services: Services, sha256: str, expires: str) -> str:
    message = f"{sha256}\n{expires}".encode(errors="replace")
    return hmac.new(services.link_secret, message, hashlib.sha256).hexdigest()


__all__ = ["PATH", "open_link", "render_link"]
