"""What a prediction gives of a clip, block by block.

Letters in shapes: N rows of a block, M candidates of a gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedRows:
    """Some consecutive rows of one clip.

    Attributes:
        clip_id: The clip.
        frame: ``(N,)`` int64, index of the decoded picture in its video.
        time_s: ``(N,)`` float64, on the container's timeline.
        values: ``(N, 2)`` float32, valence and arousal, as `tagf evaluate --predictions` writes them.
        deviation: ``(N, 2)`` float32, standard deviations of their errors; None where none are known.
        face_found: ``(N,)`` bool.
        face_box: ``(N, 4)`` float32, left, top, right, bottom in pixels of the upright picture; zeros where
            there is no face, or where it came cropped.
        face_score: ``(N,)`` float32, the detector's probability.
        gates: Gate -> ``(N, M)`` float32, weights of its candidates; empty for a head without gates.
    """

    clip_id: str
    frame: NDArray[np.int64]
    time_s: NDArray[np.float64]
    values: NDArray[np.float32]
    deviation: NDArray[np.float32] | None
    face_found: NDArray[np.bool_]
    face_box: NDArray[np.float32]
    face_score: NDArray[np.float32]
    gates: Mapping[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.frame)
