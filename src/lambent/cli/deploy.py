"""``lambent deploy``: make or update a function from a folder, a file or a zip."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent.cli.endpoint import Endpoint, server_options
from lambent.cli.output import CommandError, json_option, note, render_bytes, step, write_answer, write_result
from lambent.cli.package import Package, read_package
from lambent.cli.publish import publish_version, write_version
from lambent.cli.requirements import has_requirements, install_requirements
from lambent.limits import ZIPPED_CODE_BYTES

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

# Nobody assumes it here; the API wants one, and functions see nothing of it.
_ROLE = "arn:{}:iam::{}:role/lambent"
_PLACE = re.compile(r"arn:([^:]+):lambda:[^:]+:(\d{12}):", re.ASCII)
_REQUIREMENTS = "requirements.txt"
# Seconds between two looks: activation takes a few of these; five minutes at most.
_POLL = {"Delay": 0.05, "MaxAttempts": 6000}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the options ask for; None where they say nothing."""

    name: str | None
    handler: str | None
    runtime: str | None
    role: str | None
    variables: Mapping[str, str] | None
    timeout: int | None
    memory: int | None

    def configuration(self) -> dict[str, Any]:
        """Return the members to send, without handler and runtime."""
        members = {
            "Role": self.role,
            "Environment": None if self.variables is None else {"Variables": dict(self.variables)},
            "Timeout": self.timeout,
            "MemorySize": self.memory,
        }
        return {name: value for name, value in members.items() if value is not None}


def _parse_variables(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str] | None:
    variables = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{each!r} is not of the form NAME=VALUE.")
        variables[name] = value
    return variables or None


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="DIR|ZIP|FILE.py")
@click.option("--name", help="Name of the function [default: that of the folder or file].")
@click.option("--handler", help="module.function [default: the first usual one that exists].")
@click.option("--runtime", help="Such as python3.13 [default: the newest Python that the server found].")
@click.option("--role", metavar="ARN", help="Role of the function; nothing assumes it here.")
@click.option(
    "--env",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_variables,
    help="An environment variable; may be repeated. Given at all, they replace the function's variables.",
)
@click.option("--timeout", type=int, metavar="SECONDS", help="Longest run of one invocation.")
@click.option("--memory", type=int, metavar="MB", help="Memory of the function.")
@click.option("--publish", is_flag=True, help="Publish a version of what was deployed.")
@click.option("--skip-requirements", is_flag=True, help=f"Do not install {_REQUIREMENTS}.")
@json_option
@server_options
def deploy(
    source: Path, publish: bool, skip_requirements: bool, as_json: bool, endpoint: Endpoint, **options: Any
) -> None:
    """Create or update a function and wait until it is active.

    A folder's requirements.txt is installed beside the code. Left out are version
    control, virtual environments, caches and node_modules. On update everything that
    no option names stays as it is.
    """
    wanted = _Wanted(**options)
    client = endpoint.lambda_client()
    name = wanted.name or read_name(source)
    existing, role = _find(endpoint, client, name)
    runtime = wanted.runtime or existing.get("Runtime") or _newest_python(endpoint)
    with _dependencies(source, runtime, skip=skip_requirements) as dependencies, step("packing"):
        package = read_package(source, dependencies)
    _check_size(package)
    handler = wanted.handler or _handler(package, existing.get("Handler"), source)
    chosen = {"Runtime": runtime, "Handler": handler, **wanted.configuration()}
    with endpoint.answers():
        if existing:
            _update(client, name, package, _changes(chosen, existing))
        else:
            _create(client, name, package, {"Role": role, **chosen})
    _finish(endpoint, client, name, publish=publish, as_json=as_json)


def read_name(source: Path) -> str:
    """Return the function's name that a path stands for."""
    return source.resolve().name if source.is_dir() else source.stem


