"""Values that lie on the disk unreadable: sealed with the keys of a file that may lie elsewhere.

The key file holds a key a line, the newest first: 32 random bytes in base64. The first one
seals, all of them unseal. Empty lines and those that begin with ``#`` mean nothing.

A sealed value is the id of its key (8 bytes), a random nonce (12) and what AES-256-GCM makes
of the plain value and its *purpose*: a text that says where the value belongs. Put in another
place, or changed in any bit, it is not unsealed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lambent.storage.directory import DataDirectory, sync_directory, write_durably

KEY_BYTES = 32
KEY_ID_BYTES = 8
_NONCE_BYTES = 12


class Unsealable(Exception):
    """None of the keys opens the value, or it is not what was sealed for this purpose."""


class KeyFileUnusable(Exception):
    """The key file is not what it should be; nothing was changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The key file {path} cannot be used: {reason}.")


class Sealer:
    """Seals with the first of its keys and unseals with all of them; of use to every thread.

    Args:
        keys: 32 random bytes each, at least one, the newest first.

    Attributes:
        key_id: names the key that seals, and tells nothing about it.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self.key_id = next(iter(self._ciphers))
        self._cipher = self._ciphers[self.key_id]

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return ``plain`` unreadable, another way at each call; 36 bytes are added."""
        nonce = os.urandom(_NONCE_BYTES)
        return self.key_id + nonce + self._cipher.encrypt(nonce, plain, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return what was sealed for this ``purpose``.

        Raises:
            Unsealable: another key has sealed it, or it is not what was sealed.
        """
        cipher = self._ciphers.get(sealed[:KEY_ID_BYTES])
        if cipher is None:
            raise Unsealable(f"what is sealed for {purpose!r} is sealed with a key that is not at hand")
        body = KEY_ID_BYTES + _NONCE_BYTES
        try:
            return cipher.decrypt(sealed[KEY_ID_BYTES:body], sealed[body:], purpose.encode())
        except (InvalidTag, ValueError):
            raise Unsealable(f"what is sealed for {purpose!r} was changed, or put there") from None


def open_sealer(directory: DataDirectory, key_file: Path | None = None) -> Sealer:
    """Return the sealer of a data directory; its key file is made, readable by its owner alone, when missing.

    What does not outlive the process is sealed with a key that does not either.

    Args:
        directory: where the key file lies unless it is given.
        key_file: lies elsewhere; its folder is made when missing.

    Raises:
        KeyFileUnusable: it is no key file, or others may read it.
        OSError: it cannot be read or made.
    """
    if directory.temporary:
        return Sealer([os.urandom(KEY_BYTES)])
    path = key_file or directory.keys
    if not path.exists():
        _make_key_file(path)
    return Sealer(_read_keys(path))


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    write_durably(fresh, base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
    # Two servers may share the file: the first to name its key wins, and neither overwrites the other's.
    try:
        os.link(fresh, path)
    except FileExistsError:
        fresh.unlink()
    except OSError:
        # A file system without links; servers that begin at the same moment are not told apart there.
        fresh.rename(path)
    else:
        fresh.unlink()
    sync_directory(path.parent)


def _read_keys(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise KeyFileUnusable(path, "others than its owner have rights to it (chmod 600 takes them away)")
        lines = file.read().splitlines()
    keys = [
        _parse(line, path, number)
        for number, line in enumerate(map(bytes.strip, lines), 1)
        if line and not line.startswith(b"#")
    ]
    if not keys:
        raise KeyFileUnusable(path, "it holds no key")
    return keys


def _parse(line: bytes, path: Path, number: int) -> bytes:
    key = b""
    with contextlib.suppress(binascii.Error):
        key = base64.b64decode(line, validate=True)
    if len(key) != KEY_BYTES:
        raise KeyFileUnusable(path, f"line {number} is not {KEY_BYTES} bytes in base64")
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"lambent key id\0" + key).digest()[:KEY_ID_BYTES]


__all__ = ["KEY_BYTES", "KEY_ID_BYTES", "KeyFileUnusable", "Sealer", "Unsealable", "open_sealer"]
