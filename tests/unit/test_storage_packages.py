"""What a package must be, and what hostile ones get."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.contract.rig import zip_of

from lambent import limits
from lambent.model.errors import InvalidParameterValueException, RequestEntityTooLargeException
from lambent.storage import packages
from lambent.storage.packages import PackageDamaged, check_zipped_size, inspect_package, unpack_package

DAMAGED = "Could not unzip uploaded file. Please check your file, then try to upload again."


def entry(name: str, *, mode: int = 0, system: int = 3, flags: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x", (2024, 5, 17, 10, 20, 30))
    info.filename = name
    info.create_system = system
    info.external_attr = mode << 16
    info.flag_bits |= flags
    return info


def archive_of(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, mode=stat.S_IFLNK | 0o777), target.encode()


def file(name: str, content: bytes = b"x", mode: int = 0) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, mode=mode), content


def unpack(data: bytes, tmp_path: Path) -> Path:
    source = tmp_path / "zip"
    source.write_bytes(data)
    folder = tmp_path / "out"
    unpack_package(source, folder)
    return folder


def test_ordinary_package_tells_its_unpacked_size() -> None:
    assert inspect_package(zip_of({"a.py": "x" * 1000, "b/c.py": "y" * 24})) == 1024


@pytest.mark.parametrize(
    "data", [b"no zip", b"PK\x03\x04" + b"\0" * 30, b"\0" * 1000, zip_of()[:-30], zip_of()[5:50]]
)
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    # functions 7.6 [R]
    with pytest.raises(InvalidParameterValueException) as caught:
        inspect_package(data)
    assert caught.value.message == DAMAGED


@pytest.mark.parametrize("data", [b"", archive_of()])
def test_zip_without_entries_is_refused(data: bytes) -> None:
    # functions 7.6 [I]
    with pytest.raises(InvalidParameterValueException) as caught:
        inspect_package(data)
    assert caught.value.message == "Uploaded file must be a non-empty zip"


def test_zip_of_more_than_the_limit_cannot_be_sent() -> None:
    # functions 7.4 [R]
    with pytest.raises(RequestEntityTooLargeException) as caught:
        check_zipped_size(b"x" * (limits.ZIPPED_CODE_BYTES + 1))
    assert caught.value.message == "Zipped size must be smaller than 52428800 bytes"
    check_zipped_size(b"x" * limits.ZIPPED_CODE_BYTES)


def test_unzipped_limit_is_exclusive() -> None:
    # functions 7.4 [R]: exactly 262,144,000 is refused, 1,000 less pass.
    size = int(limits.UNZIPPED_CODE_BYTES)
    assert inspect_package(zip_of({"a": bytes(size - 1000)})) == size - 1000
    with pytest.raises(InvalidParameterValueException) as caught:
        inspect_package(zip_of({"a": bytes(size - 1000), "b": bytes(1000)}))
    assert caught.value.message == "Unzipped size must be smaller than 262144000 bytes"


def test_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_of({"bomb": bytes(5_000_000)})
    # The size stands in the local header and in the directory; both are made to say 1000.
    lying = data.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 1000))
    assert inspect_package(lying) == 1000
    with pytest.raises(PackageDamaged):
        unpack(lying, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("bomb")) <= 1000


def test_unpacking_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNZIPPED_CODE_BYTES", 1_000_000)
    with pytest.raises(PackageDamaged):
        unpack(zip_of({f"{n}": bytes(300_000) for n in range(10)}), tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 1_000_000


def test_damaged_content_is_found_while_unpacking(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a": os.urandom(5000)}))
    data[1000] ^= 0xFF
    assert inspect_package(bytes(data)) == 5000
    with pytest.raises(PackageDamaged):
        unpack(bytes(data), tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        [file("/etc/passwd")],
        [file("../x")],
        [file("a/../../x")],
        [file("a/..")],
        [file("x\0.py")],
        [file("")],
        [file(".")],
        [file("n" * 256)],
        [file("d/" * 2000 + "x")],
        [file("a"), file("a")],
        [file("a"), file("./a")],
        [file("a"), file("a/b")],
        [file("a/b"), file("a")],
        [file("a"), file("a/")],
        [(entry("pipe", mode=stat.S_IFIFO | 0o644), b"")],
        [(entry("device", mode=stat.S_IFCHR | 0o644), b"")],
        [(entry("disk", mode=stat.S_IFBLK | 0o644), b"")],
        [(entry("socket", mode=stat.S_IFSOCK | 0o644), b"")],
        [link("l", "/etc/passwd")],
        [link("l", "..")],
        [link("l", "a/../..")],
        [link("a/l", "../../x")],
        [link("l", "")],
        [link("l", "x" * 5000)],
        [link("l", "l")],
        [link("a", "b"), link("b", "a")],
        [link("l", "a"), file("l/x")],
        [link("l", "a"), file("l")],
        # Harmless as texts, not as the kernel reads them.
        [link("deep/down", ".."), link("out", "deep/down/../x")],
        [link("a/b/up", "../.."), link("a/out", "b/up/../etc")],
    ],
    ids=lambda entries: " ".join(f"{info.filename!r:.20}" for info, _ in entries),
)
def test_what_leads_out_or_contradicts_itself_is_refused(
    entries: list[tuple[zipfile.ZipInfo, bytes]], tmp_path: Path
) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate")
        if len({e[0].filename for e in entries}) < len(entries)
        else pytest.MonkeyPatch.context()
    ):
        data = archive_of(*entries)
    with pytest.raises(InvalidParameterValueException) as caught:
        inspect_package(data)
    assert caught.value.message == DAMAGED
    with pytest.raises(PackageDamaged):
        unpack(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["zip"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(method: int) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("a.py", "x" * 100)
    with pytest.raises(InvalidParameterValueException):
        inspect_package(target.getvalue())


def test_encrypted_package_is_refused() -> None:
    data = bytearray(zip_of({"a.py": "x"}))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1
    with pytest.raises(InvalidParameterValueException):
        inspect_package(bytes(data))


def test_too_many_entries_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "ENTRIES_MAX", 3)
    assert inspect_package(zip_of({f"{n}": "x" for n in range(3)})) == 3
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(InvalidParameterValueException):
        inspect_package(archive_bytes_of_four)


archive_bytes_of_four = zip_of({f"{n}": "x" for n in range(4)})


def test_modes_are_readable_and_keep_the_executable_bit(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = unpack(
            archive_of(
                file("plain", mode=stat.S_IFREG | 0o600),
                file("run", mode=stat.S_IFREG | 0o700),
                file("open", mode=stat.S_IFREG | 0o666),
                file("setuid", mode=stat.S_IFREG | 0o4755),
                file("none"),
                (entry("dos", mode=0o777, system=0), b""),
                file("d/e/inner"),
                (entry("locked/", mode=stat.S_IFDIR | 0o000), b""),
            ),
            tmp_path,
        )
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")
    }
    assert modes == {
        "plain": "0o644",
        "run": "0o755",
        "open": "0o644",
        "setuid": "0o755",
        "none": "0o644",
        "dos": "0o644",
        "d": "0o755",
        "d/e": "0o755",
        "d/e/inner": "0o644",
        "locked": "0o755",
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_links_inside_the_package_are_kept(tmp_path: Path) -> None:
    folder = unpack(
        archive_of(
            file("lib/real.py", b"here"),
            link("a.py", "lib/real.py"),
            link("bin/b.py", "../a.py"),
            link("all", "."),
        ),
        tmp_path,
    )
    assert (folder / "bin/b.py").read_bytes() == b"here"
    assert (folder / "bin/b.py").readlink() == Path("../a.py")


def test_dots_in_names_are_dropped_and_times_are_the_zips(tmp_path: Path) -> None:
    folder = unpack(archive_of((entry("./"), b""), file("./app.py"), file("a//b.py")), tmp_path)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py")) == ["a/b.py", "app.py"]
    assert (folder / "app.py").stat().st_mtime == 1715941230


def test_name_in_utf_8_without_the_flag_is_read_as_utf_8(tmp_path: Path) -> None:
    data = zip_of({"naive.py": "x"}).replace(b"naive.py", "näv.py!"[:6].encode() + b"x")
    folder = unpack(data, tmp_path)
    assert [path.name for path in folder.iterdir()] == ["näv.pyx"]


_names = st.one_of(
    st.text(st.sampled_from("./\\a\0é~\U0001f600 "), max_size=12),
    st.lists(st.sampled_from(["..", ".", "", "a", "b", "c"]), max_size=5).map("/".join),
)
_modes = st.sampled_from(
    [0, stat.S_IFREG | 0o755, stat.S_IFDIR | 0o700, stat.S_IFLNK | 0o777, stat.S_IFIFO, 0o777]
)


@given(st.lists(st.tuples(_names, _modes, _names), max_size=8))
@example([("a/b", stat.S_IFLNK, ".."), ("c", stat.S_IFLNK, "a/b/../x")])
@example([("b", stat.S_IFLNK, "c"), ("b/a", 0, "x")])
@settings(max_examples=400, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_package_reaches_out_of_its_folder(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, int, str]]
) -> None:
    """Whatever the names: it is refused, or everything is inside and every link ends inside."""
    data = archive_of(*((entry(name, mode=mode), content.encode()) for name, mode, content in entries))
    base = tmp_path_factory.mktemp("hostile")
    guard = base / "deep" / "er"
    guard.mkdir(parents=True)
    try:
        inspect_package(data)
    except InvalidParameterValueException:
        if entries:
            with pytest.raises(PackageDamaged):
                unpack(data, guard)
            assert not (guard / "out").exists()
        return
    folder = unpack(data, guard)
    assert sorted(path.name for path in base.iterdir()) == ["deep"]
    assert sorted(path.name for path in (base / "deep").iterdir()) == ["er"]
    assert sorted(path.name for path in guard.iterdir()) == ["out", "zip"]
    root = os.path.realpath(folder)
    for path in folder.rglob("*"):
        assert os.path.realpath(path) == root or os.path.realpath(path).startswith(root + "/")
        assert path.is_symlink() or path.is_dir() or path.is_file()


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_package_or_an_exact_refusal(noise: bytes, at: int, value: int) -> None:
    damaged = bytearray(zip_of({"app.py": "x" * 50, "b": "y"}))
    damaged[at % len(damaged)] = value
    for data in (noise, bytes(damaged)):
        text = ""
        try:
            assert inspect_package(data) >= 0
        except InvalidParameterValueException as error:
            text = str(error.message)
        assert text in {
            "",
            DAMAGED,
            "Uploaded file must be a non-empty zip",
            "Unzipped size must be smaller than 262144000 bytes",
        }


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_damaged_package_unpacks_or_is_told_damaged(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    damaged = bytearray(archive_of(file("app.py", b"x" * 50), link("l", "app.py"), file("d/b", b"y")))
    damaged[at % len(damaged)] = value
    with contextlib.suppress(PackageDamaged):
        unpack(bytes(damaged), tmp_path_factory.mktemp("damaged"))
