"""Runtime identifiers and the interpreters that this machine has for them.

An identifier such as ``python3.13`` names an interpreter; what is looked for, and
where, is told in every refusal. Nothing is started here beyond asking each
candidate once who it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lambent.model.errors import InvalidParameterValueException
from lambent.model.runtimes import check_runtime

OLDEST = (3, 9)
_IDENTIFIER = re.compile(r"python(\d+)\.(\d+)")
# Isolated and without site: a candidate answers in about 10 ms, whatever is installed for it.
_QUESTION = "import sys; print(*sys.version_info[:3], sys.executable, sep='\\n')"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine: its real path and (major, minor, micro)."""

    path: Path
    version: tuple[int, int, int]

    @property
    def identifier(self) -> str:
        """The runtime identifier that this interpreter serves as it is."""
        return f"python{self.version[0]}.{self.version[1]}"

    @property
    def text_version(self) -> str:
        """The version with dots, ``3.13.0``."""
        return ".".join(map(str, self.version))


class Runtimes:
    """Which interpreter runs which identifier.

    Args:
        found: interpreters, best first for each (major, minor).
        configured: identifier → interpreter from the settings; wins.
        refuse_missing: refuse an identifier without its interpreter instead of
            running it on the nearest one.
    """

    def __init__(
        self,
        found: list[Interpreter],
        configured: Mapping[str, Interpreter] | None = None,
        *,
        refuse_missing: bool = False,
    ) -> None:
        self._by_identifier: dict[str, Interpreter] = {}
        for interpreter in found:
            self._by_identifier.setdefault(interpreter.identifier, interpreter)
        self._by_identifier.update(configured or {})
        self._refuse_missing = refuse_missing

    @property
    def interpreters(self) -> dict[str, Interpreter]:
        """Identifier → interpreter, oldest identifier first."""
        return dict(sorted(self._by_identifier.items(), key=lambda item: item[1].version))

    def interpreter(self, identifier: str) -> Interpreter:
        """Return the interpreter that runs ``identifier``: its own, next newer, else newest older.

        Raises:
            InvalidParameterValueException: the identifier is no Python, or there is
                nothing to run it; the text says what was looked for.
        """
        own = self._by_identifier.get(identifier)
        if own is not None:
            return own
        match = _IDENTIFIER.fullmatch(identifier)
        if match is None:
            raise InvalidParameterValueException(
                f"Runtime {identifier} is not served by this version of Lambent."
            )
        if not self._by_identifier:
            raise InvalidParameterValueException(
                f"No Python interpreter was found to run {identifier}: looked for python3.9 and newer "
                "on PATH, in pyenv's and uv's folders. Install one, for example with the system's packages, "
                f'or name it in lambent.toml: [runtimes] "{identifier}" = "/path/to/python".'
            )
        if self._refuse_missing:
            raise InvalidParameterValueException(
                f"Runtime {identifier} has no interpreter on this machine: looked for {identifier} on PATH, "
                "in pyenv's and uv's folders. runtimes.missing = refuse forbids another one."
            )
        wanted = (int(match[1]), int(match[2]))
        by_version = sorted(self._by_identifier.values(), key=lambda found: found.version)
        newer = [found for found in by_version if found.version[:2] > wanted]
        return newer[0] if newer else by_version[-1]

    def check(self, identifier: str) -> str | None:
        """Return a warning when ``identifier`` runs on another Python, None when on its own.

        Raises:
            InvalidParameterValueException: AWS does not know the identifier either; or as
                :meth:`interpreter`.
        """
        check_runtime(identifier, self._by_identifier)
        interpreter = self.interpreter(identifier)
        if identifier in self._by_identifier:
            return None
        version = interpreter.text_version
        return f"{identifier} is not installed on this machine: the function runs on Python {version}"


async def find_interpreters(environ: Mapping[str, str]) -> list[Interpreter]:
    """Ask every Python in the usual places who it is; one entry per real path.

    Looks on PATH, in pyenv's versions and in uv's interpreters; pyenv's shims are
    skipped (they cost 0.1 s each and answer for whatever the folder selects).
    """
    candidates = dict.fromkeys(path.resolve() for path in _candidates(environ))
    answers = await asyncio.gather(*(ask_interpreter(path) for path in candidates))
    unique: dict[Path, Interpreter] = {}
    for answer in answers:
        if answer is not None and answer.version[:2] >= OLDEST:
            unique.setdefault(answer.path, answer)
    return list(unique.values())


async def ask_interpreter(path: Path) -> Interpreter | None:
    """Return what ``path`` is, or None when it does not answer as a Python within 10 s."""
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "-I",
            "-S",
            "-c",
            _QUESTION,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    lines = output.decode(errors="replace").split("\n")
    if process.returncode != 0 or len(lines) < 4:
        return None
    try:
        major, minor, micro = map(int, lines[:3])
    except ValueError:
        return None
    # The path was resolved before it was asked; a launcher script may stand before the real one.
    return Interpreter(_real(lines[3]), (major, minor, micro))


def _real(path: str) -> Path:
    return Path(path).resolve()


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    names = [f"python3.{minor}" for minor in range(OLDEST[1], 30)] + ["python3"]
    home = Path(environ.get("HOME", "/"))
    folders = [Path(folder) for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    for folder in folders:
        if folder.name != "shims":
            yield from (folder / name for name in names if os.access(folder / name, os.X_OK))
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for root in (pyenv / "versions", uv):
        try:
            found = [path for path in root.glob("*/bin/python3.*") if _IDENTIFIER.fullmatch(path.name)]
        except OSError:
            continue
        yield from sorted(found, reverse=True)


@dataclass(frozen=True, slots=True)
class OfferedPackages:
    """boto3 as functions see it: a folder of links to just its own packages.

    Attributes:
        folder: goes on the function's import path after its own code.
        python: the versions that every package among them supports.
        version: boto3's version.
    """

    folder: Path
    python: SpecifierSet
    version: str

    def supports(self, interpreter: Interpreter) -> bool:
        """Whether the packages declare to work on this interpreter."""
        return self.python.contains(interpreter.text_version)


def offer_boto3(folder: Path) -> OfferedPackages:
    """Make a folder of links to boto3 and what it needs, and to nothing else of the server's.

    The function's import path gets this folder instead of the server's
    site-packages, so that no other package of the server leaks into functions.

    Args:
        folder: the links stand in a folder below it, named after the versions: byte
            code is kept by path, and must not outlive what it was compiled from.
    """
    distributions = _with_requirements("boto3")
    versions = sorted(f"{found.name}-{found.version}" for found in distributions)
    shutil.rmtree(folder, ignore_errors=True)
    folder /= hashlib.sha256(" ".join(versions).encode()).hexdigest()[:16]
    folder.mkdir(parents=True)
    python = SpecifierSet()
    for distribution in distributions:
        python &= SpecifierSet(distribution.metadata["Requires-Python"] or "")
        for top in sorted({file.parts[0] for file in distribution.files or ()}):
            source = Path(str(distribution.locate_file(top))).resolve()
            if top not in ("..", "__pycache__") and source.exists():
                (folder / top).symlink_to(source)
    return OfferedPackages(folder, python, importlib.metadata.version("boto3"))


def _with_requirements(name: str) -> list[importlib.metadata.Distribution]:
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        distribution = found[current] = importlib.metadata.distribution(current)
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return list(found.values())
