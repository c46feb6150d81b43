"""``lambent top``: what the server's functions are doing, as it goes on."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.output import CommandError, json_option, note, write_json, write_result, write_table

if TYPE_CHECKING:
    from rich.console import Group

_COLUMNS = (
    "FUNCTION",
    "VERSION",
    "RUNNING",
    "RATE/s",
    "THROTTLED/s",
    "ERRORS/s",
    "p50",
    "p99",
    "ENVS",
    "MEMORY",
)
_WHERE = ("ACCOUNT", "REGION")
_COUNTED = ("Invocations", "Throttles", "Errors")
_ENDS = b"qQ"


@click.command()
@click.option("--once", is_flag=True, help="Print one table and end, as without a terminal.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks; rates are those of this time.",
)
@data_dir_option
@json_option
@server_options
def top(once: bool, interval: float, as_json: bool, endpoint: Endpoint) -> None:
    """Show which functions are running, how often and how long, until q or Ctrl-C.

    Those of all accounts and regions, or of the one that is named. Durations are those
    of the last minute. With --json: the server's own counts, and Rates per second, once.
    """
    try:
        before = _ask(endpoint)
        if once or as_json or not sys.stdout.isatty():
            _wait(interval)
            seen = with_rates(_ask(endpoint), before)
            if as_json:
                write_json(seen)
            else:
                _print(seen)
            return
        _watch(endpoint, interval, before)
    except KeyboardInterrupt:
        # The way to end it; what was shown is all there was.
        return


def with_rates(stats: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the server's document with ``Rates`` in each of its functions.

    Args:
        stats: as ``/_lambent/stats`` gives it.
        before: an earlier one of the same server; of another one, nothing is compared.
    """
    seconds = stats["UptimeSeconds"] - before["UptimeSeconds"]
    known = {_name(each): each for each in before["Functions"]} if seconds > 0 else {}
    functions = []
    for each in stats["Functions"]:
        earlier = known.get(_name(each), {} if seconds > 0 else each)
        # The server may have forgotten a function meanwhile and counted anew.
        grown = {key: max(0, each[key] - earlier.get(key, 0)) for key in _COUNTED}
        functions.append(
            {**each, "Rates": {key: round(grown[key] / max(seconds, 0.001), 2) for key in grown}}
        )
    return {**stats, "Functions": functions}


def rows_of(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is worth a row: has environments, or did something in the last minute; busiest first."""
    shown = [
        each
        for each in stats["Functions"]
        if each["ConcurrentExecutions"] or each["IdleEnvironments"] or each["Duration"] or any(_rates(each))
    ]
    return sorted(shown, key=lambda each: (-each["ConcurrentExecutions"], -sum(_rates(each)), _name(each)))


def summary_of(stats: Mapping[str, Any]) -> str:
    """Return the line above the table: totals of the server."""
    functions, environments = stats["Functions"], stats["Environments"]
    totals = [sum(each["Rates"][key] for each in functions) for key in _COUNTED]
    running = sum(each["ConcurrentExecutions"] for each in functions)
    accounts = stats["Accounts"]
    limit = f" of {accounts[0]['AccountLimit']['ConcurrentExecutions']:,}" if len(accounts) == 1 else ""
    return (
        f"{running:,} running{limit} · {_rate(totals[0])}/s · {_rate(totals[1])} throttled/s · "
        f"{_rate(totals[2])} errors/s · {environments['Busy'] + environments['Idle']:,} of "
        f"{environments['Limit']:,} environments, {environments['MemoryMB']:,} MB · "
        f"connections: {stats['Connections']:,} · up {timedelta(seconds=int(stats['UptimeSeconds']))}"
    )


def cells_of(row: Mapping[str, Any], *, with_place: bool) -> list[str]:
    """Return a row of the table; ``with_place`` puts account and region first."""
    duration = row["Duration"] or {}
    cells = [
        *((row["AccountId"], row["Region"]) if with_place else ()),
        row["FunctionName"],
        row["Version"],
        f"{row['ConcurrentExecutions']:,}",
        *map(_rate, _rates(row)),
        *(f"{_milliseconds(duration[part])} ms" if part in duration else "" for part in ("p50", "p99")),
        f"{row['ConcurrentExecutions'] + row['IdleEnvironments']:,}",
        f"{row['MemoryMB']:,} MB",
    ]
    return [str(cell) for cell in cells]


def _table(stats: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    rows = rows_of(stats)
    with_place = len({_name(each)[:2] for each in rows}) > 1
    columns = (*_WHERE, *_COLUMNS) if with_place else _COLUMNS
    return columns, [cells_of(each, with_place=with_place) for each in rows]


def _print(stats: Mapping[str, Any]) -> None:
    write_result(summary_of(stats))
    columns, rows = _table(stats)
    if rows:
        write_table(columns, rows)
    else:
        note("No function has been invoked.")


def _watch(endpoint: Endpoint, interval: float, before: Mapping[str, Any]) -> None:
    """Draw over and over on the terminal's second screen, until a key ends it."""
    # Imported here: rich is only worth its start-up time where it draws.
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    stats = with_rates(before, before)
    live = Live(_drawn(stats), console=console, screen=True, auto_refresh=False)
    with _keys():
        try:
            with _undisturbed():
                live.start(refresh=True)
            while not _wait(interval):
                now = _ask(endpoint)
                with _undisturbed():
                    live.update(_drawn(with_rates(now, before)), refresh=True)
                before = now
        finally:
            with _undisturbed():
                live.stop()


def _drawn(stats: Mapping[str, Any]) -> Group:
    from rich.console import Group  # noqa: PLC0415 - as in _watch
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    columns, rows = _table(stats)
    table = Table(box=None, pad_edge=False, header_style="bold")
    texts = len(columns) - len(_COLUMNS) + 2
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < texts else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return Group(Text(summary_of(stats)), Text(), table)


@contextmanager
def _keys() -> Iterator[None]:
    """Let single keys through, if somebody types."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415 - not on every system that has the other verbs
    import tty  # noqa: PLC0415

    was = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, was)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back while something is drawn: interrupted half-way, the screen would stay as it is."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _wait(seconds: float) -> bool:
    """Return after so many seconds, or True at once when a key says that it is enough."""
    typed = [sys.stdin] if sys.stdout.isatty() and sys.stdin.isatty() else []
    ready, _, _ = select.select(typed, [], [], seconds)
    if not ready:
        return False
    # Not through the buffer of sys.stdin: what that holds, select does not see.
    keys = os.read(sys.stdin.fileno(), 1024)
    return not keys or not set(keys).isdisjoint(_ENDS)


def _ask(endpoint: Endpoint) -> dict[str, Any]:
    stats = endpoint.control_json("/_lambent/stats")
    if not {"UptimeSeconds", "Functions"} <= stats.keys():
        raise CommandError("The server sent numbers that cannot be read.")
    return stats


def _name(function: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(function[key] for key in ("AccountId", "Region", "FunctionName", "Version"))


def _rates(function: Mapping[str, Any]) -> list[float]:
    return [function["Rates"][key] for key in _COUNTED]


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
