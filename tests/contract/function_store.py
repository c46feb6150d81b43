"""What every FunctionStore promises, as tests that any engine can be put under.

Inherit :class:`FunctionStoreContract` and say how a store is opened; the class
:class:`DurableFunctionStoreContract` is for engines that outlive their process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.rig import ACCOUNT, REGION, make_head

from lambent.model.events import EventInvokeConfig, EventTarget
from lambent.model.functions import Alias, CodePackage, FunctionHead, FunctionKey, State, UpdateStatus
from lambent.model.provisioned import ProvisionedConfig
from lambent.storage.contracts import (
    AliasMissing,
    AlreadyExists,
    Change,
    Conflict,
    FunctionStore,
    Provisioning,
    Referenced,
    ReservedTooLittle,
    ReservedTooMuch,
    StoredPolicy,
    Usage,
    VersionMissing,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

Scenario = Callable[[FunctionStore], Awaitable[None]]


def renewed(head: FunctionHead, **changes: object) -> FunctionHead:
    """Return ``head`` with a fresh revision."""
    return head.evolve(revision_id=str(uuid.uuid4()), **changes)


def published_of(head: FunctionHead, number: int) -> FunctionHead:
    """Return the head of a version that freezes what ``head`` shows."""
    frozen = dataclasses.replace(head.latest, document_id=uuid.uuid4().hex, version=str(number))
    return renewed(head, latest=frozen, serving=frozen, state=State.ACTIVE)


def make_alias(key: FunctionKey, name: str, version: str, **changes: Any) -> Alias:
    """Return an alias."""
    return Alias(key=key, name=name, version=version, revision_id=str(uuid.uuid4()), **changes)


def make_event_config(key: FunctionKey, qualifier: str, **changes: Any) -> EventInvokeConfig:
    """Return how events are tried of what the qualifier names."""
    return EventInvokeConfig(
        target=EventTarget(key, qualifier), **{"modified_at": 1_700_000_000.125, **changes}
    )


def make_provisioned(key: FunctionKey, qualifier: str, requested: int = 1) -> ProvisionedConfig:
    """Return how much is provisioned for a version or alias."""
    return ProvisionedConfig(
        key=key,
        qualifier=qualifier,
        requested=requested,
        modified_at=1_700_000_000.125,
        revision_id=str(uuid.uuid4()),
    )


def make_policy(text: str = "{}") -> StoredPolicy:
    """Return a resource policy with a fresh revision; the store does not look into it."""
    return StoredPolicy(text, str(uuid.uuid4()))


def accept(found: Provisioning) -> None:
    """Have nothing against a write."""


class FunctionStoreContract(ABC):
    """Promises of one open store."""

    @abstractmethod
    def open_store(self) -> AbstractAsyncContextManager[FunctionStore]:
        """Open an empty store, or the same one again within a test."""

    def run(self, scenario: Scenario) -> None:
        async def main() -> None:
            async with self.open_store() as store:
                await scenario(store)

        asyncio.run(main())

    def test_what_was_created_is_loaded_as_it_was(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f", variables={"KEY": "välue\n\U0001f600"})
            await store.create(head)
            assert await store.load(head.key) == head

        self.run(scenario)

    def test_unknown_function_is_none(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            assert await store.load(FunctionKey(ACCOUNT, REGION, "nothing")) is None

        self.run(scenario)

    def test_no_variables_and_empty_variables_stay_apart(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            for name, variables in (("none", None), ("empty", {})):
                await store.create(make_head(name, variables=variables))
                head = await store.load(FunctionKey(ACCOUNT, REGION, name))
                assert head is not None
                assert head.latest.variables == variables

        self.run(scenario)

    def test_taken_name_is_refused_and_left_alone(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head)
            with pytest.raises(AlreadyExists):
                await store.create(make_head("f"))
            assert await store.load(head.key) == head

        self.run(scenario)

    def test_accounts_and_regions_have_names_of_their_own(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            heads = [
                make_head("f"),
                make_head("f", account="000000000000"),
                make_head("f", region="us-east-1"),
            ]
            for head in heads:
                await store.create(head)
            assert [await store.load(head.key) for head in heads] == heads
            assert sorted(await store.elsewhere("f")) == sorted(head.key for head in heads)
            assert await store.elsewhere("g") == []

        self.run(scenario)

    def test_elsewhere_names_ten_places_at_most(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            for number in range(12):
                await store.create(make_head("f", account=f"{number:012d}"))
            assert len(await store.elsewhere("f")) == 10

        self.run(scenario)

    def test_replace_wants_the_revision_that_is_stored(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            first = make_head("f")
            await store.create(first)
            second = renewed(first, state=State.ACTIVE, state_reason=None, serving=first.latest)
            await store.replace(second, first.revision_id)
            assert await store.load(first.key) == second
            with pytest.raises(Conflict):
                await store.replace(renewed(second), first.revision_id)
            assert await store.load(first.key) == second

        self.run(scenario)

    def test_one_of_many_competing_replaces_wins(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            first = make_head("f")
            await store.create(first)
            rivals = [renewed(first) for _ in range(20)]
            outcomes = await asyncio.gather(
                *(store.replace(rival, first.revision_id) for rival in rivals), return_exceptions=True
            )
            assert sum(outcome is None for outcome in outcomes) == 1
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
            assert await store.load(first.key) == rivals[outcomes.index(None)]

        self.run(scenario)

    def test_one_of_many_competing_creates_wins(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            rivals = [make_head("f") for _ in range(20)]
            outcomes = await asyncio.gather(
                *(store.create(rival) for rival in rivals), return_exceptions=True
            )
            assert sum(outcome is None for outcome in outcomes) == 1
            assert await store.load(rivals[0].key) == rivals[outcomes.index(None)]

        self.run(scenario)

    def test_failing_write_does_not_fail_its_neighbours(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            await store.create(make_head("taken"))
            names = ["a", "taken", "b", "taken", "c"]
            outcomes = await asyncio.gather(
                *(store.create(make_head(name)) for name in names), return_exceptions=True
            )
            assert [outcome is None for outcome in outcomes] == [True, False, True, False, True]
            assert [head.key.name for head in await store.page(ACCOUNT, REGION, after="", limit=9)] == [
                "a",
                "b",
                "c",
                "taken",
            ]

        self.run(scenario)

    def test_deleted_function_is_gone_and_its_name_free(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            first = make_head("f")
            await store.create(first)
            assert await store.delete(first.key) is True
            assert await store.load(first.key) is None
            assert await store.delete(first.key) is False
            with pytest.raises(Conflict):
                await store.replace(renewed(first), first.revision_id)
            again = make_head("f")
            await store.create(again)
            with pytest.raises(Conflict):
                await store.replace(renewed(first), first.revision_id)
            assert await store.load(first.key) == again

        self.run(scenario)

    def test_pages_are_in_byte_order_of_name(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            names = ["b", "a-", "a", "Z", "_", "a_", "a0", "aA", "0", "-"]
            for name in names:
                await store.create(make_head(name))
            await store.create(make_head("a1", account="000000000000"))
            wanted = sorted(names, key=str.encode)
            seen: list[str] = []
            while page := await store.page(ACCOUNT, REGION, after=seen[-1] if seen else "", limit=3):
                assert len(page) <= 3
                seen += [head.key.name for head in page]
            assert seen == wanted

        self.run(scenario)

    def test_usage_counts_what_latest_shows(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            assert await store.usage(ACCOUNT, REGION) == Usage()
            head = make_head("f", code=CodePackage("01" * 32, 300))
            await store.create(head)
            await store.create(make_head("g", code=CodePackage("02" * 32, 45)))
            await store.create(make_head("f", region="us-east-1"))
            assert await store.usage(ACCOUNT, REGION) == Usage(2, 345)
            await store.replace(renewed(head, latest=make_head("f").latest), head.revision_id)
            assert await store.usage(ACCOUNT, REGION) == Usage(2, 145)

        self.run(scenario)

    def test_reserved_concurrency_is_summed_up_and_bounded(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            first, second = make_head("f", reserved_concurrency=5), make_head("g")
            await store.create(first)
            await store.create(second)
            await store.create(make_head("f", region="us-east-1", reserved_concurrency=90))
            assert (await store.usage(ACCOUNT, REGION)).reserved == 5
            more = renewed(second, reserved_concurrency=6)
            with pytest.raises(ReservedTooMuch):
                await store.replace(more, second.revision_id, reserved_at_most=10)
            assert await store.load(second.key) == second
            await store.replace(more, second.revision_id, reserved_at_most=11)
            assert (await store.usage(ACCOUNT, REGION)).reserved == 11
            found = [head.key.name for head in await store.reserved() if head.key.region == REGION]
            assert sorted(found) == ["f", "g"]
            await store.replace(renewed(more, reserved_concurrency=None), more.revision_id)
            await store.delete(first.key)
            assert await store.usage(ACCOUNT, REGION) == Usage(1, 100, 0)

        self.run(scenario)

    def test_unsettled_are_pending_and_updating_ones(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            pending, active, updating, failed = (make_head(name) for name in "abcd")
            active = active.evolve(state=State.ACTIVE, update_status=UpdateStatus.SUCCESSFUL)
            updating = updating.evolve(state=State.ACTIVE, update_status=UpdateStatus.IN_PROGRESS)
            failed = failed.evolve(state=State.FAILED)
            for head in (pending, active, updating, failed):
                await store.create(head)
            assert sorted(head.key.name for head in await store.unsettled()) == ["a", "c"]
            await store.replace(renewed(pending, state=State.ACTIVE), pending.revision_id)
            assert [head.key.name for head in await store.unsettled()] == ["c"]

        self.run(scenario)

    def test_package_hashes_are_of_shown_and_of_served_documents(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            assert await store.package_hashes() == set()
            old = make_head("f", code=CodePackage("01" * 32, 1))
            new = make_head("f", code=CodePackage("02" * 32, 1))
            await store.create(old.evolve(latest=new.latest, serving=old.latest))
            await store.create(make_head("g", code=CodePackage("03" * 32, 1)))
            assert await store.package_hashes() == {"01" * 32, "02" * 32, "03" * 32}

        self.run(scenario)

    def test_a_published_version_is_stored_with_the_head_or_not_at_all(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            first = published_of(head, 1)
            await store.create(head, first)
            assert await store.load(head.key, "1") == first
            after = renewed(head)
            second = published_of(head, 2)
            with pytest.raises(Conflict):
                await store.replace(after, "another revision", second)
            assert await store.load(head.key, "2") is None
            await store.replace(after, head.revision_id, second)
            assert await store.load(head.key) == after
            assert await store.load(head.key, "2") == second

        self.run(scenario)

    def test_a_version_is_found_by_its_number_as_it_is_printed(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head, published_of(head, 7))
            assert await store.load(head.key, "7") is not None
            for text in ("07", "0", "8", "9" * 128):
                assert await store.load(head.key, text) is None
                assert await store.delete_version(head.key, text) is False

        self.run(scenario)

    def test_versions_are_listed_by_number_behind_latest(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head)
            for number in range(1, 13):
                after = renewed(head)
                await store.replace(after, head.revision_id, published_of(head, number))
                head = after
            await store.create(make_head("e"))
            await store.create(make_head("g"))
            listed = await store.versions(head.key, after=-1, limit=50)
            assert [one.version for one in listed] == ["$LATEST", *map(str, range(1, 13))]
            assert [one.version for one in await store.versions(head.key, after=9, limit=2)] == ["10", "11"]
            everything = await store.page_all(ACCOUNT, REGION, after=("", 0), limit=50)
            assert [one.key.name for one in everything] == ["e", *["f"] * 13, "g"]
            rest = await store.page_all(ACCOUNT, REGION, after=("f", 11), limit=50)
            assert [(one.key.name, one.version) for one in rest] == [("f", "12"), ("g", "$LATEST")]
            assert [one.key.name for one in await store.page(ACCOUNT, REGION, after="", limit=50)] == [
                "e",
                "f",
                "g",
            ]
            assert await store.usage(ACCOUNT, REGION) == Usage(3, 1500)
            assert await store.elsewhere("f") == [head.key]

        self.run(scenario)

    def test_a_version_that_an_alias_points_to_stays(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head, published_of(head, 1))
            after = renewed(head)
            await store.replace(after, head.revision_id, published_of(head, 2))
            await store.create_alias(make_alias(head.key, "b", "1", weights={"2": 0.5}))
            await store.create_alias(make_alias(head.key, "a", "2"))
            for version, names in (("1", ["b"]), ("2", ["a", "b"])):
                with pytest.raises(Referenced) as caught:
                    await store.delete_version(head.key, version)
                assert caught.value.aliases == names
            await store.delete_alias(head.key, "b")
            assert await store.delete_version(head.key, "1") is True
            assert await store.delete_version(head.key, "1") is False
            assert await store.load(head.key, "1") is None

        self.run(scenario)

    def test_an_alias_points_to_what_is_there(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            with pytest.raises(VersionMissing) as caught:
                await store.create_alias(make_alias(head.key, "live", "1"))
            assert caught.value.version is None
            await store.create(head, published_of(head, 1))
            for version, weights, missing in (("9", {}, "9"), ("1", {"8": 0.5}, "8")):
                with pytest.raises(VersionMissing) as caught:
                    await store.create_alias(make_alias(head.key, "live", version, weights=weights))
                assert caught.value.version == missing
            alias = make_alias(head.key, "live", "1", description="d")
            await store.create_alias(alias)
            assert await store.load_alias(head.key, "live") == alias
            with pytest.raises(AlreadyExists):
                await store.create_alias(make_alias(head.key, "live", "1"))
            with pytest.raises(VersionMissing):
                await store.replace_alias(make_alias(head.key, "live", "9"), alias.revision_id)
            moved = make_alias(head.key, "live", "$LATEST")
            with pytest.raises(Conflict):
                await store.replace_alias(moved, "another revision")
            await store.replace_alias(moved, alias.revision_id)
            assert await store.load_alias(head.key, "live") == moved

        self.run(scenario)

    def test_aliases_are_listed_by_name_and_by_version(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head, published_of(head, 1))
            await store.replace(renewed(head), head.revision_id, published_of(head, 2))
            for name, version, weights in (
                ("b", "1", {"2": 0.5}),
                ("a", "2", {}),
                ("C", "1", {}),
                ("d", "$LATEST", {}),
            ):
                await store.create_alias(make_alias(head.key, name, version, weights=weights))

            async def names(version: str | None, after: str = "", limit: int = 50) -> list[str]:
                found = await store.aliases(head.key, version=version, after=after, limit=limit)
                return [alias.name for alias in found]

            assert await names(None) == ["C", "a", "b", "d"]
            assert await names(None, after="C", limit=2) == ["a", "b"]
            assert await names("1") == ["C", "b"]
            assert await names("2") == ["a", "b"]
            assert await names("$LATEST") == ["d"]
            assert await names("3") == []

        self.run(scenario)

    def test_a_deleted_function_takes_versions_and_aliases_along(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head, published_of(head, 1))
            await store.create_alias(make_alias(head.key, "live", "1"))
            assert await store.delete(head.key) is True
            assert await store.load(head.key, "1") is None
            assert await store.load_alias(head.key, "live") is None
            await store.create(make_head("f"))
            assert await store.aliases(head.key, version=None, after="", limit=50) == []
            assert len(await store.versions(head.key, after=-1, limit=50)) == 1

        self.run(scenario)

    def test_how_events_are_tried_is_kept_for_what_is_there(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            configs = [
                make_event_config(head.key, "$LATEST", maximum_retry_attempts=0, on_success="arn:s"),
                make_event_config(head.key, "1", maximum_event_age_s=60, on_failure="arn:f"),
                make_event_config(head.key, "live", maximum_retry_attempts=2),
            ]
            for config in configs:
                with pytest.raises(Conflict):
                    await store.put_event_config(config)
            await store.create(head, published_of(head, 1))
            await store.create_alias(make_alias(head.key, "live", "1"))
            for config in configs:
                qualifier = config.target.qualifier
                assert qualifier is not None
                assert await store.load_event_config(head.key, qualifier) is None
                await store.put_event_config(config)
                assert await store.load_event_config(head.key, qualifier) == config
            assert await store.event_configs(head.key, after="", limit=50) == configs
            assert await store.event_configs(head.key, after="$LATEST", limit=1) == configs[1:2]
            for absent in ("2", "other", "007"):
                with pytest.raises(Conflict):
                    await store.put_event_config(make_event_config(head.key, absent))
            changed = make_event_config(head.key, "1", maximum_event_age_s=90)
            await store.put_event_config(changed)
            assert await store.load_event_config(head.key, "1") == changed
            assert await store.delete_event_config(head.key, "1") is True
            assert await store.delete_event_config(head.key, "1") is False
            assert await store.event_configs(head.key, after="", limit=50) == [configs[0], configs[2]]

        self.run(scenario)

    def test_how_events_are_tried_is_replaced_only_as_expected(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head)
            first = make_event_config(head.key, "$LATEST", maximum_retry_attempts=0)
            second = make_event_config(head.key, "$LATEST", maximum_retry_attempts=1)
            with pytest.raises(Conflict):
                await store.put_event_config(second, first)
            await store.put_event_config(first)
            await store.put_event_config(second, first)
            with pytest.raises(Conflict):
                await store.put_event_config(first, first)
            assert await store.load_event_config(head.key, "$LATEST") == second

        self.run(scenario)

    def test_how_events_are_tried_goes_with_what_it_belongs_to(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head, other = make_head("f"), make_head("g")
            for each in (head, other):
                await store.create(each, published_of(each, 1))
                await store.create_alias(make_alias(each.key, "live", "$LATEST"))
                for qualifier in ("$LATEST", "1", "live"):
                    await store.put_event_config(make_event_config(each.key, qualifier))

            async def left(key: FunctionKey) -> list[str | None]:
                found = await store.event_configs(key, after="", limit=50)
                return [config.target.qualifier for config in found]

            await store.delete_version(head.key, "1")
            assert await left(head.key) == ["$LATEST", "live"]
            await store.delete_alias(head.key, "live")
            assert await left(head.key) == ["$LATEST"]
            await store.create_alias(make_alias(head.key, "live", "$LATEST"))
            await store.put_event_config(make_event_config(head.key, "live"))
            await store.delete(head.key)
            await store.create(make_head("f"))
            assert await left(head.key) == []
            assert await left(other.key) == ["$LATEST", "1", "live"]

        self.run(scenario)

    def test_what_is_provisioned_is_kept_for_versions_and_aliases_that_are_there(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            key = head.key
            configs = [make_provisioned(key, qualifier, 2) for qualifier in ("1", "2", "live")]
            for config in configs:
                with pytest.raises((VersionMissing, AliasMissing)):
                    await store.put_provisioned(config, accept)
            await store.create(head, published_of(head, 1))
            await store.replace(renewed(head), head.revision_id, published_of(head, 2))
            await store.create_alias(make_alias(key, "live", "2"))
            assert await store.with_provisioned() == []
            for config in configs:
                assert await store.load_provisioned(key, config.qualifier) is None
                await store.put_provisioned(config, accept)
                assert await store.load_provisioned(key, config.qualifier) == config
            assert await store.provisioned(key, after="", limit=50) == configs
            assert await store.provisioned(key, after="1", limit=1) == configs[1:2]
            assert await store.with_provisioned() == [key]
            changed = make_provisioned(key, "1", 7)
            await store.put_provisioned(changed, accept)
            assert await store.load_provisioned(key, "1") == changed
            assert await store.delete_provisioned(key, "1") is True
            assert await store.delete_provisioned(key, "1") is False
            await store.delete_alias(key, "live")
            await store.delete_version(key, "2")
            assert await store.provisioned(key, after="", limit=50) == []

        self.run(scenario)

    def test_what_is_provisioned_goes_with_its_function_only(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            heads = [make_head("f"), make_head("g")]
            for head in heads:
                await store.create(head, published_of(head, 1))
                await store.put_provisioned(make_provisioned(head.key, "1"), accept)
            await store.delete(heads[0].key)
            assert await store.with_provisioned() == [heads[1].key]

        self.run(scenario)

    def test_a_check_sees_all_that_bears_on_it_and_its_refusal_stores_nothing(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head, other = make_head("f", reserved_concurrency=9), make_head("g")
            for each in (head, other, make_head("f", region="us-east-1", reserved_concurrency=5)):
                await store.create(each, published_of(each.evolve(reserved_concurrency=None), 1))
            alias = make_alias(head.key, "live", "1")
            await store.create_alias(alias)
            mine, theirs = make_provisioned(head.key, "live", 3), make_provisioned(other.key, "1", 2)
            await store.put_provisioned(mine, accept)
            await store.put_provisioned(theirs, accept)
            seen: list[Provisioning] = []

            def refuse(found: Provisioning) -> None:
                seen.append(found)
                raise LookupError

            with pytest.raises(LookupError):
                await store.put_provisioned(make_provisioned(head.key, "live", 8), refuse)
            with pytest.raises(LookupError):
                await store.put_provisioned(make_provisioned(other.key, "1", 8), refuse)
            moved = make_alias(head.key, "live", "$LATEST")
            with pytest.raises(LookupError):
                await store.replace_alias(moved, alias.revision_id, refuse)
            assert seen == [
                Provisioning(alias, [(mine, "1")], 9, 9, 2),
                Provisioning(None, [(theirs, "1")], None, 9, 2),
                Provisioning(moved, [(mine, "$LATEST")], 9, 9, 2),
            ]
            assert await store.load_provisioned(head.key, "live") == mine
            assert await store.load_alias(head.key, "live") == alias
            await store.delete_provisioned(head.key, "live")
            # Nothing is provisioned for it any more, so nobody asks.
            await store.replace_alias(moved, alias.revision_id, refuse)

        self.run(scenario)

    def test_no_less_is_reserved_than_is_provisioned_which_counts_where_nothing_is(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            first, second = make_head("f"), make_head("g")
            for head in (first, second):
                await store.create(head, published_of(head, 1))
            await store.put_provisioned(make_provisioned(first.key, "1", 4), accept)
            with pytest.raises(ReservedTooLittle) as caught:
                await store.replace(renewed(first, reserved_concurrency=3), first.revision_id)
            assert caught.value.provisioned == 4
            more = renewed(second, reserved_concurrency=6)
            with pytest.raises(ReservedTooMuch):
                await store.replace(more, second.revision_id, reserved_at_most=9)
            await store.replace(more, second.revision_id, reserved_at_most=10)
            # Now it is a part of what is reserved.
            enough = renewed(first, reserved_concurrency=4)
            await store.replace(enough, first.revision_id, reserved_at_most=10)

        self.run(scenario)

    def test_a_policy_is_kept_for_what_is_there(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            policies = {
                qualifier: make_policy(f'{{"Id":"{qualifier} ü"}}') for qualifier in (None, "1", "live")
            }
            for qualifier, policy in policies.items():
                with pytest.raises(Conflict):
                    await store.replace_policy(head.key, qualifier, policy, None)
            await store.create(head, published_of(head, 1))
            await store.create_alias(make_alias(head.key, "live", "1"))
            for qualifier, policy in policies.items():
                assert await store.load_policy(head.key, qualifier) is None
                await store.replace_policy(head.key, qualifier, policy, None)
            for qualifier, policy in policies.items():
                assert await store.load_policy(head.key, qualifier) == policy
            # A version is called $LATEST, and still the function's own policy is not its.
            assert await store.load_policy(head.key, "$LATEST") is None
            for absent in ("2", "other", "007", "0"):
                with pytest.raises(Conflict):
                    await store.replace_policy(head.key, absent, make_policy(), None)
            await store.replace_policy(head.key, "1", None, policies["1"].revision_id)
            found = {qualifier: await store.load_policy(head.key, qualifier) for qualifier in policies}
            assert found == {**policies, "1": None}

        self.run(scenario)

    def test_a_policy_is_replaced_only_as_expected(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head)
            first, second = make_policy(), make_policy()

            async def refused(policy: StoredPolicy | None, expected: str | None) -> None:
                with pytest.raises(Conflict):
                    await store.replace_policy(head.key, None, policy, expected)

            await refused(first, second.revision_id)
            await refused(None, second.revision_id)
            await store.replace_policy(head.key, None, first, None)
            await refused(second, None)
            await refused(second, second.revision_id)
            await refused(None, second.revision_id)
            await refused(None, None)
            assert await store.load_policy(head.key, None) == first
            await store.replace_policy(head.key, None, second, first.revision_id)
            assert await store.load_policy(head.key, None) == second
            await store.replace_policy(head.key, None, None, second.revision_id)
            assert await store.load_policy(head.key, None) is None

        self.run(scenario)

    def test_one_of_many_competing_policies_wins(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head)
            expected = None
            for _ in range(2):
                rivals = [make_policy() for _ in range(20)]
                outcomes = await asyncio.gather(
                    *(store.replace_policy(head.key, None, rival, expected) for rival in rivals),
                    return_exceptions=True,
                )
                assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
                winner = rivals[outcomes.index(None)]
                assert await store.load_policy(head.key, None) == winner
                expected = winner.revision_id

        self.run(scenario)

    def test_a_policy_goes_with_what_it_belongs_to(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head, other = make_head("f"), make_head("g")
            for each in (head, other):
                await store.create(each, published_of(each, 1))
                await store.create_alias(make_alias(each.key, "live", "$LATEST"))
                for qualifier in (None, "1", "live"):
                    await store.replace_policy(each.key, qualifier, make_policy(), None)

            async def left(key: FunctionKey) -> list[str | None]:
                return [one for one in (None, "1", "live") if await store.load_policy(key, one)]

            await store.delete_version(head.key, "1")
            assert await left(head.key) == [None, "live"]
            await store.delete_alias(head.key, "live")
            await store.create_alias(make_alias(head.key, "live", "$LATEST"))
            assert await left(head.key) == [None]
            await store.replace_policy(head.key, "live", make_policy(), None)
            await store.delete(head.key)
            again = make_head("f")
            await store.create(again, published_of(again, 1))
            await store.create_alias(make_alias(head.key, "live", "1"))
            assert await left(head.key) == []
            assert await left(other.key) == [None, "1", "live"]

        self.run(scenario)

    def test_an_alias_that_moves_and_a_function_that_changes_keep_their_policies(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head, published_of(head, 1))
            alias = make_alias(head.key, "live", "$LATEST")
            await store.create_alias(alias)
            policies = {qualifier: make_policy() for qualifier in (None, "live")}
            for qualifier, policy in policies.items():
                await store.replace_policy(head.key, qualifier, policy, None)
            await store.replace_alias(make_alias(head.key, "live", "1"), alias.revision_id)
            await store.replace(renewed(head), head.revision_id)
            for qualifier, policy in policies.items():
                assert await store.load_policy(head.key, qualifier) == policy

        self.run(scenario)

    def test_change_feed_tells_each_change_before_its_writer_resumes(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            heard: list[str | None] = []
            head = make_head("f")
            heads: list[FunctionHead | None] = []

            def hear(change: Change) -> None:
                assert change.key == head.key
                heard.append(change.qualifier)
                heads.append(change.head)

            store.subscribe(hear)
            await store.create(head)
            assert heard == ["$LATEST"]
            after = renewed(head)
            await store.replace(after, head.revision_id, published_of(after, 1))
            assert heard[1:] == ["$LATEST"]
            await store.create_alias(make_alias(head.key, "live", "1"))
            await store.delete_alias(head.key, "live")
            assert heard[2:] == ["live", "live"]
            await store.put_provisioned(make_provisioned(head.key, "1"), accept)
            await store.delete_provisioned(head.key, "1")
            await store.delete_provisioned(head.key, "1")
            assert heard[4:] == ["1", "1"]
            policies = [make_policy(), make_policy()]
            for qualifier in (None, "1"):
                await store.replace_policy(head.key, qualifier, policies[0], None)
                await store.replace_policy(head.key, qualifier, policies[1], policies[0].revision_id)
                await store.replace_policy(head.key, qualifier, None, policies[1].revision_id)
            assert heard[6:] == [*["$LATEST"] * 3, *["1"] * 3]
            await store.delete_version(head.key, "1")
            assert heard[12:] == ["1"]
            await store.delete(head.key)
            assert heard[13:] == [None]
            # Of a version the head comes along as it is stored.
            assert heads == [head, after, *[None] * 12]

        self.run(scenario)

    def test_change_feed_is_silent_on_what_changed_nothing(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            head = make_head("f")
            await store.create(head)
            heard: list[object] = []
            store.subscribe(heard.append)
            with pytest.raises(AlreadyExists):
                await store.create(make_head("f"))
            with pytest.raises(Conflict):
                await store.replace(renewed(head), "another revision")
            await store.delete(FunctionKey(ACCOUNT, REGION, "nothing"))
            await store.delete_version(head.key, "1")
            await store.delete_alias(head.key, "live")
            with pytest.raises(VersionMissing):
                await store.create_alias(make_alias(head.key, "live", "1"))
            # Whoever tries events asks for this each time.
            await store.put_event_config(make_event_config(head.key, "$LATEST"))
            await store.delete_event_config(head.key, "$LATEST")
            with pytest.raises(Conflict):
                await store.replace_policy(head.key, None, make_policy(), "another revision")
            with pytest.raises(Conflict):
                await store.replace_policy(head.key, "1", make_policy(), None)
            assert heard == []

        self.run(scenario)

    def test_cancelled_writer_leaves_the_store_usable(self) -> None:
        async def scenario(store: FunctionStore) -> None:
            task = asyncio.get_running_loop().create_task(store.create(make_head("f")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await store.create(make_head("g"))
            assert await store.load(FunctionKey(ACCOUNT, REGION, "g")) is not None

        self.run(scenario)


class DurableFunctionStoreContract(FunctionStoreContract):
    """Promises of an engine whose data outlives the store object."""

    def test_opened_again_it_holds_the_same(self) -> None:
        heads = [make_head(f"f{number}") for number in range(5)]
        policy = make_policy()

        async def fill(store: FunctionStore) -> None:
            for head in heads:
                await store.create(head)
            await store.delete(heads[0].key)
            await store.replace_policy(heads[1].key, None, policy, None)

        async def look(store: FunctionStore) -> None:
            assert await store.page(ACCOUNT, REGION, after="", limit=50) == heads[1:]
            assert await store.load_policy(heads[1].key, None) == policy

        self.run(fill)
        self.run(look)
