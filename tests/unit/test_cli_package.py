"""What `lambent deploy` puts into a zip, and which handler it finds there."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from lambent.cli.output import CommandError
from lambent.cli.package import Package, read_package

HANDLER = "def handler(event, context): ...\n"


def tree(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def names(package: Package) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(package.data)).namelist()


def test_folder_is_packed_with_its_subfolders_in_order(tmp_path: Path) -> None:
    folder = tree(tmp_path / "shop", {"app.py": HANDLER, "lib/b.py": "", "lib/a.py": "", "data.json": "{}"})

    package = read_package(folder)

    assert package.name == "shop"
    assert names(package) == ["app.py", "data.json", "lib/a.py", "lib/b.py"]


@pytest.mark.parametrize(
    "ignored",
    [
        ".git/config",
        ".venv/lib/x.py",
        "anyname/pyvenv.cfg",
        "__pycache__/app.cpython-313.pyc",
        "lib/__pycache__/x.pyc",
        "lib/stray.pyc",
        "node_modules/left-pad/index.js",
        ".mypy_cache/x",
        ".pytest_cache/x",
        ".ruff_cache/x",
        ".DS_Store",
    ],
)
def test_what_is_no_code_stays_out(ignored: str, tmp_path: Path) -> None:
    folder = tree(tmp_path, {"app.py": HANDLER, ignored: "x"})

    assert names(read_package(folder)) == ["app.py"]


def test_file_modes_are_kept(tmp_path: Path) -> None:
    folder = tree(tmp_path, {"app.py": HANDLER, "tool.sh": "#!/bin/sh\n"})
    (folder / "tool.sh").chmod(0o755)
    (folder / "app.py").chmod(0o640)

    with zipfile.ZipFile(io.BytesIO(read_package(folder).data)) as archive:
        modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in archive.infolist()}

    assert modes == {"app.py": 0o640, "tool.sh": 0o755}


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = tree(tmp_path / "one", {"b.py": "b", "app.py": HANDLER})
    second = tree(tmp_path / "two", {"app.py": HANDLER, "b.py": "b"})
    os.utime(second / "b.py", (0, 0))

    assert read_package(first).data == read_package(second).data


def test_links_are_followed_once(tmp_path: Path) -> None:
    shared = tree(tmp_path / "shared", {"lib.py": "x = 1\n"})
    folder = tree(tmp_path / "code", {"app.py": HANDLER})
    (folder / "shared").symlink_to(shared)
    (folder / "again").symlink_to(folder)

    assert names(read_package(folder)) == ["app.py", "shared/lib.py"]


def test_dependencies_stand_beside_the_code_which_wins(tmp_path: Path) -> None:
    folder = tree(tmp_path / "code", {"app.py": HANDLER, "six.py": "mine"})
    dependencies = tree(tmp_path / "installed", {"six.py": "theirs", "requests/__init__.py": ""})

    package = read_package(folder, dependencies)

    assert names(package) == ["app.py", "requests/__init__.py", "six.py"]
    assert zipfile.ZipFile(io.BytesIO(package.data)).read("six.py") == b"mine"


def test_zip_is_sent_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "shop.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("lambda_function.py", "def lambda_handler(event, context): ...\n")

    package = read_package(file)

    assert package.data == file.read_bytes()
    assert (package.name, package.handler) == ("shop", "lambda_function.lambda_handler")


def test_single_file_stands_alone(tmp_path: Path) -> None:
    tree(tmp_path, {"hello.py": "def lambda_handler(event, context): ...\n", "other.py": ""})

    package = read_package(tmp_path / "hello.py")

    assert names(package) == ["hello.py"]
    assert (package.name, package.handler) == ("hello", "hello.lambda_handler")


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"index.py": HANDLER, "app.py": HANDLER}, "index.handler"),
        ({"main.py": HANDLER, "app.py": HANDLER}, "app.handler"),
        ({"main.py": HANDLER}, "main.handler"),
        ({"index.py": "x = 1\n", "main.py": HANDLER}, "main.handler"),
        ({"app.py": "async def handler(event, context): ...\n"}, "app.handler"),
        ({"app.py": "from lib import run as handler\n"}, "app.handler"),
        ({"app.py": "handler = lambda event, context: 1\n"}, "app.handler"),
        ({"app.py": "class Api: ...\nhandler: Api = Api()\n"}, "app.handler"),
        ({"app/__init__.py": HANDLER}, "app.handler"),
        ({"app.py": "def handler(: syntax of another Python\n"}, "app.handler"),
        ({"app.py": "def run():\n    def handler(): ...\n"}, None),
        ({"other.py": HANDLER}, None),
    ],
)
def test_first_usual_handler_that_exists_is_found(
    files: Mapping[str, str], handler: str | None, tmp_path: Path
) -> None:
    assert read_package(tree(tmp_path, files)).handler == handler


def test_package_knows_whether_a_handler_is_in_it(tmp_path: Path) -> None:
    package = read_package(tree(tmp_path, {"api/orders.py": "def create(event, context): ...\n"}))

    assert package.defines("api.orders.create")
    assert not package.defines("api.orders.delete")
    assert not package.defines("create")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no file to deploy"):
        read_package(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("x")

    with pytest.raises(CommandError, match="neither a folder"):
        read_package(file)


@pytest.mark.parametrize("damage", ["content", "encrypted", "method"])
def test_zip_whose_code_cannot_be_read_is_refused(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "f.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("app.py", HANDLER)
    data = bytearray(file.read_bytes())
    directory = data.index(b"PK\1\2")
    if damage == "content":
        data[40] ^= 1
    elif damage == "encrypted":
        data[6] |= 1
        data[directory + 8] |= 1
    else:
        data[8] = data[directory + 10] = 99
    file.write_bytes(data)

    with pytest.raises(CommandError, match=r"app\.py in the zip cannot be read"):
        read_package(file)


@pytest.mark.parametrize("code", ["x = '\\d'\n", "x = 1 is 1\n", f"x = {'(' * 500}1{')' * 500}\n"])
def test_code_that_python_warns_of_is_packed_in_silence(tmp_path: Path, code: str) -> None:
    assert read_package(tree(tmp_path, {"app.py": code + HANDLER})).handler == "app.handler"


def test_folder_that_cannot_be_read_is_not_left_out(tmp_path: Path) -> None:
    locked = tree(tmp_path, {"app.py": HANDLER, "lib/a.py": ""}) / "lib"
    locked.chmod(0o100)
    if os.access(locked, os.R_OK):
        pytest.skip("this user reads everything")

    with pytest.raises(CommandError, match="lib cannot be read: Permission denied"):
        read_package(tmp_path)


def test_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "app.py").symlink_to(tmp_path / "nowhere.py")

    with pytest.raises(CommandError, match=r"app\.py cannot be read"):
        read_package(tmp_path)
