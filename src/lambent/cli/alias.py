"""``lambent alias``: names for versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lambent.cli.endpoint import Endpoint, server_options
from lambent.cli.output import json_option, note, write_answer, write_json, write_result, write_table

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient


@click.group()
def alias() -> None:
    """Point names at versions, and split calls between two of them."""


def _parse_weights(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, float]:
    weights = {}
    for each in given:
        version, _, share = each.partition("=")
        try:
            weights[version] = float(share)
        except ValueError:
            raise click.BadParameter(f"{each!r} is not of the form VERSION=SHARE, such as 3=0.1.") from None
    return weights


@alias.command("set")
@click.argument("name")
@click.argument("alias_name", metavar="ALIAS")
@click.argument("version")
@click.option(
    "--weight",
    "weights",
    metavar="VERSION=SHARE",
    multiple=True,
    callback=_parse_weights,
    help="Give this share of the calls (0.0 to 1.0) to another version; VERSION keeps the rest.",
)
@click.option("--description", help="Of the alias [default: as it is].")
@json_option
@server_options
def set_alias(
    name: str,
    alias_name: str,
    version: str,
    weights: Mapping[str, float],
    description: str | None,
    as_json: bool,
    endpoint: Endpoint,
) -> None:
    """Make ALIAS of the function NAME mean VERSION: a number, or $LATEST.

    The alias is created if it is not there. Without --weight all calls go to VERSION.
    """
    client = endpoint.lambda_client()
    wanted: dict[str, Any] = {"FunctionName": name, "Name": alias_name, "FunctionVersion": version}
    if description is not None:
        wanted["Description"] = description
    routing: Any = {"AdditionalVersionWeights": dict(weights)}
    with endpoint.answers():
        try:
            client.get_alias(FunctionName=name, Name=alias_name)
        except client.exceptions.ResourceNotFoundException:
            answer: Any = client.create_alias(**wanted, RoutingConfig=routing)
        else:
            answer = client.update_alias(**wanted, RoutingConfig=routing)
    if as_json:
        write_answer(answer)
    else:
        write_result(f"{name}:{alias_name} is {render_target(answer)}")


@alias.command("list")
@click.argument("name")
@json_option
@server_options
def list_aliases(name: str, as_json: bool, endpoint: Endpoint) -> None:
    """List the aliases of the function NAME.

    With --json: an array as AWS's API gives it.
    """
    client = endpoint.lambda_client()
    with endpoint.answers():
        aliases = load_aliases(client, name)
    if as_json:
        write_json(aliases)
    elif aliases:
        columns = ("ALIAS", "VERSION", "DESCRIPTION")
        write_table(columns, [(one["Name"], render_target(one), one["Description"]) for one in aliases])
    else:
        note(f"{name} has no aliases. Make one with `lambent alias set {name} ALIAS VERSION`.")


@alias.command("rm")
@click.argument("name")
@click.argument("alias_name", metavar="ALIAS")
@json_option
@server_options
def rm_alias(name: str, alias_name: str, as_json: bool, endpoint: Endpoint) -> None:
    """Remove ALIAS from the function NAME; the version stays."""
    client = endpoint.lambda_client()
    with endpoint.answers():
        # Deleting one that is not there succeeds; people who mistype want to know.
        client.get_alias(FunctionName=name, Name=alias_name)
        client.delete_alias(FunctionName=name, Name=alias_name)
    if as_json:
        write_json({"FunctionName": name, "Name": alias_name})
    else:
        write_result(f"{name}:{alias_name} is removed.")


def load_aliases(client: LambdaClient, name: str) -> list[dict[str, Any]]:
    """Return every alias of a function."""
    pages = client.get_paginator("list_aliases").paginate(FunctionName=name)
    return [dict(one) for page in pages for one in page["Aliases"]]


def render_target(shown: Mapping[str, Any]) -> str:
    """Return what an alias means, such as ``2``, or ``2 90%, 3 10%`` when it splits its calls."""
    weights = shown.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    if not weights:
        return str(shown["FunctionVersion"])
    shares = {shown["FunctionVersion"]: 1 - sum(weights.values()), **weights}
    return ", ".join(f"{version} {share * 100:.4g}%" for version, share in shares.items())
