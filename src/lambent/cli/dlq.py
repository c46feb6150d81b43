"""``lambent dlq``: events that failed for good."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click

from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.output import CommandError, json_option, note, warn, write_json, write_result, write_table

_PATH = "/_lambent/dead-letters"
_COLUMNS = ("REQUEST ID", "FUNCTION", "WHEN", "WHY", "ATTEMPTS", "ERROR")


@click.group()
def dlq() -> None:
    """See events that failed for good, try them again, or remove them."""


@dlq.command("list")
@click.argument("function", required=False)
@data_dir_option
@json_option
@server_options
def list_letters(function: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """List the dead letters of FUNCTION, or of all functions, oldest first.

    With --json: an array of objects with all that is kept of each.
    """
    letters = list(_letters(endpoint, function))
    if as_json:
        write_json(letters)
    elif letters:
        write_table(_COLUMNS, [_row(letter) for letter in letters])
    else:
        note("There are no dead letters.")


@dlq.command("show")
@click.argument("request_id")
@data_dir_option
@json_option
@server_options
def show_letter(request_id: str, as_json: bool, endpoint: Endpoint) -> None:
    """Show all that is kept of the event REQUEST_ID.

    With --json: an array of one object.
    """
    letter = endpoint.control_json(f"{_PATH}/{quote(request_id, safe='')}")
    if as_json:
        write_json([letter])
        return
    for name, value in zip(_COLUMNS, _row(letter), strict=True):
        write_result(f"{name}: {value}")
    for name, member in (
        ("SENT TO", "destination"),
        ("NOT DELIVERED", "deliveryError"),
        ("REDRIVEN FROM", "redrivenFrom"),
    ):
        if letter[member]:
            write_result(f"{name}: {letter[member]}")
    write_result("\nPAYLOAD")
    write_json(letter["payload"])
    write_result("\nRECORD")
    write_json(letter["record"])
    if letter["logTail"]:
        write_result(f"\nLOG\n{letter['logTail'].rstrip()}")


@dlq.command("redrive")
@click.argument("request_ids", metavar="[REQUEST_ID]...", nargs=-1)
@click.option("--function", metavar="NAME", help="All that failed of this function.")
@data_dir_option
@json_option
@server_options
def redrive(request_ids: tuple[str, ...], function: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """Queue the payloads of dead letters anew, for the function as it is now.

    Prints the new request id of each. With --json: an array of objects with `requestId`
    and, of the dead letter, `redrivenFrom`. Exit status 2 when some were refused; they stay.
    """
    if bool(request_ids) == (function is not None):
        raise click.UsageError("Give request ids, or --function.")
    chosen: Any = {"requestIds": request_ids} if request_ids else {"function": function}
    answer = endpoint.control_json(f"{_PATH}/redrive", body=chosen, endless=True)
    if as_json:
        write_json(answer["redriven"])
    else:
        for each in answer["redriven"]:
            write_result(f"{each['redrivenFrom']} is redriven as {each['requestId']}.")
        if not answer["redriven"] and not answer["refused"]:
            note(f"{function} has no dead letters.")
    if answer["refused"]:
        for each in answer["refused"]:
            warn(f"{each['requestId']}: {each['code']}: {each['message']}")
        raise CommandError(f"{len(answer['refused'])} could not be redriven.")


@dlq.command("purge")
@click.argument("function", required=False)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@data_dir_option
@json_option
@server_options
def purge(function: str | None, yes: bool, as_json: bool, endpoint: Endpoint) -> None:
    """Remove the dead letters of FUNCTION, or of all functions.

    On a terminal it asks first. With --json: an array of objects with `requestId`.
    """
    if not yes and sys.stdin.isatty():
        whose = f"of the function {function}" if function else "of all functions"
        click.confirm(f"Remove the dead letters {whose}?", abort=True, err=True)
    chosen: Any = {"function": function} if function else {"all": True}
    purged = endpoint.control_json(f"{_PATH}/purge", body=chosen, endless=True)["purged"]
    if as_json:
        write_json(purged)
    else:
        write_result(f"{len(purged)} dead letters are removed.")


def _letters(endpoint: Endpoint, function: str | None) -> Iterator[dict[str, Any]]:
    query = {} if function is None else {"function": function}
    following: int | None = 0
    while following is not None:
        page = endpoint.control_json(_PATH, {**query, "after": str(following)})
        yield from page["deadLetters"]
        following = page["next"]


def _row(letter: Mapping[str, Any]) -> tuple[str, ...]:
    qualifier = f":{letter['qualifier']}" if letter["qualifier"] else ""
    undelivered = " (undelivered)" if letter["state"] == "undelivered" else ""
    return (
        letter["requestId"],
        f"{letter['function']}{qualifier}",
        datetime.fromtimestamp(letter["at"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
        f"{letter['condition']}{undelivered}",
        str(letter["approximateInvokeCount"]),
        # Halves of surrogate pairs can be in JSON and nowhere else.
        " ".join(letter["error"].encode("utf-8", "replace").decode().split()),
    )
