"""The trailing window against the head on windows cut by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.live.row_maker import LiveRow
from pipeline.live.trailing_window import TrailingWindow
from tagf_head.config import HeadConfig
from tagf_head.errors import HeadError
from tagf_head.heads import build_head

WINDOW, VISUAL, AUDIO = 6, 6, 8
GENERATOR = np.random.default_rng(0)
ROWS = [
    LiveRow(
        visual=GENERATOR.normal(size=VISUAL).astype(np.float16),
        audio=GENERATOR.normal(size=AUDIO).astype(np.float16),
        face=None,
    )
    for _ in range(10)
]


@pytest.fixture
def head():
    torch.manual_seed(0)
    config = HeadConfig(
        name="tagf",
        visual_features=VISUAL,
        audio_features=AUDIO,
        visual_channels=(8,),
        audio_channels=(6,),
        kernel_size=3,
        regressor_features=8,
        reference_length=WINDOW,
    )
    return build_head(config).eval()


def window_of(head: torch.nn.Module) -> TrailingWindow:
    return TrailingWindow(
        head, WINDOW, visual_features=VISUAL, audio_features=AUDIO, device=torch.device("cpu")
    )


def expected(head: torch.nn.Module, rows: list[LiveRow]) -> list[float]:
    """The answer to the last of some rows, at most a window of them."""
    padding = WINDOW - len(rows)
    visual, audio = (
        torch.from_numpy(np.pad(np.stack(each), ((0, padding), (0, 0)), constant_values=np.nan))[None]
        for each in ([row.visual for row in rows], [row.audio for row in rows])
    )
    mask = torch.arange(WINDOW)[None] < len(rows)
    with torch.no_grad():
        return head(visual, audio, mask)[0, len(rows) - 1].tolist()


def test_the_last_row_of_the_latest_window_is_the_answer(head):
    window = window_of(head)
    for number, row in enumerate(ROWS):
        window.push(row)
        latest = ROWS[max(0, number + 1 - WINDOW) : number + 1]
        assert window.answer() == pytest.approx(expected(head, latest), abs=1e-6)


def test_missed_frames_hold_the_row_before(head):
    window = window_of(head)
    window.push(ROWS[0])
    window.push(ROWS[1], 3)
    assert window.answer() == pytest.approx(expected(head, [ROWS[0]] * 3 + [ROWS[1]]), abs=1e-6)
    window.push(ROWS[2], 100)
    assert window.answer() == pytest.approx(expected(head, [ROWS[1]] * 5 + [ROWS[2]]), abs=1e-6)


def test_a_head_that_has_diverged_is_named(head):
    with torch.no_grad():
        next(head.parameters()).fill_(float("nan"))
    window = window_of(head)
    window.push(ROWS[0])
    with pytest.raises(HeadError, match="diverged"):
        window.answer()
