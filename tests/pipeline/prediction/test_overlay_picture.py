"""What is drawn lies where the numbers say, by the colours of the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.prediction.overlay_picture import TRACE_S, OverlayPainter, ShownRow

SIZE = (640, 480)
VALENCE, AROUSAL, WHITE, FACE = (110, 190, 255), (255, 184, 77), (255, 255, 255), (94, 230, 140)


def row(valence: float = 0, arousal: float = 0, time_s: float = 0.0, **changes: object) -> ShownRow:
    values = {
        "time_s": time_s,
        "values": (valence, arousal),
        "deviation": None,
        "face_found": True,
        "box": None,
    }
    return ShownRow(**(values | changes))  # type: ignore[arg-type]


def painted(rows: Sequence[ShownRow], size: tuple[int, int] = SIZE, **options: str) -> NDArray[np.int64]:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    drawn = OverlayPainter(*size, **options).paint(picture, rows[-1].time_s if rows else 0.0, rows)
    assert drawn.shape == picture.shape
    assert not picture.any()
    return drawn.astype(np.int64)


def places(picture: NDArray[np.int64], colour: tuple[int, ...], tolerance: int = 40) -> NDArray[np.int64]:
    """Pixels of a colour, (n, 2), across and down."""
    return np.argwhere(np.abs(picture - colour).max(axis=2) <= tolerance)[:, ::-1]


def dot(valence: float, arousal: float, size: tuple[int, int] = SIZE) -> NDArray[np.float64]:
    """Centre of the circumplex's dot."""
    # Letters and numbers are not as white.
    return places(painted([row(valence, arousal)], size), WHITE, tolerance=5).mean(axis=0)


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1920, 1080), (480, 854)])
def test_the_dot_lies_at_valence_and_arousal(size: tuple[int, int]) -> None:
    middle, right, top = dot(0, 0, size), dot(1, 0, size), dot(0, 1, size)
    side = right[0] - middle[0]
    assert side > 0.08 * min(size)
    np.testing.assert_allclose(right - middle, [side, 0], atol=1)
    np.testing.assert_allclose(top - middle, [0, -side], atol=1.5)
    for valence, arousal in ((-0.5, 0.25), (0.3, -0.8)):
        np.testing.assert_allclose(
            dot(valence, arousal, size), middle + side * np.array([valence, -arousal]), atol=1.5
        )
    # Beyond the range: at its edge.
    np.testing.assert_allclose(dot(3, 0, size), right, atol=0.5)
    assert right[0] < size[0]
    assert top[1] > 0.7 * size[1]


def test_traces_end_now_and_begin_ten_seconds_ago() -> None:
    def line(colour: tuple[int, int, int], rows: list[ShownRow]) -> NDArray[np.int64]:
        found = places(painted(rows), colour)
        # Between the numbers on the left and the circle on the right.
        return found[(found[:, 0] > 160) & (found[:, 0] < 520)]

    steps = [row(0.8 if time_s < 15 else -0.4, -0.9, time_s) for time_s in np.arange(0, 20.01, 0.5)]
    valence, arousal = line(VALENCE, steps), line(AROUSAL, steps)
    left, right = arousal[:, 0].min(), arousal[:, 0].max()
    assert right - left > 300
    # The step lies in the middle of the ten seconds.
    late = valence[valence[:, 1] > np.median(valence[:, 1])][:, 0].min()
    assert (late - left) / (right - left) == pytest.approx(0.5 - 0.25 / TRACE_S, abs=0.06)
    assert valence[valence[:, 0] < left + 50][:, 1].mean() < valence[valence[:, 0] > right - 50][:, 1].mean()
    assert arousal[:, 1].mean() > valence[:, 1].max() - 10
    half = line(AROUSAL, [row(0, 0.5, time_s) for time_s in np.arange(0, 5.01, 0.5)])
    assert half[:, 0].min() == pytest.approx((left + right) / 2, abs=12)


def test_every_sign_is_in_the_font() -> None:
    def written(rows: list[ShownRow]) -> int:
        found = places(painted(rows)[:, :160], VALENCE)
        number = found[found[:, 0] > 70]
        return int(np.ptp(number[number[:, 0] < number[:, 0].min() + 6][:, 1]))

    # A missing sign is drawn as a box as high as a digit; minus and dashes are flat.
    assert written([row(-0.5, 0)]) < 4
    assert written([]) < 4
    assert written([row(0.5, 0)]) > 4


def test_box_and_what_is_missing() -> None:
    box = (100.0, 50.0, 220.0, 190.0)
    drawn = places(painted([row(box=box)]), FACE, tolerance=10)
    assert drawn.min(axis=0).tolist() == pytest.approx([100, 50], abs=2)
    assert drawn.max(axis=0).tolist() == pytest.approx([220, 190], abs=2)
    for rows in ([row(box=None)], [row(box=box, face_found=False)], []):
        assert not len(places(painted(rows), FACE, tolerance=10))
    missing = (255, 138, 122)
    # Beside the numbers, left of the traces.
    assert len(places(painted([row(face_found=False)])[:, :160], missing))
    assert not len(places(painted([row()])[:, :160], missing))
    # Hollow where there is no face, absent where there is no row.
    filled, hollow, none = (
        len(places(painted(rows), WHITE, tolerance=5)) for rows in ([row()], [row(face_found=False)], [])
    )
    assert filled > hollow > none


def test_the_cross_is_one_deviation_long() -> None:
    middle = dot(0.1, -0.1)
    side = dot(1, 0)[0] - dot(0, 0)[0]
    without = painted([row(0.1, -0.1)])
    crossed = painted([row(0.1, -0.1, deviation=(0.5, 0.25))])
    added = np.argwhere((crossed != without).any(axis=2))[:, ::-1] - middle
    assert np.abs(added[:, 0]).max() == pytest.approx(0.5 * side, abs=2)
    assert np.abs(added[:, 1]).max() == pytest.approx(0.25 * side, abs=2)
    assert (np.abs(added).min(axis=1) < 4).all()
    # It ends where the square of values does.
    wide = painted([row(0.1, -0.1, deviation=(3, 0.1))])
    reach = np.argwhere((wide != without).any(axis=2))[:, 1] - middle[0]
    assert [reach.min(), reach.max()] == pytest.approx([-1.1 * side, 0.9 * side], abs=2)


def test_the_picture_shines_through_and_a_note_stands_in_it() -> None:
    grey = np.full((480, 640, 3), 200, np.uint8)
    drawn = OverlayPainter(640, 480).paint(grey, 0.0, [])
    assert (drawn[:300] == 200).all()
    panel = drawn[-3, 330].astype(int)
    assert (panel > 40).all()
    assert (panel < 150).all()
    noted = OverlayPainter(640, 480, "random weights").paint(grey, 0.0, [])
    changed = np.argwhere((noted != drawn).any(axis=2))
    assert changed[:, 0].max() < 40
    assert changed[:, 1].max() > 80
