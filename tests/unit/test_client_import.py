"""The client is light: it imports nothing of the server, and none of what the server depends on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = {"pyyaml": "yaml"}


def dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[<>=!~;\[ ]", each)[0].lower() for each in project["dependencies"]]
    return [MODULES.get(name, name.replace("-", "_")) for name in names if name != "urllib3"]


def run(source: str) -> str:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Python does not look for a module whose name stands for None.
WITHOUT = "import sys; sys.modules.update({{name: None for name in {names!r}}})\n"


def test_there_are_dependencies_to_do_without() -> None:
    assert {"botocore", "click", "msgspec"} <= set(dependencies())


def test_all_of_them_may_be_missing_and_calls_work() -> None:
    told = run(
        WITHOUT.format(names=[*dependencies(), "aiohttp", "pydantic", "tqdm"])
        + """
from lambent.client import *
with Lambda.local({"hello": lambda event, context: event}) as lam:
    print(lam.function("hello")([1]), list(lam.map("hello", [1, 2], progress=True)))
try:
    Lambda(endpoint_url="http://h", region_name="r", profile_name="p").invoke("hello")
except ConfigurationError as error:
    print(error)
""".replace("import *", "import Lambda, ConfigurationError")
    )
    assert "[1] [1, 2]" in told
    assert "pip install botocore" in told


def test_nothing_of_the_server_and_nothing_slow_is_imported() -> None:
    told = run("from lambent.client import Lambda; import sys; Lambda(); print(*sys.modules)").split()
    ours = {name.split(".")[1] for name in told if name.startswith("lambent.")}
    assert ours == {"client", "clock", "wire"}
    slow = {"asyncio", "botocore", "boto3", "aiohttp", "concurrent.futures", "pydantic", "msgspec"}
    assert not slow & set(told)


def test_what_pytest_loads_in_every_run_is_next_to_nothing() -> None:
    told = run(
        "import pytest, sys; before = set(sys.modules)\n"
        "import lambent.client.pytest_plugin; print(*sys.modules.keys() - before)"
    )
    ours = {"lambent", "lambent.client", "lambent.client.errors", "lambent.client.pytest_plugin"}
    assert {name for name in told.split() if name.startswith("lambent")} == ours
    assert not {"urllib3", "ssl", "boto3", "asyncio"} & set(told.split())


def test_without_aiohttp_the_extra_is_named() -> None:
    told = run(
        WITHOUT.format(names=["aiohttp"])
        + """
import lambent.client
try:
    from lambent.client import AsyncLambda
except ImportError as error:
    print(error)
"""
    )
    assert "pip install 'lambent[aio]'" in told
