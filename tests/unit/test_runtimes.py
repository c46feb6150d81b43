"""Identifiers and interpreters: which runs which, where they are looked for, how they are asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lambent.execution.runtimes import (
    Interpreter,
    Runtimes,
    ask_interpreter,
    find_interpreters,
    offer_boto3,
)
from lambent.execution.zygote import Exit, Zygote, ZygoteDied
from lambent.model.errors import InvalidParameterValueException


def _python(minor: int, micro: int = 0, where: str = "/usr/bin") -> Interpreter:
    return Interpreter(Path(f"{where}/python3.{minor}"), (3, minor, micro))


FOUND = [_python(9), _python(11), _python(13)]


# ---------------------------------------------------------------------------- the choice


@pytest.mark.parametrize(
    ("identifier", "minor"),
    [
        ("python3.8", 9),
        ("python3.9", 9),
        ("python3.10", 11),
        ("python3.11", 11),
        ("python3.12", 13),
        ("python3.13", 13),
        ("python3.14", 13),
    ],
)
def test_an_identifier_runs_on_its_own_python_else_the_next_newer_else_the_newest(
    identifier: str, minor: int
) -> None:
    runtimes = Runtimes(FOUND)
    assert runtimes.interpreter(identifier).version[1] == minor
    warning = runtimes.check(identifier)
    if identifier == f"python3.{minor}":
        assert warning is None
    else:
        assert warning == (
            f"{identifier} is not installed on this machine: the function runs on Python 3.{minor}.0"
        )


def test_versions_are_compared_as_numbers() -> None:
    runtimes = Runtimes([_python(9), _python(10)])
    assert runtimes.interpreter("python3.14").version == (3, 10, 0)
    assert list(runtimes.interpreters) == ["python3.9", "python3.10"]


def test_the_first_of_two_interpreters_of_one_version_is_taken() -> None:
    runtimes = Runtimes([_python(12, 1, "/first"), _python(12, 9, "/second")])
    assert runtimes.interpreter("python3.12").path == Path("/first/python3.12")


def test_a_configured_interpreter_wins_also_over_one_that_was_found() -> None:
    mine = _python(12, 0, "/mine")
    runtimes = Runtimes(FOUND, {"python3.13": mine, "python3.14": mine})
    for identifier in ("python3.13", "python3.14"):
        assert runtimes.interpreter(identifier) is mine
        assert runtimes.check(identifier) is None


def test_an_identifier_that_only_this_server_knows_is_taken_where_it_is_configured() -> None:
    assert Runtimes([], {"python3.19": _python(13)}).check("python3.19") is None


@pytest.mark.parametrize("identifier", ["python3.10", "python3.8"])
def test_refuse_forbids_another_interpreter_and_tells_what_was_looked_for(identifier: str) -> None:
    runtimes = Runtimes(FOUND, refuse_missing=True)
    assert runtimes.check("python3.11") is None
    with pytest.raises(InvalidParameterValueException) as caught:
        runtimes.check(identifier)
    assert str(caught.value).startswith(
        f"Runtime {identifier} has no interpreter on this machine: looked for {identifier} on PATH"
    )
    assert "runtimes.missing = refuse" in str(caught.value)


@pytest.mark.parametrize("refuse_missing", [False, True])
def test_no_interpreter_at_all_is_an_error_that_says_how_to_get_one(refuse_missing: bool) -> None:
    with pytest.raises(InvalidParameterValueException) as caught:
        Runtimes([], refuse_missing=refuse_missing).check("python3.12")
    text = str(caught.value)
    assert text.startswith(
        "No Python interpreter was found to run python3.12: looked for python3.9 and newer on PATH"
    )
    assert '[runtimes] "python3.12" = "/path/to/python"' in text


@pytest.mark.parametrize(
    ("identifier", "text"),
    [
        (
            "PYTHON3.12",
            "Value PYTHON3.12 at 'runtime' failed to satisfy constraint: Member must satisfy enum value",
        ),
        (
            "python3.99",
            "Value python3.99 at 'runtime' failed to satisfy constraint: Member must satisfy enum value",
        ),
        (
            "python2.7",
            "Value python2.7 at 'runtime' failed to satisfy constraint: Member must satisfy enum value",
        ),
        ("python3.7", "The runtime parameter of python3.7 is no longer supported for creating or updating"),
        ("nodejs22.x", "Runtime nodejs22.x is not served by this version of Lambent."),
        ("provided.al2023", "Runtime provided.al2023 is not served by this version of Lambent."),
    ],
)
def test_nearest_covers_the_pythons_that_aws_knows_and_nothing_else(identifier: str, text: str) -> None:
    # Source: docs/aws-behaviour.md, functions 7.6 and invoke 1.10.
    with pytest.raises(InvalidParameterValueException) as caught:
        Runtimes(FOUND).check(identifier)
    assert str(caught.value).startswith(text)


# ---------------------------------------------------------------------------- looking for them


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Put a program that answers as a Python of some version at a place below ``tmp_path``."""

    def install(place: str, version: tuple[int, int, int] | None = None, text: str | None = None) -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            assert version is not None
            major, minor, micro = version
            text = f"#!/bin/sh\nprintf '{major}\\n{minor}\\n{micro}\\n{path}\\n'\n"
        path.write_text(text)
        path.chmod(0o755)
        return path

    return install


