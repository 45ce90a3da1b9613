"""The label file of one clip, whichever of the layouts it has; and the pair of files of one that has two."""

from __future__ import annotations

from pathlib import Path

from tagf_head.annotations.clip_labels import ClipLabels
from tagf_head.annotations.csv_table import column_names, read_text
from tagf_head.annotations.frame_labels import parse_frame_labels
from tagf_head.annotations.rating_table import has_times, parse_rated_labels, parse_rated_trace
from tagf_head.annotations.timed_labels import TimedLabels
from tagf_head.config import TARGETS, GoldStandard
from tagf_head.errors import AnnotationError


def read_clip_labels(path: Path, kind: GoldStandard) -> ClipLabels:
    """Labels of one clip.

    Args:
        path: Its file: labels per frame, or with time stamps if a column has these. A file in a folder
            `valence` or `arousal` is one of two, the other has the same name in the folder beside it.
        kind: What several raters become.

    Raises:
        AnnotationError: It cannot be read, or is malformed; names the line.
    """
    if is_of_one_target(path):
        return _read_pair(path, kind)
    text = read_text(path)
    if has_times(column_names(path, text)):
        return parse_rated_labels(path, text, kind)
    return parse_frame_labels(path, text)


def is_of_one_target(path: Path) -> bool:
    """Whether a label file lies in a folder that is named after a target."""
    return path.parent.name in TARGETS


def _read_pair(path: Path, kind: GoldStandard) -> TimedLabels:
    valence, arousal = (path.parent.parent / target / path.name for target in TARGETS)
    for found, other in ((valence, arousal), (arousal, valence)):
        if not other.is_file():
            raise AnnotationError(
                f"{found} is of one target, and there is no {other}; add that file or remove this one"
            )
    return TimedLabels(
        valence=parse_rated_trace(valence, read_text(valence), "valence", kind),
        arousal=parse_rated_trace(arousal, read_text(arousal), "arousal", kind),
    )
