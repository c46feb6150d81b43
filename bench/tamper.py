"""The long run of the tampering test: other changes to signed requests each time.

::

    python -m bench.tamper          # 100,000 changes, about ten minutes
    python -m bench.tamper 1000     # fewer

A failure prints the smallest change that shows it; pin it in the test's own file.
"""

from __future__ import annotations

import sys

from bench.fuzz import run

TESTS = ("tests/properties/test_sigv4_tampering.py",)
CHANGES = "100000"


if __name__ == "__main__":
    sys.exit(run(TESTS, sys.argv[1] if len(sys.argv) > 1 else CHANGES))
