"""One accepted call and what became of it, as values that rooms hand each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lambent.model.functions import FunctionVersion, partition
from lambent.model.identities import Credential, Principal, root


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called: the account and region that the credentials select.

    Attributes:
        access_key_id: None for unsigned calls.
        credential: what the signature was checked with; None where it was not.
    """

    account: str
    region: str
    access_key_id: str | None = None
    credential: Credential | None = field(default=None, compare=False)

    @property
    def principal(self) -> Principal:
        """Who it acts as: its account's root where no signature was checked."""
        if self.credential is not None:
            return self.credential.principal
        return root(self.account, partition(self.region))


class Origin(NamedTuple):
    """Where a call came from.

    Attributes:
        address: of the peer, IPv4 or IPv6; "" over a socket of this machine.
        is_secure: whether over TLS.
    """

    address: str
    is_secure: bool


class Invocation(NamedTuple):
    """One accepted call, ready to run.

    A named tuple, as :class:`InvocationResult`: one is made for every call, in a third
    of the time that a frozen dataclass takes.

    Attributes:
        version: the executed version's document.
        invoked_arn: the ARN as invoked, which the context object shows.
        payload: the event's bytes, valid JSON (``{}`` for an empty body).
        client_context: decoded JSON text, or "".
        trace_id: value of ``X-Amzn-Trace-Id`` for the function.
        tail: whether the caller asked for the last 4 KB of the log.
    """

    request_id: str
    version: FunctionVersion
    invoked_arn: str
    payload: bytes
    client_context: str = ""
    trace_id: str = ""
    tail: bool = False


class InvocationResult(NamedTuple):
    """What one attempt gave.

    Attributes:
        payload: the function's bytes, or the error object's JSON.
        function_error: ``Unhandled`` when the function failed, else None.
        content_type: of the payload, as the runtime posted it.
        log_tail: the last 4096 bytes of this invocation's log, if asked for.
        duration_ms: of the handler's run.
    """

    payload: bytes
    function_error: str | None = None
    content_type: str = "application/json"
    log_tail: bytes | None = None
    duration_ms: float = 0.0
