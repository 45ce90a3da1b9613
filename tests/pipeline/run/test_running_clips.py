"""What workers are at is known when they are not there any more."""

from __future__ import annotations

from pathlib import Path

from pipeline.run.running_clips import RunningClips


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
    running.clear()
    assert not any(tmp_path.iterdir())
