"""A function's head as it is stored: a document that may be read, and beside it what is sealed of it.

Sealed are the environment variables of the head's documents, and with them the fingerprint of what
was published: whoever guesses a value could try it on that. Both are null in the document.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from lambent.model.functions import FunctionHead
from lambent.storage.sealing import Sealer


class _Sealed(msgspec.Struct, array_like=True):
    """What of a head is sealed; None where the head has none."""

    latest: Mapping[str, str] | None
    serving: Mapping[str, str] | None
    published: str | None


_set = object.__setattr__
_encode = msgspec.json.Encoder().encode
_decode_document = msgspec.json.Decoder(FunctionHead).decode
_decode_sealed = msgspec.json.Decoder(_Sealed).decode


def encode_head(head: FunctionHead, sealer: Sealer) -> tuple[str, bytes | None]:
    """Return the document, and what is sealed; None where nothing is."""
    latest, serving = head.latest, head.serving
    sealed = _Sealed(latest.variables, None if serving is None else serving.variables, head.published)
    if sealed == _NOTHING:
        return _encode(head).decode(), None
    shown = dataclasses.replace(
        head,
        latest=dataclasses.replace(latest, variables=None),
        serving=None if serving is None else dataclasses.replace(serving, variables=None),
        published=None,
    )
    return _encode(shown).decode(), sealer.seal(_encode(sealed), purpose(head))


def decode_head(document: str, sealed: bytes | None, sealer: Sealer) -> FunctionHead:
    """Return the head that :func:`encode_head` was given.

    Raises:
        Unsealable: the sealed part is another head's, or its key is not at hand.
    """
    head = _decode_document(document)
    if sealed is None:
        return head
    found = _decode_sealed(sealer.unseal(sealed, purpose(head)))
    # Nobody else has these yet. Three copies would cost as much again as all the rest, for each of a list.
    _set(head.latest, "variables", found.latest)
    if head.serving is not None:
        _set(head.serving, "variables", found.serving)
    _set(head, "published", found.published)
    return head


def purpose(head: FunctionHead) -> str:
    """Return what the head's sealed part is bound to: the function and the version.

    :data:`PURPOSE` says the same of a row.
    """
    account, region, name = head.key
    return f"environment variables of {region}:{account}:function:{name}:{head.version}"


PURPOSE = (
    "'environment variables of ' || region || ':' || account || ':function:' || name || ':'"
    " || CASE number WHEN 0 THEN '$LATEST' ELSE number END"
)
"""SQL for :func:`purpose` of a row of ``functions``."""

_NOTHING = _Sealed(None, None, None)

__all__ = ["PURPOSE", "decode_head", "encode_head", "purpose"]
