"""Functions, versions and aliases as values: what is stored, resolved and run.

``$LATEST`` and every published version have a *head* that changes by compare-and-set
and points to immutable *version documents*. While an update is in progress the head
holds both: the document that is shown (``latest``) and the one that invocations still
use (``serving``). Every document has an id of its own; environments are keyed by it,
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


def is_version(qualifier: str) -> bool:
    """Tell whether a qualifier names a version; any other one names an alias."""
    return qualifier == LATEST or (qualifier.isascii() and qualifier.isdigit())


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
    """The mutable side of ``$LATEST`` or of one published version.

    Stored by compare-and-set on ``revision_id``. A published version's head only ever
    changes its state: its document is frozen.

    Attributes:
        revision_id: a UUID that changes with every mutation and state change.
        latest: what is shown.
        serving: what runs: None before the first activation, the previous document
            while an update is in progress.
        state_reason: (text, code) while the function is not Active.
        update_reason: (text, code) while an update is in progress or has failed.
        tags: of the function; no version has any.
        last_version: number of the version published last, 0 before the first; numbers
            are never used again. Of ``$LATEST`` only.
        published: fingerprint of what that version froze, None before the first.
        reserved_concurrency: invocations that may run at once, and are kept free for the
            function; None where it shares the account's. Of ``$LATEST`` only.
        may_loop: whether the function may be a part of a loop without being stopped. Likewise.
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
    last_version: int = 0
    published: str | None = None
    reserved_concurrency: int | None = None
    may_loop: bool = False

    @property
    def version(self) -> str:
        """``$LATEST``, or the published version's number as text."""
        return self.latest.version

    @property
    def number(self) -> int:
        """0 for ``$LATEST``, else the version's number."""
        return 0 if self.version == LATEST else int(self.version)

    @property
    def settled(self) -> bool:
        """Whether no activation or update is under way."""
        return self.state is not State.PENDING and self.update_status is not UpdateStatus.IN_PROGRESS

    def evolve(self, **changes: object) -> FunctionHead:
        """Return a copy with ``changes``; the caller gives a fresh ``revision_id``."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version, or for two of them that share the invocations.

    Attributes:
        version: ``$LATEST`` or a number as text.
        weights: the share (0.0 to 1.0) of another version, by its number; ``version``
            gets the rest.
        revision_id: a UUID that changes with every change.
    """

    key: FunctionKey
    name: str
    version: str
    weights: Mapping[str, float] = field(default_factory=dict)
    description: str = ""
    revision_id: str

    @property
    def arn(self) -> str:
        """The alias's ARN."""
        return self.key.arn(self.name)

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that it may run; the first one without a weight of its own."""
        return (self.version, *self.weights)
