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

TESTS = (
    "tests/properties/test_api_fuzz.py",
    "tests/properties/test_connection_fuzz.py",
    "tests/properties/test_versions_model.py",
)
EXAMPLES = "20000"


def main() -> int:
    examples = sys.argv[1] if len(sys.argv) > 1 else EXAMPLES
    command = [sys.executable, "-m", "pytest", "-q", "--durations=0", "-o", "faulthandler_timeout=0", *TESTS]
    return subprocess.run(command, check=False, env={**os.environ, "FUZZ_EXAMPLES": examples}).returncode


if __name__ == "__main__":
    sys.exit(main())
