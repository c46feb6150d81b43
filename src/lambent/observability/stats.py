"""What each function does and has done, counted while it happens; the numbers behind ``/_lambent/stats``.

The names are those of AWS's metrics where it has them (Invocations, Errors, Throttles,
Duration, ConcurrentExecutions). The whole document is::

    {
      "UptimeSeconds": 12.5,
      "WindowSeconds": 60,            how far back Duration looks at most
      "Environments": {"Busy": 1, "Idle": 2, "Limit": 512, "MemoryMB": 96},
      "Connections": 4,               open ones, at all doors
      "BufferedBytes": 0,             of request bodies
      "Accounts": [{                  every account and region that was called
        "AccountId": "000000000000", "Region": "us-east-1",
        "ConcurrentExecutions": 1,    running now
        "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
      }],
      "Functions": [{                 every version that was called or has environments
        "AccountId": "000000000000", "Region": "us-east-1",
        "FunctionName": "f", "Version": "$LATEST",
        "ConcurrentExecutions": 1,    running now
        "IdleEnvironments": 2,
        "MemoryMB": 96,               of its environments: the most that each has used, added up
        "Invocations": 10,            attempts that ended, function errors included
        "Errors": 1,                  those that ended in a function error
        "ColdStarts": 3,              those whose environment was initialised for them
        "Throttles": 5,               attempts that a limit refused
        "ThrottleReasons": [          whose limit: "account" (AWS's rules) or "machine"
          {"Reason": "ConcurrentInvocationLimitExceeded", "Limit": "account", "Count": 5}
        ],
        "Duration": {"p50": 1.2, "p99": 3.4}    milliseconds as in REPORT; null after a quiet minute
      }]
    }

Counts begin when the server does. They are kept for the versions that were seen last, so
that callers cannot fill the memory with names.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lambent.clock import Clock
from lambent.model.functions import FunctionKey, FunctionVersion
from lambent.model.observer import AccountUse, EnvironmentUse, Observer, ServerUse

WINDOW_S = 30.0
"""Durations are looked at over the current window and the one before it."""
VERSIONS_AT_MOST = 10_000
# A bucket's upper bound is a tenth above its lower one: what is told is off by 5 % at most.
_GROWTH = 1.1
_SHORTEST_MS = 0.01
_LONGEST_MS = 900_000.0
_SCALE = 1 / math.log(_GROWTH)
_SHIFT = -math.log(_SHORTEST_MS) * _SCALE
_BUCKETS = int(math.log(_LONGEST_MS) * _SCALE + _SHIFT) + 1
_EMPTY = bytes(_BUCKETS * array("I").itemsize)
_ROWS_AT_ONCE = 100

_Name = tuple[FunctionKey, str]


class Stats(Observer):
    """Counts by function and version; told on the hot path, read by :class:`Report`."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        # The one whose last window is oldest comes first.
        self._counts: OrderedDict[_Name, Counts] = OrderedDict()

    def invocation_ended(
        self, version: FunctionVersion, function_error: str | None, duration_ms: float, init_ms: float | None
    ) -> None:
        """Count an attempt that ran."""
        counts = self._find(version)
        counts.invocations += 1
        if function_error is not None:
            counts.errors += 1
        if init_ms is not None:
            counts.cold_starts += 1
        if duration_ms <= _SHORTEST_MS:
            counts.durations[0] += 1
        elif duration_ms >= _LONGEST_MS:
            counts.durations[-1] += 1
        else:
            counts.durations[int(math.log(duration_ms) * _SCALE + _SHIFT)] += 1

    def invocation_throttled(self, version: FunctionVersion, reason: str, limit: str) -> None:
        """Count an attempt that a limit refused."""
        self._find(version).throttles[reason, limit] += 1

    def counts(self) -> dict[_Name, Counts]:
        """Return what was counted, by function and version."""
        return dict(self._counts)

    def _find(self, version: FunctionVersion) -> Counts:
        window = self._monotonic() // WINDOW_S
        counts = self._counts.get((version.key, version.version))
        if counts is None or counts.window != window:
            counts = self._begin_window((version.key, version.version), window)
        return counts

    def _begin_window(self, name: _Name, window: float) -> Counts:
        """Begin a new window, or to count, and move to where those seen last are."""
        counts = self._counts.get(name)
        if counts is not None:
            counts.begin(window)
            self._counts.move_to_end(name)
            return counts
        if len(self._counts) >= VERSIONS_AT_MOST:
            self._counts.popitem(last=False)
        counts = self._counts[name] = Counts(window)
        return counts


