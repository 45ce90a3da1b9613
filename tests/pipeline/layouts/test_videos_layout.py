"""Source folders in the `videos` layout, as they are and as they should not be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import ManifestError
from pipeline.layouts.videos import read_videos


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_media_at_any_depth_sorted_by_id(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.mp4",
        "a/2.MOV",
        "a/1.avi",
        "a-b.webm",
        "notes.txt",
        ".hidden.mp4",
        ".git/x.mp4",
        "v1.2.mkv",
    )
    manifest = read_videos(tmp_path)
    assert [clip.clip_id for clip in manifest.clips] == ["a-b", "a/1", "a/2", "b", "v1.2"]
    assert manifest.clips[2].media == tmp_path / "a" / "2.MOV"
    assert manifest.problems == ()


@pytest.mark.parametrize(
    "name", ["..mp4", "...mp4", "%2e%2e.mp4", "a\\b.mp4", "C:x.mp4", "ä̈😀.mp4", "x'\"<b>.mp4"]
)
def test_hostile_but_printable_names_are_ids_and_nothing_else(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"d/{name}")
    hidden = name.startswith(".")
    if hidden:
        touch(tmp_path, "d/x.mp4")
    (clip,) = read_videos(tmp_path).clips
    assert clip.clip_id == "d/" + ("x" if hidden else name.removesuffix(".mp4"))


@pytest.mark.parametrize("name", [b"a\nb.mp4", b"\x1b[2J.mp4", b"\xff\xfe.mp4"])
def test_names_that_cannot_be_printed_are_refused_on_one_line(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(ManifestError, match="expected names of printable characters") as caught:
        read_videos(tmp_path)
    assert str(caught.value).isprintable()


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "a/x.avi", "a/X.mp4")
    with pytest.raises(ManifestError, match=r"'x\.avi' and 'x\.mp4' give one clip id 'a/x'"):
        read_videos(tmp_path)


def test_ids_that_differ_in_case_are_two_clips_and_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "a/X.mp4")
    manifest = read_videos(tmp_path)
    assert [clip.clip_id for clip in manifest.clips] == ["a/X", "a/x"]
    assert len(manifest.problems) == 1
    assert "'a/X', 'a/x' differ in case" in manifest.problems[0]


@pytest.mark.parametrize(
    ("files", "found"),
    [((), "found no files"), (("a.txt", "b.txt", "c.csv"), r"found 2 of '\.txt', 1 of '\.csv'")],
)
def test_folder_without_media_is_refused(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(ManifestError, match=found):
        read_videos(tmp_path)


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp4")
    with pytest.raises(ManifestError, match="expected a folder of media, found nothing"):
        read_videos(tmp_path / "missing")
    with pytest.raises(ManifestError, match="expected a folder of media, found a file"):
        read_videos(tmp_path / "x.mp4")


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "real/x.mp4", "source/y.mp4")
    (tmp_path / "source" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "source" / "again").symlink_to(tmp_path / "source")
    (tmp_path / "source" / "up").symlink_to(tmp_path)
    (tmp_path / "source" / "z.mp4").symlink_to(tmp_path / "real" / "x.mp4")
    assert [clip.clip_id for clip in read_videos(tmp_path / "source").clips] == ["linked/x", "y", "z"]


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/y.mp4")
    (tmp_path / "a" / "to-b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to-a").symlink_to(tmp_path / "a")
    ids = [clip.clip_id for clip in read_videos(tmp_path).clips]
    assert ids == ["a/to-b/y", "a/x", "b/to-a/x", "b/y"]
