"""The long run of the crash tests of events and their deliveries: no figures, but counts.

::

    python -m bench.crash               # 200 kills, 100,000 events, about twenty minutes
    python -m bench.crash 20 10000      # fewer

It prints the seed of its random instants; ``CRASH_SEED`` in the environment repeats them.
"""

from __future__ import annotations

import os
import subprocess
import sys

TESTS = ("tests/crash/test_event_queue_killed.py", "tests/crash/test_deliveries_killed.py")


def main() -> int:
    """Run the tests with as many kills and events as asked for."""
    kills, events = sys.argv[1:] or ("200", "100000")
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-o", "faulthandler_timeout=0", *TESTS]
    environment = {**os.environ, "CRASH_KILLS": kills, "CRASH_EVENTS": events}
    return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
