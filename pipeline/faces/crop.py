"""What the face work gives for each frame of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceCrop:
    """The subject's face in one frame.

    Attributes:
        index: The frame's number, as in `VideoFrame`.
        time_s: The frame's time in seconds, as in `VideoFrame`.
        row_times_s: Times of the rows that show the frame, as in `VideoFrame`.
        box: Left, top, right, bottom in pixels of the upright picture, (4,) float32; zeros where the face
            came cropped; None where no face was found.
        score: The detector's probability of the face, 1 where the face came cropped, 0 where none was found.
        crops: By its side C, each crop of the face, (C, C, 3) uint8 RGB; None where no face was found.
    """

    index: int
    time_s: float
    row_times_s: tuple[float, ...]
    box: NDArray[np.float32] | None
    score: float
    crops: Mapping[int, NDArray[np.uint8]] | None
