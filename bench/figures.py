"""A measured value beside its yardstick and its goal, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """A bound on the ratio to the yardstick or, where it says so, on our own value."""

    relation: Literal["≥", "≤"]
    bound: float
    of: Literal["ratio", "ours"] = "ratio"


@dataclass(frozen=True)
class Figure:
    """One row: what the yardstick did, what Lambent did, and whether that is enough."""

    name: str
    unit: str
    yardstick: float
    ours: float
    goal: Goal | None = None

    @property
    def ratio(self) -> float:
        """Return ours as a multiple of the yardstick."""
        return self.ours / self.yardstick

    @property
    def met(self) -> bool | None:
        """Return whether the goal is reached; ``None`` for a figure without one."""
        if self.goal is None:
            return None
        value = self.ratio if self.goal.of == "ratio" else self.ours
        return value >= self.goal.bound if self.goal.relation == "≥" else value <= self.goal.bound

    def cells(self) -> list[str]:
        """Return the row of the table."""
        goal = ""
        if self.goal:
            bound = f"{self.goal.bound:g}" + ("" if self.goal.of == "ratio" else f" {self.unit}")
            goal = f"{self.goal.relation} {bound}"
        met = {True: "yes", False: "NO", None: ""}[self.met]
        values = [f"{_rounded(value)} {self.unit}" for value in (self.yardstick, self.ours)]
        return [self.name, *values, f"{self.ratio:.2f}", goal, met]


def table(figures: Sequence[Figure]) -> str:
    """Render figures as one table; columns of numbers are flush right."""
    rows = [["figure", "yardstick", "ours", "ratio", "goal", "met"], *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *values in rows:
        flush_right = (value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *flush_right]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _rounded(value: float) -> str:
    """Three figures are all that such measurements carry."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