class Counts:
    """What one version has done.

    Attributes:
        throttles: by reason and whose limit it was.
        window: number of the current one.
        durations: how many of the current window fell into each bucket.
        durations_before: those of the window before it, None where it saw nothing.
    """

    __slots__ = (
        "cold_starts",
        "durations",
        "durations_before",
        "errors",
        "invocations",
        "throttles",
        "window",
    )

    def __init__(self, window: float) -> None:
        self.invocations = 0
        self.errors = 0
        self.cold_starts = 0
        self.throttles: Counter[tuple[str, str]] = Counter()
        self.window = window
        self.durations = array("I", _EMPTY)
        self.durations_before: array[int] | None = None

    def begin(self, window: float) -> None:
        """Begin another window."""
        self.durations_before = self.durations if window == self.window + 1 else None
        self.durations = array("I", _EMPTY)
        self.window = window

    def percentiles_ms(self, window: float, *parts: float) -> list[float] | None:
        """Return the durations below which such parts of the recent ones are; None without any.

        Args:
            window: number of the one that it is now.
            parts: ascending, each between 0 and 1.
        """
        if window > self.window + 1:
            return None
        buckets: Sequence[int] = self.durations
        if window == self.window and self.durations_before is not None:
            buckets = [now + before for now, before in zip(buckets, self.durations_before, strict=True)]
        total = sum(buckets)
        if not total:
            return None
        found = []
        bucket, below = 0, buckets[0]
        for part in parts:
            while below < part * total:
                bucket += 1
                below += buckets[bucket]
            found.append(_SHORTEST_MS * _GROWTH ** (bucket + 0.5))
        return found


@dataclass(frozen=True, kw_only=True)
class Report:
    """Makes the document of ``GET /_lambent/stats`` from what is counted and what is there now.

    Args:
        environments: asks for every execution environment.
        accounts: asks for every account and region that has slots.
        server: asks for what the server holds.
    """

    stats: Stats
    clock: Clock
    environments: Callable[[], Iterable[EnvironmentUse]]
    accounts: Callable[[], Iterable[AccountUse]]
    server: Callable[[], ServerUse]
    _started_at: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_started_at", self.clock.monotonic())

    async def make(self, account: str | None, region: str | None) -> dict[str, Any]:
        """Return the document; functions and accounts are those of an account and region, or all for None.

        Ten thousand functions are more than the event loop may be held up by: it gets a
        turn in between.
        """

        def is_asked_for(where: tuple[str, str]) -> bool:
            return account in {None, where[0]} and region in {None, where[1]}

        now = self.clock.monotonic()
        use = _by_version(self.environments())
        server = self.server()
        report = {
            "UptimeSeconds": round(now - self._started_at, 3),
            "WindowSeconds": 2 * WINDOW_S,
            "Environments": {
                "Busy": sum(each.busy for each in use.values()),
                "Idle": sum(each.idle for each in use.values()),
                "Limit": server.environment_limit,
                "MemoryMB": sum(each.memory_mb for each in use.values()),
            },
            "Connections": server.connections,
            "BufferedBytes": server.buffered_bytes,
            "Accounts": [_account(each) for each in self.accounts() if is_asked_for(each[:2])],
        }
        counts = self.stats.counts()
        functions: list[dict[str, Any]] = []
        for name in {**counts, **use}:
            if is_asked_for(name[0][:2]):
                functions.append(_function(name, counts.get(name), use.get(name, _Use()), now // WINDOW_S))
                if len(functions) % _ROWS_AT_ONCE == 0:
                    await self.clock.sleep(0)
        functions.sort(key=lambda each: (each["FunctionName"], each["Version"]))
        return {**report, "Functions": functions}


@dataclass(slots=True)
class _Use:
    """The environments of one version."""

    busy: int = 0
    idle: int = 0
    memory_mb: int = 0


def _by_version(environments: Iterable[EnvironmentUse]) -> dict[_Name, _Use]:
    found: dict[_Name, _Use] = {}
    for version, is_busy, memory_mb in environments:
        use = found.setdefault((version.key, version.version), _Use())
        if is_busy:
            use.busy += 1
        else:
            use.idle += 1
        use.memory_mb += memory_mb
    return found


def _account(use: AccountUse) -> dict[str, Any]:
    return {
        "AccountId": use.account,
        "Region": use.region,
        "ConcurrentExecutions": use.running,
        "AccountLimit": {
            "ConcurrentExecutions": use.limit,
            "UnreservedConcurrentExecutions": use.unreserved_limit,
        },
    }


def _function(name: _Name, counts: Counts | None, use: _Use, window: float) -> dict[str, Any]:
    (account, region, function), version = name
    counts = counts or Counts(window)
    percentiles = counts.percentiles_ms(window, 0.5, 0.99)
    return {
        "AccountId": account,
        "Region": region,
        "FunctionName": function,
        "Version": version,
        "ConcurrentExecutions": use.busy,
        "IdleEnvironments": use.idle,
        "MemoryMB": use.memory_mb,
        "Invocations": counts.invocations,
        "Errors": counts.errors,
        "ColdStarts": counts.cold_starts,
        "Throttles": counts.throttles.total(),
        "ThrottleReasons": [
            {"Reason": reason, "Limit": limit, "Count": count}
            for (reason, limit), count in counts.throttles.items()
        ],
        "Duration": percentiles
        and {name: float(f"{value:.3g}") for name, value in zip(("p50", "p99"), percentiles, strict=True)},
    }
