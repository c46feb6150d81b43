"""The command itself: its verbs, in the order in which a newcomer meets them."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

import lambent
from lambent.cli.alias import alias
from lambent.cli.deploy import deploy
from lambent.cli.dlq import dlq
from lambent.cli.drop_sealed import drop_sealed
from lambent.cli.events import events
from lambent.cli.fault import fault
from lambent.cli.iam import iam
from lambent.cli.invoke import invoke
from lambent.cli.list import list_functions
from lambent.cli.logs import logs
from lambent.cli.output import CommandError
from lambent.cli.publish import publish
from lambent.cli.rm import rm
from lambent.cli.serve import serve
from lambent.cli.top import top

# As of a program that SIGINT ended.
_INTERRUPTED = 128 + signal.SIGINT


class _Verbs(click.Group):
    """A group that lists its verbs as they were added, and ends what no verb can help in one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return list(self.commands)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line."""
        _open_streams()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Not click's status 1, which says that a function failed.
            click.echo("Aborted!", err=True)
            ctx.exit(_INTERRUPTED)
        except UnicodeEncodeError as error:
            # Names of files and arguments may be any bytes, but nothing else can be sent.
            raise CommandError(f"{error.object!r} is not UTF-8.") from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Whoever reads our output has gone; click ends the command.
                raise
            raise CommandError(f"{error}.") from error


def _open_streams() -> None:
    """Give a command that was started without standard streams empty ones.

    Their descriptors would else be those of the next files that are opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lambent.__version__, package_name="lambent", message="lambent %(version)s")
def main() -> None:
    """Run functions behind AWS Lambda's API, on this machine.

    Start a server with `lambent serve`; the other commands talk to it, and so does
    every AWS SDK whose endpoint is set to its address.
    """


for _verb in (
    serve,
    deploy,
    invoke,
    logs,
    top,
    list_functions,
    publish,
    alias,
    events,
    dlq,
    fault,
    rm,
    iam,
    drop_sealed,
):
    main.add_command(_verb)
