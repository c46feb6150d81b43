"""The command ``lambent`` as a process of its own, beside a server."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.conftest import RunningServer


@dataclass
class Command:
    """Runs ``lambent`` in a folder of its own, with nothing configured but the server's address."""

    folder: Path
    server: RunningServer
    made: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """No credentials, no region, no settings: what a new user has."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))
        }
        return {**kept, "HOME": str(self.folder), "LAMBENT_ENDPOINT": self.server.url}

    def __call__(
        self, *arguments: str, stdin: bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end; ``environ`` adds variables."""
        return subprocess.run(
            self.line(*arguments),
            cwd=self.folder,
            env={**self.environ, **environ},
            input=stdin,
            capture_output=True,
            timeout=100,
            check=False,
        )

    def line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "lambent", *arguments]

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def deploy(self, name: str, source: str, *options: str) -> None:
        """Deploy ``source`` as the single file NAME.py."""
        self.write({f"{name}.py": source})
        done = self("deploy", f"{name}.py", *options)
        assert done.returncode == 0, done.stderr.decode()
        self.made.append(name)


def on_a_terminal(lambent: Command, *arguments: str, answer: bytes = b"") -> tuple[str, int]:
    """Run on a pseudo-terminal; return what it showed and the exit status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        lambent.line(*arguments),
        cwd=lambent.folder,
        env={**lambent.environ, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer)
    shown = b""
    while piece := _read_terminal(ours):
        shown += piece
    os.close(ours)
    return shown.decode(), process.wait(60)


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        # Linux says EIO when the other side is closed.
        return b""