def _find(tmp_path: Path, *folders: str, **environ: str) -> list[Interpreter]:
    path = ":".join(str(tmp_path / folder) for folder in folders)
    return asyncio.run(find_interpreters({"PATH": path, "HOME": str(tmp_path / "home"), **environ}))


def test_interpreters_are_found_on_path_in_pyenv_and_in_uvs_folder(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    places = {
        "bin/python3.12": (3, 12, 1),
        "home/.pyenv/versions/3.11.7/bin/python3.11": (3, 11, 7),
        "home/.local/share/uv/python/cpython-3.13.2-linux/bin/python3.13": (3, 13, 2),
    }
    paths = {install(place, version): version for place, version in places.items()}
    found = _find(tmp_path, "bin")
    assert {each.path: each.version for each in found} == paths
    assert found[0].identifier == "python3.12"


def test_pyenv_and_uv_are_looked_for_where_their_variables_say(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    install("p/versions/3.10.1/bin/python3.10", (3, 10, 1))
    install("u/cpython-3.9/bin/python3.9", (3, 9, 0))
    install("x/uv/python/cpython-3.14/bin/python3.14", (3, 14, 0))
    pyenv, uv = str(tmp_path / "p"), str(tmp_path / "u")
    assert [each.identifier for each in _find(tmp_path, PYENV_ROOT=pyenv, UV_PYTHON_INSTALL_DIR=uv)] == [
        "python3.10",
        "python3.9",
    ]
    assert [each.identifier for each in _find(tmp_path, XDG_DATA_HOME=str(tmp_path / "x"))] == ["python3.14"]


def test_one_interpreter_behind_many_names_is_found_once(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    real = install("real/python3.12", (3, 12, 0))
    for place in ("bin/python3", "bin/python3.12", "other/python3"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(real)
    # A launcher that runs the same one.
    install("third/python3", text=f'#!/bin/sh\nexec {real} "$@"\n')
    assert [each.path for each in _find(tmp_path, "bin", "other", "third")] == [real]


def test_shims_old_versions_and_what_does_not_answer_are_left_out(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    good = install("bin/python3.11", (3, 11, 0))
    install("shims/python3.12", (3, 12, 0))
    install("bin/python3", (3, 8, 18))
    install("bin/python3.10", text="#!/bin/sh\nexit 127\n")
    install("bin/python3.13", text="no program at all")
    install("bin/python3.14", text="#!/nowhere/sh\n")
    install("bin/python3.15", text="#!/bin/sh\nprintf 'a\\nb\\nc\\nd\\n'\n")
    install("bin/python3.16", text="#!/bin/sh\nprintf '3\\n'\n")
    install("bin/python3.17", (3, 17, 0)).chmod(0o644)
    (tmp_path / "bin/python3.18").symlink_to(tmp_path / "nowhere")
    (tmp_path / "bin/python3.19").mkdir()
    assert [each.path for each in _find(tmp_path, "bin", "shims")] == [good]


@pytest.mark.parametrize("path", ["", ":", "/nowhere:/nowhere/else"])
def test_nothing_to_be_found_is_no_error(tmp_path: Path, path: str) -> None:
    assert asyncio.run(find_interpreters({"PATH": path, "HOME": str(tmp_path)})) == []


def test_a_real_interpreter_tells_its_version_and_its_own_path() -> None:
    found = asyncio.run(ask_interpreter(Path(sys.executable)))
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.path == Path(sys.executable).resolve()
    assert found.text_version == ".".join(map(str, sys.version_info[:3]))


def test_boto3_is_offered_with_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    offered = offer_boto3(tmp_path / "packages")
    names = {path.name for path in offered.folder.iterdir()}
    assert {"boto3", "botocore", "s3transfer", "jmespath", "urllib3"} <= names
    assert not {"lambent", "click", "httptools", "msgspec", "uvloop", "pytest", "..", "__pycache__"} & names
    assert offered.supports(_python(13))
    assert not offered.supports(Interpreter(Path("/p"), (3, 6, 0)))
    # A second start finds the first one's folder there.
    assert offer_boto3(tmp_path / "packages") == offered


# ---------------------------------------------------------------------------- what a zygote reports


def _with_zygote(script: Callable[[Zygote], object], install: Callable[..., Path]) -> None:
    """Play a script with a zygote whose process does nothing but wait for its end."""

    async def play() -> None:
        program = install("bin/silent", text="#!/bin/sh\nexec sleep 60\n")
        zygote = Zygote(Interpreter(program, (3, 12, 0)), {}, None)
        try:
            played = script(zygote)
            if asyncio.iscoroutine(played):
                await played
        finally:
            zygote._process.kill()
            await zygote.close()

    asyncio.run(play())


def test_a_compilation_that_could_not_be_started_is_over(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    async def script(zygote: Zygote) -> None:
        for operation in ("failed", "compiled"):
            compiling = asyncio.get_running_loop().create_task(zygote.compile(tmp_path, tmp_path))
            await asyncio.sleep(0)
            zygote._on_message({"op": operation, "id": zygote._next_id})  # type: ignore[dict-item]
            await compiling

    _with_zygote(script, install)


def test_the_report_of_a_compilation_that_nobody_waits_for_is_ignored(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    async def script(zygote: Zygote) -> None:
        compiling = asyncio.get_running_loop().create_task(zygote.compile(tmp_path, tmp_path))
        await asyncio.sleep(0)
        compiling.cancel()
        await asyncio.gather(compiling, return_exceptions=True)
        zygote._on_message({"op": "compiled", "id": zygote._next_id})  # type: ignore[dict-item]
        zygote._on_message({"op": "failed", "id": 999})  # type: ignore[dict-item]

    _with_zygote(script, install)


def test_what_waits_for_a_zygote_that_dies_hears_of_it(tmp_path: Path, install: Callable[..., Path]) -> None:
    async def script(zygote: Zygote) -> None:
        ended: list[Exit] = []
        zygote.spawn({}, [], ended.append)
        zygote.spawn({}, [], ended.append)
        zygote._on_message({"op": "failed", "id": 1})  # type: ignore[dict-item]
        assert len(ended) == 1
        compiling = asyncio.get_running_loop().create_task(zygote.compile(tmp_path, tmp_path))
        await asyncio.sleep(0)
        zygote._process.kill()
        await zygote.close()
        assert len(ended) == 2
        with pytest.raises(ZygoteDied):
            await compiling
        with pytest.raises(ZygoteDied):
            zygote.spawn({}, [], ended.append)

    _with_zygote(script, install)
