"""``lambent iam``: who may call at the level ``sigv4``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from lambent.cli.endpoint import Endpoint, data_dir_option, server_options
from lambent.cli.identities import ask_identities
from lambent.cli.output import CommandError, json_option, note, write_json, write_result, write_table

_Command = TypeVar("_Command", bound=Callable[..., Any])

_COLUMNS = ("ARN", "ACCESS KEY", "POLICY", "CREATED")

_policy_option: Callable[[_Command], _Command] = click.option(
    "--policy",
    "policy_file",
    metavar="FILE",
    help="What it may do: an IAM policy document; - for standard input.",
)
_role_option: Callable[[_Command], _Command] = click.option(
    "--role", is_flag=True, help="The role, also where a user has the same name."
)


@click.group()
def iam() -> None:
    """Say who may call: users, roles and their policies.

    A running server follows at once. While none runs, the change is made in its data
    directory, which is created if it is missing. Without --account it is about the
    server's default account.
    """


@iam.command("add-user")
@click.argument("name")
@_policy_option
@data_dir_option
@json_option
@server_options
def add_user(name: str, policy_file: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """Create the user NAME and print its access key, once.

    Without a policy it may do nothing. With --json: an object with UserName, Arn,
    AccessKeyId and SecretAccessKey.
    """
    policy = None if policy_file is None else _read_policy(policy_file)
    asked = {"name": name, "account": endpoint.account, "policy": policy}
    _write_key(ask_identities(endpoint, "add-user", asked), as_json)


@iam.command("add-role")
@click.argument("name")
@click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    required=True,
    help="Who may take it on: a policy document with principals; - for standard input.",
)
@_policy_option
@data_dir_option
@json_option
@server_options
def add_role(name: str, trust_file: str, policy_file: str | None, as_json: bool, endpoint: Endpoint) -> None:
    """Create the role NAME.

    With --json: an object with RoleName and Arn.
    """
    if trust_file == policy_file == "-":
        raise click.UsageError("Only one of --trust and --policy can be standard input.")
    asked = {
        "name": name,
        "account": endpoint.account,
        "trust": _read_policy(trust_file, resource_based=True),
        "policy": None if policy_file is None else _read_policy(policy_file),
    }
    _write(ask_identities(endpoint, "add-role", asked), "is created", as_json)


@iam.command("put-policy")
@click.argument("name")
@click.argument("policy_file", metavar="FILE")
@_role_option
@data_dir_option
@json_option
@server_options
def put_policy(name: str, policy_file: str, role: bool, as_json: bool, endpoint: Endpoint) -> None:
    """Give the user or role NAME the policy in FILE, in the place of the one it has.

    FILE holds one IAM policy document; - is standard input.
    """
    asked = {
        "name": name,
        "account": endpoint.account,
        "policy": _read_policy(policy_file),
        "role": role,
    }
    _write(ask_identities(endpoint, "put-policy", asked), "has the policy", as_json)


@iam.command("list")
@data_dir_option
@json_option
@server_options
def list_identities(as_json: bool, endpoint: Endpoint) -> None:
    """List the users and roles of all accounts, or of --account; never their secrets.

    With --json: an array of objects with members as in AWS's IAM.
    """
    found = ask_identities(endpoint, "", {"account": endpoint.account})["Identities"]
    if as_json:
        write_json(found)
    elif found:
        write_table(_COLUMNS, [_row(each) for each in found])
    else:
        note("There are no users and no roles.")


@iam.command("rm")
@click.argument("name")
@_role_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@data_dir_option
@json_option
@server_options
def remove(name: str, role: bool, yes: bool, as_json: bool, endpoint: Endpoint) -> None:
    """Remove the user NAME with its access key, or the role NAME.

    On a terminal it asks first. It has happened when the command ends.
    """
    if not yes and sys.stdin.isatty():
        what = "role" if role else "user or role"
        click.confirm(f"Remove the {what} {name}?", abort=True, err=True)
    asked = {"name": name, "account": endpoint.account, "role": role}
    _write(ask_identities(endpoint, "rm", asked), "is removed", as_json)


@iam.command("rotate")
@click.argument("name")
@data_dir_option
@json_option
@server_options
def rotate(name: str, as_json: bool, endpoint: Endpoint) -> None:
    """Give the user NAME a new access key and print it, once.

    The old one is refused as soon as the command ends. With --json: as add-user.
    """
    asked = {"name": name, "account": endpoint.account}
    _write_key(ask_identities(endpoint, "rotate", asked), as_json)


def _read_policy(file: str, *, resource_based: bool = False) -> str:
    """Return a policy document's text; one that is none is told with its file."""
    from lambent.model.policies import MalformedPolicy, parse_policy  # noqa: PLC0415 - slow to import

    name = "Standard input" if file == "-" else f"The file {file}"
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        text = content.decode("utf-8-sig")
        parse_policy(text, resource_based=resource_based)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} cannot be read: it is not UTF-8.") from error
    except MalformedPolicy as error:
        raise CommandError(f"{name} holds no policy: {error}") from error
    return text


def _write(answer: Mapping[str, str], done: str, as_json: bool) -> None:
    if as_json:
        write_json(answer)
    else:
        write_result(f"{answer['Arn']} {done}.")


def _write_key(answer: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        write_json(answer)
        return
    write_result(answer["Arn"])
    write_result(f"AWS_ACCESS_KEY_ID={answer['AccessKeyId']}")
    write_result(f"AWS_SECRET_ACCESS_KEY={answer['SecretAccessKey']}")
    note("Keep the secret now: it is not shown again.")


def _row(identity: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        identity["Arn"],
        identity.get("AccessKeyId") or "",
        "none" if identity["PolicyDocument"] is None else "yes",
        identity["CreateDate"],
    )
