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
    LATEST,
    Alias,
    CodePackage,
    FunctionHead,
    FunctionKey,
    FunctionVersion,
    LoggingConfig,
    State,
    UpdateStatus,
)
from lambent.storage.contracts import Change, FunctionStore, OnChange, StoredPolicy
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


def _published(number: str, document_id: str, name: str = "f") -> FunctionHead:
    head = _head(name, document_id)
    frozen = dataclasses.replace(head.latest, version=number)
    return head.evolve(latest=frozen, serving=frozen)


def _alias(version: str, name: str = "live", **weights: float) -> Alias:
    others = {number.removeprefix("v"): weight for number, weight in weights.items()}
    return Alias(key=_key(), name=name, version=version, weights=others, revision_id="r")


class FakeStore:
    """Heads and aliases in dictionaries, a feed of changes, and a way to hold a reader up."""

    def __init__(self) -> None:
        self.heads: dict[tuple[FunctionKey, str], FunctionHead] = {}
        self.policies: dict[tuple[FunctionKey, str | None], StoredPolicy] = {}
        self.aliases: dict[tuple[FunctionKey, str], Alias] = {}
        self.loads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._subscribers: list[OnChange] = []

    def subscribe(self, changed: OnChange) -> None:
        self._subscribers.append(changed)

    async def load(self, key: FunctionKey, version: str = LATEST) -> FunctionHead | None:
        self.loads += 1
        # What was read is as old as the reading.
        head = self.heads.get((key, version))
        await self.may_answer.wait()
        return head

    async def load_policy(self, key: FunctionKey, qualifier: str | None) -> StoredPolicy | None:
        return self.policies.get((key, qualifier))

    async def load_alias(self, key: FunctionKey, name: str) -> Alias | None:
        alias = self.aliases.get((key, name))
        await self.may_answer.wait()
        return alias

    def put(self, head: FunctionHead) -> None:
        self.heads[head.key, head.version] = head
        self._tell(head.key, head.version)

    def put_alias(self, alias: Alias) -> None:
        self.aliases[alias.key, alias.name] = alias
        self._tell(alias.key, alias.name)

    def delete(self, key: FunctionKey, version: str | None = None) -> None:
        for known in list(self.heads):
            if known[0] == key and version in {None, known[1]}:
                del self.heads[known]
        self._tell(key, version)

    def _tell(self, key: FunctionKey, changed: str | None) -> None:
        for on_change in self._subscribers:
            on_change(Change(key, changed, self.heads.get((key, changed or ""))))


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


def test_a_version_is_resolved_by_its_number_and_keeps_its_document() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        stage.store.put(_published("1", "one"))
        resolved = await stage.resolver.resolve(_key(), "1")
        assert (resolved.version.document_id, resolved.invoked_arn) == ("one", _key().arn("1"))
        # What happens to $LATEST is nothing to a version.
        stage.store.put(_head(document_id="2"))
        await stage.settles()
        assert stage.known(_key(), "1") == resolved
        assert stage.replaced == []

    _play(script)


def test_an_alias_that_moves_is_resolved_anew_and_no_version_is_retired() -> None:
    async def script(stage: Stage) -> None:
        for number in "12":
            stage.store.put(_published(number, f"d{number}"))
        stage.store.put_alias(_alias("1"))
        resolved = await stage.resolver.resolve(_key(), "live")
        assert (resolved.version.document_id, resolved.invoked_arn) == ("d1", _key().arn("live"))
        stage.store.put_alias(_alias("2"))
        assert stage.known(_key(), "live") is None
        assert (await stage.resolver.resolve(_key(), "live")).version.document_id == "d2"
        await stage.settles()
        assert stage.replaced == []

    _play(script)


def test_an_alias_follows_the_version_that_it_points_to() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        stage.store.put_alias(_alias("$LATEST"))
        assert (await stage.resolver.resolve(_key(), "live")).version.document_id == "1"
        stage.store.put(_head(document_id="2"))
        assert stage.known(_key(), "live") is None
        assert (await stage.resolver.resolve(_key(), "live")).version.document_id == "2"
        await stage.settles()
        assert stage.replaced == ["1"]

    _play(script)


def test_an_alias_that_splits_its_calls_tells_both_versions_and_the_share() -> None:
    async def script(stage: Stage) -> None:
        for number in "12":
            stage.store.put(_published(number, f"d{number}"))
        stage.store.put_alias(_alias("1", v2=0.25))
        resolved = await stage.resolver.resolve(_key(), "live")
        assert resolved.other is not None
        assert (resolved.version.version, resolved.other.version) == ("1", "2")
        assert resolved.other_share == 0.25

    _play(script)


def test_a_version_that_is_deleted_is_retired() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        stage.store.put(_published("1", "one"))
        await stage.resolver.resolve(_key(), "1")
        stage.store.delete(_key(), "1")
        await stage.settles()
        assert stage.replaced == ["one"]
        with pytest.raises(ResourceNotFoundException):
            await stage.resolver.resolve(_key(), "1")

    _play(script)


def test_a_deleted_function_takes_all_its_versions_along() -> None:
    async def script(stage: Stage) -> None:
        stage.store.put(_head())
        stage.store.put(_published("1", "one"))
        for qualifier in (None, "1"):
            await stage.resolver.resolve(_key(), qualifier)
        stage.store.delete(_key())
        assert stage.resolver.cached == {}
        assert sorted(stage.replaced) == ["1", "one"]

    _play(script)


def test_the_versions_of_one_function_are_bounded_too() -> None:
    async def script(stage: Stage) -> None:
        for number in range(1, 21):
            stage.store.put(_published(f"{number}", f"d{number}"))
            await stage.resolver.resolve(_key(), f"{number}")
        assert [qualifier for _, qualifier in stage.resolver.cached] == ["16", "17", "18", "19", "20"]
        assert stage.replaced == [f"d{number}" for number in range(1, 16)]

    _play(script, capacity=5)
