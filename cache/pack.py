"""Many parts into one store, the same bytes for the same parts in the same order.

One packer writes whole shards only, one after another, holding one shard of each array in memory. What ran in
parallel or crashed before leaves no trace in the bytes. Nothing is compressed: embeddings hardly shrink, and
raw shards can be mapped into memory. Every inner chunk and every shard's index carries a CRC32C. Chunks of
zeros are written as well, since zarr would read one that is left out no differently from one that was lost.

How the new store takes the place of the previous one, and what happens when that is killed, is in
`cache.swap`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json, canonical_json
from cache.errors import CacheError, StaleFeatureError, StorageError, StoreFormatError
from cache.features import FRAME_ARRAYS, ClipFeatures
from cache.layout import (
    CHUNK_ROWS,
    CLIP_FACTS,
    CLIP_ID,
    FORMAT_NAME,
    FORMAT_VERSION,
    ROW_SIZE,
    SHARD_ROWS,
    ArrayLayout,
    clip_layouts,
    frame_layouts,
)
from cache.parts import ClipKey, PartStore
from cache.record import RECORD_PATH, CompletionRecord
from cache.spec import FeatureSpec
from cache.swap import replacement_of_store


def pack_store(
    parts: Sequence[tuple[PartStore, ClipKey]],
    spec: FeatureSpec,
    destination: Path,
    *,
    attributes: Mapping[str, Json] | None = None,
    progress: Callable[[int], object] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    shard_rows: int = SHARD_ROWS,
) -> None:
    """Write the store of some parts, in their order, in place of the store that lies there.

    Args:
        parts: Work directory and key of each clip, in the order that the store is to have.
        spec: What the parts were extracted with.
        destination: The store, for example ``data/features.zarr``.
        attributes: Further attributes of the store's group.
        progress: Called with 1 after each clip.
        chunk_rows: Rows per inner chunk.
        shard_rows: Rows per shard, a multiple of `chunk_rows`.

    Raises:
        StaleFeatureError: A part was extracted with another spec.
        UnknownClipError: A part is missing.
        CorruptFeatureError: A part is damaged.
        StoreFormatError: A part does not have the spec's streams, or something else lies at `destination`.
        CacheError: A clip is listed twice.
        StorageError: The disk is full or not writable; the previous store is as it was.
    """
    if shard_rows < 1 or chunk_rows < 1 or shard_rows % chunk_rows:
        raise ValueError(f"shard_rows must be a multiple of chunk_rows, got {shard_rows} and {chunk_rows}")
    _check_keys(parts, spec)
    _check_destination(destination)
    row_sizes = [store.num_frames(key) for store, key in parts]
    group_attributes: dict[str, Any] = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "fingerprint": spec.fingerprint,
        "streams": [stream.name for stream in spec.streams],
        "feature_spec": json.loads(spec.to_json()),
    }
    taken = sorted(group_attributes.keys() & (attributes or {}).keys())
    if taken:
        raise ValueError(f"attributes must not use the store's own names, got {', '.join(taken)}")
    group_attributes |= json.loads(canonical_json(attributes or {}))
    try:
        with replacement_of_store(destination) as directory:
            writer = _StoreWriter(directory, group_attributes, chunk_rows, shard_rows)
            facts = writer.write_frames(parts, spec, row_sizes, progress)
            writer.write_clips([key.clip_id for _, key in parts], row_sizes, facts)
            CompletionRecord.of(
                directory, fingerprint=spec.fingerprint, num_clips=len(parts), num_frames=sum(row_sizes)
            ).write(directory)
    except OSError as error:
        raise StorageError(
            f"cannot write the store {destination}: {error}; what lay there before is untouched, packing "
            f"needs room beside it in {destination.parent}"
        ) from error


def _check_keys(parts: Sequence[tuple[PartStore, ClipKey]], spec: FeatureSpec) -> None:
    seen: set[str] = set()
    for store, key in parts:
        if key.clip_id in seen:
            raise CacheError(f"clip {key.clip_id!r} is listed twice; give each clip of a store its own name")
        seen.add(key.clip_id)
        if key.fingerprint != spec.fingerprint:
            other = store.read_spec(key.fingerprint)
            differences = other.differences(spec, here="in the part", there="asked for") if other else ()
            raise StaleFeatureError(
                f"the part of clip {key.clip_id!r} in {store.directory} was extracted with spec "
                f"{key.fingerprint}, the store asks for {spec.fingerprint}"
                f"{''.join(f'; {line}' for line in differences)}; extract the clip again"
            )


def _check_destination(destination: Path) -> None:
    """Refuse to replace, and so to delete, what is no feature store."""
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return
    for path in (destination / "zarr.json", destination / RECORD_PATH):
        try:
            if json.loads(path.read_bytes())["attributes"]["format"] == FORMAT_NAME:
                return
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise StoreFormatError(
        f"{destination}: expected a feature store or nothing, got something else; "
        "remove it or choose another place"
    )


class _StoreWriter:
    """Writes the arrays of one new store, shard by shard."""

    def __init__(
        self, directory: Path, attributes: Mapping[str, Any], chunk_rows: int, shard_rows: int
    ) -> None:
        import zarr  # a quarter of a second, for packing alone
        from zarr.storage import LocalStore

        self._group = zarr.create_group(LocalStore(directory), zarr_format=3, attributes=dict(attributes))
        self._chunk_rows = chunk_rows
        self._shard_rows = shard_rows

    def write_frames(
        self,
        parts: Sequence[tuple[PartStore, ClipKey]],
        spec: FeatureSpec,
        row_sizes: Sequence[int],
        progress: Callable[[int], object] | None,
    ) -> list[str]:
        """Write all arrays along ``frame``; each part is read once.

        Returns:
            The provenance of each clip as JSON.
        """
        num_frames = sum(row_sizes)
        layouts = frame_layouts(spec, num_frames)
        arrays = [self._create(layout) for layout in layouts]
        shards = [
            np.empty(layout.shape_of(min(self._shard_rows, num_frames)), layout.dtype) for layout in layouts
        ]
        facts = []
        start = filled = 0  # first row of the shard at hand, and how many of its rows are there
        for (store, key), row_size in zip(parts, row_sizes, strict=True):
            part = store.read(key)
            _check_features(part.features, spec, row_size, key)
            done = 0
            while done < row_size:
                taken = min(row_size - done, self._shard_rows - filled)
                for layout, shard in zip(layouts, shards, strict=True):
                    source = _array_of(part.features, layout.name)
                    leading = (slice(None),) * layout.row_axis
                    shard[(*leading, slice(filled, filled + taken))] = source[
                        (*leading, slice(done, done + taken))
                    ]
                done += taken
                filled += taken
                if filled == self._shard_rows:
                    self._flush(arrays, layouts, shards, start, filled)
                    start, filled = start + filled, 0
            facts.append(canonical_json({"key": asdict(key), "facts": part.facts}))
            if progress is not None:
                progress(1)
        self._flush(arrays, layouts, shards, start, filled)
        return facts

    def write_clips(self, clip_ids: Sequence[str], row_sizes: Sequence[int], facts: Sequence[str]) -> None:
        """Write the table along ``clip``."""
        text = np.dtypes.StringDType()
        columns: dict[str, NDArray[Any]] = {
            CLIP_ID: np.array(clip_ids, text),
            ROW_SIZE: np.array(row_sizes, np.int64),
            CLIP_FACTS: np.array(facts, text),
        }
        for layout in clip_layouts(len(clip_ids)):
            array = self._create(layout)
            for start in range(0, len(clip_ids), self._shard_rows):
                rows = slice(start, start + self._shard_rows)
                array[rows] = columns[layout.name][rows]

    def _create(self, layout: ArrayLayout) -> Any:
        from zarr.codecs import BytesCodec, Crc32cCodec

        return self._group.create_array(
            layout.name,
            shape=layout.shape,
            dtype=layout.dtype,
            chunks=layout.block_of(self._chunk_rows),
            shards=layout.block_of(self._shard_rows),
            filters=None,
            # Strings have a serializer of their own, bytes of variable length with their lengths before them.
            serializer="auto" if layout.dtype == "string" else BytesCodec(endian="little"),
            compressors=[Crc32cCodec()],
            fill_value="" if layout.dtype == "string" else 0,
            attributes=cast("dict[str, Any]", dict(layout.attributes)),
            dimension_names=layout.dimensions,
            config={"write_empty_chunks": True},
        )

    @staticmethod
    def _flush(
        arrays: Sequence[Any],
        layouts: Sequence[ArrayLayout],
        shards: Sequence[NDArray[Any]],
        start: int,
        filled: int,
    ) -> None:
        """Write the rows at hand, each shard in one assignment."""
        if not filled:
            return
        for array, layout, shard in zip(arrays, layouts, shards, strict=True):
            for view in np.ndindex(*layout.shape[: layout.row_axis]):
                array[(*view, slice(start, start + filled))] = shard[(*view, slice(0, filled))]


def _array_of(features: ClipFeatures, name: str) -> NDArray[Any]:
    array: NDArray[Any] = getattr(features, name) if name in FRAME_ARRAYS else features.streams[name]
    return array


def _check_features(features: ClipFeatures, spec: FeatureSpec, num_frames: int, key: ClipKey) -> None:
    got = {name: rows.shape for name, rows in features.streams.items()}
    wanted = {stream.name: stream.shape(num_frames) for stream in spec.streams}
    if got != wanted:
        raise StoreFormatError(
            f"the part of clip {key.clip_id!r} does not have the streams of spec {spec.fingerprint}: "
            f"expected {wanted}, got {got}; extract the clip again"
        )
