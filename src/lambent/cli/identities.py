"""Reaching the users and roles of a server: through the server, or in its data directory while none runs."""

from __future__ import annotations

import asyncio
import json
import select
from contextlib import closing
from typing import TYPE_CHECKING, Any

from lambent.cli.endpoint import Endpoint, NoServer
from lambent.cli.output import CommandError
from lambent.clock import SystemClock

if TYPE_CHECKING:
    from lambent.config import Settings

_PATH = "/_lambent/iam"
# For a server that starts or ends, and for other commands that have the directory.
_PATIENCE_S = 5.0
_LOOK_AGAIN_S = 0.05


def ask_identities(endpoint: Endpoint, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what ``lambent/api/identities.py`` answers, wherever it runs.

    A running server does it itself. While there is none, it is done here under the lock of the
    data directory, which is made if it is missing.

    Args:
        endpoint: says which server.
        verb: of a POST; "" for the list.
        asked: the body, or the list's query; None values count as not given.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    clock = SystemClock()
    end = clock.monotonic() + _PATIENCE_S
    while True:
        try:
            return _ask_server(endpoint, verb, given)
        except NoServer:
            if not endpoint.is_here or endpoint.settings.server.data_dir is None:
                raise
            answer = _ask_directory(endpoint.settings, verb, given, is_last_try=clock.monotonic() > end)
        if answer is not None:
            return answer
        select.select([], [], [], _LOOK_AGAIN_S)


def _ask_server(endpoint: Endpoint, verb: str, given: dict[str, Any]) -> dict[str, Any]:
    path, query, body = (f"{_PATH}/{verb}", {}, given) if verb else (_PATH, given, None)
    return endpoint.control_json(path, query, body=body, placed=False)


def _ask_directory(
    settings: Settings, verb: str, given: dict[str, Any], *, is_last_try: bool
) -> dict[str, Any] | None:
    """Return the answer; None when somebody else has the directory at the moment."""
    # Imported here: the other verbs need none of the server, nor does this one while one runs.
    from lambent.api.identities import Identities  # noqa: PLC0415
    from lambent.model.errors import ServiceError  # noqa: PLC0415
    from lambent.storage.contracts import StorageFailed  # noqa: PLC0415
    from lambent.storage.directory import (  # noqa: PLC0415
        DataDirectory,
        DataDirectoryDamaged,
        DataDirectoryInUse,
        DataDirectoryTooNew,
    )
    from lambent.storage.identities import SqliteIdentityStore  # noqa: PLC0415
    from lambent.storage.sealed_columns import KeyLost  # noqa: PLC0415
    from lambent.storage.sealing import KeyFileUnusable, open_sealer  # noqa: PLC0415

    server = settings.server
    assert server.data_dir is not None

    async def answer(directory: DataDirectory) -> bytes:
        store = SqliteIdentityStore(directory, open_sealer(directory, server.key_file))
        try:
            await store.start()
            identities = Identities(
                store=store, clock=SystemClock(), account=server.account, region=server.region
            )
            if not verb:
                return await identities.answer(b"GET", b"", given, b"")
            return await identities.answer(b"POST", verb.encode(), {}, json.dumps(given).encode())
        finally:
            await store.stop()

    try:
        with closing(DataDirectory.open(server.data_dir)) as directory:
            return dict(json.loads(asyncio.run(answer(directory))))
    except DataDirectoryInUse as error:
        if not is_last_try:
            return None
        raise CommandError(
            str(error), "It gives no answer on its control socket: it may be starting or ending. Try again."
        ) from error
    except OSError as error:
        raise CommandError(f"{server.data_dir} cannot be used: {error.strerror or error}.") from error
    except (
        ServiceError,
        DataDirectoryDamaged,
        DataDirectoryTooNew,
        KeyFileUnusable,
        KeyLost,
        StorageFailed,
    ) as error:
        raise CommandError(str(error)) from error


__all__ = ["ask_identities"]
