"""``lambent publish``: freeze a function as a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lambent.cli.endpoint import Endpoint, server_options
from lambent.cli.output import json_option, write_answer, write_result

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient


@click.command()
@click.argument("name")
@click.option("--description", help="Of the version [default: the function's].")
@json_option
@server_options
def publish(name: str, description: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """Freeze code and configuration of the function NAME as a new version.

    When nothing has changed since the last version, that one is the answer.
    """
    client = endpoint.lambda_client()
    with endpoint.answers():
        version = publish_version(client, name, description)
    if as_json:
        write_answer(version)
    else:
        write_version(version)


def publish_version(client: LambdaClient, name: str, description: str | None = None) -> dict[str, Any]:
    """Publish and return the answer: the version's configuration."""
    options: Any = {} if description is None else {"Description": description}
    return dict(client.publish_version(FunctionName=name, **options))


def write_version(version: dict[str, Any]) -> None:
    """Tell people which version there is now."""
    write_result(f"{version['FunctionName']} has version {version['Version']}")
    write_result(version["FunctionArn"])
