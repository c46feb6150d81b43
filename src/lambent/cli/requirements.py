"""``requirements.txt`` beside the code: installed into a folder that goes into the zip.

pip of our own Python does it, told which Python the function will run on; where that is
another one, only ready-made wheels can be taken. Without pip, ``uv`` does it.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lambent.cli.output import CommandError, step

_PYTHON = re.compile(r"python(3\.\d+)", re.ASCII)
_SKIP = "To deploy without them, give --skip-requirements."


def has_requirements(file: Path) -> bool:
    """Whether the file is there and asks for anything."""
    if not file.is_file():
        return False
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip() and not line.strip().startswith("#") for line in lines)


def install_requirements(file: Path, runtime: str, target: Path) -> None:
    """Install what ``file`` asks for into ``target``.

    Args:
        file: a requirements file.
        runtime: identifier such as ``python3.13``.
        target: an empty folder.

    Raises:
        CommandError: another language's runtime, no installer, or the installer failed.
    """
    match = _PYTHON.fullmatch(runtime)
    if match is None:
        raise CommandError(f"{file.name} cannot be installed for the runtime {runtime}.", _SKIP)
    command = _installer(match[1], target)
    with step(f"installing {file.name} for Python {match[1]}"):
        # The file's folder: relative paths in it start there.
        done = subprocess.run(
            [*command, "-r", file.name],
            cwd=file.resolve().parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-8:]
        raise CommandError(f"{file.name} could not be installed for Python {match[1]}:", *said, _SKIP)
    # Commands of packages are no use inside a function.
    shutil.rmtree(target / "bin", ignore_errors=True)


def _installer(python: str, target: Path) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        return [*pip, "--no-compile", "--target", str(target), *_for_python(python)]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip", "install", "--quiet", "--python-version", python, "--target", str(target)]
    raise CommandError(
        "requirements.txt was not installed: this Python has no pip, and there is no uv.",
        f"Add pip with `{sys.executable} -m ensurepip`, or put the packages beside the code yourself.",
        _SKIP,
    )


def _for_python(python: str) -> list[str]:
    """What pip has to be told when the function runs on another Python than this one."""
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return []
    return ["--python-version", python, "--implementation", "cp", "--only-binary", ":all:"]
