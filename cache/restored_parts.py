"""Finished clips made again from a store, so that it can be added to where they were never extracted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cache.canonical_json import Json
from cache.errors import CorruptFeatureError
from cache.features import FRAME_ARRAYS
from cache.merge import StoredClip
from cache.packed_store import PackedStore
from cache.parts import ClipKey, PartStore
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
    """Commit the parts that a store was packed from, byte for byte as they were; those that are there stay.

    Args:
        store: The store.
        parts: The work directory.
        progress: Called with 1 after each clip.

    Raises:
        CorruptFeatureError: The store is damaged.
        StoreFormatError: The store does not say what a clip was made from.
        StorageError: The disk is full or not writable; what was committed stays.
    """
    parts.write_spec(store.spec)
    restored, kept = [], []
    for member in store.members:
        first_row = 0
        for index, num_rows in enumerate(member.row_size.tolist()):
            clip = StoredClip(member, index, first_row)
            if _is_there(parts, clip.key):
                kept.append((clip.key, parts.facts(clip.key)))
            else:
                _restore(member, clip, slice(first_row, first_row + num_rows), parts)
                restored.append((clip.key, clip.facts))
            first_row += num_rows
            if progress is not None:
                progress(1)
    return RestoredParts(restored=tuple(restored), kept=tuple(kept))


def _is_there(parts: PartStore, key: ClipKey) -> bool:
    """Whether a part is there and its head can be read."""
    try:
        return key in parts and parts.facts(key) is not None
    except CorruptFeatureError:
        return False


def _restore(store: PackedStore, clip: StoredClip, rows: slice, parts: PartStore) -> None:
    with parts.writer(clip.key, store.spec) as writer:
        writer.append(**{name: store.read(name, rows) for name in FRAME_ARRAYS})
        for stream in store.spec.streams:
            row_bytes = 2 * int(np.prod(stream.shape(1)))
            step = max(1, _BLOCK_BYTES // row_bytes)
            for start in range(rows.start, rows.stop, step):
                block = store.read(stream.name, slice(start, min(start + step, rows.stop)))
                writer.append_stream(stream.name, block)
        writer.commit(clip.facts)
