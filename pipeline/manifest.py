"""Which clips a source folder holds, by its layout.

A clip id is a name for people and for keys; no path is ever made from it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipeline.errors import ManifestError

LAYOUTS = ("videos",)
# Of the containers that `pipeline.container` lets in.
MEDIA_SUFFIXES = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """One clip to extract.

    Attributes:
        clip_id: Name of the clip, unique in its manifest.
        media: The media file.
    """

    clip_id: str
    media: Path


def read_manifest(source: Path, layout: str) -> tuple[ClipSource, ...]:
    """The clips below a folder, in the order of the store.

    Args:
        source: Folder of the media.
        layout: `videos`: every media file below the folder, at any depth, is a clip; its id is its path
            relative to the folder, without suffix.

    Returns:
        At least one clip, sorted by clip id.

    Raises:
        ManifestError: Unknown layout, no such folder, no media in it, or two files that give one clip id.
    """
    if layout not in LAYOUTS:
        raise ManifestError(f"layout {layout!r} is not known (layouts: {', '.join(LAYOUTS)})")
    if not source.is_dir():
        found = "a file" if source.exists() else "nothing"
        raise ManifestError(
            f"source {str(source)!r}: expected a folder of media, found {found}; give the folder's path"
        )
    files = list(_files_below(source))
    clips = [
        ClipSource(clip_id=_clip_id(path, source), media=path)
        for path in files
        if path.suffix.lower() in MEDIA_SUFFIXES
    ]
    if not clips:
        others = Counter(path.suffix.lower() or "no suffix" for path in files).most_common(3)
        found = ", ".join(f"{count} of {suffix!r}" for suffix, count in others) or "no files"
        wanted = ", ".join(sorted(MEDIA_SUFFIXES))
        raise ManifestError(
            f"source {str(source)!r}: expected media files ({wanted}), found {found}; "
            "give the folder that holds the videos"
        )
    clips.sort(key=lambda clip: clip.clip_id)
    for first, second in pairwise(clips):
        if first.clip_id == second.clip_id:
            raise ManifestError(
                f"source {str(source)!r}: {first.media.name!r} and {second.media.name!r} give one clip id "
                f"{first.clip_id!r}; expected one media file per clip: rename or move one of them"
            )
    return tuple(clips)


def _files_below(source: Path) -> Iterator[Path]:
    """All files but hidden ones; links to folders are followed, save those that lead back up."""
    for folder, subfolders, names in os.walk(source, followlinks=True, onerror=_refuse_unreadable):
        here = Path(folder).resolve()
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not here.is_relative_to((Path(folder) / name).resolve())
        ]
        yield from (Path(folder) / name for name in names if not name.startswith("."))


def _refuse_unreadable(error: OSError) -> None:
    raise ManifestError(f"source folder {error.filename!r} cannot be read: {error.strerror}") from error


def _clip_id(path: Path, source: Path) -> str:
    clip_id = path.relative_to(source).with_suffix("").as_posix()
    # Ids go into JSON, tables and one-line messages: undecodable bytes (kept as surrogates) and control
    # characters have no place there.
    if not clip_id.isprintable():
        raise ManifestError(
            f"source {str(source)!r}: expected names of printable characters, got {path.name!a}; "
            "rename the file"
        )
    return clip_id
