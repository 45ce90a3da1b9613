"""Progress of plain work, on a terminal and into a log."""

from __future__ import annotations

import io

from pipeline.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def work(
    file: io.StringIO, *, unit: str = "clip", total: int | None = 10, size: int = 1, shown: bool = True
) -> str:
    """Ten pieces of four seconds each."""
    clock = Clock()
    with ProgressBar("merge", unit, total, file=file, now=clock, shown=shown) as bar:
        for _ in range(10):
            clock.now_s += 4
            bar.update(size)
    return file.getvalue()


def test_a_log_gets_a_line_every_ten_seconds_with_speed_and_time_left() -> None:
    assert work(io.StringIO()).splitlines() == [
        "merge: 3/10 clips, 0.2 clips/s, 00:28 left",
        "merge: 6/10 clips, 0.2 clips/s, 00:16 left",
        "merge: 9/10 clips, 0.2 clips/s, 00:04 left",
    ]
    assert work(io.StringIO(), total=None).splitlines()[0] == "merge: 3 clips, 0.2 clips/s"


def test_bytes_have_prefixes() -> None:
    lines = work(io.StringIO(), unit="B", total=10_000_000, size=1_000_000).splitlines()
    assert lines[0] == "merge: 3.00M/10.0MB, 250kB/s, 00:28 left"


def test_a_terminal_gets_a_bar_and_no_lines() -> None:
    shown = work(Terminal())
    assert "10/10" in shown.split("\r")[-1]
    assert "clips/s" not in shown


def test_what_was_done_before_does_not_count_as_speed() -> None:
    clock = Clock()
    bar = ProgressBar("fetch", "B", 1000, initial=900, file=io.StringIO(), now=clock)
    clock.now_s = 10
    bar.update(50)
    assert bar.line() == "950/1.00kB, 5.00B/s, 00:10 left"
    bar.reset(100)
    clock.now_s = 20
    bar.update(50)
    assert bar.line() == "50.0/100B, 5.00B/s, 00:10 left"


def test_short_work_and_work_that_is_not_shown_leave_nothing() -> None:
    assert work(io.StringIO(), shown=False) == work(Terminal(), shown=False) == ""
    file = io.StringIO()
    with ProgressBar("merge", "clip", 2, file=file, now=Clock()) as bar:
        bar.update()
        bar.total = 1
    assert file.getvalue() == ""
    assert bar.total == 1
