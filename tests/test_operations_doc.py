"""docs/operations.md says exactly what is served: no more, no less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambent.api import invoke
from lambent.api.codec import Codec
from lambent.api.operations import OPERATIONS
from lambent.api.service_model import load_service_model
from lambent.model.errors import InvalidParameterValueException

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
SERVED = {name: operation.members for name, operation in OPERATIONS.items()} | invoke.SERVED
WORDS = {"honoured", "kept", "refused"}
MODEL = load_service_model()


def section(title: str) -> list[str]:
    """Return the lines of one chapter of the page."""
    chapters = PAGE.read_text(encoding="utf-8").split("\n## ")
    return next(chapter for chapter in chapters if chapter.startswith(f"{title}\n")).splitlines()


def tables(lines: list[str]) -> Iterator[list[list[str]]]:
    """Yield each table as rows of cells; the first row is the head."""
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if set(line) - set("|-"):
                rows.append(cells)
        elif rows:
            yield rows
            rows = []


def listed_as_served() -> list[str]:
    (table,) = tables(section("Served"))
    return [row[0] for row in table[1:]]


def listed_as_not_served() -> list[str]:
    (table,) = tables(section("Not served"))
    return [name for row in table[1:] for name in row[1].split(", ")]


def listed_members() -> dict[str, dict[str, str]]:
    """Return what the page says of each member: operation → member → one of WORDS."""
    said: dict[str, dict[str, str]] = {}
    for (_, *operations, _), *rows in tables(section("Members")):
        for row in rows:
            for operation, word in zip(operations, row[1:-1], strict=True):
                members = said.setdefault(operation, {})
                if word == "-":
                    continue
                assert word in WORDS, f"{operation}.{row[0]}: {word}"
                assert row[0] not in members, f"{operation}.{row[0]} is there twice"
                members[row[0]] = word
    return said


def members_of(operation: str) -> dict[str, str]:
    """Return the operation's members in the installed model, with the names of their shapes."""
    shape = MODEL["operations"][operation].get("input", {}).get("shape")
    members = MODEL["shapes"][shape]["members"] if shape else {}
    return {name: member["shape"] for name, member in members.items()}


def without_wholes(names: set[str]) -> set[str]:
    """Leave out what is told by its parts: ``Code`` where there is a ``Code.ZipFile``."""
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return the input that has ``value`` at ``path``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def test_served_operations_are_the_table_of_operations() -> None:
    assert sorted(listed_as_served()) == sorted(SERVED)


def test_every_operation_of_the_model_stands_once() -> None:
    listed = listed_as_served() + listed_as_not_served()

    assert sorted(set(listed)) == sorted(listed)
    # An older botocore has fewer.
    assert set(MODEL["operations"]) - set(listed) == set()


def test_every_served_operation_tells_of_its_members() -> None:
    without_members = {name for name in SERVED if not members_of(name)}

    assert set(listed_members()) == set(SERVED) - without_members


@pytest.mark.parametrize("operation", sorted(SERVED))
def test_members_are_those_that_the_code_serves(operation: str) -> None:
    said = listed_members().get(operation, {})

    assert {name for name, word in said.items() if word != "refused"} == without_wholes(
        set(SERVED[operation])
    )


@pytest.mark.parametrize("operation", sorted(SERVED))
def test_every_member_of_the_model_is_told(operation: str) -> None:
    said = set(listed_members().get(operation, {}))
    missing = set()
    for name, shape in members_of(operation).items():
        parts = {f"{name}.{part}" for part in MODEL["shapes"][shape].get("members", ())}
        # A structure is told as a whole, or by all of its parts.
        missing |= set() if name in said else (parts - said if parts & said else {name})

    assert missing == set()


@pytest.mark.parametrize(
    ("operation", "member", "word"),
    [(name, member, word) for name, said in listed_members().items() for member, word in said.items()],
)
def test_the_codec_refuses_what_the_page_calls_refused(operation: str, member: str, word: str) -> None:
    given = nested(member, object())
    if word != "refused":
        Codec().refuse_unserved(operation, given, SERVED[operation])
        return
    with pytest.raises(InvalidParameterValueException, match=f"^{member} is not served by"):
        Codec().refuse_unserved(operation, given, SERVED[operation])


@pytest.mark.parametrize(
    ("operation", "given", "served"),
    [("PublishLayerVersion", {}, None), ("CreateFunction", {"Layers": ["x"]}, SERVED["CreateFunction"])],
)
def test_the_page_quotes_the_refusal(
    operation: str, given: dict[str, Any], served: frozenset[str] | None
) -> None:
    with pytest.raises(InvalidParameterValueException) as caught:
        Codec().refuse_unserved(operation, given, served)

    assert f"`{caught.value.message}`" in PAGE.read_text(encoding="utf-8")
