"""Environments that are kept initialised, as dialogues with a fake process: see tests/environment_stage.py."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.environment_stage import IDLE_TIMEOUT_S, FakeProcess, Stage, make_version, play

from lambent import limits
from lambent.execution.pool import MachineFull
from lambent.model.functions import LoggingConfig
from lambent.wire import frames

DOCUMENT = make_version().document_id
KILLED = 9


def provision(stage: Stage, count: int) -> list[FakeProcess]:
    """Have so many environments kept, and their processes started and ready."""
    stage.pool.provision(make_version(), count)
    processes = []
    while stage.launcher.waiting:
        processes.append(stage.launcher.starts())
        processes[-1].says(frames.READY)
    return processes


def ready(stage: Stage) -> int:
    return stage.pool.provisioned(DOCUMENT)[0]


def has_failed(stage: Stage) -> bool:
    return stage.pool.provisioned(DOCUMENT)[1]


def test_environments_are_initialised_before_anybody_calls(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        told: list[int] = []
        stage.pool.on_provisioned = lambda version: told.append(
            stage.pool.provisioned(version.document_id)[0]
        )
        stage.pool.provision(make_version(), 1)
        environment = stage.launcher.waiting[0]
        assert environment.initialization_type == "provisioned-concurrency"
        assert ready(stage) == 0
        process = stage.launcher.starts()
        environment.write_init_start("python:3.13.1", "arn")
        process.writes("module\n")
        stage.clock.advance(0.25)
        process.says(frames.READY)
        assert (ready(stage), told, stage.pool.busy) == (1, [1], 0)
        stage.runs("one")
        process.says(frames.RESULT, b"1", ms=2)
        assert stage.results["one"].payload == b"1"
        assert stage.log.text == (
            "INIT_START Runtime Version: python:3.13.1\tRuntime Version ARN: arn\nmodule\n"
            "INIT_REPORT Init Duration: 250.00 ms\tPhase: init\tStatus: success\n"
            "START RequestId: one Version: $LATEST\nEND RequestId: one\n"
            "REPORT RequestId: one\tDuration: 2.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 40 MB\t\n"
        )

    play(tmp_path, script)


def test_with_json_the_events_tell_how_it_was_initialised(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        logging = LoggingConfig("/aws/lambda/f", "JSON", "INFO", "DEBUG")
        stage.pool.provision(make_version(logging=logging), 1)
        environment = stage.launcher.waiting[0]
        process = stage.launcher.starts()
        environment.write_init_start("python:3.13.1", "arn")
        process.says(frames.READY)
        records = [json.loads(line)["record"] for line in stage.log.text.splitlines()]
        assert [record["initializationType"] for record in records] == ["provisioned-concurrency"] * 3

    play(tmp_path, script)


def test_they_are_used_first_and_only_then_others(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("before")
        other = stage.launcher.starts()
        other.says(frames.READY)
        other.says(frames.RESULT)
        (kept,) = provision(stage, 1)
        stage.runs("first")
        assert len(kept.sent) == 1
        stage.runs("second")
        assert len(other.sent) == 2
        other.says(frames.RESULT)
        kept.says(frames.RESULT)
        stage.runs("third")
        assert len(kept.sent) == 2
        kept.says(frames.RESULT)

    play(tmp_path, script)


def test_they_do_not_expire_and_do_not_give_way(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.answers("other", make_version("other"))
        kept = provision(stage, 2)
        assert stage.results["other"]
        stage.clock.advance(2 * IDLE_TIMEOUT_S)
        stage.pool._expire_idle()
        with pytest.raises(MachineFull):
            stage.runs("late", make_version("other"))
        stage.pool.retire(DOCUMENT)
        assert [process.abandoned for process in kept] == [False, False]
        assert ready(stage) == 2

    play(tmp_path, script, machine_limit=2)


def test_a_full_machine_makes_room_when_an_environment_is_idle_or_ends(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("a", make_version("a"))
        stage.runs("b", make_version("b"))
        first, second = stage.launcher.starts(), stage.launcher.starts()
        stage.pool.provision(make_version(), 2)
        for process, expected in ((first, 1), (second, 2)):
            process.says(frames.READY)
            process.says(frames.RESULT)
            await asyncio.sleep(0)
            stage.launcher.starts().says(frames.READY)
            assert ready(stage) == expected
        assert stage.launcher.waiting == []

    play(tmp_path, script, machine_limit=2)


def test_a_few_start_at_a_time(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.pool.provision(make_version(), 9)
        assert len(stage.launcher.waiting) == 4
        stage.launcher.starts().says(frames.READY)
        assert len(stage.launcher.waiting) == 4

    play(tmp_path, script)


@pytest.mark.parametrize("how", ["error", "exit", "timeout"])
def test_an_init_that_fails_is_not_tried_again_until_somebody_asks(tmp_path: Path, how: str) -> None:
    async def script(stage: Stage) -> None:
        provision(stage, 1)
        stage.pool.provision(make_version(timeout_s=200), 2)
        process = stage.launcher.starts()
        if how == "error":
            process.says(frames.INIT_ERROR, b'{"errorType": "Runtime.ImportModuleError"}')
        elif how == "exit":
            process.exits(3 << 8)
        else:
            # Of the version that was given first.
            await stage.passes(limits.EXTENDED_INIT_S - 1)
            assert not process.abandoned
            await stage.passes(1)
        assert process.abandoned or how == "exit"
        status = {
            "error": "error\tError Type: Runtime.ImportModuleError",
            "exit": "error",
            "timeout": "timeout",
        }
        assert f"\tPhase: init\tStatus: {status[how]}" in stage.log.text
        assert (ready(stage), has_failed(stage), stage.launcher.waiting) == (1, True, [])
        stage.pool.provision(make_version(), 2)
        stage.launcher.starts().says(frames.READY)
        assert (ready(stage), has_failed(stage)) == (2, False)

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("timeout_s", "limit_s"), [(3, limits.EXTENDED_INIT_S), (131, 131), (5400, limits.EXTENDED_INIT_S_MAX)]
)
def test_init_has_longer_than_on_demand(tmp_path: Path, timeout_s: int, limit_s: int) -> None:
    async def script(stage: Stage) -> None:
        stage.pool.provision(make_version(timeout_s=timeout_s), 1)
        process = stage.launcher.starts()
        await stage.passes(limit_s - 0.5)
        assert not process.abandoned
        await stage.passes(0.5)
        assert process.abandoned

    play(tmp_path, script)


@pytest.mark.parametrize("how", ["crash", "timeout", "idle"])
def test_what_ends_is_replaced(tmp_path: Path, how: str) -> None:
    async def script(stage: Stage) -> None:
        (kept,) = provision(stage, 1)
        stage.runs("one")
        if how == "crash":
            kept.exits(KILLED)
        elif how == "timeout":
            await stage.passes(3)
        else:
            kept.says(frames.RESULT)
            kept.exits(KILLED)
        assert ready(stage) == 0
        again = stage.launcher.starts()
        again.says(frames.READY)
        assert (ready(stage), stage.launcher.waiting) == (1, [])
        stage.runs("two")
        again.says(frames.RESULT, b"2")
        assert stage.results["two"].payload == b"2"

    play(tmp_path, script)


def test_processes_that_keep_ending_uncalled_are_given_up(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        kept = provision(stage, 2)
        # All at once is what happens when the process that started them ends.
        for process in kept:
            process.exits(KILLED)
        assert not has_failed(stage)
        stage.launcher.fails("no process")
        assert (has_failed(stage), ready(stage)) == (True, 0)
        stage.launcher.starts().says(frames.READY)
        assert (stage.launcher.waiting, ready(stage)) == ([], 1)

    play(tmp_path, script)


def test_fewer_end_the_surplus_idle_now_and_busy_with_its_answer(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        first, second = provision(stage, 2)
        stage.runs("busy")
        stage.pool.provision(make_version(), 3)
        starting = stage.launcher.starts()
        stage.pool.provision(make_version(), 1)
        assert (first.abandoned, second.abandoned, starting.abandoned) == (True, False, True)
        assert ready(stage) == 1
        stage.pool.provision(make_version(), 0)
        second.says(frames.RESULT, b"1")
        assert stage.results["busy"].payload == b"1"
        assert second.abandoned
        assert stage.pool._provisioned == {}

    play(tmp_path, script)


def test_draining_ends_them_and_starts_no_others(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        first, second = provision(stage, 2)
        stage.runs("busy")
        draining = asyncio.get_running_loop().create_task(stage.pool.drain(20))
        for _ in range(3):
            await asyncio.sleep(0)
        assert (first.abandoned, second.abandoned) == (True, False)
        stage.pool.provision(make_version(), 2)
        assert stage.launcher.waiting == []
        second.says(frames.RESULT, b"1")
        await draining
        assert stage.results["busy"].payload == b"1"
        assert second.abandoned

    play(tmp_path, script)


def test_they_are_counted_among_the_environments_in_use(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        provision(stage, 2)
        stage.runs("busy")
        assert sorted(use.is_busy for use in stage.pool.usage()) == [False, True]

    play(tmp_path, script)
