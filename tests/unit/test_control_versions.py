"""Publishing where several do it at once, and across the end of a server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from tests.contract.rig import ACCOUNT, KEY, REGION, Rig, make_head, open_rig, zip_of

from lambent.control.activation import finish_unsettled
from lambent.control.aliases import create_alias, get_alias, update_alias
from lambent.control.functions import create_function, update_function_code
from lambent.control.versions import list_versions_by_function, publish_version
from lambent.model.functions import State
from lambent.storage.contracts import Usage
from lambent.storage.database import migrations
from lambent.storage.directory import DataDirectory
from lambent.storage.sealing import open_sealer
from lambent.storage.sqlite import SqliteFunctionStore


async def versions(rig: Rig) -> list[str]:
    reply = await list_versions_by_function(rig.services, rig.call(FunctionName="f"))
    return [one["Version"] for one in reply["Versions"]]


def test_many_who_publish_at_once_get_one_version() -> None:
    async def scenario() -> None:
        async with open_rig(":memory:") as rig:
            await create_function(rig.services, rig.create_call())
            await rig.settled()
            replies = await asyncio.gather(
                *(publish_version(rig.services, rig.call(FunctionName="f")) for _ in range(20))
            )
            assert {reply["Version"] for reply in replies} == {"1"}
            assert len({reply["RevisionId"] for reply in replies}) == 1
            assert await versions(rig) == ["$LATEST", "1"]

    asyncio.run(scenario())


def test_aliases_that_are_changed_at_once_keep_every_change() -> None:
    async def scenario() -> None:
        async with open_rig(":memory:") as rig:
            await create_function(rig.services, rig.create_call(Publish=True))
            await rig.settled()
            name = {"FunctionName": "f", "Name": "live"}
            await create_alias(rig.services, rig.call(**name, FunctionVersion="$LATEST"))
            await asyncio.gather(
                update_alias(rig.services, rig.call(**name, FunctionVersion="1")),
                update_alias(rig.services, rig.call(**name, Description="both")),
            )
            shown = await get_alias(rig.services, rig.call(**name))
            assert (shown["FunctionVersion"], shown["Description"]) == ("1", "both")

    asyncio.run(scenario())


def test_a_version_that_was_being_activated_is_finished_at_the_next_start(tmp_path: Path) -> None:
    async def ends_while_it_activates() -> None:
        async with open_rig(tmp_path / "data") as rig:
            await create_function(rig.services, rig.create_call())
            await rig.settled()
            rig.gate.clear()
            call = rig.call(FunctionName="f", ZipFile=zip_of({"app.py": "x = 1"}), Publish=True)
            reply = await update_function_code(rig.services, call)
            assert (reply["Version"], reply["State"]) == ("1", "Pending")
            for task in rig.tasks:
                task.cancel()
            await asyncio.gather(*rig.tasks, return_exceptions=True)
            rig.tasks.clear()

    async def starts_again() -> None:
        async with open_rig(tmp_path / "data") as rig:
            await finish_unsettled(rig.services)
            await rig.settled()
            for version in ("$LATEST", "1"):
                head = await rig.functions.load(KEY, version)
                assert head is not None
                assert (head.state, head.serving) == (State.ACTIVE, head.latest)

    asyncio.run(ends_while_it_activates())
    asyncio.run(starts_again())


def test_functions_of_a_data_directory_without_versions_are_kept(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path / "data")
    head = make_head("f")
    document: dict[str, Any] = json.loads(msgspec.json.encode(head))
    for member in ("last_version", "published"):
        document.pop(member)
    with sqlite3.connect(directory.database) as database:
        database.executescript(dict(migrations())[1] + "PRAGMA user_version = 1;")
        row = (*head.key, head.revision_id, head.settled, head.latest.code.size, json.dumps(document))
        database.execute("INSERT INTO functions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.close()

    async def look() -> None:
        store = SqliteFunctionStore(directory, open_sealer(directory))
        await store.start()
        assert await store.load(head.key) == head
        assert await store.unsettled() == [head]
        assert await store.usage(ACCOUNT, REGION) == Usage(1, head.latest.code.size)
        await store.stop()

    asyncio.run(look())
    directory.close()
