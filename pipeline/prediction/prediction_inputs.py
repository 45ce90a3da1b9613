"""What there is to predict, and by what a later run sees whether it has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache import FeatureStore
from pipeline.clip_source import ClipSource


@dataclass(frozen=True, kw_only=True)
class PredictionInput:
    """A clip to predict.

    Attributes:
        clip_id: The clip.
        source: Its media; None where its features come from a store.
        state: Of the media, or of the store; changes where the predictions would.
        num_bytes: Size of the media, or of the features; for the time that is left.
    """

    clip_id: str
    source: ClipSource | None
    state: str
    num_bytes: int


def media_inputs(clips: Sequence[ClipSource]) -> list[PredictionInput]:
    """Clips with the state of their media.

    Args:
        clips: From `list_clips`.
    """
    return [
        PredictionInput(
            clip_id=clip.clip_id, source=clip, state=media_state(clip), num_bytes=_num_bytes(clip.media)
        )
        for clip in clips
    ]


def store_inputs(store: FeatureStore) -> list[PredictionInput]:
    """The clips of a feature store."""
    return [
        PredictionInput(clip_id=clip_id, source=None, state=store.digest, num_bytes=num_rows)
        for clip_id, num_rows in zip(store.clip_ids, store.row_size.tolist(), strict=True)
    ]


def media_state(clip: ClipSource) -> str:
    """Whose face, and size and time of change of every file; one that is missing has none."""
    paths = [clip.media]
    if clip.faces is not None:
        with suppress(OSError):
            paths += sorted(clip.faces.iterdir())
    state = hashlib.sha256(f"{'cropped' if clip.faces is not None else clip.face}\n".encode())
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            state.update(f"{path.name}/{status.st_size}/{status.st_mtime_ns}\n".encode())
    return state.hexdigest()


def _num_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
