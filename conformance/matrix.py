"""What programs told, compared with the expected table, as a matrix of client and step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.clients import Client
from conformance.stage import SIGNED
from conformance.steps import SCRIPT, Step, fault_steps

# What a cell may be, and how it is shown.
MARKS = {"ok": "ok", "red": "RED", "absent": "none", "skipped": "skip"}

_FAULTS = "faults"
_STATUS_OF_ERROR = re.compile(r"(?<=Exception) \d+$")
_THROTTLED = {"throttled": "throttled", "retries": "throttled-twice"}


@dataclass(frozen=True)
class Cell:
    """One client at one step against a server of one level; without a step it is about all of them."""

    client: str
    level: str
    step: str
    state: str
    why: str = ""

    @property
    def is_red(self) -> bool:
        """Whether something was told that the table does not expect, or nothing at all."""
        return self.state == "red"


def judge(
    client: Client, level: str, lines: Iterable[Mapping[str, object]], attempts: Mapping[str, int]
) -> list[Cell]:
    """Return a cell for every step of the script.

    Args:
        client: whose program it was.
        level: how the server was set up.
        lines: what the program printed.
        attempts: how many requests the server saw for the throttled functions.
    """
    told = {str(line["step"]): line for line in lines}
    cells = []
    for step in (*SCRIPT, *fault_steps()):
        state, why = _judge(client, level, step, told.pop(step.name, None), attempts)
        cells.append(Cell(client.name, level, step.name, state, why))
    return cells + [Cell(client.name, level, name, "red", "no such step") for name in told]


def _judge(
    client: Client, level: str, step: Step, line: Mapping[str, object] | None, attempts: Mapping[str, int]
) -> tuple[str, str]:
    difference = client.difference(step)
    why = difference.why if difference is not None else ""
    expected = (level == SIGNED and step.signed_detail) or step.detail
    if difference is not None:
        if difference.detail is None:
            return ("absent", why) if line is None else ("red", "a step that the client has not")
        expected = difference.detail
    if not client.tells_status:
        expected = _STATUS_OF_ERROR.sub("", expected)
    if line is None:
        return "red", "nothing was told"
    if not line["ok"] or line["detail"] != expected:
        return "red", f"expected {expected}; told {line['detail']}{'' if line['ok'] else ' (not ok)'}"
    function = _THROTTLED.get(step.name)
    if function is not None and attempts[function] != client.attempts[step.name]:
        return "red", f"{attempts[function]} attempts instead of {client.attempts[step.name]}"
    return "ok", why


# ---------------------------------------------------------------------------- the picture


def render(cells: Sequence[Cell], *, markdown: bool = False) -> str:
    """Return the matrix: a row for each step, a column for each client; then what needs words.

    Args:
        cells: of all clients.
        markdown: as docs/clients.md shows it, with the meaning of each step.
    """
    names = list(dict.fromkeys(cell.client for cell in cells))
    steps = {step.name: step.meaning for step in SCRIPT}
    steps[_FAULTS] = "every error of the service model by its type, and two failures of a connection"
    rows = [["step", *names]]
    rows += [
        [step, *(_mark([cell for cell in cells if cell.client == name], step) for name in names)]
        for step in steps
    ]
    levels = ", ".join(dict.fromkeys(cell.level for cell in cells))
    if not markdown:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join([f"Servers: {levels}", "", *table, "", *_notes(cells)])
    for row, meaning in zip(rows, ["what", *steps.values()], strict=True):
        row.insert(1, meaning)
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(
        [*(f"| {' | '.join(row)} |" for row in rows), "", *(f"- {note}" for note in _notes(cells))]
    )


def _mark(mine: Sequence[Cell], step: str) -> str:
    """Return the mark of one client at one step, which names servers only where they differ."""
    marks = {}
    for level in dict.fromkeys(cell.level for cell in mine):
        here = [cell for cell in mine if cell.level == level]
        whole = next((cell for cell in here if not cell.step), None)
        if whole is None:
            marks[level] = _mark_of_faults(here) if step == _FAULTS else _mark_of_step(here, step)
        elif whole.state != "absent":
            marks[level] = MARKS[whole.state]
    if len(set(marks.values())) == 1:
        return next(iter(marks.values()))
    return ", ".join(f"{level} {mark}" for level, mark in marks.items()) or MARKS["absent"]


def _mark_of_step(here: Sequence[Cell], step: str) -> str:
    return next(MARKS[cell.state] for cell in here if cell.step == step)


def _mark_of_faults(here: Sequence[Cell]) -> str:
    states = [cell.state for cell in here if cell.step.startswith("fault:")]
    good = states.count("ok")
    return f"ok {good}" if good == len(states) else f"RED {good}/{len(states)}"


def _notes(cells: Sequence[Cell]) -> list[str]:
    """Return what is to be said about cells, once for all steps and servers that it holds for."""
    alike: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.why:
            alike.setdefault((MARKS[cell.state], cell.client, cell.why), []).append(cell)
    notes = []
    for (mark, client, why), those in alike.items():
        steps = ", ".join(dict.fromkeys(cell.step.removeprefix("fault:") for cell in those))
        levels = ", ".join(dict.fromkeys(cell.level for cell in those))
        notes.append(f"{client}, {mark}{f' {steps}' if steps else ''}: {why} [{levels}]")
    return notes
