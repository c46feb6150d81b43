"""One line per request, in batches, for people or for programs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.clock import ManualClock
from lambent.model.invocations import Caller
from lambent.model.observer import NOBODY
from lambent.observability import line_writer
from lambent.observability import request_log as module
from lambent.observability.request_log import RequestLog

CALLER = Caller("123456789012", "eu-west-1", "AKID")
# 2026-11-20T19:39:07.250Z
MOMENT = 1_795_203_547.25

Script = Callable[[RequestLog, ManualClock], object]


def _written(script: Script, *, for_people: bool = False) -> list[str]:
    """Run a script against a log, flush, and return the lines that were written."""

    async def play() -> None:
        clock = ManualClock(MOMENT)
        log = RequestLog(clock, descriptor, for_people=for_people)
        script(log, clock)
        log.close()

    descriptor = os.memfd_create("log")
    try:
        asyncio.run(play())
        text = os.pread(descriptor, 1 << 20, 0).decode()
    finally:
        os.close(descriptor)
    # Other line ends than this one are data.
    *lines, rest = text.split("\n")
    assert rest == ""
    return lines


def _answered(log: RequestLog, **changes: Any) -> None:
    given: dict[str, Any] = {
        "request_id": "id",
        "operation": "Invoke",
        "caller": CALLER,
        "function": "f",
        "status": 200,
        "outcome": "ok",
        "duration_s": 0.0015,
        "sdk_invocation_id": None,
        "sdk_attempt": None,
        **changes,
    }
    log.request_answered(*given.values())


def test_a_line_is_a_json_object_with_everything() -> None:
    def script(log: RequestLog, clock: ManualClock) -> None:
        _answered(log, sdk_invocation_id=b"sdk-id", sdk_attempt=b"attempt=2; max=3")

    (line,) = _written(script)
    members = json.loads(line)
    assert datetime.fromisoformat(members.pop("at")).timestamp() == MOMENT
    assert members == {
        "request_id": "id",
        "operation": "Invoke",
        "account": "123456789012",
        "region": "eu-west-1",
        "access_key_id": "AKID",
        "sdk_invocation_id": "sdk-id",
        "sdk_request": "attempt=2; max=3",
        "function": "f",
        "status": 200,
        "outcome": "ok",
        "duration_ms": 1.5,
    }


def test_what_nobody_sent_is_left_out() -> None:
    (line,) = _written(lambda log, clock: _answered(log, caller=NOBODY))
    members = json.loads(line)
    assert not {"sdk_invocation_id", "sdk_request", "access_key_id"} & set(members)
    assert members["account"] == ""


def test_lines_have_the_time_of_their_own_request() -> None:
    def script(log: RequestLog, clock: ManualClock) -> None:
        for _ in range(3):
            _answered(log)
            clock.advance(0.5)

    moments = [datetime.fromisoformat(json.loads(line)["at"]).timestamp() for line in _written(script)]
    assert moments == [MOMENT, MOMENT + 0.5, MOMENT + 1]


def test_people_get_columns_and_see_retries() -> None:
    def script(log: RequestLog, clock: ManualClock) -> None:
        _answered(log, sdk_attempt=b"attempt=1")
        _answered(log, sdk_attempt=b"attempt=3; max=3", status=429, outcome="TooManyRequestsException")

    first, second = _written(script, for_people=True)
    assert first == "19:39:07  200  Invoke f  ok  1.5 ms  123456789012 eu-west-1  id"
    assert second.startswith("19:39:07  429  Invoke f  TooManyRequestsException  ")
    assert "attempt=3; max=3" in second


def test_lines_are_written_together_soon_after() -> None:
    async def play() -> None:
        log = RequestLog(ManualClock(MOMENT), write_end, for_people=False)
        for _ in range(2):
            _answered(log)
            _answered(log)
            written = await asyncio.to_thread(os.read, read_end, 65536)
            assert written.count(b"\n") == 2

    read_end, write_end = os.pipe()
    try:
        asyncio.run(play())
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_log_that_nobody_reads_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "_CLOSE_S", 0.01)

    async def play() -> None:
        log = RequestLog(ManualClock(MOMENT), write_end, for_people=False)
        # More than a pipe takes.
        for _ in range(5000):
            _answered(log)
        log.close()

    read_end, write_end = os.pipe()
    try:
        asyncio.run(play())
    finally:
        os.close(read_end)
        os.close(write_end)


def test_lines_that_were_lost_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_LINES", 2)
    monkeypatch.setattr(line_writer, "_WAITING_BYTES", 0)

    def script(log: RequestLog, clock: ManualClock) -> None:
        for _ in range(5):
            _answered(log)
        log.flush()
        monkeypatch.setattr(line_writer, "_WAITING_BYTES", 1 << 20)
        _answered(log)
        log.flush()
        _answered(log)

    lines = _written(script)
    assert len(lines) == 3
    assert lines[1] == "5 lines were lost: more came than could be written"


def test_a_full_disk_loses_lines_and_never_a_request() -> None:
    full = os.open("/dev/full", os.O_WRONLY)

    def script(log: RequestLog, clock: ManualClock) -> None:
        writer = log._writer
        free, writer.descriptor = writer.descriptor, full
        for _ in range(3):
            _answered(log)
            log.close()
        writer.descriptor = free
        _answered(log)

    try:
        lines = _written(script)
    finally:
        os.close(full)
    assert len(lines) == 2
    assert lines[-1].startswith("3 lines were lost")


_ANY = st.text(max_size=20)


@given(_ANY, _ANY, st.binary(max_size=20), st.binary(max_size=20), _ANY)
def test_every_request_is_one_line_whatever_callers_send(
    function: str, operation: str, sdk_id: bytes, attempt: bytes, key: str
) -> None:
    def script(log: RequestLog, clock: ManualClock) -> None:
        _answered(
            log,
            function=function,
            operation=operation,
            sdk_invocation_id=sdk_id,
            sdk_attempt=attempt,
            caller=Caller("000000000000", "us-east-1", key),
        )

    (line,) = _written(script)
    members = json.loads(line)
    assert (members["function"], members["operation"], members["access_key_id"]) == (function, operation, key)
    assert members["sdk_invocation_id"] == sdk_id.decode("latin-1")
    (row,) = _written(script, for_people=True)
    # Nothing that a terminal would obey.
    assert row.isprintable()
