"""Error objects of a function: whose frames are shown, and under which names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lambent.execution.bootstrap.bytecode import compile_folder
from lambent.execution.bootstrap.faults import Fault, TaskPaths, exception_object, fault_object


def _failing(folder: Path, name: str, source: str) -> Exception:
    """Return the exception of a function ``f`` in a file of the user."""
    path = folder / name
    path.write_text(source)
    names: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), names)
    try:
        names["f"]()
    except Exception as error:
        return error
    raise AssertionError("f was expected to fail")


def test_leading_frames_of_the_runtime_are_left_out(tmp_path: Path) -> None:
    error = _failing(tmp_path, "m.py", "def f():\n    raise ValueError('x')\n")
    shown = exception_object(error, TaskPaths(str(tmp_path)), frozenset([__file__]), "id")
    trace = ["  File \"/var/task/m.py\", line 2, in f\n    raise ValueError('x')\n"]
    assert shown == {
        "errorMessage": "x",
        "errorType": "ValueError",
        "requestId": "id",
        "stackTrace": trace,
    }
    assert list(shown) == ["errorMessage", "errorType", "requestId", "stackTrace"]


def test_leading_frames_in_a_file_named_like_awss_runtime_are_left_out_too(tmp_path: Path) -> None:
    source = "import json\ndef f():\n    json.loads('{')\n"
    error = _failing(tmp_path, "bootstrap.py", source)
    trace = exception_object(error, TaskPaths(str(tmp_path)), frozenset([__file__]))["stackTrace"]
    assert "json/__init__.py" in trace[0]
    # Unless nothing else is there.
    error = _failing(tmp_path, "bootstrap.py", "def f():\n    1 / 0\n")
    trace = exception_object(error, TaskPaths(str(tmp_path)), frozenset([__file__]))["stackTrace"]
    assert trace == ['  File "/var/task/bootstrap.py", line 2, in f\n    1 / 0\n']


def test_fault_without_stack_shows_an_empty_one() -> None:
    assert fault_object(Fault("Runtime.HandlerNotFound", "missing"), "id") == {
        "errorMessage": "missing",
        "errorType": "Runtime.HandlerNotFound",
        "requestId": "id",
        "stackTrace": [],
    }


def test_only_paths_below_the_code_are_renamed() -> None:
    paths = TaskPaths("/srv/code/")
    assert paths.shown("/srv/code/a/m.py") == "/var/task/a/m.py"
    assert paths.shown("/srv/code2/m.py") == "/srv/code2/m.py"
    assert paths.shown(None) is None
    text = '  File "/srv/code/m.py", line 1\n    open("/srv/code/data")\n'
    assert paths.shown_trace(text) == '  File "/var/task/m.py", line 1\n    open("/srv/code/data")\n'
    assert TaskPaths("/var/task").shown("/var/task/m.py") == "/var/task/m.py"


def test_folder_that_cannot_be_read_is_not_compiled_and_nothing_is_raised(tmp_path: Path) -> None:
    compile_folder(str(tmp_path / "missing"), str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
