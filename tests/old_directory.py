"""A data directory as the version left it that did not seal, ended by ``kill -9``; and looking for values in one."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from lambent.model.functions import FunctionHead
from lambent.storage.database import migrations

LAST_UNSEALED = 5


def write_old_directory(root: Path, kept: Iterable[FunctionHead], gone: Iterable[FunctionHead]) -> None:
    """Write a database whose pages in use, free pages and write-ahead log hold documents as they are.

    Args:
        root: the data directory; made.
        kept: heads that are there.
        gone: heads that were there and were deleted.
    """
    kept, gone = list(kept), list(gone)
    root.mkdir(mode=0o700, parents=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA secure_delete = OFF")
        for number, script in migrations():
            if number <= LAST_UNSEALED:
                connection.executescript(f"{script}\nPRAGMA user_version = {number};")
        for head in (*gone, *kept[::2]):
            _insert(connection, head)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for head in gone:
            connection.execute("DELETE FROM functions WHERE name = ?", (head.key.name,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for head in kept[1::2]:
            _insert(connection, head)
        # A last connection that is closed would empty the log.
        for name in ("state.db", "state.db-wal"):
            shutil.copy(Path(folder) / name, root / name)
        connection.close()


def files_with(root: Path, *values: str) -> dict[str, set[str]]:
    """Return by value which files below ``root`` hold it; functions' logs aside."""
    found: dict[str, set[str]] = {}
    for path in root.rglob("*"):
        place = path.relative_to(root)
        if place.parts[0] == "logs" or not path.is_file():
            continue
        content = path.read_bytes()
        for value in values:
            if value.encode() in content:
                found.setdefault(value, set()).add(str(place))
    return found


def _insert(connection: sqlite3.Connection, head: FunctionHead) -> None:
    document = json.loads(msgspec.json.encode(head))
    columns = "account, region, name, number, revision_id, settled, code_bytes, reserved, document"
    row = (*head.key, head.number, head.revision_id, head.settled, head.latest.code.size, None)
    connection.execute(
        f"INSERT INTO functions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, json.dumps(document))
    )
