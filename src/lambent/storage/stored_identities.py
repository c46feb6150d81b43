"""A user or role as it is stored: a document that may be read, and beside it a user's secret, sealed."""

from __future__ import annotations

import dataclasses

import msgspec

from lambent.model.identities import AccessKey, Identity, IdentityKind, Role, User
from lambent.storage.sealing import Sealer

PURPOSE = "'access-key ' || access_key_id"
"""SQL for what a row's secret is sealed for: it opens nothing beside another key's id."""

_decode_user = msgspec.json.Decoder(User).decode
_decode_role = msgspec.json.Decoder(Role).decode
_encode = msgspec.json.Encoder().encode


def encode_identity(identity: Identity, sealer: Sealer) -> tuple[str, str | None, bytes | None]:
    """Return the document, the id of the access key and its sealed secret; None where there is no key."""
    if isinstance(identity, Role) or identity.access_key is None:
        return _encode(identity).decode(), None, None
    key = identity.access_key
    shown = dataclasses.replace(identity, access_key=dataclasses.replace(key, secret=""))
    return _encode(shown).decode(), key.access_key_id, sealer.seal(key.secret.encode(), _purpose(key))


def decode_identity(kind: str, document: str, sealed: bytes | None, sealer: Sealer) -> Identity:
    """Return the identity that :func:`encode_identity` was given; no key whose secret was dropped.

    Raises:
        Unsealable: the secret is another key's, or what sealed it is not at hand.
    """
    if kind == IdentityKind.ROLE:
        return _decode_role(document)
    user = _decode_user(document)
    key = user.access_key
    if key is not None:
        secret = None if sealed is None else sealer.unseal(sealed, _purpose(key)).decode()
        key = None if secret is None else dataclasses.replace(key, secret=secret)
    return dataclasses.replace(user, access_key=key)


def _purpose(key: AccessKey) -> str:
    return f"access-key {key.access_key_id}"


__all__ = ["PURPOSE", "decode_identity", "encode_identity"]
