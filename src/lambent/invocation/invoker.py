"""One attempt: slot, environment, result, slot back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lambent.execution.pool import EnvironmentPool, GrowsTooFast, MachineFull
from lambent.invocation.admission import Admission, Slot
from lambent.model.errors import TooManyRequestsException
from lambent.model.invocations import Invocation, InvocationResult


class Invoker:
    """Runs invocations; values in, values out."""

    def __init__(self, admission: Admission, pool: EnvironmentPool) -> None:
        self._admission = admission
        self._pool = pool

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        """Start one attempt; ``done`` is called once, with the slot given back already.

        Calls back instead of returning an awaitable: a task and a future for each
        invocation cost a quarter of the warm path.

        Raises:
            TooManyRequestsException: the account's or the machine's limit is reached;
                nothing was started.
        """
        version = invocation.version
        slot = self._admission.acquire(version.key, version.version)
        try:
            self._pool.run(invocation, partial(_finish, slot, done))
        except MachineFull:
            slot.release()
            raise TooManyRequestsException("ConcurrentInvocationLimitExceeded", limit="machine") from None
        except GrowsTooFast as limit:
            slot.release()
            raise TooManyRequestsException(
                "ConcurrentInvocationLimitExceeded", retry_after_ms=limit.retry_after_ms
            ) from None
        except BaseException:
            slot.release()
            raise


def _finish(slot: Slot, done: Callable[[InvocationResult], None], result: InvocationResult) -> None:
    slot.release()
    done(result)
