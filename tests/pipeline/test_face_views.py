"""Where each view lies in the crop."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from pipeline.config import View
from pipeline.errors import ExtractionError
from pipeline.face_views import check_views, crop_size_px, view_place


def test_sizes_of_crops() -> None:
    assert [crop_size_px(side) for side in (40, 112, 160, 48)] == [48, 112, 160, 48]


@pytest.mark.parametrize("view", get_args(View))
def test_views_are_what_their_names_say(view: str) -> None:
    """Against a picture whose pixels are their own rows and columns."""
    crop = np.stack(np.mgrid[:48, :48], axis=-1)
    top, left, mirrored = view_place(view, 48, 40)
    picture = crop[top : top + 40, left : left + 40]
    picture = picture[:, ::-1] if mirrored else picture
    rows = {"top": 0, "bottom": 8}.get(view.split("_")[0], 4)
    columns = {"left": 0, "right": 8}.get(view.removesuffix("_flip").rpartition("_")[2], 4)
    assert picture.shape == (40, 40, 2)
    assert picture[0, 0].tolist() == [rows, columns + (39 if view.endswith("flip") else 0)]
    assert picture[-1, -1].tolist() == [rows + 39, columns + (0 if view.endswith("flip") else 39)]


def test_all_views_differ() -> None:
    assert len({view_place(view, 48, 40) for view in get_args(View)}) == len(get_args(View)) == 10


def test_whole_faces_have_a_centre_and_no_corners() -> None:
    assert view_place("center", 112, 112) == (0, 0, False)
    check_views(("center", "flip"), 112, "ir50")
    check_views(get_args(View), 40, "ir50")
    message = r"visual\.views: 'top_left' is cut from a crop larger than the input, but ir50 at 112"
    with pytest.raises(ExtractionError, match=message):
        check_views(("center", "top_left", "flip"), 112, "ir50")
