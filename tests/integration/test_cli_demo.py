"""The README's first command in a fresh copy of the tree; root runs it as an ordinary user.

Functions run as the server's user at this sandbox level, so much goes well for root
that would not for others. Root therefore hands a copy to ``nobody``, together with
wheels, because that user has no package cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TREE = Path(__file__).parents[2]
NOBODY = 65534
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", ".coverage*", "dist", ".build"
)
# What the first command needs of a Python besides its age.
IS_USABLE = "import sys, ensurepip, venv, ssl, sqlite3; sys.exit(sys.version_info < (3, 11))"


@dataclass(frozen=True)
class User:
    """Who runs the command: None as uid is the one who runs the tests."""

    uid: int | None

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if self.uid is not None:
            options.update(user=self.uid, group=self.uid, extra_groups=[])
        # stdin: nobody is there to answer questions.
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options
        )
        return done

    def find_python(self) -> Path | None:
        """Return a Python ≥ 3.11 that this user may execute."""
        folders = [*os.environ.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin"]
        names = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
        candidates = (Path(folder) / name for folder in dict.fromkeys(folders) for name in names)
        return next((each for each in candidates if each.is_file() and self._can_use(each)), None)

    def _can_use(self, python: Path) -> bool:
        try:
            return self.run([str(python), "-c", IS_USABLE], cwd="/", env={"PATH": os.defpath}).returncode == 0
        except PermissionError:
            return False


@pytest.fixture
def user() -> User:
    """An ordinary user, whoever runs the tests."""
    return User(NOBODY if os.geteuid() == 0 else None)


@pytest.fixture
def python(user: User) -> Path:
    """A Python that the ordinary user may execute."""
    found = user.find_python()
    if found is None:
        pytest.skip("this machine has no Python 3.11 or newer with venv that an ordinary user may execute")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="lambent-copy-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def environment(user: User, python: Path, folder: Path) -> dict[str, str]:
    if user.uid is None:
        # `make test` is one make, this is another.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return {**kept, "HOME": str(folder)}
    wheels = collect_wheels(python, folder)
    return {
        "PATH": f"{python.parent}:{os.defpath}",
        "HOME": str(folder / "copy"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }


def collect_wheels(python: Path, folder: Path) -> Path:
    """Fetch or build everything that the installation needs, for this very Python."""
    tools, wheels = folder / "tools", folder / "wheels"
    subprocess.run([python, "-m", "venv", tools], check=True, capture_output=True)
    wanted = [str(folder / "copy"), "hatchling", "editables"]
    done = subprocess.run(
        [tools / "bin" / "pip", "wheel", "--quiet", "--wheel-dir", wheels, *wanted],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return wheels


def hand_over(tree: Path, uid: int) -> None:
    for path in (tree, *tree.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def processes_below(folder: Path) -> list[str]:
    """Return the command lines of running processes that come from ``folder``."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = status.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_first_command_does_the_main_job_for_an_ordinary_user(user: User, python: Path, folder: Path) -> None:
    copy = folder / "copy"
    shutil.copytree(TREE, copy, ignore=NOT_COPIED)
    environ = environment(user, python, folder)
    if user.uid is not None:
        hand_over(copy, user.uid)

    done = user.run(["make", "demo", f"PYTHON={python}"], cwd=copy, env=environ, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello, Ada!" in done.stdout
    assert "Hello, Grace!" in done.stdout
    assert "REPORT RequestId: " in done.stdout
    assert done.stdout.rstrip().endswith("stopped")
    assert processes_below(copy) == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_first_command_names_what_is_missing_when_python_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "bin"
    old.mkdir()
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        (old / name).write_text("#!/bin/sh\n[ $1 = --version ] && echo Python 3.9.2\nexit 1\n")
        (old / name).chmod(0o755)
    shutil.copy(TREE / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()

    done = subprocess.run(
        ["make", "demo"],
        cwd=tmp_path,
        env={"PATH": f"{old}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "Lambent needs Python 3.11 or newer; the python3 on PATH is Python 3.9.2." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_demo_runs_with_the_installed_package() -> None:
    done = subprocess.run(
        [sys.executable, TREE / "examples" / "demo.py"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "warm call" in done.stdout
