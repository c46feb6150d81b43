"""Name and qualifier to what is executed: the cache, and when it must forget."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from lambent.invocation.resolve import Resolved, Resolver
from lambent.model.errors import ResourceConflictException, ResourceNotFoundException
from lambent.model.functions import (
    CodePackage,
    FunctionHead,
    FunctionKey,
    FunctionVersion,
    LoggingConfig,
    State,
    UpdateStatus,
)
from lambent.storage.contracts import FunctionStore
from lambent.tasks import Tasks


def _key(name: str = "f") -> FunctionKey:
    return FunctionKey("000000000000", "us-east-1", name)


def _head(name: str = "f", document_id: str = "1", **changes: object) -> FunctionHead:
    version = FunctionVersion(
        key=_key(name),
        document_id=document_id,
        generation="g",
        code=CodePackage("00" * 32, 1),
        runtime="python3.13",
        handler="index.handler",
        role="r",
        logging=LoggingConfig("g"),
        modified_at=0.0,
    )
    head = FunctionHead(
        key=version.key,
        generation="g",
        revision_id="r",
        latest=version,
        serving=version,
        state=State.ACTIVE,
        update_status=UpdateStatus.SUCCESSFUL,
    )
    return head.evolve(**changes)


class FakeStore:
    """Heads in a dictionary, a feed of changes, and a way to hold a reader up."""

    def __init__(self) -> None:
        self.heads: dict[FunctionKey, FunctionHead] = {}
        self.loads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._subscribers: list[Callable[[FunctionKey], None]] = []

    def subscribe(self, changed: Callable[[FunctionKey], None]) -> None:
        self._subscribers.append(changed)

    async def load(self, key: FunctionKey) -> FunctionHead | None:
        self.loads += 1
        # What was read is as old as the reading.
        head = self.heads.get(key)
        await self.may_answer.wait()
        return head

    def put(self, head: FunctionHead) -> None:
        self.heads[head.key] = head
        self._tell(head.key)

    def delete(self, key: FunctionKey) -> None:
        del self.heads[key]
        self._tell(key)

    def _tell(self, key: FunctionKey) -> None:
        for changed in self._subscribers:
            changed(key)


@dataclasses.dataclass
class Stage:
    """A resolver over a fake store, and the documents that it said are replaced."""

    store: FakeStore
    resolver: Resolver
    replaced: list[str]

    def known(self, key: FunctionKey, qualifier: str | None) -> Resolved | None:
        return self.resolver.cached.get((key, qualifier))

    async def settles(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def _play(script: Callable[[Stage], Awaitable[None]], capacity: int = 100) -> None:
    async def play() -> None:
        tasks = Tasks()
        store = FakeStore()
        replaced: list[str] = []
        resolver = Resolver(cast("FunctionStore", store), tasks, replaced.append, capacity)
        await script(Stage(store, resolver, replaced))
        await tasks.close()

    asyncio.run(play())


def test_what_was_resolved_is_known_without_asking_again() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        assert stage.known(_key(), None) is None
        resolved = await stage.resolver.resolve(_key(), None)
        assert (resolved.version.document_id, resolved.invoked_arn) == ("1", _key().arn())
        assert stage.known(_key(), None) == resolved
        qualified = await stage.resolver.resolve(_key(), "$LATEST")
        assert qualified.invoked_arn == _key().arn("$LATEST")
        assert stage.known(_key(), None) == resolved

    _play(script)


@pytest.mark.parametrize("qualifier", [None, "$LATEST", "7", "prod", "$latest"])
def test_what_is_not_there_is_told_with_a_qualifier(qualifier: str | None) -> None:
    async def script(stage: Stage) -> None:
        if qualifier not in {None, "$LATEST"}:
            stage.store.put(_head())
        with pytest.raises(ResourceNotFoundException) as caught:
            await stage.resolver.resolve(_key(), qualifier)
        assert str(caught.value) == f"Function not found: {_key().arn(qualifier or '$LATEST')}"
        assert stage.known(_key(), qualifier) is None

    _play(script)


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_a_function_that_is_not_active_is_a_conflict(state: State) -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head(state=state, serving=None))
        with pytest.raises(ResourceConflictException) as caught:
            await stage.resolver.resolve(_key(), None)
        assert str(caught.value).endswith(f"The function is currently in the following state: {state}")
        # It is asked for anew each time, so its activation is seen at once.
        stage.store.put(_head())
        assert (await stage.resolver.resolve(_key(), None)).version.document_id == "1"

    _play(script)


def test_an_update_serves_the_former_document_until_it_is_done() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        await stage.resolver.resolve(_key(), None)
        former = _head()
        stage.store.put(
            _head(document_id="2", serving=former.serving, update_status=UpdateStatus.IN_PROGRESS)
        )
        await stage.settles()
        assert (await stage.resolver.resolve(_key(), None)).version.document_id == "1"
        assert stage.replaced == []
        stage.store.put(_head(document_id="2"))
        assert stage.known(_key(), None) is None
        await stage.settles()
        assert stage.replaced == ["1"]
        assert (await stage.resolver.resolve(_key(), None)).version.document_id == "2"

    _play(script)


def test_a_document_that_nobody_asked_for_since_the_update_began_is_retired_too() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        await stage.resolver.resolve(_key(), None)
        former = _head()
        stage.store.put(
            _head(document_id="2", serving=former.serving, update_status=UpdateStatus.IN_PROGRESS)
        )
        await stage.settles()
        stage.store.put(_head(document_id="2"))
        await stage.settles()
        assert stage.replaced == ["1"]

    _play(script)


def test_a_function_that_is_deleted_is_forgotten_and_retired() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        await stage.resolver.resolve(_key(), None)
        stage.store.delete(_key())
        assert stage.known(_key(), None) is None
        await stage.settles()
        assert stage.replaced == ["1"]
        with pytest.raises(ResourceNotFoundException):
            await stage.resolver.resolve(_key(), None)

    _play(script)


def test_an_answer_of_the_store_that_a_change_overtook_is_not_kept() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        stage.store.may_answer.clear()
        resolving = asyncio.get_running_loop().create_task(stage.resolver.resolve(_key(), None))
        await stage.settles()
        stage.store.put(_head(document_id="2"))
        stage.store.may_answer.set()
        assert (await resolving).version.document_id == "1"
        assert stage.known(_key(), None) is None
        assert (await stage.resolver.resolve(_key(), None)).version.document_id == "2"

    _play(script)


def test_the_cache_is_bounded() -> None:
    async def script(stage: Stage) -> None:
        for number in range(20):
            stage.store.put(_head(f"f-{number}", f"{number}"))
            await stage.resolver.resolve(_key(f"f-{number}"), None)
        known = [number for number in range(20) if stage.known(_key(f"f-{number}"), None)]
        assert known == [15, 16, 17, 18, 19]

    _play(script, capacity=5)


def test_functions_of_other_names_are_left_alone_by_a_change() -> None:
    async def script(stage: Stage) -> None:
        for name in ("a", "b"):
            stage.store.put(_head(name, name))
            await stage.resolver.resolve(_key(name), None)
        stage.store.put(_head("a", "new"))
        assert stage.known(_key("b"), None) is not None
        await stage.settles()
        assert stage.replaced == ["a"]

    _play(script)
