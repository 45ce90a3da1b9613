"""Which clips belong together: folds never tear a group, and intervals resample whole groups.

Clips of one subject resemble each other, so a head that was trained on some of them is not tested by the
others, and they count as one draw. Where nobody says who is seen, clips of one media file are kept together;
where it is known of some clips alone, they are kept together by both.

Letters: C clips, N rows, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GroupUnit = Literal[
    "subject",
    "media file",
    "media file, with known subjects kept together",
    "clip",
    "clip, with known subjects kept together",
]

# Aff-Wild2 names the clips of a video that shows two people VIDEO, VIDEO_left and VIDEO_right.
_SIDES = ("_left", "_right")


@dataclass(frozen=True, kw_only=True)
class ClipGroups:
    """The group of each of some clips.

    Attributes:
        unit: What a group is. The clips of one video that shows two people are one group, unless every
            clip's subject is known.
        group: C names, one per clip.
    """

    unit: GroupUnit
    group: tuple[str, ...]

    @property
    def num_groups(self) -> int:
        """Number of groups G."""
        return len(set(self.group))

    def of_rows(self, row_size: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(N,)`` number of each row's group, in ``[0, G)``, for clips whose rows follow one another.

        Args:
            row_size: ``(C,)`` number of rows of each clip.
        """
        number: dict[str, int] = {}
        of_clip = [number.setdefault(name, len(number)) for name in self.group]
        return np.repeat(np.asarray(of_clip, np.int64), row_size)


def clip_groups(
    clip_ids: Sequence[str], *, subjects: Mapping[str, str], media_sha256: Mapping[str, str]
) -> ClipGroups:
    """Group clips by the best that is known of all of them.

    Args:
        clip_ids: C clips.
        subjects: Clip id -> who is seen.
        media_sha256: Clip id -> digest of its media file, where that is known.

    Returns:
        Groups by subject where that is known of every clip; else by media file, where its digest is known of
        every clip; else by clip. The latter two are joined where they show one known subject, and named after
        the first of their videos.
    """
    known = [subjects.get(clip_id, "") for clip_id in clip_ids]
    if clip_ids and all(known):
        return ClipGroups(unit="subject", group=tuple(known))
    files = [media_sha256.get(clip_id, "") for clip_id in clip_ids]
    by_file = all(files)
    videos = [_video(clip_id) for clip_id in clip_ids]
    # A video's two sides may have files of their own, one file may be there under two names, and a subject in
    # several files: groups are the connected components of "same video", "same file" and "same subject".
    first_of = {video: video for video in videos}
    for marks in (files, known) if by_file else (known,):
        video_of: dict[str, str] = {}
        for mark, video in zip(marks, videos, strict=True):
            other = video_of.setdefault(mark, video) if mark else video
            first, second = sorted((_first(first_of, video), _first(first_of, other)))
            first_of[second] = first
    group = tuple(_first(first_of, video) for video in videos)
    unit: GroupUnit = "media file" if by_file else "clip"
    if any(known):
        unit = (
            "media file, with known subjects kept together"
            if by_file
            else "clip, with known subjects kept together"
        )
    return ClipGroups(unit=unit, group=group)


def counted(number: int, unit: str) -> str:
    """A number of groups, in words.

    >>> counted(3, "media file, with known subjects kept together")
    '3 media files, with known subjects kept together'
    >>> counted(1, "subject")
    '1 subject'
    """
    kind, comma, addition = unit.partition(",")
    return f"{number} {kind}{'' if number == 1 else 's'}{comma}{addition}"


def _video(clip_id: str) -> str:
    """The clip's name without its side.

    >>> [_video(clip_id) for clip_id in ("video7", "video7_left", "left_7")]
    ['video7', 'video7', 'left_7']
    """
    for side in _SIDES:
        if clip_id.endswith(side):
            return clip_id.removesuffix(side)
    return clip_id


def _first(first_of: Mapping[str, str], video: str) -> str:
    while first_of[video] != video:
        video = first_of[video]
    return video
