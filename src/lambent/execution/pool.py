"""Every execution environment of this server: reuse, grow, expire, evict.

One method (:meth:`EnvironmentPool.run`) looks at all state under no await and
decides: the newest idle environment of the version, a new one, a new one in the
place of another function's idle one, or none. Newest idle first keeps a few
environments hot and lets the rest expire. Before all of them come those that are
kept for provisioned concurrency (:mod:`lambent.execution.provisioned`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from lambent import limits
from lambent.clock import Clock
from lambent.execution.environment import ExecutionEnvironment, Launcher, Log, Phase
from lambent.execution.provisioned import ProvisionedEnvironments
from lambent.model.functions import FunctionKey, FunctionVersion
from lambent.model.invocations import Invocation, InvocationResult
from lambent.model.observer import SILENT, EnvironmentUse, Observer
from lambent.tasks import Tasks

# Deadlines are looked at this often; one sweep for all costs less than a timer per invocation.
SWEEP_S = 0.025


class MachineFull(Exception):
    """No environment is idle and this machine may hold no further one."""


class GrowsTooFast(Exception):
    """A function has been given as many new environments as it may in a short time.

    Attributes:
        retry_after_ms: until it may have another.

    Source: docs/aws-behaviour.md, concurrency 3.1 and 3.6.
    """

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(retry_after_ms)
        self.retry_after_ms = retry_after_ms


class EnvironmentPool:
    """Environments by version document; sole owner of each of them.

    Args:
        temporary: where each environment's private folder is made.
        machine_limit: environments that may exist at a time.
        idle_timeout_s: life of an idle environment.
        init_limit_s: how long the first init of an environment may take.
        observer: told of each invocation that ended.

    Attributes:
        on_provisioned: told the version when more or fewer of its kept environments are ready.
    """

    def __init__(
        self,
        *,
        launcher: Launcher,
        log_store: Log,
        clock: Clock,
        tasks: Tasks,
        temporary: Path,
        machine_limit: int,
        idle_timeout_s: float,
        init_limit_s: float = limits.INIT_S,
        observer: Observer = SILENT,
    ) -> None:
        self._launcher = launcher
        self._log_store = log_store
        self._clock = clock
        self._tasks = tasks
        self._temporary = temporary
        self._machine_limit = machine_limit
        self._idle_timeout_s = idle_timeout_s
        self._init_limit_s = init_limit_s
        self._observer = observer
        self._idle: dict[str, list[ExecutionEnvironment]] = {}
        self._provisioned: dict[str, ProvisionedEnvironments] = {}
        self.on_provisioned: Callable[[FunctionVersion], None] = _ignore
        # Whether some of those wait for another environment to end or to be idle.
        self._lacks_room = False
        self._busy: set[ExecutionEnvironment] = set()
        self._count = 0
        # When each function's allowance of new environments is full again.
        self._growth: dict[FunctionKey, float] = {}
        self._retired: set[str] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._idle_sweep: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None
        self._is_draining = False

    @property
    def busy(self) -> int:
        """Invocations that are running."""
        return len(self._busy)

    def usage(self) -> list[EnvironmentUse]:
        """Return what every environment is doing."""
        kept = chain.from_iterable((each.idle, each.starting) for each in self._provisioned.values())
        idle = chain.from_iterable((*self._idle.values(), *kept))
        return [
            EnvironmentUse(environment.version, is_busy, environment.memory_mb)
            for is_busy, environments in ((True, self._busy), (False, idle))
            for environment in environments
        ]

    def run(self, invocation: Invocation, done: Callable[[InvocationResult], None]) -> None:
        """Run an invocation in an environment of its version; ``done`` gets the result.

        Raises:
            MachineFull: nothing was started.
            GrowsTooFast: nothing was started.
        """
        version = invocation.version
        idle = self._idle.get(version.document_id)
        if self._provisioned and (kept := self._provisioned.get(version.document_id)) and kept.idle:
            idle = kept.idle
        environment = idle.pop() if idle else self._make(version)
        self._busy.add(environment)
        environment.run(invocation, done)
        if self._sweep is None:
            self._watch_deadlines()

    def provision(self, version: FunctionVersion, count: int) -> None:
        """Keep so many environments of a document initialised; none any more for 0.

        What has failed is tried again. Those that are too many end, busy ones with their answer.
        """
        kept = self._provisioned.get(version.document_id)
        if kept is None:
            kept = ProvisionedEnvironments(
                version, self._make_provisioned, self._end, self._provisioned_changed
            )
            self._provisioned[version.document_id] = kept
        kept.want(0 if self._is_draining else count)
        self._forget_unless_kept(kept)
        self._watch_deadlines()
        if self._provisioned and self._idle_sweep is None and not self._is_draining:
            self._schedule_idle_sweep()

    def provisioned(self, document_id: str) -> tuple[int, bool]:
        """Return how many environments of a document are kept and ready, and whether others have failed."""
        kept = self._provisioned.get(document_id)
        return (0, False) if kept is None else (kept.ready, kept.has_failed)

    def retire(self, document_id: str) -> None:
        """End a document's environments but the provisioned: idle ones now, busy ones with their answer."""
        for environment in self._idle.pop(document_id, ()):
            self._end(environment)
        if self._is_busy(document_id):
            self._retired.add(document_id)

    async def drain(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` seconds for running invocations, then end every environment."""
        self._is_draining = True
        for kept in list(self._provisioned.values()):
            self.provision(kept.version, 0)
        if self._busy:
            self._drained = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), grace_s)
        for environment in list(self._busy):
            environment.close()
        for document_id in list(self._idle):
            self.retire(document_id)
        for timer in (self._sweep, self._idle_sweep):
            if timer is not None:
                timer.cancel()

    def _make(self, version: FunctionVersion) -> ExecutionEnvironment:
        """Make a new environment, in the place of another function's idle one if the machine is full."""
        full_at = self._check_growth(version.key)
        if self._count >= self._machine_limit and not self._evict():
            raise MachineFull
        self._growth[version.key] = full_at
        return self._create(version)

    def _check_growth(self, key: FunctionKey) -> float:
        """Return when the function's allowance is full again, should it get one more environment."""
        now = self._clock.monotonic()
        step_s = limits.SCALE_OUT_INTERVAL_S / limits.SCALE_OUT_ENVIRONMENTS
        full_at = max(self._growth.get(key, now), now) + step_s
        if full_at - now > limits.SCALE_OUT_INTERVAL_S:
            raise GrowsTooFast(math.ceil((full_at - now - limits.SCALE_OUT_INTERVAL_S) * 1000))
        return full_at

    def _evict(self) -> bool:
        """End the environment that has been idle for longest; False when none is idle."""
        oldest = min((idle[0] for idle in self._idle.values() if idle), key=_idle_since, default=None)
        if oldest is None:
            return False
        self._idle[oldest.version.document_id].remove(oldest)
        self._end(oldest)
        return True

    def _make_provisioned(self, version: FunctionVersion) -> ExecutionEnvironment | None:
        if self._count >= self._machine_limit and not self._evict():
            self._lacks_room = True
            return None
        return self._create(version, is_provisioned=True)

    def _create(self, version: FunctionVersion, *, is_provisioned: bool = False) -> ExecutionEnvironment:
        identifier = uuid.uuid4().hex
        day = time.strftime("%Y/%m/%d", time.gmtime(self._clock.now()))
        folder = tempfile.mkdtemp(prefix=f"{version.key.name[:64]}-", dir=self._temporary)
        self._count += 1
        return ExecutionEnvironment(
            version,
            identifier,
            f"{day}/[{version.version}]{identifier}",
            folder,
            self._launcher,
            self._log_store,
            self._clock,
            self._give_back,
            _extended_init_s(version) if is_provisioned else self._init_limit_s,
            self._observer,
            is_provisioned,
        )

    def _give_back(self, environment: ExecutionEnvironment) -> None:
        self._busy.discard(environment)
        document_id = environment.version.document_id
        if environment.is_provisioned:
            self._provisioned[document_id].take_back(environment)
            if self._drained is not None and not self._busy:
                self._drained.set()
            return
        if self._lacks_room:
            self._offer_room()
        if (self._retired or self._drained is not None) and self._leaves(environment, document_id):
            return
        idle = self._idle.get(document_id)
        if idle is None:
            self._idle[document_id] = [environment]
            if self._idle_sweep is None:
                self._schedule_idle_sweep()
        elif idle and environment.phase is not Phase.IDLE:
            # It was reset and another one is warm: the next invocation had better take that.
            self._end(environment)
        else:
            idle.append(environment)

    def _leaves(self, environment: ExecutionEnvironment, document_id: str) -> bool:
        """End an environment whose document is retired, or any while draining."""
        if self._drained is None and document_id not in self._retired:
            return False
        self._end(environment)
        if not self._is_busy(document_id):
            self._retired.discard(document_id)
        if self._drained is not None and not self._busy:
            self._drained.set()
        return True

    def _is_busy(self, document_id: str) -> bool:
        """Tell whether a document runs in an environment that is not provisioned."""
        return any(
            environment.version.document_id == document_id and not environment.is_provisioned
            for environment in self._busy
        )

    def _provisioned_changed(self, kept: ProvisionedEnvironments) -> None:
        self._forget_unless_kept(kept)
        self._watch_deadlines()
        self.on_provisioned(kept.version)

    def _forget_unless_kept(self, kept: ProvisionedEnvironments) -> None:
        if not kept.wanted and not kept.count:
            del self._provisioned[kept.version.document_id]

    def _offer_room(self) -> None:
        """Let those that lack room look again: an environment has ended, or is idle in a moment."""
        self._lacks_room = False
        asyncio.get_running_loop().call_soon(self._use_room)

    def _use_room(self) -> None:
        for kept in list(self._provisioned.values()):
            kept.fill()
        self._watch_deadlines()

    def _end(self, environment: ExecutionEnvironment) -> None:
        self._count -= 1
        if self._lacks_room:
            self._offer_room()
        environment.close()
        self._tasks.start(
            asyncio.to_thread(shutil.rmtree, environment.folder, ignore_errors=True),
            f"removal of {environment.folder}",
        )

    def _sweep_deadlines(self) -> None:
        now = self._clock.monotonic()
        for environments in [self._busy, *(kept.starting for kept in self._provisioned.values())]:
            for environment in [environment for environment in environments if environment.deadline <= now]:
                environment.expire()
        self._sweep = None
        self._watch_deadlines()

    def _watch_deadlines(self) -> None:
        if self._sweep is None and (self._busy or any(kept.starting for kept in self._provisioned.values())):
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep_deadlines)

    def _schedule_idle_sweep(self) -> None:
        delay = max(min(self._idle_timeout_s / 4, 30.0), 0.05)
        self._idle_sweep = asyncio.get_running_loop().call_later(delay, self._expire_idle)

    def _expire_idle(self) -> None:
        now = self._clock.monotonic()
        self._growth = {key: full_at for key, full_at in self._growth.items() if full_at > now}
        oldest_allowed = now - self._idle_timeout_s
        # Whatever was told them at their start is not good for ever, the keys of their role above all.
        made_after = now - limits.ENVIRONMENT_LIFE_S
        for document_id, idle in list(self._idle.items()):
            kept = []
            for environment in idle:
                if environment.idle_since > oldest_allowed and environment.made_at > made_after:
                    kept.append(environment)
                else:
                    self._end(environment)
            if kept:
                self._idle[document_id] = kept
            else:
                del self._idle[document_id]
        for provisioned in list(self._provisioned.values()):
            provisioned.renew(made_after)
        self._idle_sweep = None
        if self._idle or self._provisioned:
            self._schedule_idle_sweep()


def _ignore(version: FunctionVersion) -> None:
    """Nobody has asked for provisioned environments."""


def _extended_init_s(version: FunctionVersion) -> float:
    """Return how long init may take before anybody calls. Source: docs/aws-behaviour.md, execution 4.1."""
    return min(max(limits.EXTENDED_INIT_S, version.timeout_s), limits.EXTENDED_INIT_S_MAX)


def _idle_since(environment: ExecutionEnvironment) -> float:
    return environment.idle_since
