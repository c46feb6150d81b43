"""``lambent list``: the functions of the account and region, their versions and aliases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from lambent.cli.alias import load_aliases, render_target
from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.fault import load_faults, render_error
from lambent.cli.output import CommandError, json_option, note, render_bytes, write_json, write_table

_COLUMNS = ("NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "CODE", "CHANGED", "VERSIONS", "ALIASES")
# Aliases are asked for function by function.
_REQUESTS_AT_ONCE = 8


@click.command("list")
@data_dir_option
@json_option
@server_options
def list_functions(as_json: bool, endpoint: Endpoint) -> None:
    """List the functions of the account and region.

    With --json: an array of function configurations as AWS's API gives them, each with
    the numbers of its Versions and with its Aliases; and with the Fault that
    `lambent fault` has set, or null, where the server's own controls can be reached.
    """
    client = endpoint.lambda_client()
    with endpoint.answers():
        pages = client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
        functions = _gather([dict(each) for page in pages for each in page["Functions"]])
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            aliases = pool.map(lambda each: load_aliases(client, each["FunctionName"]), functions)
            functions = [{**each, "Aliases": found} for each, found in zip(functions, aliases, strict=True)]
        faults = _faults(endpoint)
        functions = [{**each, **_fault_of(each, faults)} for each in functions]
    if as_json:
        write_json(functions)
    elif functions:
        found = endpoint.runtimes()
        write_table(_COLUMNS, [_row(each, found) for each in functions])
    else:
        note("There are no functions in this account and region. Make one with `lambent deploy`.")


def _gather(shown: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one configuration for each function, with the numbers of its published versions."""
    functions: dict[str, dict[str, Any]] = {}
    for each in shown:
        if each["Version"] == "$LATEST":
            arn = each["FunctionArn"].removesuffix(":$LATEST")
            functions[each["FunctionName"]] = {**each, "FunctionArn": arn, "Versions": []}
        else:
            functions[each["FunctionName"]]["Versions"].append(each["Version"])
    return list(functions.values())


def _faults(endpoint: Endpoint) -> dict[str, dict[str, Any]] | None:
    """Return the faults by function; None where only AWS's API can be reached, which does not tell them."""
    try:
        return {each["function"]: each for each in load_faults(endpoint)}
    except CommandError:
        return None


def _fault_of(function: Mapping[str, Any], faults: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if faults is None else {"Fault": faults.get(function["FunctionName"])}


def _row(function: dict[str, Any], found: Any) -> tuple[str, ...]:
    runtime = function.get("Runtime", "")
    # The server runs such a function on the nearest interpreter, or not at all.
    missing = "" if runtime in found else " (not found)"
    fault = f" (fault: {render_error(function['Fault'])})" if function.get("Fault") else ""
    return (
        f"{function['FunctionName']}{fault}",
        f"{runtime}{missing}",
        function.get("Handler", ""),
        f"{function['MemorySize']} MB",
        f"{function['Timeout']} s",
        render_bytes(function["CodeSize"]),
        function["LastModified"][:19].replace("T", " "),
        _render_versions(function["Versions"]),
        "; ".join(f"{each['Name']}: {render_target(each)}" for each in function["Aliases"]),
    )


def _render_versions(numbers: list[str]) -> str:
    """Return ``1, 2``, and for more of them ``1 … 9 (8)``."""
    if len(numbers) <= 3:
        return ", ".join(numbers)
    return f"{numbers[0]} … {numbers[-1]} ({len(numbers)})"
