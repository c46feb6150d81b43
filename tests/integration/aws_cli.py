"""The AWS CLI, unmodified, against a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

AWS = shutil.which(
    "aws", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

needs_aws_cli = pytest.mark.skipif(
    AWS is None, reason="the AWS CLI is not installed (it is one of the dev extras)"
)
"""Mark of tests that use :func:`run_aws`."""


def run_aws(folder: Path, url: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``aws lambda …`` in a folder, with nothing but an endpoint, any credentials and ``environ``."""
    assert AWS is not None
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {
        "HOME": str(folder),
        "AWS_ENDPOINT_URL_LAMBDA": url,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return subprocess.run(
        [AWS, "lambda", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**inherited, **settings, **environ},
        cwd=folder,
        timeout=100,
    )
