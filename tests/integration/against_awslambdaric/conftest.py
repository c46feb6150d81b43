"""What a function of these tests needs on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bootstrap_harness import ZygoteDriver, own_interpreter


@pytest.fixture(autouse=True)
def _long_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Runtime API take the X-Ray cause of a deep stack, which the client sends as a header."""
    monkeypatch.setattr("http.client._MAXLINE", 1 << 22)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder for the package of the function."""
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def zygote() -> Iterator[ZygoteDriver]:
    """A zygote of the Python that awslambdaric runs on too."""
    with ZygoteDriver(own_interpreter()) as driver:
        yield driver
