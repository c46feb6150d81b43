"""What the documentation says is so: settings, commands, files, links, examples."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from lambent.cli.main import main
from lambent.config import TABLE, render_settings_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "bench").glob("*.md")])

_LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_SOURCE = re.compile(r"`((?:\w+/)*\w+\.py|(?:\w+/)+)`")


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in _FENCE.findall(page.read_text()) if name == language]


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_settings_page_is_made_from_the_table() -> None:
    assert (DOCS / "settings.md").read_text() == render_settings_page(), "run `make docs`"


def test_settings_are_all_described() -> None:
    for setting in TABLE:
        assert setting.meaning
        assert setting.kind.accepts
        assert setting.default


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_readme_begins_with_the_two_commands() -> None:
    assert [each for each in commands(ROOT / "README.md") if each.startswith("make")] == [
        "make demo",
        "make test",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {line.split()[1] for line in commands(page) if re.match(r"make \w", line)}
    named |= set(re.findall(r"`make (\w+)`", page.read_text()))

    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_and_options_of_lambent_exist(page: Path) -> None:
    for line in commands(page):
        words = line.split("'")[0].split()
        if words[0].removeprefix(".venv/bin/") != "lambent":
            continue
        verb: click.Command = main.commands[words[1]]
        if isinstance(verb, click.Group):
            verb = verb.commands[words[2]]
        known = {option for each in verb.params if isinstance(each, click.Option) for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    # Patterns in code look like links.
    prose = _CODE.sub("", page.read_text())
    broken = [link for link in _LINK.findall(prose) if not (page.parent / link).exists()]

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_files_on_the_map_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    walk, _, differences = text.partition("## Where building differed")
    source = ROOT / "src" / "lambent"
    folders = (source, source / "api", source / "execution" / "bootstrap", ROOT)
    missing = [
        name for name in _SOURCE.findall(walk) if not any((folder / name).exists() for folder in folders)
    ]

    assert differences
    assert missing == []


def test_every_room_is_on_the_map() -> None:
    text = (DOCS / "architecture.md").read_text()
    rooms = [
        each.stem for each in (ROOT / "src" / "lambent").iterdir() if not each.name.startswith(("_", "py."))
    ]

    assert [room for room in rooms if room not in text] == []


@pytest.mark.parametrize("folder", sorted({each.parent for each in (ROOT / "examples").glob("*/*.py")}))
def test_example_functions_have_a_usual_handler(folder: Path) -> None:
    from lambent.cli.package import read_package

    assert read_package(folder).handler is not None


def test_changelog_has_a_place_for_the_next_release() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()
