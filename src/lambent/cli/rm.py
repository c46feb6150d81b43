"""``lambent rm``: delete a function."""

from __future__ import annotations

import sys

import click

from lambent.cli.endpoint import Endpoint, server_options
from lambent.cli.output import json_option, write_json, write_result


@click.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@server_options
def rm(name: str, yes: bool, as_json: bool, endpoint: Endpoint) -> None:
    """Delete the function NAME with its code.

    On a terminal it asks first.
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete the function {name}?", abort=True, err=True)
    client = endpoint.lambda_client()
    with endpoint.answers():
        client.delete_function(FunctionName=name)
    if as_json:
        write_json({"FunctionName": name})
    else:
        write_result(f"{name} is deleted.")
