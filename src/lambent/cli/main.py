"""The command itself: its verbs, in the order in which a newcomer meets them."""

from __future__ import annotations

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
from lambent.cli.publish import publish
from lambent.cli.rm import rm
from lambent.cli.serve import serve
from lambent.cli.top import top


class _InOrder(click.Group):
    """A group that lists its verbs as they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
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
