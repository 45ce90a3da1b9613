"""Which columns a table of predictions has, and what they are called.

Tables have the columns of `tagf evaluate --predictions`, and further groups of columns on request. Scripts
that were written for another tool find that tool's names:

    tagf        clip_id, frame, time_s, valence, arousal, face_found
    openface    frame, face_id, timestamp, confidence, success, valence, arousal     (frames from 1)
    py-feat     FaceRectX, ..., FaceScore, valence, arousal, input, frame             (frames from 0)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

from pipeline.errors import ExtractionError

NameStyle = Literal["tagf", "openface", "py-feat"]
ColumnGroup = Literal["faces", "gates", "deviation"]

FACE_COLUMNS = ("face_x", "face_y", "face_width", "face_height", "face_score")
DEVIATION_COLUMNS = ("valence_sd", "arousal_sd")
_FIRST_COLUMNS: Mapping[NameStyle, tuple[str, ...]] = {
    "tagf": ("clip_id", "frame", "time_s", "valence", "arousal", "face_found"),
    "openface": ("frame", "face_id", "timestamp", "confidence", "success", "valence", "arousal"),
    "py-feat": (
        *("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"),
        *("valence", "arousal", "input", "frame"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class ColumnChoice:
    """Columns of a table of predictions.

    Attributes:
        names: Whose names the first columns bear.
        groups: Further columns, in the order of the table whatever the order here.
    """

    names: NameStyle = "tagf"
    groups: frozenset[ColumnGroup] = frozenset()

    def columns(self, gate_candidates: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Names of all columns, in order.

        Args:
            gate_candidates: Gate -> names of its candidates; their columns are called `GATE_CANDIDATE`.
        """
        gates = [f"{gate}_{each}" for gate, candidates in gate_candidates.items() for each in candidates]
        return (
            *_FIRST_COLUMNS[self.names],
            *(FACE_COLUMNS if "faces" in self.groups else ()),
            *(gates if "gates" in self.groups else ()),
            *(DEVIATION_COLUMNS if "deviation" in self.groups else ()),
        )


def parse_columns(texts: Iterable[str]) -> ColumnChoice:
    """Choice of columns from its text.

    >>> parse_columns(["py-feat", "gates,deviation"]).names
    'py-feat'

    Args:
        texts: Each some words with commas between: groups of columns, and at most one other tool's names.

    Raises:
        ExtractionError: A word that is neither, or two tools' names.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    styles, groups = get_args(NameStyle), get_args(ColumnGroup)
    known = (*groups, *styles)
    for word in words:
        if word not in known:
            close = get_close_matches(word, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ExtractionError(
                f"columns {word!r}: expected groups ({', '.join(groups)}) or one tool's names "
                f"({', '.join(styles)}){hint}"
            )
    named = sorted({word for word in words if word in styles})
    if len(named) > 1:
        raise ExtractionError(
            f"columns: expected the names of one tool, got {' and '.join(map(repr, named))}; predict once "
            "for each"
        )
    return ColumnChoice(
        names=next((style for style in styles if style in named), "tagf"),
        groups=frozenset(group for group in groups if group in words),
    )
