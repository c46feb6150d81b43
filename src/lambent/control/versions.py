"""Publish versions and list them.

A published version is a document that never changes, with a head of its own. Numbers
begin at 1, rise by 1 and are never used again in the life of the function.

Source: docs/aws-behaviour.md, versions-permissions 5.1 and 5.4, functions 7.3.
"""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from typing import cast

import msgspec

from lambent.control.configuration import Reply, render_configuration
from lambent.control.operation import Call, Output, Services, find_target, load_function
from lambent.control.paging import cut_page, page_size, parse_marker, render_marker
from lambent.control.states import (
    CREATING,
    check_changeable,
    check_revision,
    new_revision_id,
)
from lambent.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lambent.model.functions import FunctionHead, FunctionVersion, State, UpdateStatus
from lambent.storage.contracts import Conflict


async def publish_version(services: Services, call: Call) -> Output:
    """Freeze ``$LATEST`` as a version; unchanged since the last one, answer with that.

    Raises:
        ResourceNotFoundException: there is no such function.
        PreconditionFailedException: another RevisionId was expected.
        ResourceConflictException: the function is Pending, Failed or being updated.
        InvalidParameterValueException: ``$LATEST`` has another CodeSha256 than expected.
    """
    given = call.input
    target = find_target(call, "PublishVersion", narrow=True).require_latest()
    while True:
        head = await load_function(services, target.key)
        check_revision(head, given.get("RevisionId"))
        check_changeable(head)
        _check_code(head, given.get("CodeSha256"))
        version = await find_published(services, head)
        if version is None:
            head_after, version = freeze(
                head, description=given.get("Description"), now=services.clock.now(), is_active=True
            )
            try:
                await services.functions.replace(head_after, head.revision_id, version)
            except Conflict:
                # Somebody else was first: all checks hold for what is there now, or refuse it.
                continue
        return cast(Output, render_configuration(version, Reply.GET, qualifier=version.version))


async def list_versions_by_function(services: Services, call: Call) -> Output:
    """Return a page of a function's versions, ``$LATEST`` first.

    Raises:
        ResourceNotFoundException: there is no such function.
    """
    target = find_target(call, "ListVersionsByFunction").require_latest()
    scope = f"ListVersionsByFunction\n{target.key.name}"
    after = int(parse_marker(call, scope) or "-1")
    found = await services.functions.versions(target.key, after=after, limit=page_size(call) + 1)
    if not found and after < 0:
        raise ResourceNotFoundException(f"Function not found: {target.key.arn()}")
    shown, has_more = cut_page(call, found)
    output: Output = {
        "Versions": [render_configuration(head, Reply.LIST, qualifier=head.version) for head in shown]
    }
    if has_more:
        output["NextMarker"] = render_marker(call, scope, str(shown[-1].number))
    return output


async def find_published(services: Services, head: FunctionHead) -> FunctionHead | None:
    """Return the newest version if it froze just what ``head`` shows, else None."""
    if head.published is None or head.published != _fingerprint(head.latest):
        return None
    # It may have been deleted since.
    return await services.functions.load(head.key, str(head.last_version))


def freeze(
    head: FunctionHead, *, description: str | None, now: float, is_active: bool
) -> tuple[FunctionHead, FunctionHead]:
    """Return the head of ``$LATEST`` after publishing, and the head of the new version.

    Args:
        head: of ``$LATEST``.
        description: of the version; that of ``$LATEST`` when None.
        now: seconds since the epoch.
        is_active: whether what is shown has been activated; else the version is Pending.
    """
    number = head.last_version + 1
    document = dataclasses.replace(
        head.latest,
        document_id=uuid.uuid4().hex,
        version=str(number),
        description=head.latest.description if description is None else description,
        modified_at=now,
    )
    version = FunctionHead(
        key=head.key,
        generation=head.generation,
        revision_id=new_revision_id(),
        latest=document,
        serving=document if is_active else None,
        state=State.ACTIVE if is_active else State.PENDING,
        state_reason=None if is_active else CREATING,
        update_status=UpdateStatus.SUCCESSFUL if is_active else None,
    )
    after = head.evolve(
        revision_id=new_revision_id(), last_version=number, published=_fingerprint(head.latest)
    )
    return after, version


def _check_code(head: FunctionHead, expected: str | None) -> None:
    actual = head.latest.code.sha256_base64
    if expected is not None and expected != actual:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({actual}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )


def _fingerprint(document: FunctionVersion) -> str:
    """Return the same text for the same code and configuration."""
    content = dataclasses.replace(document, document_id="", version="", modified_at=0.0)
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


__all__ = ["find_published", "freeze", "list_versions_by_function", "publish_version"]
