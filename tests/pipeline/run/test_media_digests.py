"""Digests of media and faces, and what makes the remembered ones count no more."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clip_source import ClipSource
from pipeline.errors import MediaError
from pipeline.run import media_digests
from pipeline.run.media_digests import ClipDigests, MediaDigests

OLD_S = 1_000_000_000  # long before any test runs


def put(path: Path, content: bytes, *, modified_s: float = OLD_S) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (modified_s, modified_s))
    os.utime(path.parent, (OLD_S, OLD_S))
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "work" / "media_digests.log"


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read to be hashed, in order."""
    names: list[str] = []
    hash_file, hash_faces = media_digests._hash_file, media_digests._hash_faces
    monkeypatch.setattr(
        media_digests, "_hash_file", lambda path, shown: names.append(path.name) or hash_file(path, shown)
    )
    monkeypatch.setattr(
        media_digests,
        "_hash_faces",
        lambda folder, images, shown: names.append(folder.name) or hash_faces(folder, images, shown),
    )
    return names


def test_a_file_is_read_once(tmp_path: Path, memory: Path, read_bytes: list[str]) -> None:
    path = put(tmp_path / "x.mp4", b"pictures")
    assert MediaDigests(memory).of_file(path) == sha256(b"pictures")
    assert MediaDigests(memory).of_file(path) == sha256(b"pictures")
    assert read_bytes == ["x.mp4"]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: put(path, b"picturez", modified_s=OLD_S + 1),  # size alone says nothing
        lambda path: put(path, b"more pictures"),  # nor does time
        lambda path: put(path, b"picturez", modified_s=OLD_S + 1e-6),
        lambda path: os.replace(
            put(path.with_name("y"), b"picturez"), path
        ),  # another file of that size and time
    ],
)
def test_a_file_that_changed_is_read_again(
    tmp_path: Path, memory: Path, change: Callable[[Path], object]
) -> None:
    path = put(tmp_path / "x.mp4", b"pictures")
    MediaDigests(memory).of_file(path)
    change(path)
    assert MediaDigests(memory).of_file(path) == sha256(path.read_bytes())


def test_a_file_of_this_moment_is_not_remembered(
    tmp_path: Path, memory: Path, read_bytes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "x.mp4", b"pictures")
    for seconds_since in (-5, 0, 1.9, 2.1, 3):
        now_ns = int((OLD_S + seconds_since) * 1e9)
        monkeypatch.setattr(media_digests.time, "time_ns", lambda now_ns=now_ns: now_ns)
        MediaDigests(memory).of_file(path)
    # The third of these readings was the first that was late enough.
    assert len(read_bytes) == 4


def test_a_file_that_changes_meanwhile_is_refused(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "x.mp4", b"pictures")
    monkeypatch.setattr(media_digests, "_hash_file", lambda path, shown: put(path, b"others") and "digest")
    with pytest.raises(MediaError, match="was written to while it was read; run again"):
        MediaDigests(memory).of_file(path)


def test_faces_are_told_by_names_and_contents(tmp_path: Path, memory: Path, read_bytes: list[str]) -> None:
    folder = tmp_path / "faces"
    put(folder / "00002.jpg", b"two")
    put(folder / "00001.jpg", b"one")
    put(folder / "notes.txt", b"")
    contents = b"00001.jpg 3\none00002.jpg 3\ntwo"
    assert MediaDigests(memory).of_faces(folder) == sha256(contents)
    put(folder / "notes.txt", b"nobody reads this")
    assert MediaDigests(memory).of_faces(folder) == sha256(contents)
    assert read_bytes == ["faces"]
    put(folder / "00001.jpg", b"eno", modified_s=OLD_S + 9)  # the folder itself stays as it is
    changed = MediaDigests(memory).of_faces(folder)
    (folder / "00002.jpg").rename(folder / "00003.jpg")
    assert len({sha256(contents), changed, MediaDigests(memory).of_faces(folder)}) == 3


def test_faces_written_at_this_moment_are_not_remembered(
    tmp_path: Path, memory: Path, read_bytes: list[str]
) -> None:
    put(tmp_path / "faces" / "00001.jpg", b"one", modified_s=4e9)
    for _ in range(2):
        MediaDigests(memory).of_faces(tmp_path / "faces")
    assert read_bytes == ["faces", "faces"]


def test_images_are_read_to_their_end(tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_digests, "_PIECE_BYTES", 2)
    put(tmp_path / "faces" / "00001.jpg", b"seven b")
    assert MediaDigests(memory).of_faces(tmp_path / "faces") == sha256(b"00001.jpg 7\nseven b")


