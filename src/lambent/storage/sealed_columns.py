"""What of ``state.db`` is sealed, and how all of it comes to be sealed with the first key.

A look at one row at every start. Where it does not name the first key (the directory of a version
that did not seal, a new line in the key file), these steps follow; after a crash behind any of
them the next start goes on:

1. One transaction seals what lies in documents, seals anew what another key has sealed, and notes
   the key.
2. The file is written anew, so that nothing stands in free pages any more, and the write-ahead log
   is emptied into it.
3. That is noted.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from lambent.storage import stored_heads, stored_identities
from lambent.storage.database import Database
from lambent.storage.directory import DataDirectory
from lambent.storage.sealing import Sealer, Unsealable


class SealedColumn(NamedTuple):
    """The column ``sealed`` of a table; NULL in rows where nothing is.

    Attributes:
        table: its name.
        purpose: SQL for what the value of a row is sealed for; shown to whoever loses it.
        drop: SQL that makes a row, by its rowid, do without its value.
    """

    table: str
    purpose: str
    drop: str


SEALED_COLUMNS = (
    SealedColumn("functions", stored_heads.PURPOSE, "UPDATE functions SET sealed = NULL WHERE rowid = ?"),
    SealedColumn(
        "identities",
        stored_identities.PURPOSE,
        "UPDATE identities SET sealed = NULL, access_key_id = NULL WHERE rowid = ?",
    ),
)

_logger = logging.getLogger("lambent.storage")


class KeyLost(Exception):
    """The directory holds values that none of the keys unseals; nothing was changed."""

    def __init__(self, place: Path) -> None:
        super().__init__(
            f"{place} holds values that are sealed with a key that is not in the key file. Put that key"
            " back, or give up the values with lambent drop-sealed."
        )


def keep_sealed(connection: sqlite3.Connection, place: Path, sealer: Sealer) -> None:
    """Have everything sealed with the sealer's first key, and nothing left of what stood there before.

    Args:
        connection: to a database whose migrations are done, in no transaction.
        place: the database's file, for messages.
        sealer: unseals what is there and seals it anew.

    Raises:
        KeyLost: there is something that it cannot unseal.
    """
    # What is overwritten or deleted is zeroed, and nothing is put into temporary files.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    key_id, is_wiped = connection.execute("SELECT key_id, wiped FROM sealing").fetchone() or (None, False)
    if key_id != sealer.key_id:
        with _transaction(connection):
            _seal_all(connection, place, sealer, is_first=key_id is None)
        is_wiped = False
    if not is_wiped and _wipe(connection, place):
        connection.execute("UPDATE sealing SET wiped = 1")
    if key_id not in {None, sealer.key_id}:
        _logger.info("%s is sealed with the first key of the key file now", place)


async def drop_lost(directory: DataDirectory, sealer: Sealer) -> list[str]:
    """Give up every sealed value that cannot be unsealed, for good, and seal the others with the first key.

    Args:
        directory: opened; no server has it.
        sealer: as it is left after a loss.

    Returns:
        What each of the values was sealed for.

    Raises:
        DataDirectoryTooNew: a newer program has written the database.
        DataDirectoryDamaged: the file is no database.
    """
    dropped: list[str] = []
    place = directory.database

    def drop(connection: sqlite3.Connection) -> None:
        with _transaction(connection):
            dropped.extend(_drop_lost(connection, sealer))
        keep_sealed(connection, place, sealer)

    database = Database(place, on_open=drop)
    await database.start()
    await database.stop()
    return dropped


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _seal_all(connection: sqlite3.Connection, place: Path, sealer: Sealer, *, is_first: bool) -> None:
    if is_first:
        _seal_documents(connection, sealer)
    for column in SEALED_COLUMNS:
        update = f"UPDATE {column.table} SET sealed = ? WHERE rowid = ?"  # noqa: S608 - our own table
        for row_id, sealed, purpose in _sealed_rows(connection, column):
            try:
                plain = sealer.unseal(sealed, purpose)
            except Unsealable as error:
                raise KeyLost(place) from error
            connection.execute(update, (sealer.seal(plain, purpose), row_id))
    connection.execute("DELETE FROM sealing")
    connection.execute("INSERT INTO sealing VALUES (?, 0)", (sealer.key_id,))


def _seal_documents(connection: sqlite3.Connection, sealer: Sealer) -> None:
    rows = connection.execute("SELECT rowid, document FROM functions WHERE sealed IS NULL").fetchall()
    for row_id, document in rows:
        head = stored_heads.decode_head(document, None, sealer)
        stored = stored_heads.encode_head(head, sealer)
        connection.execute("UPDATE functions SET document = ?, sealed = ? WHERE rowid = ?", (*stored, row_id))


def _drop_lost(connection: sqlite3.Connection, sealer: Sealer) -> Iterator[str]:
    for column in SEALED_COLUMNS:
        for row_id, sealed, purpose in _sealed_rows(connection, column):
            try:
                sealer.unseal(sealed, purpose)
            except Unsealable:
                connection.execute(column.drop, (row_id,))
                yield purpose


def _sealed_rows(connection: sqlite3.Connection, column: SealedColumn) -> list[tuple[int, bytes, str]]:
    return connection.execute(
        f"SELECT rowid, sealed, {column.purpose} FROM {column.table} WHERE sealed IS NOT NULL"  # noqa: S608
    ).fetchall()


def _wipe(connection: sqlite3.Connection, place: Path) -> bool:
    """Leave nothing of what stood in the database before; False when that has to wait."""
    try:
        connection.execute("VACUUM")
        with closing(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")) as result:
            (is_busy, _, _) = result.fetchone()
        reason = "another process reads it" if is_busy else ""
    except sqlite3.OperationalError as error:
        # A full disk: no reason not to serve.
        reason = str(error)
    if reason:
        _logger.warning(
            "%s may still hold remains of values from before they were sealed; the next start wipes it: %s",
            place,
            reason,
        )
    return not reason


__all__ = ["SEALED_COLUMNS", "KeyLost", "SealedColumn", "drop_lost", "keep_sealed"]
