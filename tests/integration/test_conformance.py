"""The runner of ``conformance/`` with the client that is always here; ``make conformance`` runs all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conformance.clients import CLIENTS, Client, Difference, copy_of
from conformance.matrix import Cell, judge, render
from conformance.steps import SCRIPT, fault_steps, modelled_errors

ROOT = Path(__file__).parents[2]
GOOD = [{"step": step.name, "ok": True, "detail": step.detail} for step in (*SCRIPT, *fault_steps())]
ATTEMPTS = {"throttled": 3, "throttled-twice": 2}


def client(**differs: object) -> Client:
    options = {"attempts": {"throttled": 3, "retries": 2}, **differs}
    return Client("some", list, **options)  # type: ignore[arg-type]


def states(
    client: Client, told: list[dict[str, object]], level: str = "http", attempts: dict[str, int] = ATTEMPTS
) -> dict[str, str]:
    return {cell.step: cell.state for cell in judge(client, level, told, attempts)}


def changed(step: str, /, **change: object) -> list[dict[str, object]]:
    return [line | change if line["step"] == step else line for line in GOOD]


def test_the_matrix_of_boto3_has_no_red_cell() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "boto3", "--level", "http"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^invoke +ok", done.stdout, re.MULTILINE)


def test_what_the_table_expects_is_ok() -> None:
    judged = states(client(), GOOD)
    assert set(judged.values()) == {"ok"}
    assert {f"fault:{name}" for name in modelled_errors()} < set(judged)


@pytest.mark.parametrize(
    "change",
    [{"ok": False}, {"detail": "403"}, {"step": "no-such-step"}],
    ids=["not ok", "other detail", "unknown step"],
)
def test_anything_else_is_red(change: dict[str, object]) -> None:
    assert states(client(), changed("invoke", **change))["invoke"] == "red"


def test_a_step_that_the_table_does_not_know_is_red() -> None:
    assert states(client(), [*GOOD, {"step": "more", "ok": True, "detail": "200"}])["more"] == "red"


def test_what_was_not_told_is_red_unless_the_client_has_no_such_step() -> None:
    told = [line for line in GOOD if line["step"] not in {"hook", "invoke"}]
    without_hooks = client(differences={"hook": Difference("it has no hooks")})
    judged = states(without_hooks, told)
    assert (judged["hook"], judged["invoke"]) == ("absent", "red")
    assert states(without_hooks, GOOD)["hook"] == "red"


def test_other_attempts_than_expected_are_red() -> None:
    judged = states(client(), GOOD, attempts={"throttled": 1, "throttled-twice": 2})
    assert (judged["throttled"], judged["retries"]) == ("red", "ok")


def test_an_error_that_the_client_has_no_type_for_is_told_as_such() -> None:
    old = client(untyped=frozenset(("KMSDisabledException",)))
    step = "fault:KMSDisabledException"
    assert states(old, GOOD)[step] == "red"
    assert states(old, changed(step, detail="untyped KMSDisabledException 502"))[step] == "ok"


def test_a_client_whose_errors_have_no_status_tells_the_code_alone() -> None:
    judged = states(client(tells_status=False), changed("not-found", detail="ResourceNotFoundException"))
    assert (judged["not-found"], judged["conflict"]) == ("ok", "red")


def test_a_server_that_checks_signatures_refuses_the_unsigned_call() -> None:
    assert states(client(), GOOD, "signed")["unsigned"] == "red"
    told = changed("unsigned", detail="MissingAuthenticationTokenException 403")
    assert states(client(), told, "signed")["unsigned"] == "ok"


def test_the_picture_names_the_level_where_levels_differ() -> None:
    cells = judge(client(), "http", GOOD, ATTEMPTS) + judge(
        client(), "https", changed("invoke", detail="500"), ATTEMPTS
    )
    picture = render(cells)
    assert re.search(r"^invoke +http ok, https RED", picture, re.MULTILINE)
    assert re.search(r"^empty +ok", picture, re.MULTILINE)
    assert "some, RED invoke: expected 200 $LATEST; told 500 [https]" in picture


def test_the_picture_counts_the_errors_on_demand() -> None:
    told = changed("fault:KMSDisabledException", ok=False)
    picture = render(judge(client(), "http", told, ATTEMPTS))
    assert re.search(rf"^faults +RED {len(fault_steps()) - 1}/{len(fault_steps())}$", picture, re.MULTILINE)


def test_a_level_that_a_client_cannot_speak_is_told_and_does_not_empty_its_column() -> None:
    cells = [
        Cell("some", "http", "", "absent", "it speaks https only"),
        *judge(client(), "https", GOOD, ATTEMPTS),
    ]
    picture = render(cells, markdown=True)
    assert "| invoke | RequestResponse with a payload | ok |" in picture
    assert "- some, none: it speaks https only [http]" in picture


def test_a_client_that_is_skipped_is_shown_with_its_reason() -> None:
    picture = render([Cell("paws", "http", "", "skipped", "Rscript is not on PATH")])
    assert re.search(r"^invoke +skip", picture, re.MULTILINE)
    assert "paws, skip: Rscript is not on PATH" in picture


def test_programs_are_copied_where_they_differ_alone_so_that_builds_of_several_checkouts_share_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path))
    same, other = (copy_of("rust") / "src" / name for name in ("errors.rs", "main.rs"))
    other.write_text("of another checkout")
    for old in (same, other):
        os.utime(old, (0, 0))
    copy_of("rust")
    assert other.read_bytes() == (ROOT / "conformance/rust/src/main.rs").read_bytes()
    assert (same.stat().st_mtime == 0, other.stat().st_mtime == 0) == (True, False)


def test_every_program_is_there_and_lock_files_name_no_registry() -> None:
    folders = {"boto3": "python", "aws-cli-v1": "cli", "aws-cli-v2": "cli", "rusoto-rustls": "rusoto"}
    folders |= {"amazonka": "haskell", "paws": "r"}
    for each in CLIENTS:
        assert (ROOT / "conformance" / folders.get(each.name, each.name)).is_dir(), each.name
    assert "resolved" not in (ROOT / "conformance/js/package-lock.json").read_text()
    for program in ("rust", "rusoto"):
        assert "://" not in (ROOT / "conformance" / program / "Cargo.lock.in").read_text()
