"""What an onlooker is told about the work, and what it may ask; the default one listens to nothing."""

from __future__ import annotations

from typing import NamedTuple

from lambent.model.functions import FunctionKey, FunctionVersion
from lambent.model.invocations import Caller

NOBODY = Caller("", "")
"""The caller of what could not be read far enough to tell."""


class Observer:
    """Told of requests and invocations; made to be overridden, silent by itself.

    Called on the hot path: an observer notes and returns, it never blocks. Parameters
    are positional because that is half the cost of naming them.
    """

    def request_answered(
        self,
        request_id: str,
        operation: str,
        caller: Caller,
        function: str,
        status: int,
        outcome: str,
        duration_s: float,
        sdk_invocation_id: bytes | None,
        sdk_attempt: bytes | None,
    ) -> None:
        """Take note of an answer.

        Args:
            request_id: as answered in ``x-amzn-RequestId``.
            operation: name of the API action, or the path of what is none.
            caller: :data:`NOBODY` for what is no request.
            function: its name, "" where none is meant.
            status: HTTP status.
            outcome: ``ok``, ``Unhandled`` for a function error, else the error code
                (with the reason and ``limit=machine`` or ``limit=account`` of a throttle).
            duration_s: from the complete request to the answer.
            sdk_invocation_id: ``amz-sdk-invocation-id`` as sent; with the next one it tells a
                retry from a new call.
            sdk_attempt: ``amz-sdk-request`` as sent.
        """

    def invocation_ended(
        self, version: FunctionVersion, function_error: str | None, duration_ms: float, init_ms: float | None
    ) -> None:
        """Take note of an attempt that ran, as its ``REPORT`` line does.

        Args:
            version: the executed version's document.
            function_error: the kind of function error that it ended in, or None.
            duration_ms: of the handler's run.
            init_ms: how long its environment was initialised for it; None for a warm one.
        """

    def invocation_throttled(self, version: FunctionVersion, reason: str, limit: str) -> None:
        """Take note of an attempt that a limit refused.

        Args:
            version: the document of the version that would have run.
            reason: the ``Reason`` that the caller is told.
            limit: whose limit it is, ``account`` or ``machine``.
        """

    def event_happened(self, key: FunctionKey, what: str) -> None:
        """Take note of something in the life of an event.

        Args:
            key: the function that it is for.
            what: ``received`` (also a redriven one); ``retried`` after an error of the function;
                ``succeeded``; ``dropped`` when it failed for good, and ``dead`` as well when nobody
                else wants to hear of that; ``delivered`` and ``undeliverable`` of what was to be
                sent about it.
        """


SILENT = Observer()
"""Who listens to nothing."""


class EnvironmentUse(NamedTuple):
    """One execution environment at this moment.

    Attributes:
        memory_mb: the most that its process has used since it started, in MB; 0 without one.
    """

    version: FunctionVersion
    is_busy: bool
    memory_mb: int


class AccountUse(NamedTuple):
    """The slots of one account in one region at this moment.

    Attributes:
        running: invocations, all functions together.
        limit: how many there may be.
        unreserved_limit: how many of them functions without reserved concurrency may have.
    """

    account: str
    region: str
    running: int
    limit: int
    unreserved_limit: int


class ServerUse(NamedTuple):
    """What the server holds at this moment.

    Attributes:
        environment_limit: execution environments that may exist.
        connections: open ones, at all doors.
        buffered_bytes: of request bodies.
    """

    environment_limit: int
    connections: int
    buffered_bytes: int
