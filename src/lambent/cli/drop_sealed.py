"""``lambent drop-sealed``: go on without the values whose key is lost."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing

import click

from lambent.cli.endpoint import settings_or_error
from lambent.cli.output import CommandError, json_option, note, write_json, write_result


@click.command("drop-sealed")
@click.option("--data-dir", metavar="DIR", help="The data directory; no server may run on it.")
@click.option("--key-file", metavar="FILE", help="The key file, where it is not in the data directory.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def drop_sealed(data_dir: str | None, key_file: str | None, yes: bool, as_json: bool) -> None:
    """Give up, for good, what no key of the key file unseals.

    Functions lose their environment variables and users their access keys, where these
    were sealed with a key that is lost; all else stays. On a terminal it asks first.
    With --json: an array of what each value was sealed for.
    """
    settings = settings_or_error({"server.data_dir": data_dir, "server.key_file": key_file})
    root = settings.server.data_dir
    if root is None or not (root / "state.db").exists():
        raise CommandError(f"There is no data directory of a server at {root or ':memory:'}.")
    if not yes and sys.stdin.isatty():
        click.confirm(f"Drop what cannot be unsealed in {root}?", abort=True, err=True)
    # Imported here: the other verbs need none of this.
    from lambent.storage.directory import (  # noqa: PLC0415
        DataDirectory,
        DataDirectoryDamaged,
        DataDirectoryInUse,
        DataDirectoryTooNew,
    )
    from lambent.storage.sealed_columns import drop_lost  # noqa: PLC0415
    from lambent.storage.sealing import KeyFileUnusable, open_sealer  # noqa: PLC0415

    try:
        with closing(DataDirectory.open(root)) as directory:
            dropped = asyncio.run(drop_lost(directory, open_sealer(directory, settings.server.key_file)))
    except OSError as error:
        raise CommandError(f"{root} cannot be used: {error.strerror or error}.") from error
    except (DataDirectoryDamaged, DataDirectoryInUse, DataDirectoryTooNew, KeyFileUnusable) as error:
        raise CommandError(str(error)) from error
    if as_json:
        write_json(dropped)
        return
    for purpose in dropped:
        write_result(purpose)
    if not dropped:
        note("Everything can be unsealed; nothing was dropped.")
