"""Run client systems against real servers and print the matrix: ``python -m conformance [CLIENT…]``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance.clients import CLIENTS, BuildError, Client, Missing
from conformance.matrix import Cell, judge, render
from conformance.stage import LEVELS, Stage, staged

# The longest that a program may take for the script.
_WALK_LIMIT_S = 600


def main() -> int:
    """Print the matrix; return 1 when a cell is red."""
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--level", choices=LEVELS, action="append", help="the server's set-up; default: all")
    parser.add_argument("--markdown", action="store_true", help="print the matrix for docs/clients.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.clients) - set(names):
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    cells: list[Cell] = []
    for client in CLIENTS:
        if not arguments.clients or client.name in arguments.clients:
            cells += run(client, arguments.level or LEVELS)
    print(render(cells, markdown=arguments.markdown))
    return int(any(cell.is_red for cell in cells))


def run(client: Client, levels: Sequence[str]) -> list[Cell]:
    """Build a client's program and walk the script against a server of each level."""
    try:
        command = client.build()
    except Missing as reason:
        note(f"{client.name}: SKIPPED: {reason}")
        return [Cell(client.name, level, "", "skipped", str(reason)) for level in levels]
    except BuildError as failure:
        note(f"{client.name}: {failure}")
        return [Cell(client.name, level, "", "red", "its program cannot be built") for level in levels]
    cells: list[Cell] = []
    for level in levels:
        if level not in client.levels:
            cells.append(Cell(client.name, level, "", "absent", client.level_gap))
            continue
        with (
            tempfile.TemporaryDirectory(prefix="conformance-") as folder,
            staged(level, Path(folder)) as stage,
        ):
            lines = walk(command, stage)
            attempts = {function: stage.attempts(function) for function in ("throttled", "throttled-twice")}
        cells += judge(client, level, lines, attempts)
        red = [cell for cell in cells if cell.level == level and cell.is_red]
        note(f"{client.name} {level}: {f'{len(red)} RED' if red else 'ok'}")
    return cells


def walk(command: Sequence[str], stage: Stage) -> list[dict[str, object]]:
    """Run a program and return the lines that it printed; what it says else goes to standard error."""
    with subprocess.Popen(command, env=stage.environ, cwd=stage.folder, stdout=subprocess.PIPE) as program:
        try:
            output, _ = program.communicate(timeout=_WALK_LIMIT_S)
        except subprocess.TimeoutExpired:
            program.kill()
            output, _ = program.communicate()
    lines = []
    for line in output.decode(errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            note(line)
    return lines


def note(text: str) -> None:
    """Tell a person what is going on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
