"""Blocks arrive in their order; what fails is told, and leaves no thread and no open file."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache.block_queue import BlockQueue
from cache.output_file import OutputFile


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread and no open file outlives a queue, however it ended."""
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    yield
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def put(queue: BlockQueue, file: OutputFile, data: bytes, *, last: bool = False) -> None:
    buffer = queue.buffer(8)
    buffer[: len(data)] = np.frombuffer(data, np.uint8)
    queue.put(file, buffer, len(data), last=last)


def test_blocks_of_several_files_keep_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wanted: dict[str, bytes] = {"a": b"", "b": b"", "c": b""}
    with BlockQueue(tmp_path, {8: 3}) as queue:
        files = {name: queue.open(name) for name in wanted}
        for _ in range(200):
            name = "abc"[rng.integers(3)]
            data = rng.bytes(int(rng.integers(1, 9)))
            put(queue, files[name], data)
            wanted[name] += data
    for name, data in wanted.items():
        assert (tmp_path / name).read_bytes() == data
        assert files[name].stored.sha256 == hashlib.sha256(data).hexdigest()
        assert files[name].stored.size_bytes == len(data)
    assert queue.files == list(files.values())


def test_no_more_blocks_wait_than_there_are_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = OutputFile.write, []

    def write(self: OutputFile, block: memoryview) -> None:
        real(self, block)
        written.append(1)

    monkeypatch.setattr(OutputFile, "write", write)
    with BlockQueue(tmp_path, {8: 2}) as queue:
        file = queue.open("file")
        for number in range(500):
            buffer = queue.buffer(8)
            assert number - len(written) < 2  # this one, and one on its way
            queue.put(file, buffer, 8)
    assert len(written) == 500


def test_sizes_have_buffers_of_their_own(tmp_path: Path) -> None:
    with BlockQueue(tmp_path, {8: 1, 4: 2}) as queue:
        file = queue.open("file")
        held = [queue.buffer(4), queue.buffer(4)]
        for _ in range(20):  # none of them waits for those of another size
            put(queue, file, b"12345678")
        for buffer in held:
            assert len(buffer) == 4
            buffer[:] = np.frombuffer(b"abcd", np.uint8)
            queue.put(file, buffer, 4)
    assert (tmp_path / "file").read_bytes() == 20 * b"12345678" + 2 * b"abcd"


def full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_of_the_disk_stops_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "write", lambda *_: calls.append(1) or full())

    def write_on() -> None:
        with BlockQueue(tmp_path, {8: 2}) as queue:
            file = queue.open("file")
            for _ in range(1000):  # the error comes with a buffer, of which there are two
                put(queue, file, b"12345678")
            pytest.fail("a thousand blocks were taken after an error")

    with pytest.raises(OSError, match="No space left"):
        write_on()
    assert len(calls) == 1  # nothing is written after it


def test_an_error_with_the_last_block_comes_out_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"), BlockQueue(tmp_path, {8: 2}) as queue:
        put(queue, queue.open("file"), b"12345678", last=True)


@pytest.mark.parametrize("step", ["hash", "write", "flush", "close"])
def test_an_error_of_any_step_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    real_close = OutputFile.close
    failed: list[int] = []

    def fail(self: OutputFile, *_: Any, **__: Any) -> None:
        real_close(self)
        if not failed:
            failed.append(1)
            raise MemoryError(step)

    monkeypatch.setattr(OutputFile, step, fail)
    with pytest.raises(MemoryError, match=step), BlockQueue(tmp_path, {8: 2}) as queue:
        put(queue, queue.open("file"), b"12345678", last=True)


def test_an_error_of_the_caller_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", full)

    def interrupted() -> None:
        with BlockQueue(tmp_path, {8: 2}) as queue:
            put(queue, queue.open("file"), b"12345678")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_thread_that_does_not_start_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real, started = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        started.append(self)
        if len(started) == number:
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with (
        pytest.raises(OSError, match=r"no thread could be started .*can't start"),
        BlockQueue(tmp_path, {8: 2}),
    ):
        pytest.fail("the queue was opened without its threads")


def test_an_interrupt_at_the_end_still_waits_for_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, interrupted = threading.Thread.join, []

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        if not interrupted:
            interrupted.append(self)
            raise KeyboardInterrupt
        real(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt), BlockQueue(tmp_path, {8: 2}) as queue:
        put(queue, queue.open("file"), b"12345678")
    assert interrupted
