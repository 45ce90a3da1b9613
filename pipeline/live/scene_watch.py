"""Whether a scene begins with a picture, told without the pictures after it.

`pipeline.faces.scene_cuts` holds three frames back, which tell a cut from a flash. Here a flash counts as a
cut where it comes; where it goes, what was there a moment before is known again.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.scene_cuts import (
    CHANGED_CELLS,
    PROMINENCE,
    REACH,
    changed_cells,
    thumbnail_of,
)

# Pictures before, whose changes a cut must stand out from.
_AROUND = 2


class SceneWatch:
    """Looks at picture after picture; thresholds are those of `pipeline.faces.scene_cuts`."""

    def __init__(self) -> None:
        self._thumbnails: deque[NDArray[np.float32]] = deque(maxlen=REACH)  # the latest last
        self._changes: deque[float] = deque(maxlen=_AROUND)
        self._shape: tuple[int, ...] | None = None

    def begins(self, picture: NDArray[np.uint8]) -> bool:
        """Whether a scene begins with the next picture; one does with the first.

        Args:
            picture: RGB, (height, width, 3).
        """
        thumbnail = thumbnail_of(picture)
        changed = changed_cells(self._thumbnails[-1], thumbnail) if self._thumbnails else 0.0
        is_cut = picture.shape != self._shape or (
            changed >= CHANGED_CELLS
            and changed >= PROMINENCE * (median(self._changes) if self._changes else 0.0)
            and all(changed_cells(early, thumbnail) >= CHANGED_CELLS for early in self._thumbnails)
        )
        if is_cut:
            self._changes.clear()  # what moves in the new scene is not compared with the old one
            changed = 0.0
        self._shape = picture.shape
        self._thumbnails.append(thumbnail)
        self._changes.append(changed)
        return is_cut
