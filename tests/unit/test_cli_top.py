"""What ``lambent top`` makes of the server's numbers."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.cli.top import cells_of, rows_of, summary_of, with_rates


def function(name: str = "f", **changes: Any) -> dict[str, Any]:
    return {
        "AccountId": "000000000000",
        "Region": "us-east-1",
        "FunctionName": name,
        "Version": "$LATEST",
        "ConcurrentExecutions": 0,
        "IdleEnvironments": 0,
        "MemoryMB": 0,
        "Invocations": 0,
        "Errors": 0,
        "Throttles": 0,
        "Duration": None,
        **changes,
    }


def stats(*functions: dict[str, Any], uptime_s: float = 100.0) -> dict[str, Any]:
    return {
        "UptimeSeconds": uptime_s,
        "Environments": {"Busy": 2, "Idle": 1, "Limit": 1024, "MemoryMB": 96},
        "Connections": 4,
        "Accounts": [{"AccountLimit": {"ConcurrentExecutions": 1000}}],
        "Functions": list(functions),
    }


def rates(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    (found,) = with_rates(after, before)["Functions"]
    return dict(found["Rates"])


def test_rates_are_what_came_in_between_by_the_server_s_own_time() -> None:
    before = stats(function(Invocations=10, Errors=1, Throttles=100))
    after = stats(function(Invocations=30, Errors=2, Throttles=100), uptime_s=104)

    assert rates(before, after) == {"Invocations": 5.0, "Errors": 0.25, "Throttles": 0.0}


def test_a_function_that_is_new_came_with_all_that_it_did() -> None:
    assert rates(stats(), stats(function(Invocations=6), uptime_s=102))["Invocations"] == 3.0


@pytest.mark.parametrize("uptime_s", [2.0, 100.0])
def test_nothing_is_compared_with_a_server_that_started_anew(uptime_s: float) -> None:
    before = stats(function(Invocations=10))

    assert set(rates(before, stats(function(Invocations=30), uptime_s=uptime_s)).values()) == {0}


def test_counts_that_the_server_forgot_are_no_rate() -> None:
    assert rates(stats(function(Invocations=10)), stats(function(Invocations=1), uptime_s=101)) == {
        "Invocations": 0,
        "Errors": 0,
        "Throttles": 0,
    }


def test_rows_go_by_what_runs_and_then_by_what_comes() -> None:
    functions = [
        function("quiet", IdleEnvironments=1),
        function("often", Invocations=50, IdleEnvironments=1),
        function("refused", Throttles=80),
        function("runs", ConcurrentExecutions=3),
        function("long-ago"),
        function("just-now", Duration={"p50": 1.0, "p99": 2.0}),
    ]
    before = stats(*(function(each["FunctionName"]) for each in functions))

    seen = with_rates(stats(*functions, uptime_s=101), before)
    assert [each["FunctionName"] for each in rows_of(seen)] == [
        *("runs", "refused", "often", "just-now", "quiet"),
    ]


def test_a_row_has_its_units() -> None:
    row = function(
        ConcurrentExecutions=2, IdleEnvironments=1, MemoryMB=1234, Duration={"p50": 0.52, "p99": 1234.0}
    )
    row["Rates"] = {"Invocations": 1234.4, "Throttles": 0.25, "Errors": 0.0}

    cells = ["f", "$LATEST", "2", "1,234", "0.2", "0", "0.52 ms", "1,234 ms", "3", "1,234 MB"]
    assert cells_of(row, with_place=False) == cells
    assert cells_of(row, with_place=True) == ["000000000000", "us-east-1", *cells]


def test_the_line_above_tells_the_server_s_totals() -> None:
    functions = [function("f", ConcurrentExecutions=1), function("g", ConcurrentExecutions=1, Invocations=3)]
    seen = with_rates(stats(*functions, uptime_s=3661), stats(uptime_s=3660))

    assert summary_of(seen) == (
        "2 running of 1,000 · 3/s · 0 throttled/s · 0 errors/s · 3 of 1,024 environments, 96 MB · "
        "connections: 4 · up 1:01:01"
    )
