"""One call as a value: what AWS's Invoke takes, under Python's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from lambent.client.errors import ValidationError
from lambent.client.payloads import UNSET, encode_client_context, encode_payload


class InvocationType(StrEnum):
    """How a function is called; any other text is sent as it is."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


class LogType(StrEnum):
    """Whether the end of the log comes back; any other text is sent as it is."""

    NONE = "None"
    TAIL = "Tail"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeRequest:
    """What is sent by one Invoke; ``dataclasses.replace`` fills and changes it.

    Of all members but the payload ``None`` means not sent, ``""`` sent empty.

    Attributes:
        function: a name, a partial or a whole ARN, perhaps with its qualifier.
        payload: bytes or a file's path are sent as they are, anything else as JSON.
        qualifier: a version or an alias.
        invocation_type: see :class:`InvocationType`.
        log_tail: asks for the end of the log: short for ``log_type=LogType.TAIL``.
        log_type: see :class:`LogType`.
        client_context: a mapping is sent as JSON in base64, a text as it is.
        tenant_id: of functions that keep tenants apart.
        durable_execution_name: of durable functions.
    """

    function: str | None = None
    payload: object = field(default=UNSET, hash=False)
    qualifier: str | None = None
    invocation_type: InvocationType | str | None = None
    log_tail: InitVar[bool] = False
    log_type: LogType | str | None = None
    client_context: Mapping[str, object] | str | None = field(default=None, hash=False)
    tenant_id: str | None = None
    durable_execution_name: str | None = None

    def __post_init__(self, log_tail: bool) -> None:
        if log_tail:
            object.__setattr__(self, "log_type", LogType.TAIL)

    def __repr__(self) -> str:
        shown = [
            f"{each.name}={_describe(value) if each.name == 'payload' else repr(value)}"
            for each in fields(self)
            if (value := getattr(self, each.name)) is not each.default
        ]
        return f"InvokeRequest({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the members that are set under AWS's names, as boto3's ``invoke`` takes them.

        The payload is in bytes, the client context as it is sent.
        """
        found: dict[str, Any] = {}
        for ours, theirs in _AWS_NAMES.items():
            value = getattr(self, ours)
            if ours == "payload":
                if value is not UNSET:
                    found[theirs] = encode_payload(value)
            elif value is not None:
                found[theirs] = encode_client_context(value) if ours == "client_context" else str(value)
        return found

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Self:
        """Return the request of boto3's arguments.

        Raises:
            ValidationError: a member is not one of Invoke's.
        """
        if unknown := members.keys() - _OUR_NAMES.keys():
            raise ValidationError(f"Invoke has no {', '.join(sorted(unknown))}")
        return cls(**{_OUR_NAMES[name]: value for name, value in members.items()})


def _describe(payload: object) -> str:
    try:
        return f"<{len(encode_payload(payload))} bytes>"
    except ValidationError:
        return f"<{type(payload).__name__}>"


_AWS_NAMES = {
    "function": "FunctionName",
    "payload": "Payload",
    "qualifier": "Qualifier",
    "invocation_type": "InvocationType",
    "log_type": "LogType",
    "client_context": "ClientContext",
    "tenant_id": "TenantId",
    "durable_execution_name": "DurableExecutionName",
}
_OUR_NAMES = {theirs: ours for ours, theirs in _AWS_NAMES.items()}
