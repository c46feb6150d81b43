"""The house rules: imports go downwards only, and every room is called what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lambent"
BOOTSTRAP = SOURCE / "execution" / "bootstrap"
CLIENT = SOURCE / "client"

# From top to bottom; a room may import from its own row and from those below it.
ORDER = (
    ("__main__", "cli", "console"),
    ("server",),
    ("api",),
    ("control", "invocation"),
    ("execution",),
    ("storage", "cluster"),
    ("wire",),
    ("model", "config", "limits", "clock", "tasks", "side_process", "aws", "__init__"),
)
ROW = {room: number for number, row in enumerate(ORDER) for room in row}

# At the side: who may import them, and what they may import, is said room by room.
BESIDE = {
    "observability": {"model", "config", "limits", "clock", "tasks", "__init__"},
    "client": {"wire", "model", "limits", "clock", "__init__"},
}
MAY_START_A_SERVER = CLIENT / "pytest_plugin.py"
# Handlers that a client runs in its own process get what they get in a function's: that part stands alone.
MAY_RUN_HANDLERS = {CLIENT / "local_run.py", CLIENT / "local_logs.py"}
NAMES_THAT_SAY_NOTHING = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "base",
    "manager",
    "misc",
    "core_utils",
}


class Import(NamedTuple):
    """One import of a module of this package, with the place where it stands."""

    file: Path
    line: int
    module: str

    @property
    def room(self) -> str:
        return [*self.module.split("."), "__init__"][1]

    def __str__(self) -> str:
        return f"{self.file.relative_to(SOURCE.parent)}:{self.line}: imports {self.module}"


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), str(file))


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def sources(folder: Path = SOURCE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(file: Path) -> Iterator[Import]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "lambent":
            names = [module_or_package(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        yield from (Import(file, node.lineno, name) for name in names if name.split(".")[0] == "lambent")


def module_or_package(name: str) -> str:
    """Tell `from lambent import server`, a module, from `from lambent import __version__`."""
    is_module = (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file()
    return f"lambent.{name}" if is_module else "lambent"


def may_import(room: str, target: str) -> bool:
    if room == target:
        return True
    if room in BESIDE:
        return target in BESIDE[room]
    if target in BESIDE:
        # The server alone gives the others an observer; the command line may use the client.
        return (room, target) in {("server", "observability"), ("cli", "client"), ("console", "client")}
    return ROW[room] <= ROW[target]


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {room_of(file) for file in sources()}

    assert rooms <= set(ROW) | set(BESIDE)


def test_imports_go_downwards_only() -> None:
    wrong = [
        str(each)
        for file in sources()
        if not file.is_relative_to(BOOTSTRAP) and file != MAY_START_A_SERVER
        for each in imports(file)
        if not may_import(room_of(file), each.room)
        and not (file in MAY_RUN_HANDLERS and each.module.startswith("lambent.execution.bootstrap."))
    ]

    assert wrong == []


def test_order_is_an_order() -> None:
    assert may_import("api", "model")
    assert may_import("control", "invocation")
    assert not may_import("storage", "execution")
    assert not may_import("wire", "api")
    assert not may_import("api", "observability")
    assert not may_import("client", "config")


def test_function_process_imports_nothing_of_the_server() -> None:
    wrong = [str(each) for file in sources(BOOTSTRAP) for each in imports(file)]

    assert wrong == []


def test_relative_imports_of_the_function_process_stay_inside_it() -> None:
    for file in sources(BOOTSTRAP):
        depth = len(file.relative_to(BOOTSTRAP).parts)
        for node in ast.walk(parsed(file)):
            assert not isinstance(node, ast.ImportFrom) or node.level <= depth, f"{file}:{node.lineno}"


@pytest.mark.parametrize("room", ["model", "wire"])
def test_rooms_without_io_import_none(room: str) -> None:
    forbidden = {"asyncio", "socket", "subprocess", "sqlite3", "threading", "http", "botocore", "boto3"}
    wrong = [
        f"{file}:{node.lineno}: {name}"
        for file in sources(SOURCE / room)
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported_names(node)
        if name.split(".")[0] in forbidden
    ]

    assert wrong == []


def imported_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]


def test_no_name_says_nothing() -> None:
    stems = {file.stem for file in sources()} | {file.parent.name for file in sources()}

    assert stems & NAMES_THAT_SAY_NOTHING == set()


def test_no_file_holds_everything() -> None:
    long = [str(file) for file in sources() if len(file.read_text().splitlines()) > 900]

    assert long == []


def test_everything_public_is_described() -> None:
    missing = [
        f"{file.relative_to(SOURCE.parent)}:{line}: {name}"
        for file in sources()
        for line, name in undescribed(parsed(file))
    ]

    assert missing == []


def undescribed(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the public modules, classes and functions that have no docstring."""
    if ast.get_docstring(module) is None and module.body:
        yield 1, "the module"
    stack: list[ast.Module | ast.ClassDef] = [module]
    while stack:
        for node in stack.pop().body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and not overrides(node):
                yield node.lineno, node.name
            if isinstance(node, ast.ClassDef):
                stack.append(node)


def overrides(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    names = [each.id for each in node.decorator_list if isinstance(each, ast.Name)]
    return "override" in names or "overload" in names
