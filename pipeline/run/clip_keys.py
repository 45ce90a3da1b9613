"""What a clip's part is named by."""

from __future__ import annotations

from collections.abc import Mapping

from cache.file_digest import file_digest
from cache.parts import ClipKey
from pipeline.backbones.clip_stream import ClipStream
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.run.media_digests import ClipDigests


def clip_key(
    clip: ClipSource,
    digests: ClipDigests,
    config: ExtractConfig,
    clip_streams: Mapping[str, ClipStream],
    fingerprint: str,
) -> ClipKey:
    """The key of a clip's part.

    Args:
        clip: The clip.
        digests: Of its media and faces.
        config: The `extract` section.
        clip_streams: Further streams by name that read files of their own; these files count.
        fingerprint: Of the feature spec.

    Raises:
        OSError: A file of a further stream cannot be read.
    """
    words = [_face_choice(clip, config)]
    for name, stream in sorted(clip_streams.items()):
        for path in stream.source_files(clip.clip_id):
            words.append(f"{name} {path.name} {file_digest(path)}")
    return ClipKey(
        clip_id=clip.clip_id,
        media_sha256=digests.media_sha256,
        faces_sha256=digests.faces_sha256,
        selection="; ".join(words),
        fingerprint=fingerprint,
    )


def gives_tracks(clip: ClipSource, config: ExtractConfig) -> bool:
    """Whether every track of a face in a clip's media is a clip of its own."""
    return clip.faces is None and clip.face is None and config.faces.subject == "all"


def _face_choice(clip: ClipSource, config: ExtractConfig) -> str:
    if clip.faces is not None:
        return "cropped faces"
    return "all faces" if gives_tracks(clip, config) else f"{clip.face or config.faces.subject} face"
