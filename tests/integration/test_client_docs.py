"""What the client's page shows works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RunningServer

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "client.md").read_text(), re.DOTALL | re.MULTILINE
)
FUNCTIONS = {
    "hello": "def handler(event, context): return {'greeting': f\"Hello, {event['name']}!\"}",
    "chat": "def handler(event, context): return 'Because of Rayleigh.'",
    "report": "def handler(event, context): return event['year']",
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_of_the_page_runs(
    block: str, server: RunningServer, deploy: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, source in FUNCTIONS.items():
        if f'"{name}"' in block:
            deploy(source, FunctionName=name)
    for variable, value in {
        "AWS_ENDPOINT_URL_LAMBDA": server.url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(variable, value)
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(block, "client.md", "exec", dont_inherit=True), space)
