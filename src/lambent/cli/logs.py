"""``lambent logs``: what a function wrote, now and as it goes on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from urllib.parse import quote

import click

from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.output import CommandError, json_option, write_json, write_result
from lambent.clock import SystemClock

_SINCE = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_age(text: str) -> float:
    """Return the seconds of an age such as ``90``, ``10m``, ``2h`` or ``1d``."""
    match = _SINCE.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not an age such as 30s, 10m, 2h or 1d.")
    return float(match[1]) * _UNIT_S[match[2]]


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--since", metavar="AGE", help="Only what is not older, such as 30s, 10m, 2h, 1d.")
@data_dir_option
@json_option
@server_options
def logs(name: str, follow: bool, since: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """Print the log lines of the function NAME, oldest first.

    With --json each line is an object with `at` (seconds since the epoch), `stream`
    and `message`.
    """
    query = {} if since is None else {"since": f"{SystemClock.now() - parse_age(since):.3f}"}
    if follow:
        query["follow"] = "1"
    try:
        with endpoint.control(f"/_lambent/logs/{quote(name, safe='')}", query, endless=follow) as response:
            for line in response:
                _show(line, as_json)
    except KeyboardInterrupt:
        # The way to end --follow; what was shown is all there was.
        if not follow:
            raise


def _show(line: bytes, as_json: bool) -> None:
    if not line.strip():
        return
    try:
        event = json.loads(line)
        at, message = float(event["at"]), str(event["message"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError("The server sent a log line that cannot be read.") from error
    if as_json:
        write_json(event, compact=True)
        return
    instant = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    write_result(f"{click.style(instant, dim=True)} {message.rstrip()}")