def _find(endpoint: Endpoint, client: LambdaClient, name: str) -> tuple[Mapping[str, Any], str]:
    """Return the function's configuration, empty when there is none, and the role of a new one."""
    with endpoint.answers():
        try:
            return client.get_function_configuration(FunctionName=name), ""
        except client.exceptions.ResourceNotFoundException as error:
            # The refusal tells the account, which a key does not: policies let nobody pass a foreign role.
            place = _PLACE.search(str(error))
            return {}, _ROLE.format(*(place.groups() if place else ("aws", "000000000000")))


def _newest_python(endpoint: Endpoint) -> str:
    found = [name for name in endpoint.runtimes() if name.startswith("python3.")]
    if not found:
        raise CommandError(
            "The server found no Python to run functions on.",
            "Install one (for example python3.13) and start the server again,"
            ' or name one in lambent.toml: [runtimes] "python3.13" = "/path/to/python".',
        )
    return max(found, key=lambda name: int(name.removeprefix("python3.")))


@contextmanager
def _dependencies(source: Path, runtime: str, *, skip: bool) -> Iterator[Path | None]:
    """Install what the code asks for; the folder is there until the package is made."""
    folder = source if source.is_dir() else source.parent
    file = folder / _REQUIREMENTS
    if skip or source.suffix == ".zip" or not has_requirements(file):
        yield None
    elif source.is_file():
        note(f"{file} is not installed for a single file: deploy the folder for that.")
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="lambent-deploy-") as made:
            install_requirements(file, runtime, Path(made))
            yield Path(made)


def _check_size(package: Package) -> None:
    if len(package.data) > ZIPPED_CODE_BYTES:
        raise CommandError(
            f"The package has {len(package.data):,} bytes zipped; at most {ZIPPED_CODE_BYTES:,} are accepted."
        )


def _handler(package: Package, existing: str | None, source: Path) -> str:
    """Keep the function's handler while the new code still has it, else find one."""
    if existing is not None and package.defines(existing):
        return existing
    if package.handler is not None:
        return package.handler
    raise CommandError(
        f"No handler was found in {source}: looked for {', '.join(package.looked_for)}.",
        "Name it with --handler module.function.",
    )


def _changes(chosen: Mapping[str, Any], existing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that differ from what the function has."""
    return {name: value for name, value in chosen.items() if existing.get(name) != value}


def _create(client: LambdaClient, name: str, package: Package, chosen: dict[str, Any]) -> None:
    with step(f"creating {name} ({render_bytes(len(package.data))})"):
        client.create_function(FunctionName=name, Code={"ZipFile": package.data}, **chosen)
        _wait(client, "function_active_v2", name)


def _update(client: LambdaClient, name: str, package: Package, changes: dict[str, Any]) -> None:
    with step(f"updating {name} ({render_bytes(len(package.data))})"):
        # An update that is still going on would refuse this one.
        _wait(client, "function_active_v2", name)
        _wait(client, "function_updated_v2", name)
        if changes:
            client.update_function_configuration(FunctionName=name, **changes)
            _wait(client, "function_updated_v2", name)
        client.update_function_code(FunctionName=name, ZipFile=package.data)
        _wait(client, "function_updated_v2", name)


def _wait(client: Any, waiter: str, name: str) -> None:
    # Imported here: as everything of botocore, only when a server is talked to.
    from botocore.exceptions import WaiterError  # noqa: PLC0415

    try:
        client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=_POLL)
    except WaiterError as error:
        # GetFunction answers with the configuration inside.
        configuration = error.last_response.get("Configuration", {})
        reason = configuration.get("LastUpdateStatusReason") or configuration.get("StateReason") or error
        raise CommandError(f"{name} did not become active: {reason}") from error


def _finish(endpoint: Endpoint, client: LambdaClient, name: str, *, publish: bool, as_json: bool) -> None:
    with endpoint.answers():
        function: Any = client.get_function_configuration(FunctionName=name)
        version = publish_version(client, name) if publish else None
    if as_json:
        write_answer(version or function)
        return
    size = render_bytes(function["CodeSize"])
    write_result(f"{name} is active: {function['Runtime']}, {function['Handler']}, {size}")
    if version is None:
        write_result(function["FunctionArn"])
    else:
        write_version(version)
