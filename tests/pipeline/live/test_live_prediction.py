"""The loop: which rows the window gets, and how it ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.live.live_prediction import predict_live
from pipeline.live.live_source import LiveFrame


class Script:
    """A source, maker and window that note what they are asked."""

    def __init__(self, indices: list[int], error: Exception | None = None) -> None:
        self._indices, self._error = iter(indices), error
        self.slot = SimpleNamespace(take=self._take, num_missed=0)
        self.pushed: list[tuple[Any, int]] = []
        self.started = self.closed = 0

    def start(self) -> None:
        self.started += 1

    def close(self) -> None:
        self.closed += 1

    def sound_until(self, time_s: float) -> str:
        return f"sound until {time_s}"

    def row(self, frame: LiveFrame, sound: str) -> Any:
        assert sound == f"sound until {frame.time_s}"
        return SimpleNamespace(index=frame.index, face=frame.index % 2 or None)

    def push(self, row: Any, num_rows: int) -> None:
        self.pushed.append((row.index, num_rows))

    def answer(self) -> tuple[float, float]:
        return self.pushed[-1][0] / 100, -0.5

    def _take(self) -> LiveFrame | None:
        index = next(self._indices, None)
        if index is None:
            if self._error is not None:
                raise self._error
            return None
        return LiveFrame(
            index=index, time_s=index / 30, rgb=np.zeros((2, 2, 3), np.uint8), arrived_s=10 + index / 30
        )


def test_answers_are_those_to_the_frames_that_were_taken():
    script = Script([0, 1, 5])
    answers = list(predict_live(script, script, script, now=lambda: 10.5))
    assert script.pushed == [(0, 1), (1, 1), (5, 4)]
    assert [answer.valence for answer in answers] == [0, 0.01, 0.05]
    assert [answer.frame for answer in answers] == [0, 1, 5]
    assert [answer.face_found for answer in answers] == [False, True, True]
    assert [answer.latency_s for answer in answers] == pytest.approx([0.5, 0.5 - 1 / 30, 0.5 - 5 / 30])
    assert (script.started, script.closed) == (1, 1)


def test_at_a_rate_frames_without_a_row_have_no_answer():
    script = Script(list(range(12)))
    answers = list(predict_live(script, script, script, resample_fps=10, now=lambda: 0.0))
    assert [answer.frame for answer in answers] == [0, 3, 6, 9]


def test_a_source_that_fails_is_closed_after_its_answers():
    script = Script([0, 1], ValueError("unplugged"))
    answers = predict_live(script, script, script)
    assert [next(answers).frame, next(answers).frame] == [0, 1]
    with pytest.raises(ValueError, match="unplugged"):
        next(answers)
    assert script.closed == 1


def test_a_source_that_does_not_start_is_closed():
    script = Script([])

    def refused() -> None:
        raise OSError("no memory for a process")

    script.start = refused
    with pytest.raises(OSError, match="no memory"):
        next(predict_live(script, script, script))
    assert script.closed == 1


def test_an_interrupt_closes_the_source():
    script = Script([0, 1, 2])
    answers = predict_live(script, script, script)
    next(answers)
    with pytest.raises(KeyboardInterrupt):
        answers.throw(KeyboardInterrupt)
    assert script.closed == 1
