"""What code and tests cite as their source exists: chapters of docs/aws-behaviour.md, and what these say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lambent import limits
from lambent.api.overrides import OVERRIDES
from lambent.api.service_model import load_service_model
from lambent.model import names

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = DOCS / "aws-behaviour.md"

_SUBJECT = "(?:invoke|async|concurrency|execution|versions-permissions|functions|operations|clients)"
_NUMBER = r"\d+(?:\.\d+)?"
# `7.4`, `7.3 to 7.9`, `7.18 e`: a row of a table may be named by its letter.
_PLACE = rf"{_NUMBER}(?: to {_NUMBER}| [a-z](?![\w ]))?"
_AND = r"(?:, and |, | and )"
_PLACES = rf"{_SUBJECT} {_PLACE}(?:{_AND}{_PLACE})*"
CITATION = re.compile(rf'{_PLACES}(?:{_AND}{_PLACES})*(?:, "(?P<title>[^"]+)")?')
HEADING = re.compile(rf"^## ({_SUBJECT} {_NUMBER}) — .+$", re.MULTILINE)


class Mention(NamedTuple):
    """One place that names the page as a source."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.text}"


def chapters() -> dict[str, str]:
    """Return the page's chapters: ``functions 7.4`` → its text."""
    parts = HEADING.split(PAGE.read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def mentions() -> Iterator[Mention]:
    """Yield all that is said after the page's name and a comma, in src and tests."""
    for file in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        source = file.read_text(encoding="utf-8")
        if file == Path(__file__):
            continue
        for match in re.finditer(r"docs/aws-behaviour\.md,\s", source):
            # A citation may go on in the next line of a docstring or comment.
            following = re.sub(r"\s*\n\s*(?:# )?", " ", source[match.end() : match.end() + 300])
            # The name alone, as text that a test compares with.
            if not re.match(r'"[,)]', following):
                yield Mention(file, source.count("\n", 0, match.end()) + 1, following)


def cited(citation: str) -> Iterator[tuple[str, str]]:
    """Yield (chapter, letter or "") of everything that a citation names; of a range both ends."""
    subject = ""
    for found in re.finditer(rf"({_SUBJECT})|({_NUMBER})(?: ([a-z])(?![\w ]))?", citation):
        if found[1]:
            subject = found[1]
        else:
            yield f"{subject} {found[2]}", found[3] or ""


def problems(mention: Mention, known: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a citation."""
    match = CITATION.match(mention.text)
    if match is None:
        yield f"{Mention(mention.file, mention.line, mention.text[:60])} … names no chapter"
        return
    for chapter, letter in cited(match[0].partition('"')[0]):
        if chapter not in known:
            yield f"{mention.file.relative_to(ROOT)}:{mention.line}: there is no chapter {chapter}"
        elif letter and f"| ({letter}) " not in known[chapter]:
            yield f"{mention.file.relative_to(ROOT)}:{mention.line}: {chapter} has no row ({letter})"
    if match["title"] and not any(f"\n### {match['title']}\n" in text for text in known.values()):
        yield f"{mention.file.relative_to(ROOT)}:{mention.line}: nothing is called {match['title']}"


def numbers_in(text: str) -> set[int]:
    """Return every whole number of a text; ``1,024`` is one."""
    return {int(number.replace(",", "")) for number in re.findall(r"\d+(?:,\d{3})*", text)}


def test_chapters_are_unique() -> None:
    headings = HEADING.findall(PAGE.read_text(encoding="utf-8"))

    assert sorted(set(headings)) == sorted(headings)


def test_every_citation_names_a_chapter_that_exists() -> None:
    known = chapters()

    assert [problem for mention in mentions() for problem in problems(mention, known)] == []


def test_chapters_named_in_passing_exist_too() -> None:
    known = chapters()
    numbered = "invoke 1|async 2|concurrency 3|execution 4|versions-permissions 5|functions 7"
    wrong = [
        f"{file.relative_to(ROOT)}: {chapter}"
        for folder in ("src", "tests")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for chapter in re.findall(rf"\b(?:{numbered})\.\d+", file.read_text(encoding="utf-8"))
        if chapter not in known
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("text", "chapters_named"),
    [
        ("invoke 1.1.", [("invoke 1.1", "")]),
        ("functions 7.3 to 7.9, 7.16 and 7.18. More", [("functions 7.3", ""), ("functions 7.9", "")]),
        ("invoke 1.2, 1.4 and clients 1.", [("invoke 1.2", ""), ("invoke 1.4", ""), ("clients 1", "")]),
        ("functions 7.1 and 7.18 e.", [("functions 7.1", ""), ("functions 7.18", "e")]),
        ("functions 7.1 a word more", [("functions 7.1", "")]),
    ],
)
def test_citations_are_read_as_they_are_written(text: str, chapters_named: list[tuple[str, str]]) -> None:
    match = CITATION.match(text)
    assert match is not None

    found = list(cited(match[0]))

    assert found[: len(chapters_named)] == chapters_named


@pytest.mark.parametrize("text", ['"Phases".', "function errors). Stack", "functions"])
def test_titles_are_no_citations(text: str) -> None:
    assert CITATION.match(text) is None


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_pages_refer_to_chapters_that_exist(page: Path) -> None:
    known = chapters()
    text = page.read_text(encoding="utf-8")
    wrong = [match for match in re.findall(rf"\b{_SUBJECT} {_NUMBER}\b", text) if match not in known]

    assert wrong == []


@pytest.mark.parametrize("name", [name for name, limit in limits.table().items() if "docs/" in limit.source])
def test_every_limit_stands_in_the_chapter_it_cites(name: str) -> None:
    limit = limits.table()[name]
    known = chapters()
    texts = [known[chapter] for chapter, _ in cited(limit.source.partition(", ")[2])]

    assert any(int(limit) in numbers_in(text) for text in texts)


@pytest.mark.parametrize(
    "source",
    sorted(
        {limit.source for limit in limits.table().values() if limit.source.startswith("the service model")}
    ),
)
def test_shapes_that_are_sources_are_in_the_model(source: str) -> None:
    shapes = load_service_model()["shapes"]
    shape = source.partition(", ")[2]

    assert shape in shapes or any(shape in described.get("members", ()) for described in shapes.values())


@pytest.mark.parametrize(
    ("chapter", "pattern"),
    [
        ("invoke 1.1", names.QUALIFIED_NAME),
        ("invoke 1.1", names.QUALIFIER),
        ("functions 7.5", names.NARROW_NAME),
        *(
            (row.source.partition(", ")[2], row.facts["pattern"])
            for row in OVERRIDES
            if row.target in {"TaggableResource", "LayerVersionArn", "SubnetId", "SecurityGroupId", "TagKey"}
        ),
    ],
)
def test_patterns_stand_in_their_chapters_as_they_are_applied(chapter: str, pattern: str) -> None:
    assert pattern in chapters()[chapter]
