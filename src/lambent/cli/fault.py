"""``lambent fault``: errors on demand, so that callers can be tried with what no machine here produces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.output import json_option, note, write_json, write_result, write_table

_PATH = "/_lambent/faults"
_COLUMNS = ("FUNCTION", "ERROR", "LEFT", "RATE", "DELAY", "ANSWERED")


@click.command()
@click.argument("function", required=False)
@click.option("--error", metavar="NAME", help="An error of Invoke, connection.stalled or connection.cut.")
@click.option("--reason", metavar="NAME", help="Of TooManyRequests, one of its reasons.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="So often; else until cleared.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="For this share of the invocations; the others run.",
)
@click.option("--delay", type=click.FloatRange(min=0), metavar="MS", help="Milliseconds before the answer.")
@click.option("--list", "is_list", is_flag=True, help="Show what is set.")
@click.option("--clear", "is_clear", is_flag=True, help="Let invocations of FUNCTION, or of all, run again.")
@data_dir_option
@json_option
@server_options
def fault(
    function: str | None,
    error: str | None,
    reason: str | None,
    count: int | None,
    rate: float | None,
    delay: float | None,
    is_list: bool,
    is_clear: bool,
    as_json: bool,
    endpoint: Endpoint,
) -> None:
    """Make the next invocations of FUNCTION answer an error.

    Names are those of AWS's API, in any case and with or without "Exception":
    `lambent fault hello --error KMSDisabled --count 2`. Nothing runs and nothing is
    queued meanwhile. What is set takes the place of the function's former fault, and
    ends with the server. With --json: an array of faults.
    """
    details = {"reason": reason, "count": count, "rate": rate, "delayMs": delay}
    given = {name: value for name, value in details.items() if value is not None}
    if (error is not None) + is_list + is_clear != 1 or (given and error is None):
        raise click.UsageError("Give either --error with its options, --list or --clear.")
    if is_list:
        _show(load_faults(endpoint, function), as_json=as_json)
        return
    if is_clear:
        chosen: dict[str, Any] = {"all": True} if function is None else {"function": function}
        cleared = endpoint.control_json(f"{_PATH}/clear", body=chosen)["cleared"]
        if as_json:
            write_json(cleared)
        else:
            write_result(f"{len(cleared)} {'fault is' if len(cleared) == 1 else 'faults are'} cleared.")
        return
    if function is None:
        raise click.UsageError("Name the FUNCTION whose invocations are to fail.")
    armed = endpoint.control_json(_PATH, body={"function": function, "error": error, **given})
    if as_json:
        write_json([armed])
    else:
        write_result(f"{function} answers {render_error(armed)} {_extent(armed)}.")
        note(f"`lambent fault --clear {function}` ends that.")


def load_faults(endpoint: Endpoint, function: str | None = None) -> list[dict[str, Any]]:
    """Return the faults that are set, of one function or of all.

    Raises:
        CommandError: the server cannot be asked.
    """
    faults = endpoint.control_json(_PATH)["faults"]
    return [each for each in faults if function in (None, each["function"])]


def render_error(armed: Mapping[str, Any]) -> str:
    """Return the name of a fault's error, with its reason if it has one."""
    return f"{armed['error']} ({armed['reason']})" if armed["reason"] else str(armed["error"])


def _show(faults: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        write_json(faults)
    elif faults:
        write_table(_COLUMNS, [_row(each) for each in faults])
    else:
        note("No faults are set.")


def _row(armed: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        armed["function"],
        render_error(armed),
        "all" if armed["count"] is None else f"{armed['count']:,}",
        f"{armed['rate']:g}",
        f"{armed['delayMs']:g} ms",
        f"{armed['answered']:,}",
    )


def _extent(armed: Mapping[str, Any]) -> str:
    share = f"to {armed['rate']:.4g} of the invocations" if armed["rate"] < 1 else "to every invocation"
    delay = f", after {armed['delayMs']:g} ms" if armed["delayMs"] else ""
    times = ", until it is cleared" if armed["count"] is None else f", {armed['count']:,} times"
    return share + delay + times
