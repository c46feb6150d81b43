"""The command ``lambent`` with an event queue that cannot commit from one SIGUSR1 to the next."""

from __future__ import annotations

import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambent.cli.main import main


class Connection(sqlite3.Connection):
    """A connection whose commits fail on demand, as they do when the disk cannot be synced."""

    fails = False

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self.fails and statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(statement, parameters)


def toggle(*_: object) -> None:
    Connection.fails = not Connection.fails
    sys.stderr.write("commits fail\n" if Connection.fails else "commits succeed\n")
    sys.stderr.flush()


def connect_failing(connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    """Return ``sqlite3.connect`` as it is for all databases but that of the queue."""

    def replaced(path: Path, **options: Any) -> sqlite3.Connection:
        return connect(path, **options, **({"factory": Connection} if path.name == "events.db" else {}))

    return replaced


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, toggle)
    sqlite3.connect = connect_failing(sqlite3.connect)  # type: ignore[assignment]
    main()
