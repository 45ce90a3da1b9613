"""What workers are at is known when they are not there any more."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.run.running_clips import RunningClips, remove_leftovers


def test_a_clip_that_was_ended_has_not_been_begun(tmp_path: Path) -> None:
    running = RunningClips(tmp_path / "deep" / "running")
    assert running.digests() == frozenset()
    assert running.begin("a") == 0
    assert running.begin("b") == 0
    running.end("a")
    running.end("a")
    assert running.digests() == {"b"}
    assert running.begin("a") == 0


def test_beginnings_without_an_end_are_counted(tmp_path: Path) -> None:
    running = RunningClips(tmp_path)
    assert running.begin("a") == 0
    running.note_frames("a", 120)
    assert RunningClips(tmp_path).begin("a") == 1
    assert RunningClips(tmp_path).begin("a") == 2


def test_frames_are_those_noted_last_since_the_clip_was_begun(tmp_path: Path) -> None:
    running = RunningClips(tmp_path)
    running.begin("a")
    running.begin("b")
    running.note_frames("a", 64)
    running.note_frames("a", 128)
    assert running.frames() == {"a": 128, "b": 0}
    running.begin("a")
    assert running.frames() == {"a": 0, "b": 0}


def test_nothing_is_left_after_a_run(tmp_path: Path) -> None:
    running = RunningClips(tmp_path / "running")
    running.clear()
    running.begin("a")
    (running.directory / "scratch-a").mkdir()
    (running.directory / "scratch-a" / "crops").write_bytes(b"x")
    assert running.digests() == {"a"}
    running.clear()
    assert not any(tmp_path.iterdir())


def test_what_killed_runs_left_is_removed_a_day_later(tmp_path: Path) -> None:
    for name in ("old", "busy"):
        RunningClips(tmp_path / name).begin("a")
        (tmp_path / name / "scratch-a").mkdir()
        (tmp_path / name / "scratch-a" / "crops").write_bytes(b"x")
        for path in (tmp_path / name, *(tmp_path / name).rglob("*")):
            os.utime(path, (1e9, 1e9))
    os.utime(tmp_path / "busy" / "scratch-a" / "crops")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["busy"]
    remove_leftovers(tmp_path / "nowhere")
