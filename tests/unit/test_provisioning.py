"""What is provisioned follows what is stored: a real store and a real pool whose processes are fake."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.function_store import accept, make_alias, make_provisioned, published_of, renewed
from tests.contract.rig import make_head
from tests.environment_stage import FakeProcess, Stage, open_stage

from lambent.invocation.admission import Admission
from lambent.invocation.provisioning import Provisioner
from lambent.model.functions import Alias, FunctionHead, State
from lambent.model.provisioned import ProvisionedConfig
from lambent.storage.directory import DataDirectory
from lambent.storage.sealing import open_sealer
from lambent.storage.sqlite import SqliteFunctionStore
from lambent.tasks import Tasks
from lambent.wire import frames

HEAD = make_head("f")
KEY = HEAD.key
LIMIT = 100


@dataclasses.dataclass
class Rig:
    """A function with versions 1 and 2 and the alias ``live`` on the first, and who provisions."""

    store: SqliteFunctionStore
    stage: Stage
    admission: Admission
    provisioner: Provisioner
    alias: Alias
    versions: dict[str, FunctionHead]

    async def settles(self) -> None:
        """Return when all changes have been read."""
        while self.provisioner._reading:  # noqa: ASYNC110 - what is read tells nobody
            await asyncio.sleep(0)

    async def puts(self, qualifier: str, count: int) -> ProvisionedConfig:
        config = make_provisioned(KEY, qualifier, count)
        await self.store.put_provisioned(config, accept)
        await self.settles()
        return config

    async def moves(self, version: str) -> None:
        moved = make_alias(KEY, "live", version)
        await self.store.replace_alias(moved, self.alias.revision_id, accept)
        self.alias = moved
        await self.settles()

    def starts(self) -> FakeProcess:
        """Make the environment that has waited longest ready, unless it was ended meanwhile."""
        process = self.stage.launcher.starts()
        if not process.abandoned:
            process.says(frames.READY)
        return process

    def slots(self) -> dict[str, int]:
        """Return how many slots each version has of its own."""
        found = self.admission.snapshot().get(KEY)
        return {} if found is None else {name: each.limit for name, each in found.provisioned.items()}

    def kept(self, version: str) -> int:
        """Return how many environments of a version are kept and ready."""
        return self.stage.pool.provisioned(self.versions[version].latest.document_id)[0]

    def use(self, config: ProvisionedConfig) -> tuple[str, int]:
        status, allocated = self.provisioner.use(config)
        return status.value, allocated


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Rig]:
    directory = DataDirectory.open(":memory:")
    store = SqliteFunctionStore(directory, open_sealer(directory))
    await store.start()
    tasks = Tasks()
    try:
        first, second = published_of(HEAD, 1), published_of(HEAD, 2)
        await store.create(HEAD, first)
        await store.replace(renewed(HEAD), HEAD.revision_id, second)
        alias = make_alias(KEY, "live", "1")
        await store.create_alias(alias)
        async with open_stage(folder) as stage:
            admission = Admission(LIMIT, stage.clock)
            await admission.start(store)
            provisioner = Provisioner(store, admission, stage.pool, tasks)
            await provisioner.start()
            yield Rig(store, stage, admission, provisioner, alias, {"1": first, "2": second})
    finally:
        await tasks.close()
        await store.stop()
        directory.close()


def run(folder: Path, script: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened(folder) as rig:
            await script(rig)

    asyncio.run(main())


def test_slots_are_those_of_the_environments_that_are_ready(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        config = await rig.puts("live", 2)
        assert (rig.slots(), rig.use(config)) == ({}, ("IN_PROGRESS", 0))
        first = rig.starts()
        assert (rig.slots(), rig.use(config)) == ({"1": 1}, ("IN_PROGRESS", 1))
        rig.starts()
        assert (rig.slots(), rig.use(config)) == ({"1": 2}, ("READY", 2))
        first.exits(9)
        assert (rig.slots(), rig.use(config)) == ({"1": 1}, ("IN_PROGRESS", 1))
        rig.starts()
        assert (rig.slots(), rig.use(config)) == ({"1": 2}, ("READY", 2))

    run(tmp_path, script)


def test_an_alias_that_moves_hands_over_one_by_one(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        config = await rig.puts("live", 2)
        old = [rig.starts(), rig.starts()]
        await rig.moves("2")
        assert (rig.slots(), rig.use(config)) == ({"1": 2}, ("IN_PROGRESS", 0))
        rig.starts()
        assert (rig.slots(), rig.use(config)) == ({"1": 1, "2": 1}, ("IN_PROGRESS", 1))
        assert [process.abandoned for process in old] == [True, False]
        rig.starts()
        assert (rig.slots(), rig.use(config)) == ({"2": 2}, ("READY", 2))
        assert [process.abandoned for process in old] == [True, True]
        # And back, for good.
        await rig.moves("1")
        rig.starts()
        rig.starts()
        assert (rig.slots(), rig.kept("2"), rig.stage.launcher.waiting) == ({"1": 2}, 0, [])

    run(tmp_path, script)


def test_an_alias_that_moves_on_at_once_keeps_what_still_serves(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        config = await rig.puts("live", 2)
        rig.starts()
        rig.starts()
        await rig.moves("2")
        rig.starts()
        await rig.moves("1")
        # Half of it is there already, and no new one is made of what is left behind.
        assert (rig.slots(), rig.use(config)) == ({"1": 1, "2": 1}, ("IN_PROGRESS", 1))
        while rig.stage.launcher.waiting:
            rig.starts()
        assert (rig.slots(), rig.kept("2"), rig.use(config)) == ({"1": 2}, 0, ("READY", 2))

    run(tmp_path, script)


def test_where_the_new_versions_init_fails_the_old_environments_stay(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        config = await rig.puts("live", 1)
        rig.starts()
        await rig.moves("2")
        rig.stage.launcher.starts().says(frames.INIT_ERROR, b"{}")
        assert (rig.slots(), rig.use(config)) == ({"1": 1}, ("FAILED", 0))
        assert rig.stage.launcher.waiting == []
        # Asked for again, it is tried again.
        config = await rig.puts("live", 1)
        assert rig.use(config) == ("IN_PROGRESS", 0)
        rig.starts()
        assert (rig.slots(), rig.use(config)) == ({"2": 1}, ("READY", 1))

    run(tmp_path, script)


def test_a_version_that_is_deleted_meanwhile_serves_no_longer(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        await rig.puts("live", 1)
        old = rig.starts()
        await rig.moves("2")
        assert not old.abandoned
        await rig.store.delete_version(KEY, "1")
        await rig.settles()
        assert (old.abandoned, rig.slots()) == (True, {})

    run(tmp_path, script)


def test_an_alias_and_then_its_former_version_may_be_provisioned(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        await rig.puts("live", 1)
        rig.starts()
        await rig.moves("2")
        config = await rig.puts("1", 1)
        assert rig.use(config) == ("READY", 1)
        while rig.stage.launcher.waiting:
            rig.starts()
        assert (rig.slots(), rig.kept("1"), rig.kept("2")) == ({"1": 1, "2": 1}, 1, 1)

    run(tmp_path, script)


def test_what_ends_gives_back_its_environments_and_slots(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        for end in (
            rig.store.delete_provisioned(KEY, "live"),
            rig.store.delete_alias(KEY, "live"),
            rig.store.delete(KEY),
        ):
            if await rig.store.load_alias(KEY, "live") is None:
                rig.alias = make_alias(KEY, "live", "1")
                await rig.store.create_alias(rig.alias)
            await rig.puts("live", 2)
            processes = [rig.starts(), rig.starts()]
            await end
            await rig.settles()
            assert [process.abandoned for process in processes] == [True, True]
            assert (rig.slots(), rig.provisioner._functions) == ({}, {})
        assert rig.admission.snapshot() == {}
        assert all(scope.limit == LIMIT for scope in rig.admission.scopes().values())

    run(tmp_path, script)


def test_a_version_is_provisioned_when_it_has_become_active(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        head = await rig.store.load(KEY)
        assert head is not None
        third = published_of(HEAD, 3)
        pending = renewed(third, serving=None, state=State.PENDING)
        await rig.store.replace(renewed(head), head.revision_id, pending)
        config = await rig.puts("3", 1)
        assert (rig.use(config), rig.stage.launcher.waiting) == (("IN_PROGRESS", 0), [])
        failed = renewed(pending, state=State.FAILED)
        await rig.store.replace(failed, pending.revision_id)
        await rig.settles()
        assert rig.use(config) == ("FAILED", 0)
        await rig.store.replace(third, failed.revision_id)
        await rig.settles()
        rig.starts()
        assert rig.use(config) == ("READY", 1)

    run(tmp_path, script)


def test_at_start_what_is_stored_is_provisioned(tmp_path: Path) -> None:
    async def script(rig: Rig) -> None:
        config = await rig.puts("live", 1)
        admission, tasks = Admission(LIMIT, rig.stage.clock), Tasks()
        rig.stage.pool.provision(rig.versions["1"].latest, 0)
        again = Provisioner(rig.store, admission, rig.stage.pool, tasks)
        rig.stage.launcher.waiting.clear()
        await again.start()
        while again._reading:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        rig.starts()
        assert again.use(config) == ("READY", 1)
        await tasks.close()

    run(tmp_path, script)


# The first ones often: without them there is nothing for the others to end.
STEPS = st.one_of(
    st.just(("ready", 0)),
    st.just(("ready", 0)),
    st.just(("call", 0)),
    st.tuples(st.just("put"), st.integers(1, 5)),
    st.tuples(st.just("move"), st.sampled_from("12")),
    st.tuples(st.sampled_from(["answer", "crash", "idle crash"]), st.just(0)),
    st.tuples(st.sampled_from(["fail", "delete", "alias", "version 1"]), st.just(0)),
)


class Life:
    """Plays steps over a rig, and knows which processes there are."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._processes: list[FakeProcess] = []
        self._calls = 0

    def alive(self, *, busy: bool) -> list[FakeProcess]:
        """Return the processes that are ready, busy ones or idle ones."""
        return [
            process
            for process in self._processes
            if not process.abandoned and (process._environment in self._rig.stage.pool._busy) is busy
        ]

    async def play(self, step: str, value: int | str) -> None:
        rig = self._rig
        match step:
            case "put" if await rig.store.load_alias(KEY, "live"):
                await rig.puts("live", int(value))
            case "move" if await rig.store.load_alias(KEY, "live") and await rig.store.load(KEY, str(value)):
                await rig.moves(str(value))
            case "delete":
                await rig.store.delete_provisioned(KEY, "live")
            case "alias":
                await rig.store.delete_alias(KEY, "live")
                await rig.settles()
                rig.alias = make_alias(KEY, "live", "2")
                await rig.store.create_alias(rig.alias)
            case "version 1" if rig.alias.version == "2":
                await rig.store.delete_version(KEY, "1")
            case "ready" | "fail" if rig.stage.launcher.waiting:
                process = rig.stage.launcher.starts()
                if not process.abandoned:
                    process.says(frames.READY if step == "ready" else frames.INIT_ERROR, b"{}")
                    self._processes += [process] if step == "ready" else []
            case "call" if any(self.alive(busy=False)):
                self._calls += 1
                version = self.alive(busy=False)[0]._environment.version
                rig.stage.runs(f"call {self._calls}", version)
            case "answer" | "crash" if any(self.alive(busy=True)):
                process = self.alive(busy=True)[0]
                if step == "answer":
                    process.says(frames.RESULT, b"1")
                else:
                    self.ends(process)
            case "idle crash" if any(self.alive(busy=False)):
                self.ends(self.alive(busy=False)[-1])
        await rig.settles()

    def ends(self, process: FakeProcess) -> None:
        self._processes.remove(process)
        process.exits(9)

    def check(self) -> None:
        """Check that slots are those of ready environments, and never more than requested."""
        rig = self._rig
        function = rig.provisioner._functions.get(KEY)
        requested = sum(target.config.requested for target in function.targets.values()) if function else 0
        assert sum(rig.slots().values()) <= requested
        for version, slots in rig.slots().items():
            assert slots <= rig.kept(version)
            of_version = [
                process
                for process in self.alive(busy=False) + self.alive(busy=True)
                if process._environment.version.version == version
            ]
            assert rig.kept(version) == len(of_version)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(steps=st.lists(STEPS, min_size=20, max_size=60))
def test_whatever_happens_slots_are_those_of_ready_environments_and_nothing_is_left(
    steps: list[tuple[str, int | str]],
) -> None:
    async def script(rig: Rig) -> None:
        life = Life(rig)
        for step, value in steps:
            await life.play(step, value)
            life.check()
        await rig.store.delete(KEY)
        await rig.settles()
        assert life.alive(busy=False) == []
        while busy := life.alive(busy=True):
            busy[0].says(frames.RESULT)
        pool = rig.stage.pool
        assert (pool._count, pool._provisioned, pool.busy, rig.slots()) == (0, {}, 0, {})
        assert all(scope.limit == LIMIT for scope in rig.admission.scopes().values())

    with TemporaryDirectory() as folder:
        run(Path(folder), script)
