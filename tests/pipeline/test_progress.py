"""Progress into a terminal and into a log."""

from __future__ import annotations

import io

from pipeline.extraction_report import ClipOutcome
from pipeline.progress import ExtractionProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(file: io.StringIO, *, enabled: bool = True) -> str:
    """Four clips of 1, 1, 2 and 4 bytes, one second each."""
    time = [0.0]
    progress = ExtractionProgress(4, 8, enabled=enabled, file=file, now=lambda: time[0])
    for number, num_bytes in enumerate([1, 1, 2, 4]):
        time[0] += 7
        status = "failed" if number == 1 else "extracted"
        progress.add(ClipOutcome(clip_id=str(number), status=status, num_frames=70), num_bytes)
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


def test_nothing_is_shown_unasked() -> None:
    assert run(io.StringIO(), enabled=False) == ""
