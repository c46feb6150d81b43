"""How fast a function's environments may become more, on a clock that stands still.

Source: docs/aws-behaviour.md, concurrency 3.1 (1,000 further environments every ten seconds).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.environment_stage import Stage, make_version, play

from lambent import limits
from lambent.execution.pool import GrowsTooFast

AT_ONCE = limits.SCALE_OUT_ENVIRONMENTS
ROOM = 3 * AT_ONCE


def grows(stage: Stage, count: int, name: str = "f") -> None:
    for number in range(count):
        stage.runs(f"{name}-{stage.clock.monotonic()}-{number}", make_version(name), tail=False)


def test_the_next_environment_after_a_thousand_is_refused_and_told_when_to_come_back(tmp_path: Path) -> None:
    def script(stage: Stage) -> None:
        grows(stage, AT_ONCE)
        with pytest.raises(GrowsTooFast) as refused:
            stage.runs("one too many")
        assert refused.value.retry_after_ms == 1000 * limits.SCALE_OUT_INTERVAL_S / AT_ONCE
        assert stage.pool.busy == AT_ONCE
        # Each function has an allowance of its own.
        grows(stage, 1, "g")

    play(tmp_path, script, machine_limit=ROOM)


def test_the_allowance_comes_back_evenly_and_never_becomes_more_than_a_thousand(tmp_path: Path) -> None:
    def script(stage: Stage) -> None:
        grows(stage, AT_ONCE)
        stage.clock.advance(limits.SCALE_OUT_INTERVAL_S / 2)
        grows(stage, AT_ONCE // 2)
        with pytest.raises(GrowsTooFast):
            stage.runs("more than came back")
        stage.clock.advance(100 * limits.SCALE_OUT_INTERVAL_S)
        grows(stage, AT_ONCE)
        with pytest.raises(GrowsTooFast):
            stage.runs("more than an allowance")

    play(tmp_path, script, machine_limit=ROOM)


def test_an_environment_that_is_idle_is_no_growth(tmp_path: Path) -> None:
    def script(stage: Stage) -> None:
        stage.answers("idle soon")
        grows(stage, AT_ONCE)
        assert stage.pool.busy == AT_ONCE

    play(tmp_path, script, machine_limit=ROOM)
