"""A function's process as the server sees it: real pipes, a zygote that only remembers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from lambent.execution.process import FunctionProcess
from lambent.execution.zygote import Exit, Zygote
from lambent.wire.frames import INIT_ERROR, READY, REPLY_HEADER, RESULT


class FakeZygote:
    """Keeps the function's ends of the pipes, as the kernel does for a forked child."""

    alive = True

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.on_exit: Callable[[Exit], None] = lambda _: None

    def spawn(
        self, _order: Mapping[str, object], descriptors: list[int], on_exit: Callable[[Exit], None]
    ) -> int:
        self.descriptors = [os.dup(descriptor) for descriptor in descriptors]
        self.on_exit = on_exit
        return 1

    def kill(self, _identifier: int) -> None:
        """Nothing runs."""

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class Owner:
    """Remembers what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_frame(self, _kind: int, _max_rss_kb: int, _duration_us: int, payload: bytes | None) -> None:
        self.told.append(payload)

    def on_output(self, data: bytes) -> None:
        self.told.append(data)

    def on_exit(self, ended: Exit) -> None:
        self.told.append(ended)


def _play(script: Callable[[FunctionProcess, FakeZygote, Owner], Any]) -> None:
    async def play() -> None:
        owner, zygote = Owner(), FakeZygote()
        process = FunctionProcess(owner, max_payload=100)
        await process.start(cast("Zygote", zygote), {})
        try:
            await script(process, zygote, owner)
        finally:
            process.abandon()
            zygote.close()
            await asyncio.sleep(0)

    asyncio.run(play())


def test_an_answer_comes_before_the_end_of_its_process_whichever_report_is_first() -> None:
    async def script(_process: FunctionProcess, zygote: FakeZygote, owner: Owner) -> None:
        os.write(zygote.descriptors[1], REPLY_HEADER.pack(9 + 4, RESULT, 1, 1) + b"null")
        zygote.on_exit(Exit(0, 1))
        assert owner.told == [b"null", Exit(0, 1)]

    _play(script)


def test_an_answer_comes_before_an_end_that_is_reported_while_the_process_starts() -> None:
    class QuickZygote(FakeZygote):
        def spawn(self, *given: Any) -> int:
            identifier = super().spawn(*given)
            os.write(self.descriptors[1], REPLY_HEADER.pack(9 + 4, INIT_ERROR, 1, 1) + b"null")
            asyncio.get_running_loop().call_soon(self.on_exit, Exit(256, 1))
            return identifier

    async def play() -> None:
        owner, zygote = Owner(), QuickZygote()
        await FunctionProcess(owner, max_payload=100).start(cast("Zygote", zygote), {})
        zygote.close()
        assert owner.told == [b"null", Exit(256, 1)]

    asyncio.run(play())


def test_an_invocation_for_a_process_that_was_ready_and_ended_while_it_starts_is_not_sent() -> None:
    class QuickZygote(FakeZygote):
        def spawn(self, *given: Any) -> int:
            identifier = super().spawn(*given)
            os.write(self.descriptors[1], REPLY_HEADER.pack(9, READY, 1, 1))
            asyncio.get_running_loop().call_soon(self.on_exit, Exit(256, 1))
            return identifier

    class Eager(Owner):
        process: FunctionProcess

        def on_frame(self, *given: Any) -> None:
            super().on_frame(*given)
            self.process.send(b"head", b"payload")

    async def play() -> None:
        owner, zygote = Eager(), QuickZygote()
        owner.process = FunctionProcess(owner, max_payload=100)
        await owner.process.start(cast("Zygote", zygote), {})
        zygote.close()
        assert owner.told == [b"", Exit(256, 1)]

    asyncio.run(play())


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_frames_are_put_together_from_pieces_and_too_long_ones_are_dropped(size: int) -> None:
    async def script(process: FunctionProcess, _zygote: FakeZygote, owner: Owner) -> None:
        payloads = [b"", b"1", b"x" * 100, b"y" * 101, b"z" * 5000, b"end"]
        stream = b"".join(REPLY_HEADER.pack(9 + len(each), RESULT, 1, 1) + each for each in payloads)
        for start in range(0, len(stream), size):
            process.data_received(stream[start : start + size])
        assert owner.told == [b"", b"1", b"x" * 100, None, None, b"end"]

    _play(script)


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("garbage", [b"\x00" * 20, b"\xff" * 20, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_bytes_that_are_no_frame_are_told_as_a_frame_of_no_kind(garbage: bytes, size: int) -> None:
    async def script(process: FunctionProcess, _zygote: FakeZygote, owner: Owner) -> None:
        for start in range(0, len(garbage), size):
            process.data_received(garbage[start : start + size])
        assert owner.told[:1] == [None]

    _play(script)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1 << 20])
def test_a_frame_of_any_length_goes_out_whole(size: int) -> None:
    async def script(process: FunctionProcess, zygote: FakeZygote, _owner: Owner) -> None:
        process.send(b"head", b"p" * size)
        process.send(b"next", b"")
        whole = b"head" + b"p" * size + b"next"
        received = b""
        while len(received) < len(whole):
            received += await asyncio.to_thread(os.read, zygote.descriptors[0], 1 << 20)
        assert received == whole

    _play(script)


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_when_not_all_pipes_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = os.pipe
    made: list[tuple[int, int]] = []

    def scarce() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(pipe())
        return made[-1]

    async def play() -> None:
        process = FunctionProcess(Owner(), max_payload=100)
        monkeypatch.setattr(os, "pipe", scarce)
        before = _open_descriptors()
        with pytest.raises(OSError, match="Too many open files"):
            await process.start(cast("Zygote", FakeZygote()), {})
        assert _open_descriptors() == before

    asyncio.run(play())
