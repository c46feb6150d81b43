"""Sealed values and the file of their keys."""

from __future__ import annotations

import base64
import errno
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.storage.directory import DataDirectory
from lambent.storage.sealing import KEY_BYTES, KeyFileUnusable, Sealer, Unsealable, open_sealer

OLD, NEW = b"o" * KEY_BYTES, b"n" * KEY_BYTES


def line(key: bytes) -> str:
    return base64.b64encode(key).decode() + "\n"


def write_keys(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines))
    path.chmod(0o600)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with closing(DataDirectory.open(tmp_path / "data")) as opened:
        yield opened


# ------------------------------------------------------------------ values


@given(st.binary(max_size=300), st.text(max_size=30))
def test_what_is_sealed_is_unsealed_for_its_purpose(plain: bytes, purpose: str) -> None:
    sealer = Sealer([NEW])
    assert sealer.unseal(sealer.seal(plain, purpose), purpose) == plain


@given(st.binary(min_size=8, max_size=300))
def test_the_plain_value_does_not_occur_in_the_sealed_one(plain: bytes) -> None:
    assert plain not in Sealer([NEW]).seal(plain, "p")


def test_sealing_twice_gives_two_different_values() -> None:
    sealer = Sealer([NEW])
    assert sealer.seal(b"value", "p") != sealer.seal(b"value", "p")


def test_a_value_is_not_unsealed_for_another_purpose() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"value", "function a")
    with pytest.raises(Unsealable):
        sealer.unseal(sealed, "function b")


@given(st.integers(min_value=0), st.integers(1, 255))
def test_a_value_changed_in_any_byte_is_not_unsealed(place: int, change: int) -> None:
    sealer = Sealer([NEW, OLD])
    sealed = bytearray(sealer.seal(b"value", "p"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(Unsealable):
        sealer.unseal(bytes(sealed), "p")


@given(st.integers(0, 40))
def test_a_value_cut_off_anywhere_is_not_unsealed(length: int) -> None:
    sealer = Sealer([NEW])
    with pytest.raises(Unsealable):
        sealer.unseal(sealer.seal(b"value", "p")[:length], "p")


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_behind_the_id_of_a_known_key(body: bytes) -> None:
    sealer = Sealer([NEW])
    with pytest.raises(Unsealable):
        sealer.unseal(sealer.key_id + body, "p")


def test_the_first_key_seals_and_all_unseal() -> None:
    sealed = Sealer([OLD]).seal(b"value", "p")
    both = Sealer([NEW, OLD])
    assert both.unseal(sealed, "p") == b"value"
    with pytest.raises(Unsealable):
        Sealer([OLD]).unseal(both.seal(b"value", "p"), "p")


def test_another_key_does_not_unseal() -> None:
    sealed = Sealer([OLD]).seal(b"value", "p")
    with pytest.raises(Unsealable):
        Sealer([NEW]).unseal(sealed, "p")


def test_the_id_of_a_key_stands_before_what_it_has_sealed() -> None:
    sealer = Sealer([NEW, OLD])
    assert sealer.seal(b"value", "p").startswith(sealer.key_id)
    assert sealer.key_id != Sealer([OLD]).key_id


def test_no_key_is_shown_by_a_sealer_or_by_its_errors() -> None:
    sealer = Sealer([NEW])
    with pytest.raises(Unsealable) as caught:
        sealer.unseal(b"", "p")
    assert "nnn" not in repr(sealer) + str(caught.value)


# ------------------------------------------------------------------ the key file


def test_the_first_opening_makes_a_key_that_the_next_one_finds(directory: DataDirectory) -> None:
    sealed = open_sealer(directory).seal(b"value", "p")
    assert open_sealer(directory).unseal(sealed, "p") == b"value"
    assert [path.name for path in directory.root.iterdir() if path.name.startswith("keys")] == ["keys"]


def test_the_key_file_is_for_its_owner_alone(directory: DataDirectory) -> None:
    before = os.umask(0)
    try:
        open_sealer(directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.keys.stat().st_mode) == 0o600


def test_a_key_file_elsewhere_is_made_with_its_folder(directory: DataDirectory, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret" / "place" / "lambent.keys"
    open_sealer(directory, elsewhere)
    assert elsewhere.exists()
    assert stat.S_IMODE(elsewhere.parent.stat().st_mode) == 0o700
    assert not directory.keys.exists()


def test_a_directory_of_its_own_process_writes_no_key() -> None:
    with closing(DataDirectory.open(":memory:")) as directory:
        sealed = open_sealer(directory).seal(b"value", "p")
        assert not directory.keys.exists()
        with pytest.raises(Unsealable):
            open_sealer(directory).unseal(sealed, "p")


def test_servers_that_make_the_same_file_at_once_end_with_the_same_key(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)
    link = os.link

    def link_together(source: Path, target: Path) -> None:
        together.wait()
        link(source, target)

    monkeypatch.setattr(os, "link", link_together)
    pids = itertools.count(1)
    monkeypatch.setattr(os, "getpid", lambda: next(pids))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: open_sealer(directory).key_id, range(2))
    assert one == other


def test_a_key_file_is_made_where_the_file_system_has_no_links(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    key_id = open_sealer(directory).key_id
    assert open_sealer(directory).key_id == key_id
    assert [path.name for path in directory.root.iterdir() if path.name.startswith("keys")] == ["keys"]


def test_lines_are_keys_and_the_first_one_seals(directory: DataDirectory) -> None:
    write_keys(directory.keys, "# made in May\n", "\n", line(NEW), "  " + line(OLD))
    sealer = open_sealer(directory)
    assert sealer.key_id == Sealer([NEW]).key_id
    assert sealer.unseal(Sealer([OLD]).seal(b"value", "p"), "p") == b"value"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it holds no key"),
        ("# nothing yet\n", "it holds no key"),
        (line(NEW) + line(OLD)[:-6] + "\n", "line 2 is not 32 bytes in base64"),
        ("not base64 at all!\n", "line 1 is not 32 bytes in base64"),
        ("clé\n", "line 1 is not 32 bytes in base64"),
        (line(NEW + OLD), "line 1 is not 32 bytes in base64"),
    ],
)
def test_a_file_that_is_no_key_file_is_refused_and_left_alone(
    directory: DataDirectory, text: str, reason: str
) -> None:
    write_keys(directory.keys, text)
    with pytest.raises(KeyFileUnusable) as caught:
        open_sealer(directory)
    assert str(caught.value) == f"The key file {directory.keys} cannot be used: {reason}."
    assert directory.keys.read_text() == text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_key_file_that_others_have_rights_to_is_refused(directory: DataDirectory, mode: int) -> None:
    open_sealer(directory)
    directory.keys.chmod(mode)
    with pytest.raises(KeyFileUnusable) as caught:
        open_sealer(directory)
    assert str(caught.value) == (
        f"The key file {directory.keys} cannot be used:"
        " others than its owner have rights to it (chmod 600 takes them away)."
    )


def test_a_key_file_that_its_owner_may_only_read_is_taken(directory: DataDirectory) -> None:
    write_keys(directory.keys, line(NEW)).chmod(0o400)
    assert open_sealer(directory).key_id == Sealer([NEW]).key_id
