"""Which clips are to be predicted: files, folders and patterns, or a source in one of stage one's layouts."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.clip_source import ClipSource, require_clip_id
from pipeline.errors import ExtractionError, ManifestError
from pipeline.layouts.folders import MEDIA_SUFFIXES, entries_below, is_media, require_media
from pipeline.manifest import read_manifest
from pipeline.prediction.prediction_record import PredictionRecord


def list_clips(media: Sequence[Path], layout: str = "videos") -> tuple[ClipSource, ...]:
    """The clips that some media are.

    Args:
        media: With the layout `videos`, files, folders (every media file below them) and patterns with
            ``*``, ``?``, ``[...]`` and ``**``; with another layout, the one source.
        layout: `videos`, `aff-wild2` or `manifest`: see docs/layouts.md.

    Returns:
        At least one clip, with distinct ids: a file's name without its suffix, or its path below the folder
        that was given. Where two would be equal, both have their path below what all media have in common.

    Raises:
        ManifestError: There is no such file, no media in a folder, nothing that fits a pattern, or files
            that cannot be told apart.
    """
    if layout != "videos":
        if len(media) != 1:
            raise ManifestError(
                f"layout {layout!r}: expected one source, got {len(media)}; predict each by itself, into the "
                "same folder"
            )
        return read_manifest(media[0], layout).clips
    named: dict[Path, str] = {}  # by absolute path, so that what is given twice is one clip
    for each in media:
        for path, clip_id in _found(each):
            named.setdefault(Path(os.path.abspath(path)), clip_id)
    clip_ids = _distinct(named)
    for clip_id in clip_ids.values():
        require_clip_id(clip_id, where="media")
    return tuple(ClipSource(clip_id=clip_ids[path], media=path) for path in named)


def without_overlays(clips: Iterable[ClipSource], out: Path) -> list[ClipSource]:
    """The clips but for videos that an earlier run has drawn, where the folder to write is among the media.

    Args:
        clips: From `list_clips`.
        out: Folder of predictions; there may be none yet.

    Raises:
        ExtractionError: There are no others, or the folder's record is damaged.
    """
    record = PredictionRecord.read(out)
    drawn = set() if record is None else {(out / name).resolve() for name in record.files}
    kept = [clip for clip in clips if clip.media.resolve() not in drawn]
    if not kept:
        raise ExtractionError(
            f"media: expected videos, got overlays alone that were drawn into {str(out)!r}; give the videos "
            "themselves"
        )
    return kept


def _found(media: Path) -> list[tuple[Path, str]]:
    """The files that one argument means, and what they would be called if they were alone."""
    if media.is_file():
        return [(media, media.stem)]
    if media.is_dir():
        return _below(media)
    if not glob.has_magic(str(media)):
        raise ManifestError(
            f"media {str(media)!r}: expected a file, a folder or a pattern like 'videos/*.mp4', found "
            "nothing; check the path"
        )
    matches = [Path(match) for match in sorted(glob.glob(str(media), recursive=True))]
    found = [(path, path.stem) for path in matches if path.is_file() and is_media(path)]
    if not found:
        others = f"{len(matches)} others" if matches else "nothing"
        raise ManifestError(
            f"media {str(media)!r}: expected files that fit the pattern and end in one of "
            f"{', '.join(sorted(MEDIA_SUFFIXES))}, found {others}; check the pattern"
        )
    return found


def _below(folder: Path) -> list[tuple[Path, str]]:
    files = [
        Path(entry.path) for _, entries in entries_below(folder) for entry in entries if not entry.is_dir()
    ]
    media = sorted(path for path in files if is_media(path))
    require_media(folder, media, files)
    return [(path, path.relative_to(folder).with_suffix("").as_posix()) for path in media]


def _distinct(named: dict[Path, str]) -> dict[Path, str]:
    """A clip id for each path."""
    shared = _repeated(named.values())
    if shared:
        common = Path(os.path.commonpath([path.parent for path in named]))
        named = {
            path: path.relative_to(common).with_suffix("").as_posix() if clip_id in shared else clip_id
            for path, clip_id in named.items()
        }
    if still := sorted(_repeated(named.values())):
        first, second, *_ = [path for path, clip_id in named.items() if clip_id == still[0]]
        raise ManifestError(
            f"media {str(first)!r} and {str(second)!r} give one clip id {still[0]!r}; expected one media "
            "file per clip: rename one of them, or predict them into different folders"
        )
    return named


def _repeated(clip_ids: Iterable[str]) -> set[str]:
    return {clip_id for clip_id, count in Counter(clip_ids).items() if count > 1}
