"""``lambent serve``: read the settings and run the server until a signal ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lambent.cli.endpoint import settings_or_error
from lambent.cli.output import CommandError
from lambent.config import TABLE, ConfigurationError, Setting, check_servable

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FLAGS = tuple((setting.flag, setting) for setting in TABLE if setting.flag is not None)


def _parameter(setting: Setting) -> str:
    return setting.key.replace(".", "_")


def _help(setting: Setting) -> str:
    meaning = setting.meaning[0].upper() + setting.meaning[1:]
    return f"{meaning.replace('`', '')} [{setting.variable}; default: {setting.default}]."


def _settings_options(command: _Command) -> _Command:
    """Give ``command`` one option for each row of the table that has a flag."""
    for flag, setting in reversed(_FLAGS):
        switch: dict[str, Any] = {"is_flag": True} if setting.is_switch else {"metavar": "VALUE"}
        option = click.option(flag, _parameter(setting), default=None, help=_help(setting), **switch)
        command = option(command)
    return command


@click.command()
@_settings_options
@click.option("--config", metavar="FILE", help="Read this file [default: lambent.toml, if there is one].")
def serve(config: str | None, **values: Any) -> None:
    """Run the server.

    The first line of standard output is its address. Settings come from these flags,
    from LAMBENT_* variables, from lambent.toml and from defaults, in this order.
    Stop it with Ctrl-C: running functions finish first.
    """
    if not sys.platform.startswith("linux"):
        raise CommandError("The server needs Linux; the other commands run here and can reach one.")
    settings = settings_or_error(
        {"config": config, **{setting.key: values[_parameter(setting)] for _flag, setting in _FLAGS}}
    )
    try:
        check_servable(settings)
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    # Imported here: the other verbs need none of the server.
    from lambent.server import run  # noqa: PLC0415

    sys.exit(run(settings))
