"""Provisioned concurrency as values: what is wanted, which is stored, and what is there of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lambent.model.functions import FunctionKey

INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"
"""The ``StatusReason`` of environments that could not be initialised."""


class ProvisionedStatus(StrEnum):
    """How far it is. Source: the model's ``ProvisionedConcurrencyStatusEnum``."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConfig:
    """How many environments are to be kept initialised for a version, or for what an alias points to.

    Attributes:
        qualifier: a version's number as text, or an alias.
        modified_at: seconds since the epoch.
        revision_id: a UUID that changes with every change.
    """

    key: FunctionKey
    qualifier: str
    requested: int
    modified_at: float
    revision_id: str

    @property
    def arn(self) -> str:
        """The ARN of the version or alias."""
        return self.key.arn(self.qualifier)


class ProvisionedUse(NamedTuple):
    """What there is of a config at this moment.

    Attributes:
        allocated: environments that are initialised, at most as many as requested.
    """

    status: ProvisionedStatus = ProvisionedStatus.IN_PROGRESS
    allocated: int = 0


__all__ = ["INIT_FAILURE", "ProvisionedConfig", "ProvisionedStatus", "ProvisionedUse"]
