"""Runtime identifiers are refused in AWS's words (docs/aws-behaviour.md, functions 7.6)."""

from __future__ import annotations

import pytest

from lambent.model.errors import InvalidParameterValueException
from lambent.model.runtimes import BLOCKED, SUPPORTED, check_runtime


@pytest.mark.parametrize("runtime", SUPPORTED)
def test_supported_runtimes_pass(runtime: str) -> None:
    check_runtime(runtime)


def test_what_the_server_runs_besides_passes() -> None:
    check_runtime("python3.15", {"python3.15"})


@pytest.mark.parametrize("runtime", ["non-existent-runtime", "PYTHON3.9", ""])
def test_unknown_runtimes(runtime: str) -> None:
    with pytest.raises(InvalidParameterValueException) as refusal:
        check_runtime(runtime)
    assert refusal.value.message == (
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(SUPPORTED)}] or be a valid ARN"
    )


@pytest.mark.parametrize("runtime", sorted(BLOCKED))
def test_blocked_runtimes(runtime: str) -> None:
    with pytest.raises(InvalidParameterValueException) as refusal:
        check_runtime(runtime)
    assert refusal.value.message == (
        f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda "
        "functions. We recommend you use a supported runtime while creating or updating functions."
    )
