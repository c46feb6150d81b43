"""What an onlooker is told about the work; the default one listens to nothing."""

from __future__ import annotations

from lambent.model.invocations import Caller

NOBODY = Caller("", "")
"""The caller of what could not be read far enough to tell."""


class Observer:
    """Told of every answered request; made to be overridden, silent by itself.

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
