"""The life of a function head, as functions from head to head.

::

    created ─► Pending ─► Active ──────────────────────────┐
                  │         │ update                       │ activated:
                  ▼         ▼                              │ latest is served
               Failed     Active / InProgress ─► Active / Successful
                            │                ─► Active / Failed: the former
                            ▼                   document is still served
                          (delete, in every state)

Every arrow gives the head a new RevisionId. A function that Failed to be created
can only be deleted.

Source: docs/aws-behaviour.md, versions-permissions 5.3 and 5.4.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from lambent.model.errors import PreconditionFailedException, ResourceConflictException
from lambent.model.functions import Alias, FunctionHead, FunctionVersion, State, UpdateStatus
from lambent.storage.contracts import StoredPolicy

CREATING = ("The function is being created.", "Creating")
"""Reason and its code, while created and while updated: AWS has one text for both."""

Reason = tuple[str, str]


def new_head(version: FunctionVersion, tags: Mapping[str, str]) -> FunctionHead:
    """Return the head of a function that has just been created."""
    return FunctionHead(
        key=version.key,
        generation=version.generation,
        revision_id=new_revision_id(),
        latest=version,
        serving=None,
        state=State.PENDING,
        state_reason=CREATING,
        tags=tags,
    )


def begin_update(head: FunctionHead, version: FunctionVersion) -> FunctionHead:
    """Return the head that shows ``version`` and still serves what it served."""
    return head.evolve(
        revision_id=new_revision_id(),
        latest=version,
        update_status=UpdateStatus.IN_PROGRESS,
        update_reason=CREATING,
    )


def settle(head: FunctionHead, failure: Reason | None) -> FunctionHead:
    """Return the head after its latest document was activated, or could not be.

    Args:
        head: Pending, or with an update in progress.
        failure: text and code, None when all went well.
    """
    assert not head.settled
    if failure is None:
        return head.evolve(
            revision_id=new_revision_id(),
            serving=head.latest,
            state=State.ACTIVE,
            state_reason=None,
            update_status=UpdateStatus.SUCCESSFUL,
            update_reason=None,
        )
    if head.state is State.PENDING:
        return head.evolve(revision_id=new_revision_id(), state=State.FAILED, state_reason=failure)
    return head.evolve(
        revision_id=new_revision_id(), update_status=UpdateStatus.FAILED, update_reason=failure
    )


def check_revision(
    stored: FunctionHead | Alias | StoredPolicy | None,
    expected: str | None,
    *,
    reader: str = "GetFunction/GetAlias",
) -> None:
    """Refuse a change that was meant for another revision.

    Args:
        stored: what is to be changed; None has no revision.
        expected: as the caller gave it, if at all.
        reader: the operation that shows the latest.

    Raises:
        PreconditionFailedException: ``expected`` is given and not the latest.
    """
    if expected is not None and (stored is None or expected != stored.revision_id):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {reader} API to retrieve the latest Revision Id"
        )


def check_changeable(head: FunctionHead) -> None:
    """Refuse a change of code or configuration that the state does not allow.

    Raises:
        ResourceConflictException: the function is Pending or Failed, or an update
            is in progress.
    """
    refused = "The operation cannot be performed at this time."
    if head.state is not State.ACTIVE:
        _, code = head.state_reason or CREATING
        raise ResourceConflictException(
            f"{refused} The resource {head.key.arn()} is currently in the following state: "
            f"'{head.state}'. StateReasonCode: '{code}'"
        )
    if head.update_status is UpdateStatus.IN_PROGRESS:
        raise ResourceConflictException(f"{refused} An update is in progress for resource: {head.key.arn()}")


def new_revision_id() -> str:
    """Return a fresh RevisionId."""
    return str(uuid.uuid4())


__all__ = [
    "CREATING",
    "Reason",
    "begin_update",
    "check_changeable",
    "check_revision",
    "new_head",
    "new_revision_id",
    "settle",
]
