"""Heads as they are stored, and the database that is kept sealed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.rig import make_head, open_rig
from tests.old_directory import files_with, write_old_directory

from lambent.model.functions import FunctionHead
from lambent.storage import database
from lambent.storage.sealing import Sealer, Unsealable
from lambent.storage.stored_heads import decode_head, encode_head

SEALER = Sealer([b"k" * 32])
SECRET = "what nobody is to read"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VARIABLES = st.none() | st.dictionaries(TEXT, TEXT, max_size=3)


def head_of(
    latest: Mapping[str, str] | None,
    serving: Mapping[str, str] | None = None,
    *,
    is_serving: bool = False,
    published: str | None = None,
) -> FunctionHead:
    head = make_head("f", variables=latest, published=published)
    document = dataclasses.replace(head.latest, variables=serving)
    return dataclasses.replace(head, serving=document if is_serving else None)


@given(VARIABLES, VARIABLES, st.booleans(), st.none() | TEXT)
def test_a_head_comes_back_as_it_was(
    latest: Mapping[str, str] | None,
    serving: Mapping[str, str] | None,
    is_serving: bool,
    published: str | None,
) -> None:
    head = head_of(latest, serving, is_serving=is_serving, published=published)
    assert decode_head(*encode_head(head, SEALER), SEALER) == head


def test_a_head_without_anything_to_seal_has_no_sealed_part() -> None:
    assert encode_head(head_of(None, is_serving=True), SEALER)[1] is None


@pytest.mark.parametrize(
    "head",
    [
        head_of({"A": SECRET}),
        head_of({SECRET: "a name"}),
        head_of(None, {"A": SECRET}, is_serving=True),
        head_of(None, published=SECRET),
    ],
    ids=["shown", "name", "serving", "fingerprint"],
)
def test_the_document_holds_nothing_of_what_is_sealed(head: FunctionHead) -> None:
    document, sealed = encode_head(head, SEALER)
    assert sealed is not None
    assert SECRET not in document
    assert SECRET.encode() not in sealed


def test_another_head_does_not_unseal_it() -> None:
    head = head_of({"A": SECRET})
    _, sealed = encode_head(head, SEALER)
    version = dataclasses.replace(head, latest=dataclasses.replace(head.latest, version="1"))
    for other in (make_head("g"), make_head("f", account="111111111111"), version):
        document, _ = encode_head(other, SEALER)
        with pytest.raises(Unsealable):
            decode_head(document, sealed, SEALER)


def test_while_somebody_reads_an_old_database_it_is_served_and_wiped_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    location = tmp_path / "data"
    head = make_head("f", variables={"A": SECRET})
    write_old_directory(location, [head], [])

    async def look() -> None:
        async with open_rig(location) as rig:
            assert await rig.functions.load(head.key) == head

    with closing(sqlite3.connect(location / "state.db")) as reader, caplog.at_level(logging.WARNING):
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM functions").fetchone() == (1,)
        asyncio.run(look())
        assert SECRET in files_with(location, SECRET)
    assert "may still hold remains" in caplog.text
    asyncio.run(look())
    assert files_with(location, SECRET) == {}
