"""The environments of one version document that are kept initialised, whether anybody calls or not.

What ends is replaced; an init that fails is not tried again until somebody asks anew,
and neither are processes that end one after another before anybody called them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from lambent.execution.environment import ExecutionEnvironment, Phase
from lambent.model.functions import FunctionVersion

_logger = logging.getLogger("lambent.execution")
# More at a time would only take turns, and take them from whoever is called.
_STARTS_AT_ONCE = 4


class ProvisionedEnvironments:
    """Keeps as many as are wanted; what a pool has of them for one document.

    Args:
        make: returns a new environment, or None while the machine has no room for it.
        end: ends one.
        changed: told when there are more or fewer that are ready.

    Attributes:
        wanted: how many are to be there.
        has_failed: whether no further one is tried.
        idle: those that wait for an invocation, the one used last at the end.
        starting: those that are not initialised yet.
    """

    def __init__(
        self,
        version: FunctionVersion,
        make: Callable[[FunctionVersion], ExecutionEnvironment | None],
        end: Callable[[ExecutionEnvironment], None],
        changed: Callable[[ProvisionedEnvironments], None],
    ) -> None:
        self.version = version
        self.wanted = 0
        self.has_failed = False
        self.idle: list[ExecutionEnvironment] = []
        self.starting: set[ExecutionEnvironment] = set()
        self._all: set[ExecutionEnvironment] = set()
        self._make = make
        self._end = end
        self._changed = changed
        # Processes in a row that ended before anybody called them.
        self._lost = 0
        self._has_told_of_room = False

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    @property
    def ready(self) -> int:
        """How many are initialised, idle or busy."""
        return len(self._all) - len(self.starting)

    def want(self, count: int) -> None:
        """Keep so many from now on, and try again if that has failed before."""
        self.wanted = count
        self.has_failed = False
        self._lost = 0
        self._has_told_of_room = False
        self.fill()

    def fill(self) -> None:
        """Start what is missing, a few at a time; end what is too much and not busy."""
        while len(self._all) > self.wanted and (self.starting or self.idle):
            self._drop(next(iter(self.starting)) if self.starting else self.idle[0])
        while len(self._all) < self.wanted and len(self.starting) < _STARTS_AT_ONCE and not self.has_failed:
            environment = self._make(self.version)
            if environment is None:
                self._tell_of_room()
                return
            self._all.add(environment)
            self.starting.add(environment)
            environment.initialize()

    def renew(self, made_after: float) -> None:
        """Put new environments in the place of idle ones that were made before that instant."""
        for environment in [one for one in self.idle if one.made_at <= made_after]:
            self._drop(environment)
        self.fill()

    def take_back(self, environment: ExecutionEnvironment) -> None:
        """Take an environment that is initialised, has answered, or has lost its process."""
        is_new = environment in self.starting
        if environment.phase is Phase.IDLE and len(self._all) <= self.wanted:
            self.idle.append(environment)
            if not is_new:
                return
            self.starting.discard(environment)
        else:
            if environment.phase is not Phase.IDLE:
                self._note_end(environment, is_new)
            self._drop(environment)
        self.fill()
        self._changed(self)

    def _tell_of_room(self) -> None:
        if not self._has_told_of_room:
            self._has_told_of_room = True
            arn = self.version.key.arn(self.version.version)
            _logger.warning("%s waits until this machine has room for its provisioned environments", arn)

    def _note_end(self, environment: ExecutionEnvironment, is_new: bool) -> None:  # noqa: FBT001
        """Decide whether another one is worth a try."""
        if environment.has_answered:
            self._lost = 0
            return
        self._lost += 1
        # One that never had a process is not to blame: what starts processes had ended.
        did_init_fail = is_new and environment.phase is Phase.RESET
        if did_init_fail or self._lost > self.wanted:
            self.has_failed = True

    def _drop(self, environment: ExecutionEnvironment) -> None:
        self._all.discard(environment)
        self.starting.discard(environment)
        if environment in self.idle:
            self.idle.remove(environment)
        self._end(environment)


__all__ = ["ProvisionedEnvironments"]
