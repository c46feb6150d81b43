"""One module per figure (or few that belong together): ``run(options)`` returns them.

A case starts what it measures and leaves nothing behind, so that each can be
run alone and none depends on another's traces.
"""

from collections.abc import Callable

from bench.cases import (
    admission,
    client,
    cold_start,
    cpu,
    create,
    events,
    flat,
    large,
    memory,
    one_core,
    overload,
    signature,
    signed,
    warm,
)
from bench.figures import Figure
from bench.rounds import Options

CASES: dict[str, Callable[[Options], list[Figure]]] = {
    "warm": warm.run,
    "cpu": cpu.run,
    "one_core": one_core.run,
    "cold_start": cold_start.run,
    "create": create.run,
    "memory": memory.run,
    "flat": flat.run,
    "large": large.run,
    "overload": overload.run,
    "admission": admission.run,
    "signature": signature.run,
    "signed": signed.run,
    "events": events.run,
    "client": client.run,
}
