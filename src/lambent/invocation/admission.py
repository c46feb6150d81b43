"""Slots: who may run now, and the refusal for who may not.

::

    account and region (Scope): account limit - what is set aside
      └─ function (Slots): shares the scope's, or has reserved ones of its own
           └─ version (Provisioned): environments that are kept ready, first

Looking and taking is one step without an await, so that every limit is exact. First the
concurrency is looked at, then the rate; who is refused uses up nothing. What is reserved
comes from the change feed of the store, so that a change holds for the next invocation.

Source: docs/aws-behaviour.md, concurrency 3.1, 3.2, 3.4 and 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from lambent import limits
from lambent.clock import Clock
from lambent.model.errors import TooManyRequestsException
from lambent.model.functions import LATEST, FunctionKey
from lambent.storage.contracts import Change, FunctionStore

_ACCOUNT_CONCURRENCY = "ConcurrentInvocationLimitExceeded"
_ACCOUNT_RATE = "FunctionInvocationRateLimitExceeded"
_RESERVED_CONCURRENCY = "ReservedFunctionConcurrentInvocationLimitExceeded"
_RESERVED_RATE = "ReservedFunctionInvocationRateLimitExceeded"
# A bucket holds what comes in this time, and is full at start.
_BUCKET_S = 1.0


class Slot(Protocol):
    """What one admitted invocation holds until it has ended."""

    def release(self) -> None:
        """Give it back; called once."""
        ...


class Admission:
    """Every slot of the server.

    Args:
        account_limit: invocations of one account in one region at a time.
        clock: tells rates.

    Attributes:
        on_free: told that a slot was given back, while ``is_awaited``.
        is_awaited: whether somebody waits for a slot.
    """

    def __init__(self, account_limit: int, clock: Clock) -> None:
        self._account_limit = account_limit
        self._clock = clock
        self._scopes: dict[tuple[str, str], Scope] = {}
        self._functions: dict[FunctionKey, Slots] = {}
        self.on_free: Callable[[], None] = _ignore
        self.is_awaited = False

    def acquire(self, key: FunctionKey, version: str, is_rated: bool = True) -> Slot:  # noqa: FBT001, FBT002
        """Take a slot for an invocation of a function's version.

        Args:
            key: the function.
            version: ``$LATEST`` or a number as text.
            is_rated: whether its rate counts; that of queued events does not.

        Raises:
            TooManyRequestsException: no slot is free, or calls come too fast.
        """
        slots = self._functions.get(key)
        if slots is None:
            slots = self._add(key)
        now = self._clock.monotonic()
        if slots.provisioned:
            provisioned = slots.provisioned.get(version)
            if provisioned is not None and provisioned.take(now):
                return provisioned
        limit = slots.limit
        if limit is None:
            scope = slots.scope
            if scope.running >= scope.limit:
                raise TooManyRequestsException(_ACCOUNT_CONCURRENCY)
            if is_rated and not scope.rate.take(now):
                raise _too_fast(_ACCOUNT_RATE, scope.rate, now)
            scope.running += 1
        else:
            if slots.running >= limit:
                raise TooManyRequestsException(_RESERVED_CONCURRENCY)
            if is_rated and not slots.rate.take(now):
                raise _too_fast(_RESERVED_RATE, slots.rate, now)
        slots.running += 1
        return slots

    async def start(self, store: FunctionStore) -> None:
        """Take over what is reserved, now and with every change; before the first invocation."""
        store.subscribe(self._changed)
        for head in await store.reserved():
            self._slots(head.key).reserve(head.reserved_concurrency)

    def provision(self, key: FunctionKey, version: str, count: int) -> None:
        """Set so many slots of a version aside; 0 for none any more."""
        self._slots(key).provision(version, count)
        if self.is_awaited:
            self.on_free()

    def is_switched_off(self, key: FunctionKey) -> bool:
        """Tell whether a function's reserved concurrency is 0."""
        slots = self._functions.get(key)
        return slots is not None and slots.reserved == 0

    def running(self, account: str, region: str) -> int:
        """Return how many invocations are running."""
        return sum(slots.busy for slots in self._functions.values() if slots.key[:2] == (account, region))

    def snapshot(self) -> dict[FunctionKey, Slots]:
        """Return every function that has been invoked or has slots of its own; to be read only."""
        return self._functions

    def scopes(self) -> dict[tuple[str, str], Scope]:
        """Return every account and region of these functions; to be read only."""
        return self._scopes

    def _changed(self, change: Change) -> None:
        key, qualifier, head = change
        if qualifier is None:
            slots = self._functions.pop(key, None)
            if slots is not None:
                slots.forget()
        elif qualifier == LATEST and head is not None:
            reserved = head.reserved_concurrency
            if reserved is not None or key in self._functions:
                self._slots(key).reserve(reserved)

    def _slots(self, key: FunctionKey) -> Slots:
        return self._functions.get(key) or self._add(key)

    def _add(self, key: FunctionKey) -> Slots:
        where = key.account, key.region
        scope = self._scopes.get(where)
        if scope is None:
            scope = self._scopes[where] = Scope(self._account_limit, self)
        slots = self._functions[key] = Slots(key, scope)
        return slots


