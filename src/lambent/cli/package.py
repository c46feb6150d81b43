"""A folder, a file or a zip as a deployment package.

The zip is the same for the same content: entries are sorted and carry no times, so
that ``CodeSha256`` says whether code changed. File modes are kept, symbolic links are
followed. Left out: version control, virtual environments, caches and node_modules.
"""

from __future__ import annotations

import ast
import io
import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambent.cli.output import CommandError

# Names that are never code, wherever they stand.
_IGNORED_FOLDERS = frozenset(
    (
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "__pycache__",
        "node_modules",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        ".cache",
        ".tox",
        ".nox",
        ".eggs",
        ".ipynb_checkpoints",
    )
)
_IGNORED_FILES = frozenset((".DS_Store", "Thumbs.db", ".coverage"))
_IGNORED_SUFFIXES = frozenset((".pyc", ".pyo"))
# What zipfile raises for damaged files, encrypted ones and methods that it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
_NO_TIME = (1980, 1, 1, 0, 0, 0)

# In the order of trying. Source: the habits of AWS's console, SAM and tutorials.
_USUAL_HANDLERS = ("index.handler", "lambda_function.lambda_handler", "app.handler", "main.handler")
_FILE_HANDLERS = ("handler", "lambda_handler")


@dataclass(frozen=True, slots=True)
class Package:
    """Code that is ready to be sent.

    Attributes:
        name: what the function is called unless the user says otherwise.
        data: the zip.
        handler: the first usual handler that exists in it, or None.
        looked_for: the handlers that were tried.
    """

    name: str
    data: bytes
    handler: str | None
    looked_for: tuple[str, ...]

    def defines(self, handler: str) -> bool:
        """Whether the package has a Python module with this handler."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return _defines(handler, _sources(archive))


def read_package(source: Path, dependencies: Path | None = None) -> Package:
    """Make a package of a folder, a ``.py`` file or a ``.zip``.

    Args:
        source: it exists.
        dependencies: a folder whose content goes beside the code; the code's own
            files win.
    """
    if source.is_dir():
        data = _pack({**(_files(dependencies) if dependencies else {}), **_files(source)})
        return _package(source.resolve().name, data, _USUAL_HANDLERS)
    if source.suffix == ".py":
        handlers = tuple(f"{source.stem}.{name}" for name in _FILE_HANDLERS)
        return _package(source.stem, _pack({source.name: source}), handlers)
    if not zipfile.is_zipfile(source):
        raise CommandError(f"{source} is neither a folder, nor a .py file, nor a zip.")
    return _package(source.stem, source.read_bytes(), _USUAL_HANDLERS)


def _package(name: str, data: bytes, handlers: tuple[str, ...]) -> Package:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sources = _sources(archive)
        handler = next((each for each in handlers if _defines(each, sources)), None)
    return Package(name, data, handler, handlers)


# --------------------------------------------------------------------------- the zip


def _files(folder: Path) -> Mapping[str, Path]:
    """Return the files to send, by their name in the zip."""
    return {path.relative_to(folder).as_posix(): path for path in _walk(folder)}


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for top, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        here = Path(top)
        # A link to a folder above would never end.
        if (real := here.resolve()) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _is_ignored(here / name))
        yield from (here / name for name in sorted(names) if not _is_ignored_file(name))


def _refuse(error: OSError) -> None:
    raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _is_ignored(folder: Path) -> bool:
    # A virtual environment may have any name; this file marks it.
    return folder.name in _IGNORED_FOLDERS or (folder / "pyvenv.cfg").is_file()


def _is_ignored_file(name: str) -> bool:
    return name in _IGNORED_FILES or Path(name).suffix in _IGNORED_SUFFIXES


def _pack(files: Mapping[str, Path]) -> bytes:
    if not files:
        raise CommandError("There is no file to deploy in that folder.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            archive.writestr(_entry(name, path), _read(path))
    return buffer.getvalue()


def _entry(name: str, path: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _NO_TIME)
    entry.create_system = 3  # Unix: the upper half of external_attr is the mode
    entry.compress_type = zipfile.ZIP_DEFLATED
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    entry.external_attr = (stat.S_IFREG | stat.S_IMODE(mode)) << 16
    return entry


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise CommandError(f"{path} is no ordinary file and cannot be deployed.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error


# --------------------------------------------------------------------------- the handler


def _sources(archive: zipfile.ZipFile) -> Callable[[str], bytes | None]:
    """Return a function from a file's name to its content, None where there is none."""
    names = set(archive.namelist())

    def source_of(name: str) -> bytes | None:
        try:
            return archive.read(name) if name in names else None
        except _UNREADABLE as error:
            raise CommandError(f"{name} in the zip cannot be read: {error}.") from error

    return source_of


def _defines(handler: str, source_of: Callable[[str], bytes | None]) -> bool:
    module, _, name = handler.rpartition(".")
    path = module.replace(".", "/")
    source = source_of(f"{path}.py") or source_of(f"{path}/__init__.py")
    return source is not None and name in _top_level_names(source)


def _top_level_names(source: bytes) -> set[str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Another Python may understand it; the function's own log will tell.
        return {name for name in ("handler", "lambda_handler") if name.encode() in source}
    names: set[str] = set()
    for statement in tree.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(statement.name)
            case ast.Import() | ast.ImportFrom():
                names.update(alias.asname or alias.name for alias in statement.names)
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case _:
                pass
    return names
