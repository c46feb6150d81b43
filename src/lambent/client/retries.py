"""When a request is sent again, and after how long.

By default only when the function cannot have run: see the table of :meth:`Policy.kind_of`. Delays
are random, so that many callers do not come back at the same instant: AWS's "full jitter".

Source: docs/aws-behaviour.md, clients 1, for the header with the least delay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lambent.client.answers import retry_after_s
from lambent.client.errors import (
    CallTimeout,
    LambentError,
    ServiceError,
    TransportError,
    ValidationError,
)

MAX_DELAY_S = 20.0
MAX_ASKED_DELAY_S = 60.0
"""A service that asks for more than this is not waited for: the error tells how long it asked."""
THROTTLED_FOR_S = 60.0
"""How long the calls of a map are tried again after a throttle."""

_TRANSIENT_STATUS = frozenset({500, 502, 503, 504})
_QUOTA_OF_RETRY = 5
_QUOTA_OF_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds; None waits for ever.

    Attributes:
        connect: to make a connection.
        read: between two reads of the answer, and two writes of a large request. A function may run for 900.
        total: for the whole call with all its attempts and the delays between them.
    """

    connect: float | None = 3.1
    read: float | None = 930.0
    total: float | None = None

    def __post_init__(self) -> None:
        for seconds in (self.connect, self.read, self.total):
            if seconds is not None and not seconds > 0:
                raise ValidationError("timeouts are greater than 0; None waits for ever")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is sent.

    Attributes:
        max_attempts: in all; 1 sends once.
        quota: shared by all calls of a client: each retry takes some, each success gives some back, and
            without any there are no retries, so that a service in trouble is not called three times as often.
    """

    max_attempts: int = 3
    quota: int = 500

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValidationError("max_attempts counts the first one: it is at least 1")


class Kind(Enum):
    """Why a request is sent again: the unit of the delay in seconds."""

    THROTTLED = 1.0
    TRANSIENT = 0.05


class Quota:
    """What is left for retries; shared by threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = self._left = capacity
        self._lock = threading.Lock()

    def take(self, amount: int) -> bool:
        """Tell whether there was enough, and take it."""
        with self._lock:
            if amount > self._left:
                return False
            self._left -= amount
            return True

    def give_back(self, amount: int) -> None:
        """Return what a successful call had taken; one that took nothing gives 1."""
        # Most calls find it full; what they see may be a moment old.
        if self._left < self._capacity:
            with self._lock:
                self._left = min(self._capacity, self._left + max(amount, 1))


class Gate:
    """Lets the calls of a map wait together when one of them is throttled."""

    def __init__(self) -> None:
        self._until = 0.0
        self._throttles = 0
        self._lock = threading.Lock()

    def wait(self, now: float) -> float:
        """Return the seconds for which nothing is to be sent."""
        return self._until - now

    def throttled(self, now: float, random: float, least: float) -> float:
        """Close the gate and return for how long.

        Args:
            now: of the monotonic clock.
            random: between 0 and 1.
            least: seconds that the service asked for.
        """
        with self._lock:
            # What was sent before it closed tells nothing new.
            if self._until <= now:
                self._throttles += 1
            delay = max(least, delay_s(Kind.THROTTLED, self._throttles, random))
            self._until = max(self._until, now + delay)
            return delay

    def passed(self) -> None:
        """Note that a call was not throttled."""
        self._throttles = 0


class Policy:
    """Decides for one call after each attempt that failed.

    Args:
        retries: how often.
        quota: of the client.
        idempotent: the function may run more than once.
        gate: of a map.
    """

    __slots__ = ("_gate", "_idempotent", "_quota", "_retries", "_taken", "_throttled_until")

    def __init__(self, retries: Retries, quota: Quota, *, idempotent: bool, gate: Gate | None = None) -> None:
        self._retries = retries
        self._quota = quota
        self._idempotent = idempotent
        self._gate = gate
        self._taken = 0
        self._throttled_until: float | None = None

    def succeeded(self) -> None:
        """Give the quota back."""
        self._quota.give_back(self._taken)
        if self._gate is not None:
            self._gate.passed()

    def kind_of(self, error: LambentError) -> Kind | None:
        """Return why an error is worth another attempt, or None.

        ============================================  =======  ==========
        what happened                                 default  idempotent
        ============================================  =======  ==========
        no connection; closed before the first byte   yes      yes
        429                                           yes      yes
        500 502 503 504                               no       yes
        reset, half an answer, timeout                no       yes
        redirect, other 4xx                           no       no
        ============================================  =======  ==========
        """
        if isinstance(error, TransportError):
            again = error.retryable and (self._idempotent or not error.may_have_run)
            return Kind.TRANSIENT if again else None
        if not isinstance(error, ServiceError):
            return None
        if error.status_code == 429:
            return Kind.THROTTLED
        return Kind.TRANSIENT if self._idempotent and error.status_code in _TRANSIENT_STATUS else None

    def delay_after(
        self, error: LambentError, attempt: int, now: float, random: Callable[[], float]
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up.

        Args:
            error: what the attempt met.
            attempt: 1 for the first.
            now: of the monotonic clock.
            random: numbers between 0 and 1.
        """
        kind = self.kind_of(error)
        if kind is None:
            return None
        # A proxy may ask for it too, which knows no codes.
        least = (retry_after_s(error.headers) or 0.0) if isinstance(error, ServiceError) else 0.0
        if least > MAX_ASKED_DELAY_S:
            return None
        if kind is Kind.THROTTLED and self._gate is not None and self._retries.max_attempts > 1:
            return self._wait_with_the_others(self._gate, now, random(), least)
        cost = _QUOTA_OF_TIMEOUT if isinstance(error, CallTimeout) else _QUOTA_OF_RETRY
        if attempt >= self._retries.max_attempts or not self._quota.take(cost):
            return None
        self._taken += cost
        return max(least, delay_s(kind, attempt, random()))

    def _wait_with_the_others(self, gate: Gate, now: float, random: float, least: float) -> float | None:
        if self._throttled_until is None:
            self._throttled_until = now + THROTTLED_FOR_S
        delay = gate.throttled(now, random, least)
        return delay if now + delay < self._throttled_until else None


def delay_s(kind: Kind, attempt: int, random: float) -> float:
    """Return the delay after an attempt: random, of a bound that doubles, at most 20 s."""
    return min(MAX_DELAY_S, random * kind.value * 2.0 ** min(attempt - 1, 30))
