"""Clips of a store, with the media that they were extracted from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.features import FRAME_ARRAYS
from cache.rows import ClipRows
from cache.store import FeatureStore, StorePath
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.degradation.condition import Condition
from pipeline.degradation.degradation import Degradation
from pipeline.degradation.errors import DegradationError
from pipeline.feature_spec import feature_spec
from pipeline.manifest import read_manifest
from pipeline.run.media_digests import ClipDigests, MediaDigests

_BLOCK_ROWS = 65_536


@dataclass(frozen=True, kw_only=True, eq=False)
class CleanClip:
    """A clip as it is.

    Attributes:
        source: Its media.
        digests: Of these, the ones that the store names.
        rows: Its rows in the store.
        rows_sha256: Digest of the rows.
        stores: Paths of the stores.
    """

    source: ClipSource
    digests: ClipDigests
    rows: ClipRows
    rows_sha256: str
    stores: tuple[str, ...]

    def degradation(self, condition: Condition, seed: int) -> Degradation:
        """A condition, applied to this clip."""
        return Degradation(condition=condition, seed=seed, stores=self.stores, rows_sha256=self.rows_sha256)


def clean_clips(
    store: StorePath | Sequence[StorePath],
    source: Path,
    layout: str,
    clip_ids: Sequence[str],
    config: ExtractConfig,
    digests: MediaDigests,
    *,
    progress: bool = False,
) -> list[CleanClip]:
    """Find the media of clips of a store, and make sure that they are what the store was made of.

    Args:
        store: The store, or several as one.
        source: What the store was extracted from.
        layout: How that is laid out, one of `pipeline.manifest.LAYOUTS`.
        clip_ids: The clips, each once.
        config: The `extract` section that the store was extracted with.
        digests: Remembers the digests of media.
        progress: Whether to show progress on standard error, where there is much to read.

    Returns:
        The clips, in that order.

    Raises:
        DegradationError: No such clip in the store or in the source, other media, or clips that are tracks of
            a face (`subject: all`).
        StaleFeatureError: The store was extracted with other settings.
        ManifestError: The source does not say what it holds.
    """
    clean = FeatureStore.open(store)
    clean.require_spec(feature_spec(config), where="the extract section")
    if len(set(clip_ids)) != len(clip_ids) or not clip_ids:
        raise DegradationError(f"expected at least one clip, each once, got {list(clip_ids)}")
    found = {clip.clip_id: clip for clip in read_manifest(source.absolute(), layout).clips}
    for clip_id in clip_ids:
        _check_known(clip_id, clean, found, source)
        if found[clip_id].faces is None and found[clip_id].face is None and config.faces.subject == "all":
            raise DegradationError(
                f"clip {clip_id!r}: with extract.faces.subject 'all', clips are tracks of faces, which other "
                "pictures would give others of; extract with 'largest' or 'longest'"
            )
    clips = [found[clip_id] for clip_id in clip_ids]
    known = digests.of_clips(clips, progress=progress)
    return [_checked(clip, known[clip.clip_id], clean) for clip in clips]


def _check_known(clip_id: str, clean: FeatureStore, found: dict[str, ClipSource], source: Path) -> None:
    if clip_id not in clean:
        raise DegradationError(
            f"clip {clip_id!r} is not in {clean.where}, which has {len(clean)} others; extract it first"
        )
    if clip_id not in found:
        raise DegradationError(
            f"clip {clip_id!r} of {clean.where} is not in {str(source)!r}, which has {len(found)} others; "
            "give the source and the layout that the store was extracted from (tracks of faces, "
            "'CLIP_track1', cannot be degraded)"
        )


def _checked(clip: ClipSource, digests: ClipDigests | Exception, clean: FeatureStore) -> CleanClip:
    if isinstance(digests, Exception):
        raise DegradationError(
            f"clip {clip.clip_id!r}: its media cannot be read: {' '.join(str(digests).split())}"
        ) from digests
    rows = clean[clip.clip_id]
    if (rows.key.media_sha256, rows.key.faces_sha256) != (digests.media_sha256, digests.faces_sha256):
        what = "media file" if rows.key.media_sha256 != digests.media_sha256 else "cropped faces"
        raise DegradationError(
            f"clip {clip.clip_id!r}: expected the {what} that {clean.where} was extracted from, found others "
            f"at {str(clip.media if what == 'media file' else clip.faces)!r}; give the source of that store, "
            "or extract it again"
        )
    return CleanClip(
        source=clip,
        digests=digests,
        rows=rows,
        rows_sha256=_rows_digest(rows, tuple(stream.name for stream in clean.spec.streams)),
        stores=tuple(str(Path(path).absolute()) if "://" not in path else path for path in clean.paths),
    )


def _rows_digest(rows: ClipRows, streams: Sequence[str]) -> str:
    """SHA-256 over all that a store knows of a clip's rows."""
    digest = hashlib.sha256()
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows.window(start, min(start + _BLOCK_ROWS, len(rows)))
        for name in FRAME_ARRAYS:
            digest.update(getattr(block, name).tobytes())
        for name in streams:
            digest.update(block.stream(name).tobytes())
    return digest.hexdigest()
