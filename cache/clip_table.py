"""The table with one row per clip, collected while the clips are written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json, canonical_json
from cache.errors import CacheError, StoreFormatError
from cache.layout import AUDIO_S, CLIP_FACTS, CLIP_ID, FACE_SHARE, MEDIA_SHA256, ROW_SIZE, clip_layouts
from cache.parts import ClipKey


def clip_provenance(text: str, where: str) -> tuple[ClipKey, Mapping[str, Json]]:
    """Key and facts of a clip from its entry in the column ``clip_facts``.

    Args:
        text: The entry.
        where: Whose it is, for messages.

    Raises:
        StoreFormatError: It is no provenance of a clip; the cause says why.
    """
    try:
        document = json.loads(text)
        key, facts = ClipKey(**document["key"]), document["facts"]
        if not isinstance(facts, dict):
            raise ValueError("facts are no mapping")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreFormatError(
            f"{where}: {CLIP_FACTS} does not say what it was made from ({error!r}); pack the store again"
        ) from error
    return key, facts


class ClipTable:
    """What a store says of each of its clips.

    Attributes:
        num_frames: Rows of all clips so far.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self._columns: dict[str, list[Any]] = {layout.name: [] for layout in clip_layouts(0)}
        self._seen: set[str] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, key: ClipKey, facts: Mapping[str, Json], frame_arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a clip.

        Args:
            key: What it was made from.
            facts: Its provenance, JSON.
            frame_arrays: `time_s`, `face_found` and `audio_found` of all its rows, ``(N,)``.

        Raises:
            CacheError: There is a clip of this name.
        """
        if key.clip_id in self._seen:
            raise CacheError(f"clip {key.clip_id!r} is listed twice; give each clip of a store its own name")
        self._seen.add(key.clip_id)
        time_s = frame_arrays["time_s"]
        self.num_frames += len(time_s)
        row = {
            CLIP_ID: key.clip_id,
            ROW_SIZE: len(time_s),
            MEDIA_SHA256: key.media_sha256,
            FACE_SHARE: face_share(frame_arrays["face_found"]),
            AUDIO_S: audio_seconds(time_s, frame_arrays["audio_found"]),
            CLIP_FACTS: canonical_json({"key": key.as_dict(), "facts": facts}),
        }
        for name, column in self._columns.items():
            column.append(row[name])

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """The columns, ``(C,)`` each, in the order and of the types of `cache.layout.clip_layouts`."""
        text = np.dtypes.StringDType()
        return {
            layout.name: np.array(self._columns[layout.name], text if layout.is_text else layout.dtype)
            for layout in clip_layouts(len(self))
        }


def face_share(face_found: NDArray[np.bool_]) -> float:
    """Share of a clip's rows with a face; 0 for a clip of no rows.

    Args:
        face_found: ``(N,)``.
    """
    return np.count_nonzero(face_found) / len(face_found) if len(face_found) else 0.0


def audio_seconds(time_s: NDArray[np.float64], audio_found: NDArray[np.bool_]) -> float:
    """Seconds of a clip that have decoded sound.

    A row lasts until the next one, the last row as long as the one before it, a row alone no time at all.

    Args:
        time_s: ``(N,)`` seconds, rising.
        audio_found: ``(N,)``.

    Returns:
        The correctly rounded sum, so that a store's bytes do not depend on how a machine adds.
    """
    if len(time_s) < 2:
        return 0.0
    gaps = np.diff(time_s)
    lasting_s = np.append(gaps, gaps[-1])
    return math.fsum(lasting_s[audio_found].tolist())
