"""What is counted of invocations, and the document that is made from it; time stands still until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.clock import ManualClock
from lambent.model.functions import CodePackage, FunctionKey, FunctionVersion, LoggingConfig
from lambent.model.observer import AccountUse, EnvironmentUse, ServerUse
from lambent.observability import stats as module
from lambent.observability.stats import WINDOW_S, Report, Stats

ACCOUNT, REGION = "000000000000", "us-east-1"
LIMIT_REASON = "ConcurrentInvocationLimitExceeded"


def version_of(
    name: str = "f",
    version: str = "$LATEST",
    *,
    account: str = ACCOUNT,
    region: str = REGION,
    document_id: str = "d",
) -> FunctionVersion:
    return FunctionVersion(
        key=FunctionKey(account, region, name),
        document_id=document_id,
        generation="g",
        version=version,
        code=CodePackage("00" * 32, 1),
        runtime="python3.13",
        handler="index.handler",
        role="r",
        timeout_s=3,
        logging=LoggingConfig(f"/aws/lambda/{name}"),
        modified_at=0.0,
    )


class Rig:
    """Stats on a manual clock, and the rest of the server as the test says it is."""

    def __init__(self) -> None:
        # In the middle of a window.
        self.clock = ManualClock(WINDOW_S * 1000 + WINDOW_S / 2)
        self.stats = Stats(self.clock)
        self.environments: list[EnvironmentUse] = []
        self.accounts: list[AccountUse] = []
        self._report = Report(
            stats=self.stats,
            clock=self.clock,
            environments=lambda: self.environments,
            accounts=lambda: self.accounts,
            server=lambda: ServerUse(environment_limit=64, connections=3, buffered_bytes=5),
        )

    def ends(self, version: FunctionVersion, *durations_ms: float) -> None:
        for duration_ms in durations_ms or (1.0,):
            self.stats.invocation_ended(version, None, duration_ms, None)

    def report(self, account: str | None = None, region: str | None = None) -> dict[str, Any]:
        """Make the document; what the clock is asked to sleep for is no time."""

        async def make() -> dict[str, Any]:
            making = asyncio.ensure_future(self._report.make(account, region))
            while not making.done():
                self.clock.advance(0)
                await asyncio.sleep(0)
            return making.result()

        return asyncio.run(make())

    def functions(self, account: str | None = None, region: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.report(account, region)["Functions"]
        return found

    def function(self) -> dict[str, Any]:
        """The document's only function."""
        (found,) = self.functions()
        return found


@pytest.fixture
def rig() -> Rig:
    return Rig()


# -- counts ----------------------------------------------------------------------


def test_invocations_errors_and_cold_starts_are_counted(rig: Rig) -> None:
    rig.stats.invocation_ended(version_of(), None, 1.0, 80.0)
    rig.stats.invocation_ended(version_of(), "Unhandled", 1.0, None)
    rig.stats.invocation_ended(version_of(), None, 1.0, None)

    found = rig.function()
    assert (found["Invocations"], found["Errors"], found["ColdStarts"], found["Throttles"]) == (3, 1, 1, 0)


def test_throttles_are_counted_by_reason_and_by_whose_limit_it_was(rig: Rig) -> None:
    for limit in ("account", "machine", "account"):
        rig.stats.invocation_throttled(version_of(), LIMIT_REASON, limit)

    found = rig.function()
    assert (found["Throttles"], found["Invocations"]) == (3, 0)
    assert found["ThrottleReasons"] == [
        {"Reason": LIMIT_REASON, "Limit": "account", "Count": 2},
        {"Reason": LIMIT_REASON, "Limit": "machine", "Count": 1},
    ]


def test_versions_accounts_and_regions_are_counted_apart(rig: Rig) -> None:
    versions = [
        version_of(),
        version_of(version="1"),
        version_of("g"),
        version_of(account="111111111111"),
        version_of(region="eu-west-1"),
    ]
    for number, version in enumerate(versions, 1):
        rig.ends(version, *[1.0] * number)

    found = {
        (each["AccountId"], each["Region"], each["FunctionName"], each["Version"]): each["Invocations"]
        for each in rig.functions()
    }
    assert found == {(*each.key, each.version): number for number, each in enumerate(versions, 1)}


def test_counts_go_on_when_the_function_is_changed(rig: Rig) -> None:
    rig.ends(version_of(document_id="before"))
    rig.ends(version_of(document_id="after"))

    assert rig.function()["Invocations"] == 2


def test_the_version_unseen_for_longest_is_forgotten_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSIONS_AT_MOST", 3)
    for name in ("kept", "forgotten", "newer"):
        rig.ends(version_of(name))
    rig.clock.advance(WINDOW_S)
    rig.ends(version_of("kept"))
    rig.ends(version_of("newest"))

    assert [each["FunctionName"] for each in rig.functions()] == ["kept", "newer", "newest"]


def test_a_hundred_thousand_names_do_not_fill_the_memory(rig: Rig) -> None:
    for number in range(100_000):
        rig.ends(version_of(f"f{number}"))

    assert len(rig.stats.counts()) == module.VERSIONS_AT_MOST
    names = {each["FunctionName"] for each in rig.functions()}
    assert names == {f"f{number}" for number in range(100_000 - module.VERSIONS_AT_MOST, 100_000)}


# -- durations -------------------------------------------------------------------


