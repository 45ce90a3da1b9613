"""The labels of every split, and who is seen in which clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tagf_head.annotations.clip_labels import AlignedLabels, ClipLabels
from tagf_head.annotations.splits import SPLIT_FOLDERS, Split
from tagf_head.annotations.timed_labels import TimedLabels
from tagf_head.errors import AnnotationError

_NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """Labels by split and clip; a clip belongs to one split alone.

    Attributes:
        path: Folder or table that they were read from.
        splits: Split -> clip id -> labels; only splits that were found.
        subjects: Clip id -> who is seen, of the clips for which that is known.
    """

    path: Path
    splits: Mapping[Split, Mapping[str, ClipLabels]]
    subjects: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def clips(self, split: Split) -> Mapping[str, ClipLabels]:
        """Labels of one split by clip id.

        Raises:
            AnnotationError: The split was not found, or has no clip with labels.
        """
        clips = self.splits.get(split)
        if not clips:
            folder = SPLIT_FOLDERS[split]
            raise AnnotationError(
                f"annotations in {self.path} have no labels for split {split!r}: expected label files in "
                f"{folder}, or lines of split {split} in a table, got "
                + ("an empty folder" if clips is not None else f"only {', '.join(self.splits)}")
                + "; add them or ask for another split"
            )
        return clips

    def clip_ids(self, split: Split) -> tuple[str, ...]:
        """The split's clips.

        Raises:
            AnnotationError: As `clips`.
        """
        return tuple(self.clips(split))

    def align(
        self,
        clip_id: str,
        *,
        source_frame: NDArray[np.int64],
        time_s: NDArray[np.float64],
        delay_s: float,
    ) -> AlignedLabels:
        """Give every row of a clip its label.

        Args:
            clip_id: The clip, of any split.
            source_frame: ``(N,)`` index of each row's decoded picture, never falling.
            time_s: ``(N,)`` seconds on the container's timeline, rising.
            delay_s: The row at t is given the label that was noted for t + delay_s.

        Raises:
            AnnotationError: The clip has no labels, or all of them have times before or after its frames.
        """
        try:
            labels = self._labels[clip_id]
        except KeyError:
            raise AnnotationError(
                f"annotations in {self.path} have no labels for clip {clip_id!r}, only for "
                f"{len(self._labels)} others; add them or leave the clip out"
            ) from None
        aligned = labels.align(source_frame, time_s, delay_s)
        # Labels per frame have no times to be wrong, and may end before the rows of a part of a video begin.
        is_apart = (
            isinstance(labels, TimedLabels)
            and len(time_s) > 0
            and aligned.num_missing == len(time_s)
            and labels.num_labelled > 0
        )
        # A delay may well be longer than a short clip.
        if is_apart and labels.align(source_frame, time_s, 0.0).num_missing == len(time_s):
            raise AnnotationError(
                f"annotations in {self.path}: no label of clip {clip_id!r} lies within its frames, which go "
                f"from {time_s[0]:.2f} to {time_s[-1]:.2f} s; expected times on the video's own timeline, in "
                "the unit that the column names: correct them or remove the label file"
            )
        return aligned

    def digest(self, splits: Collection[Split]) -> str:
        """SHA-256 of the clip ids, labels and subjects of some splits, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for split in SPLIT_FOLDERS:
            if split not in splits:
                continue
            for clip_id, labels in sorted(self.splits.get(split, {}).items()):
                content = labels.content()
                head = [split, clip_id, self.subjects.get(clip_id), len(content)]
                digest.update(json.dumps(head).encode() + content)
        return digest.hexdigest()

    @cached_property
    def _labels(self) -> dict[str, ClipLabels]:
        return {clip_id: labels for clips in self.splits.values() for clip_id, labels in clips.items()}


def select_clips(
    annotations: Annotations, split: Split, clip_ids: Sequence[str], *, features: str
) -> tuple[str, ...]:
    """Clips of a split in the order of the store.

    Args:
        annotations: The labels.
        split: Which split.
        clip_ids: Clips of the store; those without labels are left out.
        features: The store's name, for messages.

    Raises:
        AnnotationError: A labelled clip has no features.
    """
    labelled = annotations.clips(split)
    known = set(clip_ids)
    lacking = [clip_id for clip_id in labelled if clip_id not in known]
    if lacking:
        named = ", ".join(lacking[:_NUM_NAMED]) + (", ..." if len(lacking) > _NUM_NAMED else "")
        raise AnnotationError(
            f"{len(lacking)} of {len(labelled)} labelled clips of split {split!r} in {annotations.path} "
            f"have no features in {features}: {named}; extract them ('dvc repro extract') or remove their "
            "label files"
        )
    return tuple(clip_id for clip_id in clip_ids if clip_id in labelled)
