"""Brings the environments that are kept initialised in line with what is to be provisioned.

::

    store ──change──▶ read configs, aliases, versions ──▶ settle ──▶ pool: how many to keep
                                                            ▲  └───▶ admission: how many slots
    pool ──more or fewer are ready──────────────────────────┘

Where an alias has moved, the former version keeps as many environments and slots as
its new one still lacks: both together are never more than was requested.

Source: docs/aws-behaviour.md, concurrency 3.4 and 3.6.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

from lambent.execution.pool import EnvironmentPool
from lambent.invocation.admission import Admission
from lambent.model.functions import LATEST, FunctionKey, FunctionVersion, State, is_version
from lambent.model.provisioned import ProvisionedConfig, ProvisionedStatus, ProvisionedUse
from lambent.storage.contracts import Change, FunctionStore
from lambent.tasks import Tasks


@dataclass(slots=True)
class _Target:
    """What one config is for at present.

    Attributes:
        version: None until it can be invoked.
        is_lost: whether it never can.
        former: versions whose environments serve until there are enough of this one's,
            the one of last first.
    """

    config: ProvisionedConfig
    version: FunctionVersion | None
    is_lost: bool
    former: list[FunctionVersion] = field(default_factory=list)


@dataclass(slots=True)
class _Function:
    """What is provisioned for one function.

    Attributes:
        targets: by qualifier.
        kept: what the pool was told last, by document: the version, how many, and for
            which revisions of configs.
    """

    targets: dict[str, _Target] = field(default_factory=dict)
    kept: dict[str, tuple[FunctionVersion, int, frozenset[str]]] = field(default_factory=dict)


class Provisioner:
    """Keeps what is to be provisioned; woken by the store's change feed and by the pool."""

    def __init__(
        self, store: FunctionStore, admission: Admission, pool: EnvironmentPool, tasks: Tasks
    ) -> None:
        self._store = store
        self._admission = admission
        self._pool = pool
        self._tasks = tasks
        self._functions: dict[FunctionKey, _Function] = {}
        # What must be read again, and what is being read.
        self._stale: set[FunctionKey] = set()
        self._reading: set[FunctionKey] = set()

    async def start(self) -> None:
        """Take over what is stored, now and with every change; before the first request."""
        self._pool.on_provisioned = self._pool_changed
        self._store.subscribe(self._changed)
        for key in await self._store.with_provisioned():
            self._read_soon(key)

    def use(self, config: ProvisionedConfig) -> ProvisionedUse:
        """Return what there is of a config."""
        function = self._functions.get(config.key)
        target = None if function is None else function.targets.get(config.qualifier)
        if target is None or target.version is None:
            has_failed = target is not None and target.is_lost
            return ProvisionedUse(ProvisionedStatus.FAILED if has_failed else ProvisionedStatus.IN_PROGRESS)
        ready, has_failed = self._pool.provisioned(target.version.document_id)
        status = ProvisionedStatus.IN_PROGRESS
        # What was changed just now has not been looked at yet.
        is_known = config.key not in self._stale and config.key not in self._reading
        if is_known and target.config == config:
            if ready >= config.requested:
                status = ProvisionedStatus.READY
            elif has_failed:
                status = ProvisionedStatus.FAILED
        return ProvisionedUse(status, min(ready, config.requested))

    def _changed(self, change: Change) -> None:
        key, qualifier, head = change
        if qualifier is None:
            if key in self._reading:
                self._stale.add(key)
            function = self._functions.pop(key, None)
            for version, _, _ in function.kept.values() if function else ():
                self._pool.provision(version, 0)
        elif key in self._functions or (qualifier != LATEST and head is None):
            self._read_soon(key)

    def _pool_changed(self, version: FunctionVersion) -> None:
        function = self._functions.get(version.key)
        if function is not None:
            self._settle(version.key, function)

    # -- what is wanted

    def _read_soon(self, key: FunctionKey) -> None:
        self._stale.add(key)
        if key not in self._reading:
            self._reading.add(key)
            self._tasks.start(self._read(key), f"provisioned concurrency of {key.arn()}")

    async def _read(self, key: FunctionKey) -> None:
        try:
            while key in self._stale:
                self._stale.discard(key)
                targets = [
                    await self._read_target(config)
                    for config in await self._store.provisioned(key, after="", limit=sys.maxsize)
                ]
                former = await self._read_former(key)
                if key not in self._stale:
                    self._take_over(key, targets, former)
        finally:
            self._reading.discard(key)

    async def _read_target(self, config: ProvisionedConfig) -> _Target:
        number = config.qualifier
        if not is_version(number):
            alias = await self._store.load_alias(config.key, number)
            # One that is gone by now has left a change behind.
            number = "" if alias is None else alias.version
        head = await self._store.load(config.key, number)
        is_active = head is not None and head.state is State.ACTIVE
        return _Target(
            config,
            head.serving if head is not None and is_active else None,
            head is not None and head.state is State.FAILED,
        )

    async def _read_former(self, key: FunctionKey) -> set[str]:
        """Return the documents that are kept and not deleted."""
        function = self._functions.get(key)
        documents = set()
        for version, _, _ in list(function.kept.values()) if function else ():
            head = await self._store.load(key, version.version)
            if head is not None and head.serving is not None:
                documents.add(head.serving.document_id)
        return documents

    def _take_over(self, key: FunctionKey, targets: list[_Target], still_there: set[str]) -> None:
        function = self._functions.get(key) or _Function()
        for target in targets:
            before = function.targets.get(target.config.qualifier)
            if before is not None:
                versions = [version for version in (before.version, *before.former) if version is not None]
                present = target.version and target.version.document_id
                target.former = [
                    version for version in versions if version.document_id in still_there - {present}
                ]
        function.targets = {target.config.qualifier: target for target in targets}
        if targets:
            self._functions[key] = function
        self._settle(key, function)
        if not targets:
            self._functions.pop(key, None)

    # -- what is there

    def _settle(self, key: FunctionKey, function: _Function) -> None:
        """Tell the pool what to keep, and the admission what is there of it."""
        wanted: Counter[str] = Counter()
        revisions: dict[str, set[str]] = {}
        versions = {document_id: version for document_id, (version, _, _) in function.kept.items()}
        for target in function.targets.values():
            missing = target.config.requested
            if target.version is not None:
                document_id = target.version.document_id
                versions[document_id] = target.version
                revisions.setdefault(document_id, set()).add(target.config.revision_id)
                wanted[document_id] += missing
                missing -= min(missing, self._pool.provisioned(document_id)[0])
            for version in target.former:
                # Never more than there were: only the present version gets new ones.
                _, count, _ = function.kept[version.document_id]
                count = min(count, missing)
                wanted[version.document_id] += count
                missing -= min(count, self._pool.provisioned(version.document_id)[0])
            target.former = [version for version in target.former if wanted[version.document_id]]
        for document_id, version in versions.items():
            count = wanted[document_id]
            told = (version, count, frozenset(revisions.get(document_id, ())))
            if function.kept.get(document_id) != told:
                self._pool.provision(version, count)
                function.kept[document_id] = told
            slots = min(count, self._pool.provisioned(document_id)[0])
            self._admission.provision(key, version.version, slots)
            if not count:
                del function.kept[document_id]


__all__ = ["Provisioner"]