@given(st.lists(st.floats(0.02, 899_000), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_durations_within_a_twentieth(durations_ms: list[float]) -> None:
    rig = Rig()
    rig.ends(version_of(), *durations_ms)

    found = rig.function()["Duration"]
    ordered = sorted(durations_ms)
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        true = next(each for rank, each in enumerate(ordered, 1) if rank >= part * len(ordered))
        # A twentieth for the bucket, half a percent for the three figures.
        assert found[name] == pytest.approx(true, rel=0.056)


@pytest.mark.parametrize("duration_ms", [0.0, 1e-9, 900_000.0, 1e12])
def test_the_shortest_and_the_longest_durations_are_counted_too(rig: Rig, duration_ms: float) -> None:
    rig.ends(version_of(), duration_ms)

    assert rig.function()["Duration"]["p50"] > 0


def test_percentiles_look_at_this_window_and_the_one_before(rig: Rig) -> None:
    rig.ends(version_of(), *[100.0] * 3)
    rig.clock.advance(WINDOW_S)
    assert rig.function()["Duration"]["p50"] == pytest.approx(100, rel=0.06)

    rig.ends(version_of(), *[1.0] * 4)
    both = rig.function()["Duration"]
    assert (both["p50"], both["p99"]) == (pytest.approx(1, rel=0.06), pytest.approx(100, rel=0.06))

    rig.clock.advance(WINDOW_S)
    assert rig.function()["Duration"]["p99"] == pytest.approx(1, rel=0.06)


def test_durations_are_forgotten_and_counts_are_not(rig: Rig) -> None:
    rig.ends(version_of())
    rig.clock.advance(2 * WINDOW_S)

    found = rig.function()
    assert (found["Duration"], found["Invocations"]) == (None, 1)

    rig.ends(version_of(), 50.0)
    assert rig.function()["Duration"]["p50"] == pytest.approx(50, rel=0.06)


# -- the document ----------------------------------------------------------------


def test_environments_are_told_by_version_and_in_all(rig: Rig) -> None:
    rig.ends(version_of())
    rig.environments = [
        EnvironmentUse(version_of(), True, 30),
        EnvironmentUse(version_of(), False, 40),
        EnvironmentUse(version_of("never-called"), False, 20),
    ]

    report = rig.report()
    assert report["Environments"] == {"Busy": 1, "Idle": 2, "Limit": 64, "MemoryMB": 90}
    told = [
        (each["FunctionName"], each["ConcurrentExecutions"], each["IdleEnvironments"], each["MemoryMB"])
        for each in report["Functions"]
    ]
    assert told == [("f", 1, 1, 70), ("never-called", 0, 1, 20)]


def test_the_server_is_told(rig: Rig) -> None:
    rig.clock.advance(2.5)

    report = rig.report()
    assert (report["UptimeSeconds"], report["Connections"], report["BufferedBytes"]) == (2.5, 3, 5)
    assert report["WindowSeconds"] == 2 * WINDOW_S


def test_limits_are_told_by_account_and_region(rig: Rig) -> None:
    rig.accounts = [AccountUse(ACCOUNT, REGION, 7, 1000, 900)]

    assert rig.report()["Accounts"] == [
        {
            "AccountId": ACCOUNT,
            "Region": REGION,
            "ConcurrentExecutions": 7,
            "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900},
        }
    ]


@pytest.mark.parametrize(
    ("account", "region", "names"),
    [
        (None, None, ["a", "b", "c"]),
        (ACCOUNT, None, ["a", "b"]),
        (None, REGION, ["a", "c"]),
        (ACCOUNT, REGION, ["a"]),
        ("999999999999", None, []),
    ],
)
def test_account_and_region_choose_what_is_told(
    rig: Rig, account: str | None, region: str | None, names: list[str]
) -> None:
    places = {"a": (ACCOUNT, REGION), "b": (ACCOUNT, "eu-west-1"), "c": ("111111111111", REGION)}
    for name, (own_account, own_region) in places.items():
        rig.ends(version_of(name, account=own_account, region=own_region))
        rig.accounts.append(AccountUse(own_account, own_region, 0, 1, 1))

    report = rig.report(account, region)
    assert [each["FunctionName"] for each in report["Functions"]] == names
    assert [(each["AccountId"], each["Region"]) for each in report["Accounts"]] == [places[n] for n in names]


def test_a_long_document_lets_the_event_loop_go_on(rig: Rig) -> None:
    for number in range(1_000):
        rig.ends(version_of(f"f{number}"))

    async def make() -> int:
        turns = 0
        making = asyncio.ensure_future(rig._report.make(None, None))
        while not making.done():
            turns += 1
            rig.clock.advance(0)
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(make()) >= 10


_KEYS = st.tuples(st.sampled_from([ACCOUNT, "111111111111"]), st.just(REGION), st.sampled_from("fgh"))


@given(st.lists(st.tuples(_KEYS, st.sampled_from(["$LATEST", "1"]), st.booleans(), st.floats(0, 1e6))))
def test_everything_that_ended_is_in_the_document_once(
    ended: Iterable[tuple[tuple[str, str, str], str, bool, float]],
) -> None:
    rig = Rig()
    expected: dict[tuple[str, ...], list[int]] = {}
    for (account, region, name), version, failed, duration_ms in ended:
        rig.stats.invocation_ended(
            version_of(name, version, account=account, region=region),
            "Unhandled" if failed else None,
            duration_ms,
            None,
        )
        counts = expected.setdefault((account, region, name, version), [0, 0])
        counts[0] += 1
        counts[1] += failed

    report = msgspec.json.decode(msgspec.json.encode(rig.report()))
    found = {
        (each["AccountId"], each["Region"], each["FunctionName"], each["Version"]): [
            each["Invocations"],
            each["Errors"],
        ]
        for each in report["Functions"]
    }
    assert found == expected
