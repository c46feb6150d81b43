"""Name and qualifier to the version that is executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lambent.model.errors import ResourceConflictException, ResourceNotFoundException
from lambent.model.functions import LATEST, FunctionHead, FunctionKey, FunctionVersion, State
from lambent.storage.contracts import FunctionStore
from lambent.tasks import Tasks


class Resolved(NamedTuple):
    """What a call runs, and the ARN that it was called by (which the context shows)."""

    version: FunctionVersion
    invoked_arn: str


class Resolver:
    """Resolves from a bounded cache that only the store's change feed invalidates.

    Attributes:
        cached: what is known without asking the store, by key and qualifier; to be read only.

    Args:
        on_replaced: told the id of a document that no longer serves, so that its
            environments can end.
        capacity: functions kept; the least recently loaded goes first.
    """

    def __init__(
        self, store: FunctionStore, tasks: Tasks, on_replaced: Callable[[str], None], capacity: int = 10_000
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._on_replaced = on_replaced
        self._capacity = capacity
        self.cached: dict[tuple[FunctionKey, str | None], Resolved] = {}
        self._serving: dict[FunctionKey, str] = {}
        self._changes = 0
        store.subscribe(self._changed)

    async def resolve(self, key: FunctionKey, qualifier: str | None) -> Resolved:
        """Return what ``key`` and ``qualifier`` execute.

        Raises:
            ResourceNotFoundException: function, version or alias is not there. The
                text carries ``:$LATEST`` for unqualified calls, as AWS's does since 2025.
            ResourceConflictException: the function is Pending or Failed.
        """
        seen = self._changes
        head = await self._store.load(key)
        if head is None or qualifier not in (None, LATEST):
            raise ResourceNotFoundException(f"Function not found: {key.arn(qualifier or LATEST)}")
        resolved = Resolved(_serving(head), key.arn(qualifier))
        if seen == self._changes:
            self._keep(key, qualifier, resolved)
        return resolved

    def _keep(self, key: FunctionKey, qualifier: str | None, resolved: Resolved) -> None:
        if len(self._serving) >= self._capacity and key not in self._serving:
            # What is no longer watched could not be ended when it is replaced.
            oldest, document_id = next(iter(self._serving.items()))
            self._forget(oldest)
            self._on_replaced(document_id)
        self._serving[key] = resolved.version.document_id
        self.cached[key, qualifier] = resolved

    def _forget(self, key: FunctionKey) -> str | None:
        for qualifier in (None, LATEST):
            self.cached.pop((key, qualifier), None)
        return self._serving.pop(key, None)

    def _changed(self, key: FunctionKey) -> None:
        self._changes += 1
        document_id = self._forget(key)
        if document_id is not None:
            self._tasks.start(self._retire(key, document_id), f"retirement of {key.arn()}")

    async def _retire(self, key: FunctionKey, document_id: str) -> None:
        seen = -1
        while seen != self._changes:
            seen = self._changes
            head = await self._store.load(key)
        if head is not None and head.serving is not None and head.serving.document_id == document_id:
            # Still served, so still to be watched: another change may replace it before the next call.
            self._serving.setdefault(key, document_id)
            return
        self._on_replaced(document_id)


def _serving(head: FunctionHead) -> FunctionVersion:
    if head.serving is None or head.state is not State.ACTIVE:
        raise ResourceConflictException(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {head.state}"
        )
    return head.serving
