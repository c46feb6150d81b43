"""Packages on disk: whole or not there, and never removed under an operation."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.rig import zip_of

from lambent.clock import ManualClock
from lambent.model.errors import InvalidZipFileException
from lambent.storage import files, packages
from lambent.storage.directory import DataDirectory
from lambent.storage.files import FileCodeStore


class Shelf:
    """A code store in a directory, with the clock that it goes by."""

    def __init__(self, location: Path) -> None:
        self.directory = DataDirectory.open(location)
        self.clock = ManualClock()
        self.store = FileCodeStore(self.directory, clock=self.clock, grace_s=100.0)

    def incoming(self) -> list[Path]:
        return list((self.directory.code / "incoming").iterdir())


def run(location: Path, scenario: Callable[[Shelf], Awaitable[None]]) -> None:
    async def main() -> None:
        shelf = Shelf(location)
        try:
            await shelf.store.start()
            await scenario(shelf)
            assert shelf.incoming() == []
        finally:
            shelf.directory.close()

    asyncio.run(main())


@pytest.fixture
def location(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_package_is_known_by_its_hash_and_read_as_it_was(location: Path) -> None:
    async def scenario(shelf: Shelf) -> None:
        data = zip_of()
        package = await shelf.store.put(data)
        assert (package.sha256, package.size) == (hashlib.sha256(data).hexdigest(), len(data))
        assert await shelf.store.put(data) == package
        assert await shelf.store.read(package.sha256) == data
        assert await shelf.store.read("ab" * 32) is None

    run(location, scenario)


def test_files_appear_whole_and_once(location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(shelf: Shelf) -> None:
        package = await shelf.store.put(zip_of({"a.py": "1", "b/c.py": "2"}))
        calls = []

        def counted(source: Path, folder: Path) -> None:
            calls.append(folder)
            assert not (shelf.directory.code / "unpacked" / package.sha256).exists()
            unpack_package(source, folder)

        unpack_package = packages.unpack_package
        monkeypatch.setattr(files, "unpack_package", counted)
        folders = await asyncio.gather(*(shelf.store.unpack(package.sha256) for _ in range(10)))
        assert len(set(folders)) == 1
        assert (folders[0] / "b/c.py").read_text() == "2"
        await shelf.store.unpack(package.sha256)
        assert len(calls) == 1

    run(location, scenario)


def test_cancelled_unpacking_does_not_disturb_the_next(
    location: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(shelf: Shelf) -> None:
        package = await shelf.store.put(zip_of())
        reached, released = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        unpack_package = packages.unpack_package

        def held(source: Path, folder: Path) -> None:
            loop.call_soon_threadsafe(reached.set)
            released.wait()
            unpack_package(source, folder)

        monkeypatch.setattr(files, "unpack_package", held)
        first = loop.create_task(shelf.store.unpack(package.sha256))
        await reached.wait()
        first.cancel()
        second = loop.create_task(shelf.store.unpack(package.sha256))
        await asyncio.sleep(0)
        released.set()
        folder = await second
        assert (folder / "app.py").exists()
        with pytest.raises(asyncio.CancelledError):
            await first
        # The thread of the first goes on; wait until it has cleaned up.
        await loop.shutdown_default_executor()
        assert (folder / "app.py").exists()

    run(location, scenario)


def test_package_that_cannot_be_unpacked_leaves_nothing(location: Path) -> None:
    async def scenario(shelf: Shelf) -> None:
        data = bytearray(zip_of({"a.py": bytes(range(256)) * 20}))
        data[60] ^= 0xFF
        package = await shelf.store.put(bytes(data))
        for sha256 in (package.sha256, "cd" * 32):
            with pytest.raises(InvalidZipFileException):
                await shelf.store.unpack(sha256)
        assert list((shelf.directory.code / "unpacked").iterdir()) == []

    run(location, scenario)


def test_unreferenced_package_goes_after_the_grace(location: Path) -> None:
    async def scenario(shelf: Shelf) -> None:
        kept, dropped = await shelf.store.put(zip_of()), await shelf.store.put(zip_of({"b.py": ""}))
        folder = await shelf.store.unpack(dropped.sha256)
        await shelf.store.keep_only({kept.sha256})
        shelf.clock.advance(99)
        await shelf.store.keep_only({kept.sha256})
        assert folder.exists()
        shelf.clock.advance(1)
        await shelf.store.keep_only({kept.sha256})
        assert not folder.exists()
        assert await shelf.store.read(dropped.sha256) is None
        assert await shelf.store.read(kept.sha256) is not None

    run(location, scenario)


def test_package_that_was_referenced_long_ago_still_has_its_grace(location: Path) -> None:
    async def scenario(shelf: Shelf) -> None:
        package = await shelf.store.put(zip_of())
        await shelf.store.keep_only({package.sha256})
        shelf.clock.advance(100_000)
        await shelf.store.keep_only(set())
        assert await shelf.store.read(package.sha256) is not None

    run(location, scenario)


@pytest.mark.parametrize("touch", ["put", "unpack"])
def test_package_that_is_used_again_starts_its_grace_anew(location: Path, touch: str) -> None:
    async def scenario(shelf: Shelf) -> None:
        data = zip_of()
        package = await shelf.store.put(data)
        await shelf.store.keep_only(set())
        shelf.clock.advance(1000)
        # The hashes were read before this put; its function is created after the sweep.
        await (shelf.store.put(data) if touch == "put" else shelf.store.unpack(package.sha256))
        await shelf.store.keep_only(set())
        assert await shelf.store.read(package.sha256) == data
        assert (await shelf.store.unpack(package.sha256)).exists()

    run(location, scenario)


def test_what_a_former_process_left_goes_at_once_unless_it_is_used(location: Path) -> None:
    first, second, third = (zip_of({name: ""}) for name in "abc")

    async def fill(shelf: Shelf) -> None:
        for data in (first, second, third):
            await shelf.store.unpack((await shelf.store.put(data)).sha256)

    async def look(shelf: Shelf) -> None:
        hashes = [hashlib.sha256(data).hexdigest() for data in (first, second, third)]
        await shelf.store.put(second)
        await shelf.store.keep_only({hashes[2]})
        assert [await shelf.store.read(sha256) is None for sha256 in hashes] == [True, False, False]
        assert not (shelf.directory.code / "unpacked" / hashes[0]).exists()

    run(location, fill)
    run(location, look)


def test_half_written_uploads_are_cleared_at_start(location: Path) -> None:
    async def leave(shelf: Shelf) -> None:
        await shelf.store.put(zip_of())

    async def look(shelf: Shelf) -> None:
        assert shelf.incoming() == []

    run(location, leave)
    (location / "code/incoming/half").write_bytes(b"PK")
    (location / "code/incoming/folder").mkdir()
    (location / "code/incoming/folder/x").touch()
    run(location, look)


def test_unpacked_files_of_another_boot_are_made_again(location: Path) -> None:
    async def fill(shelf: Shelf) -> None:
        package = await shelf.store.put(zip_of())
        folder = await shelf.store.unpack(package.sha256)
        # As a power failure leaves it: the name is there, the bytes are not.
        (folder / "app.py").write_bytes(b"")

    async def look(shelf: Shelf) -> None:
        folder = await shelf.store.unpack(hashlib.sha256(zip_of()).hexdigest())
        assert (folder / "app.py").read_bytes() != b""

    run(location, fill)
    (location / "code/boot").write_text("another boot")
    run(location, look)


def test_truncated_package_is_written_again(location: Path) -> None:
    async def scenario(shelf: Shelf) -> None:
        data = zip_of()
        package = await shelf.store.put(data)
        (shelf.directory.code / "zips" / package.sha256).write_bytes(data[:10])
        await shelf.store.put(data)
        assert await shelf.store.read(package.sha256) == data

    run(location, scenario)


def test_failed_write_leaves_nothing(location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(shelf: Shelf) -> None:
        def full(path: Path, data: bytes) -> None:
            path.write_bytes(data[:5])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files, "write_durably", full)
        with pytest.raises(OSError, match="No space"):
            await shelf.store.put(zip_of())
        assert list((shelf.directory.code / "zips").iterdir()) == []

    run(location, scenario)


def test_puts_and_sweeps_at_once_lose_no_package(location: Path) -> None:
    """Whatever the order: what was put last is there."""

    async def scenario(shelf: Shelf) -> None:
        data = zip_of()
        for _ in range(50):
            await shelf.store.keep_only(set())
            shelf.clock.advance(1000)
            package, _ = await asyncio.gather(shelf.store.put(data), shelf.store.keep_only(set()))
            assert await shelf.store.read(package.sha256) == data

    run(location, scenario)
    shutil.rmtree(location)
