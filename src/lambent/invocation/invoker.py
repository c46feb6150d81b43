"""One attempt: slot, environment, result, slot back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lambent.execution.pool import EnvironmentPool, MachineFull
from lambent.invocation.admission import Admission, Scope
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
        key = invocation.version.key
        scope = self._admission.acquire(key.account, key.region)
        try:
            self._pool.run(invocation, partial(_finish, scope, done))
        except MachineFull:
            scope.release()
            raise TooManyRequestsException("ConcurrentInvocationLimitExceeded", limit="machine") from None
        except BaseException:
            scope.release()
            raise


def _finish(scope: Scope, done: Callable[[InvocationResult], None], result: InvocationResult) -> None:
    scope.release()
    done(result)
