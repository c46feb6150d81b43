"""``lambent list``: the functions of the account and region."""

from __future__ import annotations

from typing import Any

import click

from lambent.cli.endpoint import Endpoint, server_options
from lambent.cli.output import json_option, note, render_bytes, write_json, write_table

_COLUMNS = ("NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "CODE", "CHANGED")


@click.command("list")
@json_option
@server_options
def list_functions(as_json: bool, endpoint: Endpoint) -> None:
    """List the functions of the account and region.

    With --json: an array of function configurations as AWS's API gives them.
    """
    client = endpoint.lambda_client()
    with endpoint.answers():
        pages = client.get_paginator("list_functions").paginate()
        functions = [dict(each) for page in pages for each in page["Functions"]]
    if as_json:
        write_json(functions)
    elif functions:
        found = endpoint.runtimes()
        write_table(_COLUMNS, [_row(each, found) for each in functions])
    else:
        note("There are no functions in this account and region. Make one with `lambent deploy`.")


def _row(function: dict[str, Any], found: Any) -> tuple[str, ...]:
    runtime = function.get("Runtime", "")
    # The server runs such a function on the nearest interpreter, or not at all.
    missing = "" if runtime in found else " (not found)"
    return (
        function["FunctionName"],
        f"{runtime}{missing}",
        function.get("Handler", ""),
        f"{function['MemorySize']} MB",
        f"{function['Timeout']} s",
        render_bytes(function["CodeSize"]),
        function["LastModified"][:19].replace("T", " "),
    )
