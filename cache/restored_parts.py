"""Finished clips made again from a store, so that it can be added to where they were never extracted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cache.canonical_json import Json
from cache.errors import CacheError, CorruptFeatureError, UnknownClipError
from cache.features import FRAME_ARRAYS
from cache.merge import StoredClip, stored_clips
from cache.packed_store import PackedStore
from cache.parts import ClipKey, PartStore
from cache.spec import IMPORTED_PREFIX
from cache.store import FeatureStore

_BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class RestoredParts:
    """What was done.

    Attributes:
        restored: Keys and facts of the clips whose parts were made.
        kept: Keys and facts of those whose parts were there.
    """

    restored: tuple[tuple[ClipKey, Mapping[str, Json]], ...]
    kept: tuple[tuple[ClipKey, Mapping[str, Json]], ...]


def restore_parts(
    store: FeatureStore, parts: PartStore, *, progress: Callable[[int], object] | None = None
) -> RestoredParts:
    """Commit the parts that a store was packed from; those that are there stay.

    Byte for byte they are what committing the clips today gives: the same as they were, unless a version
    wrote them whose parts had another form.

    Args:
        store: The store.
        parts: The work directory.
        progress: Called with 1 after each clip.

    Raises:
        CacheError: The store was imported from another toolkit.
        CorruptFeatureError: The store is damaged.
        StoreFormatError: The store does not say what a clip was made from.
        StorageError: The disk is full or not writable; what was committed stays.
    """
    if any(name.startswith(IMPORTED_PREFIX) for name in store.spec.settings):
        raise CacheError(
            f"{store.where}: imported from another toolkit: there is nothing to extract, and so no parts"
        )
    parts.write_spec(store.spec)
    restored, kept = [], []
    for member in store.members:
        for clip in stored_clips(member):
            facts = _facts_of_part(parts, clip.key)
            if facts is not None:
                kept.append((clip.key, facts))
            else:
                _restore(member, clip, parts)
                restored.append((clip.key, clip.facts))
            if progress is not None:
                progress(1)
    return RestoredParts(restored=tuple(restored), kept=tuple(kept))


def _facts_of_part(parts: PartStore, key: ClipKey) -> Mapping[str, Json] | None:
    """What a part says of itself; None where there is none, or its head cannot be read."""
    try:
        return parts.facts(key)
    except (UnknownClipError, CorruptFeatureError):
        return None


def _restore(store: PackedStore, clip: StoredClip, parts: PartStore) -> None:
    rows = slice(clip.first_row, clip.first_row + clip.num_frames)
    with parts.writer(clip.key, store.spec) as writer:
        writer.append(**{name: store.read(name, rows) for name in FRAME_ARRAYS})
        for stream in store.spec.streams:
            row_bytes = 2 * int(np.prod(stream.shape(1)))
            step = max(1, _BLOCK_BYTES // row_bytes)
            for start in range(rows.start, rows.stop, step):
                block = store.read(stream.name, slice(start, min(start + step, rows.stop)))
                writer.append_stream(stream.name, block)
        writer.commit(clip.facts)
