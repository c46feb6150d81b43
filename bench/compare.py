"""``python -m bench.compare REV_A REV_B``: CPU per invocation of two revisions, in one run.

CPU, because on a shared machine it moves much less than the rate.  Both servers
run all the time and are loaded in turns; the benchmark itself is that of the
current tree for both.  A revision is anything git knows, or ``.`` for the tree as
it is, uncommitted changes included.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

from bench.rounds import Options, Round, alternate
from bench.servers import ROOT, Server

ROUNDS_MIN = 15
SLOWER_MAX = 1.03


@contextlib.contextmanager
def source_of(revision: str) -> Iterator[Path]:
    """Check a revision out beside the tree and yield its ``src``; remove it afterwards."""
    if revision == ".":
        yield ROOT / "src"
        return
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory(prefix="lambent-compare-") as parent:
        tree = Path(parent, "tree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree / "src"
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def describe(name: str, rounds: list[Round]) -> str:
    """Return one line on a revision's rounds, with the spread that a reader must weigh."""
    low, _, high = quantiles([each.cpu_us for each in rounds], n=4)
    middle = Round.median(rounds)
    cpu = f"{middle.cpu_us:8.2f} µs CPU ({low:.2f} to {high:.2f})"
    return f"{name:<20} {cpu}  {middle.rps:8,.0f} /s  p50 {middle.p50_us:,.0f} µs"


def main() -> int:
    """Measure both; the exit status is 1 when REV_B needs over 3 % more CPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.partition("\n\n")[0])
    parser.add_argument("before", metavar="REV_A")
    parser.add_argument("after", metavar="REV_B")
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN, help="at least %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round (%(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="invocations in flight (%(default)s)")
    arguments = parser.parse_args()
    options = Options(max(ROUNDS_MIN, arguments.rounds), arguments.seconds)

    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(source_of(each)) for each in (arguments.before, arguments.after)]
        servers = [stack.enter_context(Server(source=source)) for source in sources]
        for server in servers:
            server.create()
        before, after = alternate(servers, arguments.connections, options)
    # Neighbours in time are compared with each other, so that drift cancels out.
    ratio = median(b.cpu_us / a.cpu_us for a, b in zip(before, after, strict=True))
    print(describe(arguments.before, before))
    print(describe(arguments.after, after))
    print(f"CPU per invocation, median of {options.rounds} pairs: {ratio:.3f} times (at most {SLOWER_MAX})")
    return int(ratio > SLOWER_MAX)


if __name__ == "__main__":
    sys.exit(main())
