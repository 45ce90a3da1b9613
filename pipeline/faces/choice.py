"""Whose face it is, where a picture shows several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.faces.detector import Face
from pipeline.faces.track_links import MAX_GAP_S

# One person's face takes over from another's within a scene where its area is this many times as large.
# MTCNN's boxes of a face at rest vary by 10 % in area, those of a head that turns by 30 %.
CLEARLY_LARGER = 1.5

# By picture: these are decided frame by frame. `longest` and `all` are decided when the clip has ended.
PictureChoice = Literal["largest", "left", "right"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFace:
    """A face and the number of its track."""

    track: int
    face: Face


class FaceChooser:
    """Chooses the subject's face in picture after picture of a clip.

    `largest`: the largest face of each picture, but where the person chosen so far is in it, that person's
    unless another's is `CLEARLY_LARGER`; so that people of like size do not alternate. A person who is gone
    for longer than `MAX_GAP_S`, or with the scene, is no longer waited for.

    `left`, `right`: as in Aff-Wild2's clips of two subjects. Of the two largest faces the one further left
    or right; a single face is the left one where its middle lies in the picture's left half, otherwise the
    right one.

    Args:
        who: Which of them.
    """

    def __init__(self, who: PictureChoice) -> None:
        self._who = who
        self._subject: int | None = None  # the track that is stuck to
        self._seen_s = 0.0  # when it was seen last

    def choose(
        self, faces: Sequence[TrackedFace], time_s: float, width_px: int, *, begins_scene: bool
    ) -> TrackedFace | None:
        """The subject's face in the next picture.

        Args:
            faces: All faces in it.
            time_s: Its time.
            width_px: Its width.
            begins_scene: Whether a scene begins with it.

        Returns:
            The face, None where the subject shows none.
        """
        ranked = sorted(faces, key=lambda each: -each.face.area_px)
        if self._who != "largest":
            return _at_side(ranked[:2], width_px, self._who)
        if not ranked:
            return None
        if begins_scene or time_s - self._seen_s > MAX_GAP_S:
            self._subject = None
        subject = next((each for each in ranked if each.track == self._subject), None)
        if subject is None and self._subject is not None:
            return ranked[0]  # the subject is missing for a moment
        if subject is None or ranked[0].face.area_px >= CLEARLY_LARGER * subject.face.area_px:
            subject = ranked[0]
        self._subject, self._seen_s = subject.track, time_s
        return subject


def eligible(faces: Sequence[Face], who: str) -> list[int]:
    """Positions of the faces of a picture that can be chosen, or be in the way of another's choice.

    Args:
        faces: Faces of one picture.
        who: `largest`, `left`, `right`, `longest` or `all`.
    """
    ranked = sorted(range(len(faces)), key=lambda number: -faces[number].area_px)
    if who == "largest":
        return [
            number for number in ranked if CLEARLY_LARGER * faces[number].area_px > faces[ranked[0]].area_px
        ]
    return ranked[:2] if who in ("left", "right") else ranked


def _at_side(two: Sequence[TrackedFace], width_px: int, side: str) -> TrackedFace | None:
    """The face on one side, of the two largest in the picture, of one, or of none."""
    if len(two) == 1:
        is_left = _middle_px(two[0]) < width_px / 2
        return two[0] if is_left == (side == "left") else None
    ordered = sorted(two, key=_middle_px)
    return (ordered[0] if side == "left" else ordered[-1]) if ordered else None


def _middle_px(each: TrackedFace) -> float:
    left, _, right, _ = each.face.box.tolist()
    return float((left + right) / 2)
