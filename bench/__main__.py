"""``python -m bench``: run cases, print the one table.

The exit status tells whether everything could be measured, not whether goals
were met: on a busy machine a missed goal is a reason to look, not a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from bench.cases import CASES
from bench.figures import Figure, table
from bench.rounds import Options
from bench.servers import ROOT


def main() -> int:
    """Run the named cases, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Figures of Lambent beside their yardsticks."
    )
    parser.add_argument("case", nargs="*", help=f"any of: {', '.join(CASES)} (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=Options.rounds, help="rounds of load per target (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=Options.seconds, help="length of a round (%(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures and the machine there too"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.case) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")

    options = Options(arguments.rounds, arguments.seconds)
    figures: list[Figure] = []
    failed = False
    for name in arguments.case or CASES:
        started = time.monotonic()
        try:
            figures += CASES[name](options)
            outcome = "done"
        except Exception as error:
            # The other figures are still worth having.
            traceback.print_exception(error, chain=False)
            outcome, failed = "FAILED", True
        print(f"{name}: {outcome} in {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(table(figures))
    if arguments.json:
        rows = [asdict(figure) | {"ratio": figure.ratio, "met": figure.met} for figure in figures]
        run = {"machine": machine(), "options": asdict(options), "figures": rows}
        arguments.json.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n")
    return int(failed)


def machine() -> dict[str, object]:
    """Return what a reader of the figures must know about where they come from."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    revision = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "revision": revision,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
