"""How long the fuzz tests run: always the same examples in a normal run, others in a long one.

``FUZZ_EXAMPLES=20000 pytest tests/properties`` gives each test so many, drawn anew;
``python -m bench.fuzz`` does the same.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def fuzzed(examples: int, *, steps: int = 50) -> settings:
    """Return settings for so many examples, or for as many as a long run asks for.

    Args:
        examples: of a normal run.
        steps: at most, of each example of a state machine.
    """
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        stateful_step_count=steps,
    )
