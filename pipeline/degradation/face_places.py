"""Where a clip's face was found, before anything was done to its pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FacePlaces:
    """The face in each decoded frame of a clip, by what a store knows of it.

    Args:
        source_frame: Decoded frame of each row, ascending, (N,).
        face_found: Whether it shows the face, (N,).
        face_box: Left, top, right, bottom in pixels, (N, 4); zeros where the face came cropped.
    """

    def __init__(
        self,
        source_frame: NDArray[np.int64],
        face_found: NDArray[np.bool_],
        face_box: NDArray[np.float32],
    ) -> None:
        self._frames = source_frame
        self._known = face_found & face_box.any(axis=1)
        self._boxes = face_box
        boxes = face_box[self._known]
        self.width_px = float(np.median(boxes[:, 2] - boxes[:, 0])) if len(boxes) else None
        """Median width of the face; None where the clip shows none."""

    def at(self, frame: int) -> NDArray[np.float32] | None:
        """Its box in a frame, as in the last row up to there; None where that row shows no face."""
        row = int(np.searchsorted(self._frames, frame, side="right")) - 1
        return self._boxes[row] if row >= 0 and self._known[row] else None
