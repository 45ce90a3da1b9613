"""Progress into a terminal and into a log."""

from __future__ import annotations

import io

from pipeline.run.extraction_report import ClipOutcome
from pipeline.run.progress import DigestProgress, ExtractionProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def run(file: io.StringIO, *, enabled: bool = True) -> str:
    """Four clips of 1, 1, 2 and 4 bytes, one after the other, seven seconds each."""
    clock = Clock()
    sizes = {"a": 1, "b": 1, "c": 2, "d": 4}
    progress = ExtractionProgress(sizes, enabled=enabled, file=file, now=clock)
    for clip_id in sizes:
        clock.now_s += 7
        status = "failed" if clip_id == "b" else "extracted"
        progress.add(ClipOutcome(clip_id=clip_id, status=status, num_frames=70))
    progress.close()
    return file.getvalue()


def test_log_gets_a_line_now_and_then_and_one_at_the_end() -> None:
    lines = run(io.StringIO()).splitlines()
    # After 7 s it is too early for a line; after 14 s 2 of 8 bytes are done, so 42 s are left.
    assert lines == [
        "extract: 2/4 clips, 1 failed, 10 frames/s, 00:42 left",
        "extract: 4/4 clips, 1 failed, 10 frames/s, 00:28 in all",
    ]


def test_terminal_gets_a_bar() -> None:
    shown = run(Terminal())
    assert "\r" in shown
    assert "4/4 clips, 1 failed, 10 frames/s, 00:28 in all" in shown


def test_nothing_is_shown_unasked_or_without_clips() -> None:
    assert run(io.StringIO(), enabled=False) == ""
    assert run(Terminal(), enabled=False) == ""
    nothing = Terminal()
    ExtractionProgress({}, enabled=True, file=nothing).close()
    assert nothing.getvalue() == ""


def test_frames_of_running_clips_count_for_speed_and_time_left() -> None:
    clock, file = Clock(), io.StringIO()
    progress = ExtractionProgress(
        {"short": 100, "long": 900, "next": 1000}, enabled=True, file=file, now=clock
    )
    clock.now_s = 10.0
    progress.add_frames("long", 50)
    # Nothing says yet how many bytes 50 frames are.
    assert file.getvalue().splitlines() == ["extract: 0/3 clips, 5 frames/s"]
    progress.add(ClipOutcome(clip_id="short", status="extracted", num_frames=50))
    clock.now_s = 20.0
    progress.add_frames("long", 150)
    # 200 frames in 20 s; 100 bytes are 50 frames, so 400 of 2000 bytes are done and four times 20 s are left.
    assert file.getvalue().splitlines()[1:] == ["extract: 1/3 clips, 10 frames/s, 01:20 left"]


def test_a_running_clip_is_never_done_before_it_is() -> None:
    clock = Clock()
    progress = ExtractionProgress({"a": 100, "b": 100}, enabled=False, now=clock)
    clock.now_s = 1.0
    progress.add(ClipOutcome(clip_id="a", status="extracted", num_frames=10))
    progress.add_frames("b", 100_000)
    assert progress.line().endswith("00:00 left")
    assert progress.line().startswith("1/2 clips")


def test_lengths_tell_the_time_left_before_a_clip_is_done() -> None:
    clock = Clock()
    progress = ExtractionProgress({"a": 1000, "b": 3000}, enabled=False, now=clock)
    progress.set_length("a", 200)
    clock.now_s = 10.0
    progress.add_frames("a", 100)
    # Half of a is 500 of 4000 bytes, in 10 s.
    assert progress.line() == "0/2 clips, 10 frames/s, 01:10 left"


def test_what_is_told_of_a_clip_after_its_end_does_not_count() -> None:
    clock = Clock()
    progress = ExtractionProgress({"a": 100, "b": 100}, enabled=False, now=clock)
    clock.now_s = 1.0
    progress.add_frames("a", 7)
    progress.add(ClipOutcome(clip_id="a", status="extracted", num_frames=10))
    progress.add_frames("a", 10)
    assert progress.line() == "1/2 clips, 10 frames/s, 00:01 left"


def test_failed_clips_do_not_change_what_a_frame_weighs() -> None:
    clock = Clock()
    progress = ExtractionProgress({"bad": 600, "good": 100, "running": 300}, enabled=False, now=clock)
    clock.now_s = 10.0
    progress.add(ClipOutcome(clip_id="bad", status="failed"))
    progress.add(ClipOutcome(clip_id="good", status="extracted", num_frames=10))
    progress.add_frames("running", 10)
    # 600 + 100 + 10 frames of 10 bytes = 800 of 1000 bytes in 10 s.
    assert progress.line() == "2/3 clips, 1 failed, 2 frames/s, 00:02 left"


def test_a_terminal_is_not_kept_busy_by_heartbeats() -> None:
    clock, file = Clock(), Terminal()
    progress = ExtractionProgress({"a": 1}, enabled=True, file=file, now=clock)
    before = file.getvalue().count("\r")
    for beat in range(1000):
        clock.now_s += 0.001
        progress.add_frames("a", beat)
    assert 1 <= file.getvalue().count("\r") - before <= 10
    progress.close()


def test_digests_show_files_and_speed() -> None:
    clock, file = Clock(), io.StringIO()
    progress = DigestProgress(3, enabled=True, file=file, now=clock)
    progress.add_file()  # remembered
    progress.add_bytes(20_000_000)
    clock.now_s = 10.0
    progress.add_bytes(20_000_000)
    progress.add_file()
    clock.now_s = 20.0
    progress.add_file()
    assert file.getvalue().splitlines() == [
        "digests: 1/3 files read or remembered, 4 MB/s",
        "digests: 3/3 files read or remembered, 2 MB/s",
    ]
