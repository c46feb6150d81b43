"""Slots: who may run now, and the refusal for who may not."""

from __future__ import annotations

from lambent.model.errors import TooManyRequestsException


class Admission:
    """Counts running invocations per account and region.

    Looking and taking is one step without an await, so that the limit is exact.
    A slot belongs to one invocation; whoever acquired it releases it once.
    """

    def __init__(self, account_limit: int) -> None:
        self._account_limit = account_limit
        self._scopes: dict[tuple[str, str], Scope] = {}

    def acquire(self, account: str, region: str) -> Scope:
        """Take a slot; give it back with :meth:`Scope.release`.

        Raises:
            TooManyRequestsException: the account's concurrency is used up.
        """
        scope = self._scopes.get((account, region))
        if scope is None:
            scope = self._scopes[account, region] = Scope()
        if scope.running >= self._account_limit:
            raise TooManyRequestsException("ConcurrentInvocationLimitExceeded")
        scope.running += 1
        return scope

    def running(self, account: str, region: str) -> int:
        """Return how many slots are taken."""
        scope = self._scopes.get((account, region))
        return 0 if scope is None else scope.running


class Scope:
    """One account in one region: ``running`` slots are taken."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = 0

    def release(self) -> None:
        """Give a slot back."""
        self.running -= 1
