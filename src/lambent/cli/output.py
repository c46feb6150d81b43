"""What a verb says: results on standard output, everything else on standard error.

Results are meant for people, or are JSON with ``--json``; progress is a spinner on a
terminal and one plain line elsewhere. Errors are exceptions: click prints them and
ends with their exit status.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option: Callable[[_Command], _Command] = click.option(
    "--json", "as_json", is_flag=True, help="Write the result as JSON."
)


class CommandError(click.ClickException):
    """Ends a verb with status 2: refused, unreachable, or asked for in vain.

    Args:
        message: what happened, as a sentence.
        hints: what to do about it, each on a line of its own.
    """

    exit_code = 2

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.hints = hints

    def show(self, file: IO[Any] | None = None) -> None:
        """Print message and hints on standard error."""
        click.echo(f"{click.style('lambent:', fg='red')} {self.message}", file=file, err=file is None)
        for hint in self.hints:
            click.echo(f"  {hint}", file=file, err=file is None)


def write_result(text: str) -> None:
    """Write one line of the result."""
    click.echo(text)


def write_json(value: object, *, compact: bool = False) -> None:
    """Write the result as JSON, indented for people unless ``compact``."""
    indent = None if compact else 2
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can say and UTF-8 cannot.
        text = json.dumps(value, indent=indent, default=str)
    click.echo(text)


def write_answer(answer: Mapping[str, Any]) -> None:
    """Write what an operation of AWS's API answered as JSON, without what botocore adds to it."""
    write_json({member: value for member, value in answer.items() if member != "ResponseMetadata"})


def write_payload(payload: bytes) -> None:
    """Write bytes as they are; only a terminal gets a line end after them."""
    sys.stdout.flush()
    sys.stdout.buffer.write(payload + b"\n" if sys.stdout.isatty() else payload)
    sys.stdout.buffer.flush()


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under their column heads; nothing is cut off when it is not a terminal."""
    # Imported here: rich is only worth its start-up time where it draws.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, markup=False, width=_width(columns, rows))
    console.print(table)


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    gap = 2
    widest = [max(len(line[index]) for line in (columns, *rows)) + gap for index in range(len(columns))]
    return sum(widest)


def note(text: str) -> None:
    """Say something that is not the result."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Say what the user should look at, though the work goes on."""
    click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Show that something slow goes on, from entry to exit.

    Args:
        doing: in the continuous form, such as "uploading 3.1 MB".
    """
    if not sys.stderr.isatty():
        note(f"{doing} …")
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - as in write_table

    with Console(stderr=True, highlight=False, markup=False).status(doing):
        yield


def render_bytes(count: int) -> str:
    """Return a size as people read it, such as ``3.1 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