def test_a_folder_without_images_is_refused(tmp_path: Path, memory: Path) -> None:
    put(tmp_path / "faces" / "1.jpg", b"")
    with pytest.raises(MediaError, match=r"expected images named 00001\.jpg for the first frame, found none"):
        MediaDigests(memory).of_faces(tmp_path / "faces")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],  # killed while it wrote
        lambda content: content[:10] + b"X" + content[11:],
        lambda content: b"\0\xff\n garbage\n00000000 []\n" + content.replace(b"x.mp4", b"z.mp4"),
        lambda content: b"",
    ],
)
def test_damaged_lines_cost_another_reading_and_nothing_else(
    tmp_path: Path, memory: Path, read_bytes: list[str], damage: Callable[[bytes], bytes]
) -> None:
    first, second = (put(tmp_path / name, name.encode()) for name in ("x.mp4", "y.mp4"))
    MediaDigests(memory).of_file(first)
    memory.write_bytes(damage(memory.read_bytes()))
    again = MediaDigests(memory)
    assert (again.of_file(first), again.of_file(second)) == (sha256(b"x.mp4"), sha256(b"y.mp4"))
    read_bytes.clear()
    third = MediaDigests(memory)
    assert (third.of_file(first), third.of_file(second)) == (sha256(b"x.mp4"), sha256(b"y.mp4"))
    assert read_bytes == []


def write_many(memory: Path, folder: Path, number: int) -> None:
    digests = MediaDigests(memory)
    for name in range(100):
        digests.of_file(folder / f"{name * 4 + number}.mp4")


def test_processes_remember_side_by_side(tmp_path: Path, memory: Path, read_bytes: list[str]) -> None:
    files = [put(tmp_path / f"{number}.mp4", str(number).encode()) for number in range(400)]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(memory, tmp_path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    read_bytes.clear()
    digests = MediaDigests(memory)
    assert [digests.of_file(path) for path in files] == [sha256(path.read_bytes()) for path in files]
    assert read_bytes == []


def test_outdated_lines_make_way(
    tmp_path: Path, memory: Path, read_bytes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_digests, "_MAX_OUTDATED_LINES", 3)
    path, other = put(tmp_path / "x.mp4", b""), put(tmp_path / "y.mp4", b"y")
    MediaDigests(memory).of_file(other)
    for version in range(7):
        put(path, b"x" * version)
        MediaDigests(memory).of_file(path)
    assert len(memory.read_bytes().split()) < 4 * 8
    read_bytes.clear()
    digests = MediaDigests(memory)
    assert (digests.of_file(path), digests.of_file(other)) == (sha256(b"x" * 6), sha256(b"y"))
    assert read_bytes == []


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    path = put(tmp_path / "x.mp4", b"pictures")
    digests = MediaDigests(path / "no folder" / "memory")
    assert digests.of_file(path) == digests.of_file(path) == sha256(b"pictures")


def test_digests_of_clips_name_what_is_wrong_with_each(
    tmp_path: Path, memory: Path, read_bytes: list[str]
) -> None:
    media = put(tmp_path / "x.mp4", b"pictures")
    put(tmp_path / "faces" / "00001.jpg", b"one")
    (tmp_path / "empty").mkdir()
    clips = [
        ClipSource(clip_id="plain", media=media),
        ClipSource(clip_id="left", media=media, faces=tmp_path / "faces"),
        ClipSource(clip_id="gone", media=tmp_path / "gone.mp4"),
        ClipSource(clip_id="no faces", media=media, faces=tmp_path / "empty"),
        ClipSource(clip_id="nul", media=tmp_path / "a\0b"),
    ]
    digests = MediaDigests(memory)
    assert digests.remembered(clips[0]) is None
    found = digests.of_clips(clips)
    faces = sha256(b"00001.jpg 3\none")
    plain = ClipDigests(media_sha256=sha256(b"pictures"), faces_sha256=None)
    left = ClipDigests(media_sha256=sha256(b"pictures"), faces_sha256=faces)
    assert list(found) == ["plain", "left", "gone", "no faces", "nul"]
    assert (found["plain"], found["left"]) == (plain, left)
    assert [type(found[name]) for name in ("gone", "no faces", "nul")] == [
        FileNotFoundError,
        MediaError,
        ValueError,
    ]
    assert sorted(read_bytes) == ["faces", "x.mp4"]
    assert [MediaDigests(memory).remembered(clip) for clip in clips] == [plain, left, None, None, None]


def test_what_is_remembered_is_that_of_the_file_as_it_is(tmp_path: Path, memory: Path) -> None:
    clip = ClipSource(clip_id="x", media=put(tmp_path / "x.mp4", b"pictures"))
    digests = MediaDigests(memory)
    digests.of_file(clip.media)
    assert digests.remembered(clip) is not None
    put(clip.media, b"other pictures")
    assert digests.remembered(clip) is None


def test_progress_of_a_long_reading(tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.run.progress.SECONDS_BETWEEN_LINES", 0.0)
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    media = put(tmp_path / "x.mp4", b"x" * (3 * 2**20 + 1))
    clips = [ClipSource(clip_id="x", media=media)]
    digests = MediaDigests(memory).of_clips(clips, progress=True)
    assert digests["x"].media_sha256 == sha256(media.read_bytes())
    lines = shown.getvalue().splitlines()
    assert lines[0].startswith("digests: 0/1 files read or remembered, ")
    assert lines[-1].startswith("digests: 1/1 files")
    assert len(lines) == 5
    shown.truncate(0)
    MediaDigests(memory).of_clips(clips, progress=True)
    assert not shown.getvalue().strip("\0")
