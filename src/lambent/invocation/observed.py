"""An invoker whose refusals are seen."""

from __future__ import annotations

from collections.abc import Callable

from lambent.execution.pool import EnvironmentPool
from lambent.invocation.admission import Admission
from lambent.invocation.invoker import Invoker
from lambent.model.errors import TooManyRequestsException
from lambent.model.invocations import Invocation, InvocationResult
from lambent.model.observer import Observer


class ObservedInvoker(Invoker):
    """Runs invocations and tells an observer which ones a limit refused."""

    def __init__(self, admission: Admission, pool: EnvironmentPool, observer: Observer) -> None:
        super().__init__(admission, pool)
        self._observer = observer

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        """Start one attempt, as :meth:`Invoker.run`."""
        try:
            super().run(invocation, done)
        except TooManyRequestsException as refusal:
            self._observer.invocation_throttled(invocation.version, refusal.reason, refusal.limit)
            raise
