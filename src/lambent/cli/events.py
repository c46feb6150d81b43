"""``lambent events``: events that wait or run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.output import CommandError, json_option, note, warn, write_json, write_result, write_table

_PATH = "/_lambent/events"
_COUNTS = (
    "received",
    "running",
    "waiting",
    "oldestSeconds",
    "retried",
    "succeeded",
    "dropped",
    "dead",
    "delivered",
    "undeliverable",
)
_COUNT_COLUMNS = {"oldestSeconds": "OLDEST"}
_COLUMNS = ("REQUEST ID", "FUNCTION", "STATE", "ATTEMPT", "AGE", "DUE", "LAST ERROR")


@click.group()
def events() -> None:
    """See and count events, and cancel what waits."""


@events.command("list")
@click.argument("function", required=False)
@data_dir_option
@json_option
@server_options
def list_events(function: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """List the events of FUNCTION, or of all functions, in the order of acceptance.

    With --json: an array of objects with all that is known of each.
    """
    queued = list(_queued(endpoint, function))
    if as_json:
        write_json(queued)
    elif queued:
        write_table(_COLUMNS, [_row(event) for event in queued])
    else:
        note("No event waits or runs.")


@events.command("counts")
@data_dir_option
@json_option
@server_options
def counts(as_json: bool, endpoint: Endpoint) -> None:
    """Show for each function what became of its events since the server began, and what waits.

    Dropped are those that failed for good; dead are those of them that nobody else hears of.
    With --json: an array of objects.
    """
    functions = endpoint.control_json(f"{_PATH}/counts")["functions"]
    if as_json:
        write_json(functions)
    elif functions:
        rows = [(each["function"], *(_counted(each, name) for name in _COUNTS)) for each in functions]
        write_table(("FUNCTION", *(_COUNT_COLUMNS.get(name, name.upper()) for name in _COUNTS)), rows)
    else:
        note("No function has had events.")


@events.command("cancel")
@click.argument("request_ids", metavar="REQUEST_ID...", nargs=-1, required=True)
@data_dir_option
@json_option
@server_options
def cancel(request_ids: tuple[str, ...], as_json: bool, endpoint: Endpoint) -> None:
    """Forget events that wait: they do not run any more, and nothing is kept of them.

    With --json: an array of objects with `requestId`. Exit status 2 when some do not wait;
    what runs is left alone.
    """
    answer = endpoint.control_json(f"{_PATH}/cancel", body={"requestIds": request_ids})
    if as_json:
        write_json(answer["cancelled"])
    else:
        for each in answer["cancelled"]:
            write_result(f"{each['requestId']} of {each['function']} is cancelled.")
    if answer["refused"]:
        for each in answer["refused"]:
            warn(f"{each['requestId']}: {each['message']}")
        raise CommandError(f"{len(answer['refused'])} could not be cancelled.")


def _counted(function: Mapping[str, Any], name: str) -> str:
    return f"{function[name]:.0f} s" if name == "oldestSeconds" else str(function[name])


def _queued(endpoint: Endpoint, function: str | None) -> Iterator[dict[str, Any]]:
    query = {} if function is None else {"function": function}
    following: int | None = 0
    while following is not None:
        page = endpoint.control_json(_PATH, {**query, "after": str(following)})
        yield from page["events"]
        following = page["next"]


def _row(event: Mapping[str, Any]) -> tuple[str, ...]:
    qualifier = f":{event['qualifier']}" if event["qualifier"] else ""
    due = datetime.fromtimestamp(event["due"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    return (
        event["requestId"],
        f"{event['function']}{qualifier}",
        event["state"],
        str(event["attempt"]),
        f"{event['ageSeconds']:.0f} s",
        "" if event["state"] == "running" else due,
        " ".join(event["lastError"].split()),
    )
