"""Several stores into one, the clips of one store after those of another.

Every chunk that is read is compared with its checksum. What is written is what packing the clips' parts in
this order would write, so that merging a store alone copies it, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cache.canonical_json import Json, canonical_json
from cache.clip_table import clip_provenance
from cache.errors import CacheError
from cache.layout import CHUNK_ROWS, CLIP_FACTS, frame_layouts
from cache.packed_store import PackedStore
from cache.record import CompletionRecord
from cache.store import FeatureStore
from cache.store_writer import further_attributes, write_store


class StoredClip:
    """One clip of a store, on its way into another: a `cache.row_source.RowSource`.

    Args:
        store: The store.
        index: The clip's number in it.

    Attributes:
        first_row: The clip's first row in the store's flat arrays.

    Raises:
        StoreFormatError: The store does not say what the clip was made from.
    """

    def __init__(self, store: PackedStore, index: int) -> None:
        self._store = store
        self.first_row = int(store.row_start[index])
        self.num_frames = int(store.row_size[index])
        self.key, self.facts = clip_provenance(
            str(store.column(CLIP_FACTS)[index]), f"{store.name}: clip {store.clip_ids[index]!r}"
        )

    def read_into(self, array: str, view: int, start: int, out: NDArray[Any]) -> None:
        """See `cache.row_source.RowSource.read_into`."""
        has_views = self._store.grids[array].row_axis == 1
        self._store.read_into(out, array, self.first_row + start, view if has_views else None)

    def close(self) -> None:
        """The store stays open."""


def merge_stores(
    stores: Sequence[FeatureStore],
    destination: Path,
    *,
    progress: Callable[[int], object] | None = None,
) -> CompletionRecord:
    """Write the clips of several stores, in their order, as one.

    Args:
        stores: The stores, of one fingerprint, without a clip in common.
        destination: The new store; may be the place of one of them.
        progress: Called with 1 after each clip.

    Returns:
        What the new store consists of. Of the groups' further attributes it has those in which all agree.

    Raises:
        CacheError: No stores, or a clip that two of them have.
        StaleFeatureError: Stores of different specs; names the settings that differ.
        CorruptFeatureError: A store is damaged.
        IncompleteStoreError: An object has gone, or a store was replaced meanwhile.
        StoreFormatError: Something else lies at `destination`.
        StorageError: The disk is full or not writable; what lay at `destination` is as it was.
    """
    members = [member for store in stores for member in store.members]
    if not members:
        raise CacheError("merging takes at least one store, got none")
    FeatureStore(members)  # what can be opened as one can be merged, and nothing else
    chunk_rows, shard_rows = _chunking(members)
    return write_store(
        (clip for member in members for clip in stored_clips(member)),
        members[0].spec,
        destination,
        attributes=_shared_attributes(members),
        progress=progress,
        chunk_rows=chunk_rows,
        shard_rows=shard_rows,
    )


def stored_clips(store: PackedStore) -> Iterator[StoredClip]:
    """The clips of a store, in its order.

    Raises:
        StoreFormatError: The store does not say what a clip was made from.
    """
    return (StoredClip(store, index) for index in range(store.num_clips))


def _shared_attributes(members: Sequence[PackedStore]) -> dict[str, Json]:
    """Further attributes of the groups, as far as all stores agree."""
    first, *others = (further_attributes(member.attributes, member.spec) for member in members)
    return {
        name: value
        for name, value in first.items()
        if all(name in other and canonical_json(other[name]) == canonical_json(value) for other in others)
    }


def _chunking(members: Sequence[PackedStore]) -> tuple[int, int | None]:
    """Rows per chunk and per shard as the stores have them, the usual ones where they differ."""
    layouts = frame_layouts(members[0].spec, 0)
    grids = [member.grids[layout.name] for member in members for layout in layouts]
    usual = [layout.shard_rows(grids[0].chunk_rows) for layout in layouts] * len(members)
    if any(grid.chunk_rows != grids[0].chunk_rows for grid in grids):
        return CHUNK_ROWS, None
    if all(grid.shard_rows == rows for grid, rows in zip(grids, usual, strict=True)):
        return grids[0].chunk_rows, None
    if all(grid.shard_rows == grids[0].shard_rows for grid in grids):
        return grids[0].chunk_rows, grids[0].shard_rows
    return CHUNK_ROWS, None
