"""Runtime identifiers: which ones AWS takes, which ones it has blocked, in its words.

What can be run on this machine is not decided here.

Source: docs/aws-behaviour.md, functions 7.6 and 7.17.
"""

from __future__ import annotations

from collections.abc import Collection

from lambent.model.errors import InvalidParameterValueException

# In the order in which AWS printed them in January 2026; the order has no meaning.
SUPPORTED = (
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
)

BLOCKED = frozenset(
    (
        "java8",
        "go1.x",
        "provided",
        "ruby2.7",
        "nodejs14.x",
        "nodejs12.x",
        "python3.7",
        "dotnetcore3.1",
    )
)

_SUPPORTED = frozenset(SUPPORTED)


def check_runtime(runtime: str, also: Collection[str] = ()) -> None:
    """Refuse a runtime that no function may be created with or updated to.

    Args:
        runtime: as the caller wrote it; case matters.
        also: further identifiers that this server runs.

    Raises:
        InvalidParameterValueException: blocked by AWS, or unknown.
    """
    if runtime in _SUPPORTED or runtime in also:
        return
    if runtime in BLOCKED:
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    raise InvalidParameterValueException(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(SUPPORTED)}] or be a valid ARN"
    )
