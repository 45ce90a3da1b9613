"""Valence and arousal labels of clips: reading them, and giving every frame its label.

`load_annotations` reads them, in any of the layouts of docs/labels.md; `Annotations.align` gives the rows
of a clip their labels.
"""

from __future__ import annotations

from tagf_head.annotations.clip_labels import AlignedLabels, ClipLabels
from tagf_head.annotations.corpus import Annotations, select_clips
from tagf_head.annotations.source import load_annotations
from tagf_head.annotations.splits import SPLIT_FOLDERS, Split
from tagf_head.config import TARGETS

__all__ = [
    "SPLIT_FOLDERS",
    "TARGETS",
    "AlignedLabels",
    "Annotations",
    "ClipLabels",
    "Split",
    "load_annotations",
    "select_clips",
]
