"""Two type checkers read the same uses of the client, strictly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USES = ROOT / "tests" / "client_typed_uses.py"


def check(*command: str, **environ: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environ},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_mypy_reads_the_public_api() -> None:
    check("mypy", "--strict", str(USES))


@pytest.mark.timeout(300)
def test_pyright_reads_the_public_api(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        f'{{"include": ["{USES}"], "typeCheckingMode": "strict", "extraPaths": ["{ROOT / "src"}"],'
        ' "reportMissingTypeStubs": "none", "reportUnnecessaryTypeIgnoreComment": "none"}'
    )
    check("basedpyright", "--project", str(config), "--pythonpath", sys.executable)