class Rate:
    """A token bucket that holds what comes in a second, full at start.

    Kept as the instant at which it would be full again: one number, and no work while idle.
    """

    __slots__ = ("_full_at", "_step_s")

    def __init__(self, concurrency: int) -> None:
        self._full_at = -math.inf
        self.resize(concurrency)

    def resize(self, concurrency: int) -> None:
        """Let so many invocations at a time come ten times a second."""
        per_second = concurrency * limits.REQUEST_RATE_PER_CONCURRENCY
        self._step_s = 1 / per_second if per_second > 0 else math.inf

    def take(self, now: float) -> bool:
        """Take a token if there is one.

        Args:
            now: monotonic seconds.
        """
        full_at = self._full_at
        full_at = (max(full_at, now)) + self._step_s
        if full_at - now > _BUCKET_S:
            return False
        self._full_at = full_at
        return True

    def wait_s(self, now: float) -> float:
        """Return the seconds until there is a token, after :meth:`take` found none."""
        return max(self._full_at, now) + self._step_s - now - _BUCKET_S


class Scope:
    """One account in one region.

    Attributes:
        running: invocations of functions that have no reserved slots.
        limit: how many of those may run: the account's, less what is set aside.
    """

    __slots__ = ("account_limit", "admission", "limit", "rate", "running")

    def __init__(self, account_limit: int, admission: Admission) -> None:
        self.account_limit = account_limit
        self.admission = admission
        self.limit = account_limit
        self.running = 0
        self.rate = Rate(account_limit)


class Slots:
    """The slots of one function, but for those that are provisioned.

    Attributes:
        running: its invocations that hold one of these.
        limit: how many may; None where it shares the scope's.
        reserved: the reserved concurrency; None without one.
        provisioned: slots of versions that have environments of their own, by version.
    """

    __slots__ = ("_aside", "key", "limit", "provisioned", "rate", "reserved", "running", "scope")

    def __init__(self, key: FunctionKey, scope: Scope) -> None:
        self.key = key
        self.scope = scope
        self.running = 0
        self.limit: int | None = None
        self.reserved: int | None = None
        self.rate = Rate(0)
        self.provisioned: dict[str, Provisioned] = {}
        self._aside = 0

    @property
    def busy(self) -> int:
        """All of the function's invocations that are running."""
        return self.running + sum(each.running for each in self.provisioned.values())

    def release(self) -> None:
        """Give a slot back."""
        self.running -= 1
        scope = self.scope
        if self.limit is None:
            scope.running -= 1
        if scope.admission.is_awaited:
            scope.admission.on_free()

    def reserve(self, concurrency: int | None) -> None:
        """Set slots aside for this function; what is running counts among them from now on."""
        if concurrency != self.reserved:
            self.reserved = concurrency
            self.rate.resize(concurrency or 0)
            self._settle()

    def provision(self, version: str, count: int) -> None:
        """Set slots aside for a version."""
        provisioned = self.provisioned.setdefault(version, Provisioned(self.scope))
        provisioned.limit = count
        provisioned.rate.resize(count)
        if not count and not provisioned.running:
            # One that runs would not be counted any more if there were some again.
            del self.provisioned[version]
        self._settle()

    def forget(self) -> None:
        """Give back what was set aside; what is running goes on, and counts in the scope."""
        self.reserved = None
        self.provisioned = {}
        self._settle()

    def _settle(self) -> None:
        """Bring the limits in line with what is reserved and provisioned."""
        scope = self.scope
        provisioned = sum(each.limit for each in self.provisioned.values())
        aside = provisioned if self.reserved is None else self.reserved
        scope.limit += self._aside - aside
        self._aside = aside
        limit = None if self.reserved is None else max(0, self.reserved - provisioned)
        if (limit is None) is not (self.limit is None):
            scope.running += self.running if limit is None else -self.running
        self.limit = limit


class Provisioned:
    """The slots of one version's provisioned environments: ``running`` of ``limit`` are taken."""

    __slots__ = ("limit", "rate", "running", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.limit = 0
        self.running = 0
        self.rate = Rate(0)

    def take(self, now: float) -> bool:
        """Take a slot if one is free and calls do not come too fast; else they spill over to the others."""
        if self.running >= self.limit or not self.rate.take(now):
            return False
        self.running += 1
        return True

    def release(self) -> None:
        """Give a slot back."""
        self.running -= 1
        if self.scope.admission.is_awaited:
            self.scope.admission.on_free()


def _ignore() -> None:
    """Nobody waits for a slot."""


def _too_fast(reason: str, rate: Rate, now: float) -> TooManyRequestsException:
    wait_s = rate.wait_s(now)
    return TooManyRequestsException(
        reason, retry_after_ms=math.ceil(wait_s * 1000), retry_after_s=max(1, math.ceil(wait_s))
    )
