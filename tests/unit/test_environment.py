"""Environments and their pool, as dialogues: a fake process speaks, time stands still until it is moved.

A script reads like this: the caller *runs* an invocation, the launcher *starts* a process, the
process *says* something, time *passes*; then the result, the log and the pool are looked at.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import struct
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest
from tests.environment_stage import IDLE_TIMEOUT_S, FakeProcess, Stage, make_version, play

from lambent import limits
from lambent.execution.environment import Phase
from lambent.execution.pool import MachineFull
from lambent.execution.process import FunctionProcess
from lambent.model.functions import FunctionVersion, LoggingConfig
from lambent.wire import frames

KILLED = 9


def _folders(stage: Stage) -> int:
    return len(list(stage.temporary.iterdir()))


# ---------------------------------------------------------------------------- one environment


def test_a_cold_start_and_a_warm_one(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("one")
        process = stage.launcher.starts()
        process.writes("module\n")
        stage.clock.advance(0.25)
        process.says(frames.READY)
        process.writes("handler\n")
        process.says(frames.RESULT, b"1", ms=2.5, mb=41)
        stage.runs("two")
        process.says(frames.RESULT, b"2")
        assert [stage.results[each].payload for each in ("one", "two")] == [b"1", b"2"]
        assert stage.log.text == (
            "module\n"
            "START RequestId: one Version: $LATEST\nhandler\nEND RequestId: one\n"
            "REPORT RequestId: one\tDuration: 2.50 ms\tBilled Duration: 253 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 41 MB\tInit Duration: 250.00 ms\t\n"
            "START RequestId: two Version: $LATEST\nEND RequestId: two\n"
            "REPORT RequestId: two\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 40 MB\t\n"
        )
        tail = stage.results["one"].log_tail
        assert tail is not None
        assert tail.decode() == stage.log.text[len("module\n") : stage.log.text.index("START RequestId: two")]

    play(tmp_path, script)


def test_the_process_gets_the_invocation_with_its_deadline(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("id", make_version(timeout_s=7))
        process = stage.launcher.starts()
        assert process.sent == []
        process.says(frames.READY)
        length, head_size = struct.unpack_from("<II", process.sent[0])
        head = process.sent[0][8 : 8 + head_size].decode().split("\n")
        assert length + 4 == len(process.sent[0])
        assert head[:3] == ["id", str(int((stage.clock.now() + 7) * 1000)), make_version().key.arn()]
        assert process.sent[0][8 + head_size :] == b"{}"
        process.says(frames.RESULT)

    play(tmp_path, script)


def test_kinds_of_answers(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        process = stage.answers("first")
        for kind, payload, expected in (
            (frames.BINARY, b"\x00", (b"\x00", None, "application/unknown")),
            (frames.ERROR, b"{}", (b"{}", "Unhandled", "application/json")),
        ):
            stage.runs(f"{kind}")
            process.says(kind, payload)
            assert stage.results[f"{kind}"][:3] == expected
        stage.runs("large")
        process.says(frames.RESULT, None)
        assert stage.error("large")[0] == "Function.ResponseSizeTooLarge"
        stage.runs("after")
        process.says(frames.RESULT, b"3")
        assert stage.results["after"].payload == b"3"

    play(tmp_path, script)


def test_an_init_that_takes_ten_seconds_is_run_again_under_the_functions_timeout(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("slow", make_version(timeout_s=30))
        first = stage.launcher.starts()
        first.writes("half")
        await stage.passes(limits.INIT_S - 1)
        assert not first.abandoned
        await stage.passes(1)
        assert first.abandoned
        assert "slow" not in stage.results
        second = stage.launcher.starts()
        await stage.passes(29)
        assert not second.abandoned
        second.says(frames.READY)
        second.says(frames.RESULT, b"1")
        assert stage.results["slow"].function_error is None
        assert (
            "half\nINIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\n" in stage.log.text
        )
        # What the second init took is part of Duration.
        assert "\tDuration: 29000.00 ms\tBilled Duration: 29000 ms\t" in stage.log.text
        assert "\tInit Duration: " not in stage.log.text

    play(tmp_path, script)


def test_a_suppressed_init_and_its_handler_share_the_functions_timeout(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("slow", make_version(timeout_s=5))
        stage.launcher.starts()
        await stage.passes(limits.INIT_S)
        second = stage.launcher.starts()
        await stage.passes(4)
        second.says(frames.READY)
        await stage.passes(1)
        assert stage.error("slow")[0] == "Sandbox.Timedout"

    play(tmp_path, script)


def test_a_suppressed_init_beyond_the_timeout_is_a_timeout_and_the_next_call_starts_anew(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("slow")
        stage.launcher.starts()
        await stage.passes(limits.INIT_S)
        second = stage.launcher.starts()
        await stage.passes(3)
        assert second.abandoned
        assert stage.error("slow") == (
            "Sandbox.Timedout",
            "RequestId: slow Error: Task timed out after 3.00 seconds",
        )
        assert (
            "INIT_REPORT Init Duration: 3000.00 ms\tPhase: invoke\tStatus: timeout\nSTART RequestId: slow "
        ) in stage.log.text
        assert stage.log.text.endswith("\tStatus: timeout\n")
        stage.runs("next")
        third = stage.launcher.starts()
        stage.clock.advance(0.5)
        third.says(frames.READY)
        third.says(frames.RESULT, b"1")
        # So is the init after a reset.
        assert "\tDuration: 500.00 ms\t" in stage.log.text
        assert "\tInit Duration: " not in stage.log.text

    play(tmp_path, script)


def test_a_process_that_is_launched_too_late_is_abandoned(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("slow")
        environment = stage.launcher.waiting[0]
        await stage.passes(limits.INIT_S)
        process = stage.launcher.starts()
        late = FakeProcess(environment)
        environment.adopt(cast("FunctionProcess", late))
        assert late.abandoned
        assert not process.abandoned
        process.says(frames.READY)
        process.says(frames.RESULT)

    play(tmp_path, script)


def test_a_timeout_while_running_ends_the_process_and_keeps_the_folder(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("slow")
        process = stage.launcher.starts()
        process.says(frames.READY)
        process.writes("before")
        folders = list(stage.temporary.iterdir())
        await stage.passes(3)
        assert process.abandoned
        assert stage.error("slow")[0] == "Sandbox.Timedout"
        tail = stage.results["slow"].log_tail
        assert tail is not None
        assert tail.startswith(b"START RequestId: slow Version: $LATEST\nbefore\nEND RequestId: slow\n")
        assert b"\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\t" in tail
        assert tail.endswith(b"\tStatus: timeout\n")
        stage.runs("next")
        again = stage.launcher.starts()
        assert again is not process
        again.says(frames.READY)
        again.says(frames.RESULT)
        assert list(stage.temporary.iterdir()) == folders

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, "Runtime exited without providing a reason"),
        (3 << 8, "Runtime exited with error: exit status 3"),
        (KILLED, "Runtime exited with error: signal: killed"),
        (11, "Runtime exited with error: signal: segmentation fault"),
        (40, "Runtime exited with error: signal: signal 40"),
    ],
)
@pytest.mark.parametrize("is_ready", [False, True])
def test_a_crash_answers_the_invocation_with_awss_sentence(
    tmp_path: Path, status: int, reason: str, is_ready: bool
) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("lost")
        process = stage.launcher.starts()
        if is_ready:
            process.says(frames.READY)
        else:
            process.exits(0)
            assert stage.results == {}
            process = stage.launcher.starts()
        process.writes("last words")
        process.exits(status, mb=77)
        assert stage.error("lost") == ("Runtime.ExitError", f"RequestId: lost Error: {reason}")
        assert "last words\n" in stage.log.text
        assert "\tMax Memory Used: 77 MB\t" in stage.log.text
        assert stage.log.text.endswith("Status: error\tError Type: Runtime.ExitError\n")
        stage.answers("next")

    play(tmp_path, script)


def test_a_crash_while_idle_costs_the_next_call_a_new_process_and_nothing_else(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        process = stage.answers("first")
        process.writes("a thread's last words\n")
        process.exits(KILLED)
        assert _folders(stage) == 1
        stage.answers("second")
        assert _folders(stage) == 1
        assert "a thread's last words\nSTART RequestId: second " in stage.log.text
        assert len(set(stage.log.streams)) == 1

    play(tmp_path, script)


IMPORT_ERROR = b'{"errorMessage": "no m", "errorType": "Runtime.ImportModuleError", "requestId": ""}'


def test_a_failed_init_is_run_again_inside_the_invocation_and_then_answers_with_its_error(
    tmp_path: Path,
) -> None:
    # Lines as in docs/aws-behaviour.md, execution 4.6.
    async def script(stage: Stage) -> None:
        stage.runs("broken")
        environment = stage.launcher.waiting[0]
        first = stage.launcher.starts()
        environment.write_init_start("python:3.13.1", "arn")
        first.writes("traceback 1\n", seen=True)
        stage.clock.advance(0.25)
        first.says(frames.INIT_ERROR, IMPORT_ERROR)
        assert first.abandoned
        assert stage.results == {}
        second = stage.launcher.starts()
        environment.write_init_start("python:3.13.1", "arn")
        second.writes("traceback 2")
        stage.clock.advance(0.5)
        second.says(frames.INIT_ERROR, IMPORT_ERROR, mb=41)
        assert second.abandoned
        result = stage.results["broken"]
        assert (result.payload, result.function_error) == (IMPORT_ERROR, "Unhandled")
        kind = "Status: error\tError Type: Runtime.ImportModuleError\n"
        log = (
            f"traceback 1\nINIT_REPORT Init Duration: 250.00 ms\tPhase: init\t{kind}"
            f"traceback 2\nINIT_REPORT Init Duration: 500.00 ms\tPhase: invoke\t{kind}"
            "START RequestId: broken Version: $LATEST\nEND RequestId: broken\n"
            "REPORT RequestId: broken\tDuration: 500.00 ms\tBilled Duration: 500 ms\tMemory Size: 128 MB\t"
            f"Max Memory Used: 41 MB\t{kind}"
        )
        assert result.log_tail is not None
        assert result.log_tail.decode() == log
        assert stage.log.text == "INIT_START Runtime Version: python:3.13.1\tRuntime Version ARN: arn\n" + log

    play(tmp_path, script)


def test_after_two_failed_inits_the_next_invocation_runs_init_once_inside(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("broken")
        for _ in range(2):
            stage.launcher.starts().says(frames.INIT_ERROR, IMPORT_ERROR)
        stage.runs("again")
        stage.launcher.starts().says(frames.INIT_ERROR, IMPORT_ERROR)
        assert stage.results["again"].payload == IMPORT_ERROR
        assert stage.log.text.count("Phase: init\t") == 1
        assert stage.log.text.count("Phase: invoke\t") == 2
        stage.answers("mended")
        assert stage.launcher.waiting == []

    play(tmp_path, script)


def test_an_init_that_fails_once_is_mended_by_its_second_run(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("flaky")
        first = stage.launcher.starts()
        first.writes("unlucky\n")
        first.says(frames.INIT_ERROR, IMPORT_ERROR)
        second = stage.launcher.starts()
        stage.clock.advance(1)
        second.says(frames.READY)
        stage.clock.advance(0.5)
        second.says(frames.RESULT, b"1")
        result = stage.results["flaky"]
        assert (result.payload, result.function_error) == (b"1", None)
        assert result.log_tail is not None
        assert result.log_tail.startswith(b"START RequestId: flaky ")
        assert b"\tDuration: 1500.00 ms\tBilled Duration: 1500 ms\t" in result.log_tail
        assert b"Init Duration" not in result.log_tail
        stage.runs("warm")
        second.says(frames.RESULT, b"2", ms=2)
        assert "RequestId: warm\tDuration: 2.00 ms\t" in stage.log.text

    play(tmp_path, script)


@pytest.mark.parametrize(
    "payload", [b'{"errorType": "KeyError"}', b'{"errorType": 1}', b"[]", b"\xff", b"", b"[" * 100_000, None]
)
def test_an_error_type_that_is_not_awss_is_shown_as_unknown(tmp_path: Path, payload: bytes | None) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("broken")
        for _ in range(2):
            stage.launcher.starts().says(frames.INIT_ERROR, payload)
        assert stage.log.text.endswith("Status: error\tError Type: Runtime.Unknown\n")

    play(tmp_path, script)


def test_a_start_that_fails_answers_and_may_be_tried_again(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("first")
        stage.launcher.fails("no interpreter")
        assert stage.error("first") == ("Runtime.ExitError", "RequestId: first Error: no interpreter")
        stage.answers("second")

    play(tmp_path, script)


def test_the_tail_is_the_last_4096_bytes_also_of_what_was_written_before(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("long")
        process = stage.launcher.starts()
        process.says(frames.READY)
        for number in range(600):
            process.writes(f"line {number}\n", seen=True)
        process.says(frames.RESULT)
        tail = stage.results["long"].log_tail
        assert tail is not None
        assert len(tail) == limits.LOG_TAIL_BYTES
        assert stage.log.text.encode().endswith(tail)
        assert stage.log.text.count("START") == 1
        process = stage.answers("short", make_version("other"))
        tail = stage.results["short"].log_tail
        assert tail is not None
        assert tail.startswith(b"START RequestId: short")

    play(tmp_path, script)


def test_no_tail_is_kept_where_none_is_asked_for(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        process = stage.answers("first")
        stage.runs("quiet", tail=False)
        process.writes("seen\n", seen=True)
        process.says(frames.RESULT)
        assert stage.results["quiet"].log_tail is None
        stage.runs("loud")
        process.says(frames.RESULT)
        tail = stage.results["loud"].log_tail
        assert tail is not None
        assert b"seen" not in tail

    play(tmp_path, script)


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("long")
        process = stage.launcher.starts()
        process.says(frames.READY)
        for _ in range(5):
            process.writes("#" * 100_000, seen=True)
        assert stage.log.text.count("#") >= 200_000
        process.says(frames.RESULT)
        assert stage.log.text.count("#") == 500_000

    play(tmp_path, script)


@pytest.mark.parametrize("kind", [frames.READY, frames.INIT_ERROR, 0, 99])
def test_a_frame_out_of_turn_ends_the_process_and_its_invocation(tmp_path: Path, kind: int) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("one")
        process = stage.launcher.starts()
        process.says(frames.READY)
        process.says(kind)
        assert process.abandoned
        assert stage.error("one")[0] == "Runtime.ExitError"
        stage.answers("two")

    play(tmp_path, script)


def test_a_second_answer_is_never_taken_for_that_of_the_next_invocation(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        process = stage.answers("one")
        process.says(frames.RESULT, b'"twice"')
        assert process.abandoned
        stage.answers("two")

    play(tmp_path, script)


def test_an_answer_before_ready_is_a_failed_init(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("one")
        for _ in range(2):
            process = stage.launcher.starts()
            process.says(frames.RESULT, b"too early")
            assert process.abandoned
        assert stage.error("one")[0] == "Runtime.ExitError"

    play(tmp_path, script)


# ---------------------------------------------------------------------------- JSON


def _events(text: str) -> list[tuple[str, dict[str, object]]]:
    """Return type and record of each event; their times must be times."""
    found = []
    for line in text.splitlines():
        event = json.loads(line)
        assert list(event) == ["time", "type", "record"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
        found.append((event["type"], event["record"]))
    return found


def _json_version(level: str) -> FunctionVersion:
    return make_version(logging=LoggingConfig("/aws/lambda/f", "JSON", "INFO", level))


# Shapes as in docs/aws-behaviour.md, execution 4.7.
INIT_START = (
    "platform.initStart",
    {
        "initializationType": "on-demand",
        "phase": "init",
        "runtimeVersion": "python:3.13.1",
        "runtimeVersionArn": "arn",
        "functionName": "f",
        "functionVersion": "$LATEST",
    },
)
START = ("platform.start", {"requestId": "id", "version": "$LATEST"})


def _done(status: dict[str, str], duration_ms: float) -> tuple[str, dict[str, object]]:
    return ("platform.runtimeDone", {"requestId": "id", **status, "metrics": {"durationMs": duration_ms}})


def _report(status: dict[str, str], duration_ms: float, **init: float) -> tuple[str, dict[str, object]]:
    metrics = {
        "durationMs": duration_ms,
        "billedDurationMs": math.ceil(duration_ms + sum(init.values())),
        "memorySizeMB": 128,
        "maxMemoryUsedMB": 40,
        **init,
    }
    return ("platform.report", {"requestId": "id", **status, "metrics": metrics})


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARN"])
def test_with_json_the_platforms_lines_are_events_from_the_system_level_on(
    tmp_path: Path, level: str
) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("id", _json_version(level))
        environment = stage.launcher.waiting[0]
        process = stage.launcher.starts()
        environment.write_init_start("python:3.13.1", "arn")
        stage.clock.advance(0.25)
        process.says(frames.READY)
        process.says(frames.RESULT, b"1", ms=2.5)
        status = {"status": "success"}
        init = {"initializationType": "on-demand", "phase": "init", **status}
        expected = [
            ("INFO", INIT_START),
            ("DEBUG", ("platform.initRuntimeDone", init)),
            ("DEBUG", ("platform.initReport", {**init, "metrics": {"durationMs": 250.0}})),
            ("INFO", START),
            ("DEBUG", _done(status, 2.5)),
            ("INFO", _report(status, 2.5, initDurationMs=250.0)),
        ]
        levels = ["DEBUG", "INFO", "WARN"]
        kept = [event for least, event in expected if levels.index(least) >= levels.index(level)]
        assert _events(stage.log.text) == kept
        tail = stage.results["id"].log_tail
        assert tail is not None
        after = [event for event in kept if not event[0].startswith("platform.init")]
        assert _events(tail.decode()) == after

    play(tmp_path, script)


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARN"])
def test_failures_are_events_at_every_level(tmp_path: Path, level: str) -> None:
    async def script(stage: Stage) -> None:
        version = _json_version(level)
        stage.runs("id", version)
        process = stage.launcher.starts()
        process.says(frames.READY)
        stage.log.text = ""
        process.says(frames.ERROR, b'{"errorType": "Runtime.MarshalError"}', ms=1)
        start = [] if level == "WARN" else [START]
        status = {"status": "error", "errorType": "Runtime.MarshalError"}
        init = {"initDurationMs": 0.0}
        assert _events(stage.log.text) == [*start, _done(status, 1.0), _report(status, 1.0, **init)]
        stage.log.text = ""
        del stage.results["id"]
        stage.runs("id", version)
        await stage.passes(3)
        timeout = {"status": "timeout"}
        assert _events(stage.log.text) == [*start, _done(timeout, 3000.0), _report(timeout, 3000.0)]

    play(tmp_path, script)


def test_a_failed_init_is_an_event_with_its_phase(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("id", _json_version("WARN"))
        for _ in range(2):
            process = stage.launcher.starts()
            process.says(frames.INIT_ERROR, IMPORT_ERROR)
        status = {"status": "error", "errorType": "Runtime.ImportModuleError"}
        expected: list[tuple[str, dict[str, object]]] = []
        for phase in ("init", "invoke"):
            init = {"initializationType": "on-demand", "phase": phase, **status}
            expected += [
                ("platform.initRuntimeDone", {**init}),
                ("platform.initReport", {**init, "metrics": {"durationMs": 0.0}}),
            ]
        expected += [_done(status, 0.0), _report(status, 0.0)]
        assert _events(stage.log.text) == expected
        tail = stage.results["id"].log_tail
        assert tail is not None
        assert _events(tail.decode()) == expected

    play(tmp_path, script)


def test_platform_start_tells_when_the_invocation_began(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        version = _json_version("INFO")
        process = stage.answers("first", version)
        stage.log.text = ""
        stage.runs("id", version)
        stage.clock.advance(1.5)
        process.writes("late\n", seen=True)
        process.says(frames.RESULT, b"1")
        start, late, report = stage.log.text.splitlines()
        assert late == "late"
        moments = [datetime.fromisoformat(json.loads(line)["time"]) for line in (start, report)]
        assert (moments[1] - moments[0]).total_seconds() == 1.5

    play(tmp_path, script)


# ---------------------------------------------------------------------------- the pool


def test_the_newest_idle_environment_is_used_first(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        for request_id in ("a", "b", "c"):
            stage.runs(request_id)
        processes = [stage.launcher.starts() for _ in range(3)]
        for process in processes:
            process.says(frames.READY)
        for process in (processes[1], processes[2], processes[0]):
            process.says(frames.RESULT)
        for expected in (processes[0], processes[2], processes[1]):
            sent = len(expected.sent)
            stage.runs(f"d{id(expected)}")
            assert len(expected.sent) == sent + 1
        for process in processes:
            process.says(frames.RESULT)
        assert stage.launcher.waiting == []

    play(tmp_path, script)


def test_documents_never_share_an_environment(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.answers("old", make_version(document_id="1"))
        stage.answers("new", make_version(document_id="2"))
        assert _folders(stage) == 2
        assert len(set(stage.log.streams)) == 2

    play(tmp_path, script)


def test_a_full_machine_ends_the_least_recently_used_idle_environment(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        first = stage.answers("a", make_version("a"))
        stage.clock.advance(1)
        second = stage.answers("b", make_version("b"))
        stage.clock.advance(1)
        stage.runs("again", make_version("a"))
        first.says(frames.RESULT)
        third = stage.answers("c", make_version("c"))
        assert (first.abandoned, second.abandoned, third.abandoned) == (False, True, False)

    play(tmp_path, script, machine_limit=2)


def test_a_machine_full_of_running_environments_refuses_and_has_room_again_later(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("a", make_version("a"))
        stage.runs("b", make_version("b"))
        for _ in range(2):
            with pytest.raises(MachineFull):
                stage.runs("c", make_version("c"))
        assert "c" not in stage.results
        assert (stage.pool.busy, _folders(stage)) == (2, 2)
        for _ in range(2):
            process = stage.launcher.starts()
            process.says(frames.READY)
            process.says(frames.RESULT)
        stage.answers("c", make_version("c"))

    play(tmp_path, script, machine_limit=2)


def test_an_idle_environment_of_the_same_version_is_no_reason_to_refuse(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        process = stage.answers("a")
        stage.runs("b")
        process.says(frames.RESULT)
        stage.runs("c")
        with pytest.raises(MachineFull):
            stage.runs("d")
        process.says(frames.RESULT)
        assert set(stage.results) == {"a", "b", "c"}

    play(tmp_path, script, machine_limit=1)


def test_idle_environments_expire_oldest_first_and_busy_ones_stay(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        for request_id in ("a", "b", "c"):
            stage.runs(request_id)
        processes = [stage.launcher.starts() for _ in range(3)]
        for process in processes:
            process.says(frames.READY)
        processes[0].says(frames.RESULT)
        stage.clock.advance(IDLE_TIMEOUT_S / 2)
        processes[1].says(frames.RESULT)
        stage.clock.advance(IDLE_TIMEOUT_S / 2)
        stage.pool._expire_idle()
        assert [process.abandoned for process in processes] == [True, False, False]
        stage.clock.advance(IDLE_TIMEOUT_S)
        stage.pool._expire_idle()
        assert [process.abandoned for process in processes] == [True, True, False]
        processes[2].says(frames.RESULT)
        assert set(stage.results) == {"a", "b", "c"}

    play(tmp_path, script)


def test_no_environment_outlives_what_it_was_told(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("a")
        old = stage.launcher.starts()
        old.says(frames.READY)
        stage.clock.advance(limits.ENVIRONMENT_LIFE_S)
        old.says(frames.RESULT)
        stage.pool.provision(make_version("kept"), 1)
        kept = stage.launcher.starts()
        kept.says(frames.READY)
        stage.pool._expire_idle()
        assert (old.abandoned, kept.abandoned) == (True, False)
        stage.clock.advance(limits.ENVIRONMENT_LIFE_S)
        stage.pool._expire_idle()
        assert kept.abandoned
        # Another one takes its place.
        stage.launcher.starts().says(frames.READY)
        assert stage.pool.provisioned(make_version("kept").document_id)[0] == 1

    play(tmp_path, script)


def test_room_is_made_by_expiry_too(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.answers("a", make_version("a"))
        stage.clock.advance(IDLE_TIMEOUT_S)
        stage.pool._expire_idle()
        stage.answers("b", make_version("b"))

    play(tmp_path, script, machine_limit=1)


def test_a_retired_document_ends_idle_environments_now_and_busy_ones_with_their_answer(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        idle = stage.answers("a")
        stage.runs("b")
        busy = idle
        stage.runs("c")
        starting = stage.launcher.starts()
        third = stage.answers("other", make_version("other"))
        stage.pool.retire("f-1")
        assert not busy.abandoned
        busy.says(frames.RESULT, b"b")
        assert stage.results["b"].payload == b"b"
        assert busy.abandoned
        starting.says(frames.READY)
        starting.says(frames.RESULT, b"c")
        assert starting.abandoned
        assert not third.abandoned
        assert stage.pool.busy == 0
        # Nothing is remembered of it: the same document may serve again.
        again = stage.answers("again")
        assert not again.abandoned

    play(tmp_path, script)


def test_retiring_what_is_idle_or_unknown(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        process = stage.answers("a")
        stage.pool.retire("unknown")
        assert not process.abandoned
        stage.pool.retire("f-1")
        assert process.abandoned
        stage.pool.retire("f-1")

    play(tmp_path, script)


def test_draining_waits_for_running_invocations_and_then_ends_everything(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        idle = stage.answers("idle", make_version("idle"))
        stage.runs("busy")
        busy = stage.launcher.starts()
        busy.says(frames.READY)
        draining = asyncio.get_running_loop().create_task(stage.pool.drain(20))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not draining.done()
        busy.says(frames.RESULT, b"1")
        await draining
        assert stage.results["busy"].payload == b"1"
        assert (idle.abandoned, busy.abandoned) == (True, True)

    play(tmp_path, script)


@pytest.mark.parametrize("is_ready", [False, True])
def test_what_runs_longer_than_the_grace_period_is_ended_and_answered(tmp_path: Path, is_ready: bool) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("endless")
        process = stage.launcher.starts()
        environment = process._environment
        if is_ready:
            process.says(frames.READY)
        process.writes("said\n")
        await stage.pool.drain(0.001)
        assert process.abandoned
        assert stage.error("endless") == (
            "Runtime.ExitError",
            "RequestId: endless Error: Runtime exited with error: signal: killed",
        )
        assert "said\n" in stage.log.text
        assert environment.phase is Phase.CLOSED
        environment.close()
        assert stage.pool.busy == 0

    play(tmp_path, script)


def test_a_process_that_comes_up_after_its_environment_was_closed_is_abandoned(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.runs("endless")
        await stage.pool.drain(0)
        process = stage.launcher.starts()
        assert process.abandoned

    play(tmp_path, script)
