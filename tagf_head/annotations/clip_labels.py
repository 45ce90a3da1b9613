"""What the labels of one clip can do, whatever file they came from, and how they meet its frames.

Letters: N rows of the clip in the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: What Aff-Wild2 writes where nobody annotated.
NOT_ANNOTATED = -5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedLabels:
    """Labels with one row per row of the store.

    Attributes:
        labels: ``(N, 2)`` float32, valence and arousal; 0 where masked.
        mask: ``(N,)`` bool, false where the frame lacks a label of either target.
        num_not_annotated: Frames that the file covers and nobody annotated (-5, an empty cell, a gap);
            masked.
        num_missing: Frames that the file does not cover; masked.
        num_surplus: Labels of the file that belong to no frame; dropped.
    """

    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    num_not_annotated: int
    num_missing: int
    num_surplus: int


class ClipLabels(Protocol):
    """The labels of one clip."""

    @property
    def num_labelled(self) -> int:
        """Number of annotated rows in the file, by which folds are balanced."""

    def align(
        self, source_frame: NDArray[np.int64], time_s: NDArray[np.float64], delay_s: float
    ) -> AlignedLabels:
        """Give every row of the clip its label.

        Args:
            source_frame: ``(N,)`` index of each row's decoded picture, never falling.
            time_s: ``(N,)`` seconds on the container's timeline, rising.
            delay_s: The row at t is given the label that was noted for t + delay_s.
        """

    def content(self) -> bytes:
        """Everything that alignment depends on; other labels have other bytes."""
