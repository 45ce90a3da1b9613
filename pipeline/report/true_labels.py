"""The labels that predictions are shown against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.report.clip_prediction import ClipPrediction
from tagf_head.annotations import Annotations, load_annotations
from tagf_head.config import LabelConfig


class TrueLabels:
    """Labels of clips, made as the evaluation made them.

    Args:
        path: Folder or table of labels, as `load_annotations` takes them.
        labels: Gold standard and delay.

    Raises:
        AnnotationError: There are none, or a file is malformed.
    """

    def __init__(self, path: Path, labels: LabelConfig) -> None:
        self._annotations: Annotations = load_annotations(path, labels.gold_standard)
        self._delay_s = labels.delay_s
        self._labelled = {clip_id for clips in self._annotations.splits.values() for clip_id in clips}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._labelled

    def subject(self, clip_id: str) -> str | None:
        """Who is seen, where the labels say so."""
        return self._annotations.subjects.get(clip_id)

    def of_clip(self, clip: ClipPrediction) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Labels of a clip's rows.

        Returns:
            ``(N, 2)`` valence and arousal, and ``(N,)`` mask, false where there is none; None for a clip
            without labels.

        Raises:
            AnnotationError: None of its labels lies within its frames.
        """
        if clip.clip_id not in self:
            return None
        aligned = self._annotations.align(
            clip.clip_id, source_frame=clip.frame, time_s=clip.time_s, delay_s=self._delay_s
        )
        return aligned.labels, aligned.mask
