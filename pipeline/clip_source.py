"""What there is to extract: one clip, and the list of them that a layout makes of a source.

A clip id is a name for people and for keys; no path is ever made from it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import ManifestError

FaceChoice = Literal["largest", "longest", "left", "right"]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One clip to extract: one subject in one media file.

    Attributes:
        clip_id: Name of the clip, unique in its manifest.
        media: The media file; several clips may share one.
        faces: Folder of cropped faces, `{frame + 1:05d}.jpg`; None to find faces in the pictures.
        face: Whose face it is where there are several; None for what the settings say.
        annotation: The label file.
        split: The split that the labels put it in.
        subject: Who it is, for folds and intervals.
    """

    clip_id: str
    media: Path
    faces: Path | None = None
    face: FaceChoice | None = None
    annotation: Path | None = None
    split: Split | None = None
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All clips of a source.

    Attributes:
        clips: At least one, with distinct ids, in the order of the store.
        problems: What is odd and not fatal, one line each.
    """

    clips: tuple[ClipSource, ...]
    problems: tuple[str, ...] = ()


def require_clip_id(clip_id: str, *, where: str) -> None:
    """Refuse a clip id that is no name.

    Ids go into JSON, tables and one-line messages: undecodable bytes (which Python keeps as surrogates),
    line breaks and other control characters have no place there.

    Args:
        clip_id: The id.
        where: Of what, for the message.

    Raises:
        ManifestError: It is empty, or cannot be printed.
    """
    if not clip_id or not clip_id.isprintable():
        raise ManifestError(f"{where}: expected names of printable characters, got {clip_id!a}; rename it")


def lookalikes(clip_ids: Iterable[str]) -> list[str]:
    """One line for each group of clip ids that differ in upper and lower case or in Unicode form alone.

    Such ids are clips of their own here, but one and the same on some file systems and in some spreadsheets.

    >>> lookalikes(["a", "B", "b"])
    ["clip ids 'B', 'b' differ in case or Unicode form alone; they are kept apart here, but not everywhere"]
    """
    groups: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        groups.setdefault(folded(clip_id), []).append(clip_id)
    return [
        f"clip ids {', '.join(ascii(name) for name in sorted(group))} differ in case or Unicode form alone; "
        "they are kept apart here, but not everywhere"
        for group in groups.values()
        if len(group) > 1
    ]


def folded(name: str) -> str:
    """A name without its case and Unicode form."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
