"""The layout `videos`: every media file below a folder is a clip."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from pipeline.clip_source import ClipSource, Manifest, lookalikes, require_clip_id
from pipeline.errors import ManifestError
from pipeline.layouts.folders import entries_below, is_media, require_folder, require_media


def read_videos(source: Path) -> Manifest:
    """The media below a folder, at any depth; a clip's id is its path relative to the folder, without suffix.

    Args:
        source: The folder.

    Returns:
        Clips sorted by id.

    Raises:
        ManifestError: No such folder, no media in it, a name that cannot be printed, or two files that give
            one clip id.
    """
    require_folder(source, of="media")
    files = [
        Path(entry.path) for _, entries in entries_below(source) for entry in entries if not entry.is_dir()
    ]
    media = [path for path in files if is_media(path)]
    require_media(source, media, files)
    clips = [ClipSource(clip_id=_clip_id(path, source), media=path) for path in media]
    clips.sort(key=lambda clip: (clip.clip_id, clip.media.name))
    for first, second in pairwise(clips):
        if first.clip_id == second.clip_id:
            raise ManifestError(
                f"source {str(source)!r}: {first.media.name!r} and {second.media.name!r} give one clip id "
                f"{first.clip_id!r}; expected one media file per clip: rename or move one of them"
            )
    return Manifest(clips=tuple(clips), problems=tuple(lookalikes(clip.clip_id for clip in clips)))


def _clip_id(path: Path, source: Path) -> str:
    clip_id = path.relative_to(source).with_suffix("").as_posix()
    require_clip_id(clip_id, where=f"source {str(source)!r}")
    return clip_id
