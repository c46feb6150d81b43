"""From accepted to served: what happens after Create and Update have been answered.

A background task unpacks the package, has it prepared, and then moves the head by
compare-and-set. The head names the document that is being activated; when another
one stands there by then (deleted, created anew, or both), the result is dropped.
Document ids are never reused, so a function of the same name is not mistaken.

Nothing of this is kept outside the store: what a crash interrupts is taken up by
:func:`finish_unsettled` at the next start.
"""

from __future__ import annotations

import logging

from lambent.control.operation import Services
from lambent.control.states import Reason, settle
from lambent.model.errors import InvalidZipFileException, ServiceError
from lambent.model.functions import FunctionHead, FunctionVersion
from lambent.storage.contracts import Conflict, StorageFailed

SWEEP_INTERVAL_S = 600.0
"""How often packages are looked for that nothing refers to."""

_RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)

_logger = logging.getLogger("lambent.control")


def start_activation(services: Services, head: FunctionHead) -> None:
    """Activate ``head.latest`` in the background."""
    services.start_task(activate(services, head), f"activation of {head.key.arn()}")


async def activate(services: Services, head: FunctionHead) -> None:
    """Make ``head.latest`` ready and serve it, or note why it cannot be.

    Args:
        services: the server's.
        head: as stored by the operation: Pending, or with an update in progress.
    """
    async with services.activation_slots:
        failure = await _make_ready(services, head.latest)
    await _settle(services, head, failure)


async def finish_unsettled(services: Services) -> None:
    """Take up every activation that the end of the last server interrupted.

    Returns when all have been started; called once at start, before requests.
    """
    for head in await services.functions.unsettled():
        start_activation(services, head)


async def collect_garbage(services: Services) -> None:
    """Remove packages that no function refers to; recent ones go with a later call."""
    await services.code.keep_only(await services.functions.package_hashes())


async def keep_collecting(services: Services) -> None:
    """Collect garbage now and every ten minutes, until cancelled."""
    while True:
        try:
            await collect_garbage(services)
        except (StorageFailed, OSError) as error:
            _logger.error("unused packages could not be removed: %s", error)
        await services.clock.sleep(SWEEP_INTERVAL_S)


async def _make_ready(services: Services, version: FunctionVersion) -> Reason | None:
    """Unpack and prepare; return why it failed."""
    try:
        folder = await services.code.unpack(version.code.sha256)
        await services.prepare(version, folder)
    except InvalidZipFileException as error:
        return error.message or "", "InvalidZipFileException"
    except ServiceError as error:
        # The interpreter that was there at Create is gone.
        return error.message or "", "InvalidRuntime"
    except Exception:
        # A function must not stay Pending for a fault of ours.
        _logger.exception("activation of %s failed", version.key.arn())
        return "An internal error occurred. The server's log has the details.", "InternalError"
    return None


async def _settle(services: Services, head: FunctionHead, failure: Reason | None) -> None:
    """Store the outcome, unless the function has moved on; try again while storage fails."""
    failures = 0
    while True:
        try:
            stored = await services.functions.load(head.key, head.version)
            if stored is None or stored.settled or stored.latest.document_id != head.latest.document_id:
                return
            await services.functions.replace(settle(stored, failure), stored.revision_id)
        except Conflict:
            continue
        except StorageFailed as error:
            delay_s = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
            failures += 1
            _logger.error("activation of %s waits %g s for storage: %s", head.key.arn(), delay_s, error)
            await services.clock.sleep(delay_s)
        else:
            return


__all__ = [
    "SWEEP_INTERVAL_S",
    "activate",
    "collect_garbage",
    "finish_unsettled",
    "keep_collecting",
    "start_activation",
]
