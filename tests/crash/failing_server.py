"""The command ``lambent`` with a disk that cannot sync the event queue from one SIGUSR1 to the next."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.crash.disk import Watch, watched

from lambent.cli.main import main


class Disk(Watch):
    """Refuses the syncs of one database on demand, with the error that the system tells as EIO."""

    is_broken = False

    def toggle(self, *_: object) -> None:
        self.is_broken = not self.is_broken
        sys.stderr.write("syncs fail\n" if self.is_broken else "syncs succeed\n")
        sys.stderr.flush()

    def refuse(self, path: Path) -> bool:
        return self.is_broken and path.name.startswith("events.db")


if __name__ == "__main__":
    disk = Disk()
    disk.fails = disk.refuse
    signal.signal(signal.SIGUSR1, disk.toggle)
    with watched(disk):
        main()
