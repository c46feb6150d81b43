"""One attempt: slot, environment, result, slot back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lambent.execution.pool import EnvironmentPool, GrowsTooFast, MachineFull
from lambent.invocation.admission import Admission, Slot
from lambent.model.errors import TooManyRequestsException
from lambent.model.functions import FunctionVersion
from lambent.model.invocations import Invocation, InvocationResult
from lambent.model.observer import SILENT, Observer


class Invoker:
    """Runs invocations; values in, values out.

    Args:
        observer: told of every attempt that a limit refused.
    """

    def __init__(self, admission: Admission, pool: EnvironmentPool, observer: Observer = SILENT) -> None:
        self._admission = admission
        self._pool = pool
        self._observer = observer

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        """Start one attempt; ``done`` is called once, with the slot given back already.

        Calls back instead of returning an awaitable: a task and a future for each
        invocation cost a quarter of the warm path.

        Raises:
            TooManyRequestsException: a limit of the account, the function or the machine is
                reached; nothing was started.
        """
        # Both steps in place: each call saved counts here.
        version = invocation.version
        try:
            slot = self._admission.acquire(version.key, version.version)
        except TooManyRequestsException as refusal:
            self._observer.invocation_throttled(version, refusal.reason, refusal.limit)
            raise
        try:
            self._pool.run(invocation, partial(_finish, slot, done))
        except BaseException as error:
            self._give_up(slot, version, error)
            raise

    def acquire(self, version: FunctionVersion, *, is_rated: bool = True) -> Slot:
        """Take the slot for one attempt.

        Raises:
            TooManyRequestsException: the account's or the function's limit is reached.
        """
        try:
            return self._admission.acquire(version.key, version.version, is_rated)
        except TooManyRequestsException as refusal:
            self._observer.invocation_throttled(version, refusal.reason, refusal.limit)
            raise

    def start(self, slot: Slot, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        """Start an attempt in a slot that was taken before; it is given back whatever happens.

        Raises:
            TooManyRequestsException: the machine's limit is reached; nothing was started.
        """
        try:
            self._pool.run(invocation, partial(_finish, slot, done))
        except BaseException as error:
            self._give_up(slot, invocation.version, error)
            raise

    def _give_up(self, slot: Slot, version: FunctionVersion, error: BaseException) -> None:
        """Give the slot of an attempt back that could not be started; tell a throttle as such."""
        slot.release()
        if isinstance(error, (MachineFull, GrowsTooFast)):
            refusal = _refusal(error)
            self._observer.invocation_throttled(version, refusal.reason, refusal.limit)
            raise refusal from None


def _refusal(full: MachineFull | GrowsTooFast) -> TooManyRequestsException:
    reason = "ConcurrentInvocationLimitExceeded"
    if isinstance(full, GrowsTooFast):
        return TooManyRequestsException(reason, retry_after_ms=full.retry_after_ms)
    return TooManyRequestsException(reason, limit="machine")


def _finish(slot: Slot, done: Callable[[InvocationResult], None], result: InvocationResult) -> None:
    slot.release()
    done(result)
