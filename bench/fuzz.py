"""The long run of the fuzz tests: other requests and other bytes each time.

::

    python -m bench.fuzz            # 20,000 examples for each test, about two hours
    python -m bench.fuzz 1000       # fewer

A failure prints the smallest request that shows it; pin it in the test's own file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

TESTS = (
    "tests/integration/test_client_faults.py",
    "tests/properties/test_api_fuzz.py",
    "tests/properties/test_client_signatures.py",
    "tests/properties/test_connection_fuzz.py",
    "tests/properties/test_sigv4.py",
    "tests/properties/test_versions_model.py",
)
EXAMPLES = "20000"


def run(tests: Sequence[str], examples: str) -> int:
    """Run tests with so many examples each; return the exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "--durations=0", "-o", "faulthandler_timeout=0", *tests]
    return subprocess.run(command, check=False, env={**os.environ, "FUZZ_EXAMPLES": examples}).returncode


if __name__ == "__main__":
    sys.exit(run(TESTS, sys.argv[1] if len(sys.argv) > 1 else EXAMPLES))
