"""Which video belongs to a clip, and how the page gets at it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pipeline.manifest import read_manifest

VideoChoice = Literal["link", "embed", "none"]

# A clip that was made of one of several faces has the name of its video before this.
_TRACK = re.compile(r"_track\d+\Z")


def media_of_source(source: Path, layout: str) -> Mapping[str, Path]:
    """Clip -> its media file, of a source as `tagf extract` reads it.

    Raises:
        ManifestError: The source does not say what its clips are.
    """
    return {clip.clip_id: clip.media for clip in read_manifest(source, layout).clips}


def media_of_clip(clip_id: str, media: Mapping[str, Path]) -> Path | None:
    """The media file of a clip, or of the video that its track was found in; None where it is not there.

    >>> media_of_clip("talk_track2", {"talk": Path("/etc/hostname")}) == Path("/etc/hostname")
    True
    """
    path = media.get(clip_id) or media.get(_TRACK.sub("", clip_id))
    return path if path is not None and path.is_file() else None


def link_to(media: Path, page: Path) -> str:
    """URL of a file for a page beside which it lies, or that lies elsewhere on the same machine.

    Returns:
        A relative URL, percent-encoded, that starts with a dot so that no name reads as a scheme.
    """
    relative = os.path.relpath(media.resolve(), page.resolve().parent)
    url = quote(Path(relative).as_posix(), safe="/", encoding="utf-8", errors="surrogateescape")
    return url if url.startswith("../") else f"./{url}"
