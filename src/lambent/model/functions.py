"""Functions and versions as values: what is stored, resolved and run.

A function is a *head* that changes by compare-and-set and points to immutable
*version documents*. While an update is in progress the head holds both: the
document that is shown (``latest``) and the one that invocations still use
(``serving``). Every document has an id of its own; environments are keyed by it,
so code of two documents never mixes.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

LATEST = "$LATEST"


class State(StrEnum):
    """Whether the function can be invoked. Source: the model's ``State``."""

    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"


class UpdateStatus(StrEnum):
    """How the last update went. Source: the model's ``LastUpdateStatus``."""

    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


class FunctionKey(NamedTuple):
    """What names a function on this server."""

    account: str
    region: str
    name: str

    def arn(self, qualifier: str | None = None) -> str:
        """Return the function's ARN, with ``:qualifier`` when one is given."""
        arn = f"arn:{partition(self.region)}:lambda:{self.region}:{self.account}:function:{self.name}"
        return arn if qualifier is None else f"{arn}:{qualifier}"


def partition(region: str) -> str:
    """Return the ARN partition of a region (``aws``, ``aws-cn``, ``aws-us-gov``, …)."""
    for prefix, name in _PARTITIONS:
        if region.startswith(prefix):
            return name
    return "aws"


_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("us-iso-", "aws-iso"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
)


@dataclass(frozen=True, slots=True)
class CodePackage:
    """The uploaded zip: ``sha256`` in hex, ``size`` in bytes.

    ``kms_key_arn`` is shown, and nothing is encrypted with it.
    """

    sha256: str
    size: int
    kms_key_arn: str | None = None

    @property
    def sha256_base64(self) -> str:
        """The hash as AWS shows it (``CodeSha256``)."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """Where and how the function logs; levels are None with format ``Text``."""

    group: str
    format: str = "Text"
    application_level: str | None = None
    system_level: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """An immutable document: code and configuration of one version.

    Attributes:
        document_id: changes whenever code or configuration does.
        generation: the function's life; a name created anew has another.
        version: ``$LATEST`` or a published number as text.
        variables: environment variables, or None where none were ever given
            (AWS shows an empty ``Environment`` differently from an absent one).
        kept: members that are shown and have no effect here, by AWS's names and in
            AWS's form.
        modified_at: seconds since the epoch.
    """

    key: FunctionKey
    document_id: str
    generation: str
    version: str = LATEST
    code: CodePackage
    runtime: str
    handler: str
    role: str
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_storage_mb: int = 512
    architecture: str = "x86_64"
    variables: Mapping[str, str] | None = None
    tracing_mode: str = "PassThrough"
    logging: LoggingConfig
    kept: Mapping[str, Any] = field(default_factory=dict)
    modified_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionHead:
    """The mutable side of a function; stored by compare-and-set on ``revision_id``.

    Attributes:
        revision_id: a UUID that changes with every mutation and state change.
        latest: what ``$LATEST`` shows.
        serving: what ``$LATEST`` runs: None before the first activation, the
            previous document while an update is in progress.
        state_reason: (text, code) while the function is not Active.
        update_reason: (text, code) while an update is in progress or has failed.
        tags: of the function; no version has any.
    """

    key: FunctionKey
    generation: str
    revision_id: str
    latest: FunctionVersion
    serving: FunctionVersion | None
    state: State
    state_reason: tuple[str, str] | None = None
    update_status: UpdateStatus | None = None
    update_reason: tuple[str, str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether no activation or update is under way."""
        return self.state is not State.PENDING and self.update_status is not UpdateStatus.IN_PROGRESS

    def evolve(self, **changes: object) -> FunctionHead:
        """Return a copy with ``changes``; the caller gives a fresh ``revision_id``."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
