"""Name and qualifier to the version that is executed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from lambent.model.errors import ResourceConflictException, ResourceNotFoundException
from lambent.model.functions import LATEST, FunctionHead, FunctionKey, FunctionVersion, State, is_version
from lambent.model.policies import Policy, parse_policy
from lambent.storage.contracts import Change, FunctionStore
from lambent.tasks import Tasks


class Resolved(NamedTuple):
    """What a call runs.

    Attributes:
        version: the version that the qualifier means.
        invoked_arn: the ARN that it was called by, which the context shows.
        other: the second version of an alias that splits its calls; None for nearly all.
        other_share: how many of the calls run ``other``, 0.0 to 1.0.
        policy: the resource policy of what was called.
        may_loop: whether the function may be a part of a loop.
    """

    version: FunctionVersion
    invoked_arn: str
    other: FunctionVersion | None = None
    other_share: float = 0.0
    policy: Policy | None = None
    may_loop: bool = False


@dataclass(slots=True)
class _Known:
    """Of one function: the qualifiers in the cache, and the document of each version that may be running."""

    qualifiers: set[str | None] = field(default_factory=set)
    serving: dict[str, str] = field(default_factory=dict)


class Resolver:
    """Resolves from a bounded cache that only the store's change feed invalidates.

    Attributes:
        cached: what is known without asking the store, by key and qualifier; to be read only.

    Args:
        on_replaced: told the id of a document that no longer serves, so that its
            environments can end.
        capacity: documents kept; those of the function loaded least recently go first.
    """

    def __init__(
        self, store: FunctionStore, tasks: Tasks, on_replaced: Callable[[str], None], capacity: int = 10_000
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._on_replaced = on_replaced
        self._capacity = capacity
        self.cached: dict[tuple[FunctionKey, str | None], Resolved] = {}
        self._known: dict[FunctionKey, _Known] = {}
        self._documents = 0
        self._changes = 0
        store.subscribe(self._changed)

    async def resolve(self, key: FunctionKey, qualifier: str | None) -> Resolved:
        """Return what ``key`` and ``qualifier`` execute.

        Raises:
            ResourceNotFoundException: function, version or alias is not there. The
                text carries ``:$LATEST`` for unqualified calls, as AWS's does since 2025.
            ResourceConflictException: what is to be executed is Pending or Failed.
        """
        seen, resolved = -1, None
        # What an alias points to may move, and its former version go, between two looks.
        while resolved is None and seen != self._changes:
            seen = self._changes
            resolved = await self._load(key, qualifier)
        if resolved is None:
            raise ResourceNotFoundException(f"Function not found: {key.arn(qualifier or LATEST)}")
        if seen == self._changes:
            self._keep(key, qualifier, resolved)
        return resolved

    async def load_policy(self, key: FunctionKey, qualifier: str | None) -> Policy | None:
        """Return the resource policy of exactly this function, version or alias; None without one."""
        stored = await self._store.load_policy(key, qualifier)
        return None if stored is None else parse_policy(stored.document, resource_based=True)

    async def _load(self, key: FunctionKey, qualifier: str | None) -> Resolved | None:
        invoked_arn = key.arn(qualifier)
        policy = await self.load_policy(key, qualifier)
        if qualifier is None or is_version(qualifier):
            head = await self._store.load(key, qualifier or LATEST)
            if head is None:
                return None
            may_loop = head.may_loop if head.version == LATEST else await self._may_loop(key)
            return Resolved(_serving(head), invoked_arn, policy=policy, may_loop=may_loop)
        alias = await self._store.load_alias(key, qualifier)
        if alias is None:
            return None
        heads = [await self._store.load(key, version) for version in alias.versions]
        versions = [_serving(head) for head in heads if head is not None]
        if len(versions) < len(heads):
            return None
        may_loop = await self._may_loop(key)
        if len(versions) == 1:
            return Resolved(versions[0], invoked_arn, policy=policy, may_loop=may_loop)
        (share,) = alias.weights.values()
        return Resolved(versions[0], invoked_arn, versions[1], share, policy, may_loop)

    async def _may_loop(self, key: FunctionKey) -> bool:
        head = await self._store.load(key)
        return head is not None and head.may_loop

    def _keep(self, key: FunctionKey, qualifier: str | None, resolved: Resolved) -> None:
        known = self._known.setdefault(key, _Known())
        for version in (resolved.version, resolved.other):
            if version is not None and version.version not in known.serving:
                known.serving[version.version] = version.document_id
                self._documents += 1
        known.qualifiers.add(qualifier)
        self.cached[key, qualifier] = resolved
        while self._documents > self._capacity:
            # What is no longer watched could not be ended when it is replaced.
            oldest, known = next(iter(self._known.items()))
            self._on_replaced(self._forget(oldest, next(iter(known.serving))))

    def _forget(self, key: FunctionKey, version: str) -> str:
        """Forget a version that is known and whatever leads to it; return its document's id."""
        known = self._known[key]
        self._uncache(key, lambda resolved: version in _versions(resolved))
        self._documents -= 1
        document_id = known.serving.pop(version)
        if not known.serving:
            del self._known[key]
        return document_id

    def _uncache(self, key: FunctionKey, is_stale: Callable[[Resolved], bool]) -> None:
        qualifiers = self._known[key].qualifiers
        for qualifier in [one for one in qualifiers if is_stale(self.cached[key, one])]:
            qualifiers.discard(qualifier)
            del self.cached[key, qualifier]

    def _changed(self, change: Change) -> None:
        self._changes += 1
        key, changed, head = change
        known = self._known.get(key)
        if known is None:
            return
        if head is not None and head.version == LATEST:
            self._uncache(key, lambda resolved: resolved.may_loop is not head.may_loop)
        if changed is None:
            for version in list(known.serving):
                self._on_replaced(self._forget(key, version))
        elif changed in known.serving:
            document_id = self._forget(key, changed)
            self._tasks.start(self._retire(key, changed, document_id), f"retirement of {key.arn(changed)}")
        elif changed in known.qualifiers:
            known.qualifiers.discard(changed)
            del self.cached[key, changed]

    async def _retire(self, key: FunctionKey, version: str, document_id: str) -> None:
        seen = -1
        while seen != self._changes:
            seen = self._changes
            head = await self._store.load(key, version)
        if head is not None and head.serving is not None and head.serving.document_id == document_id:
            # Still served, so still to be watched: another change may replace it before the next call.
            known = self._known.setdefault(key, _Known())
            if version not in known.serving:
                known.serving[version] = document_id
                self._documents += 1
            return
        self._on_replaced(document_id)


def _versions(resolved: Resolved) -> tuple[str, ...]:
    if resolved.other is None:
        return (resolved.version.version,)
    return (resolved.version.version, resolved.other.version)


def _serving(head: FunctionHead) -> FunctionVersion:
    if head.serving is None or head.state is not State.ACTIVE:
        raise ResourceConflictException(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {head.state}"
        )
    return head.serving
