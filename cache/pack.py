"""Many parts into one store, the same bytes for the same parts in the same order.

What ran in parallel or crashed before leaves no trace in the bytes. `cache.store_writer` says how a store is
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cache.canonical_json import Json
from cache.errors import CacheError, StaleFeatureError, StoreFormatError
from cache.layout import CHUNK_ROWS
from cache.part_reader import PartReader
from cache.parts import ClipKey, PartStore
from cache.record import CompletionRecord
from cache.spec import FeatureSpec
from cache.store_writer import write_store


def pack_store(
    parts: Sequence[tuple[PartStore, ClipKey]],
    spec: FeatureSpec,
    destination: Path,
    *,
    attributes: Mapping[str, Json] | None = None,
    progress: Callable[[int], object] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    shard_rows: int | None = None,
) -> CompletionRecord:
    """Write the store of some parts, in their order, in place of the store that lies there.

    Args:
        parts: Work directory and key of each clip, in the order that the store is to have.
        spec: What the parts were extracted with.
        destination: The store, for example ``data/features.zarr``.
        attributes: Further attributes of the store's group.
        progress: Called with 1 after each clip.
        chunk_rows: Rows per inner chunk.
        shard_rows: Rows per shard of every array, a multiple of `chunk_rows`; by default those that
            `cache.layout.ArrayLayout.shard_rows` gives each array.

    Returns:
        What the new store consists of.

    Raises:
        StaleFeatureError: A part was extracted with another spec.
        UnknownClipError: A part is missing.
        CorruptFeatureError: A part is damaged.
        StoreFormatError: A part does not have the spec's streams, or something else lies at `destination`.
        CacheError: A clip is listed twice.
        StorageError: The disk is full or not writable; the previous store is as it was.
    """
    _check_keys(parts, spec)
    return write_store(
        _opened(parts, spec),
        spec,
        destination,
        attributes=attributes,
        progress=progress,
        chunk_rows=chunk_rows,
        shard_rows=shard_rows,
    )


def _check_keys(parts: Sequence[tuple[PartStore, ClipKey]], spec: FeatureSpec) -> None:
    """What can be said before anything is read or written."""
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
        if key not in store:
            store.open(key).close()  # says what is missing where


def _opened(parts: Sequence[tuple[PartStore, ClipKey]], spec: FeatureSpec) -> Iterator[PartReader]:
    for store, key in parts:
        part = store.open(key)
        try:
            _check_streams(part, spec)
        except BaseException:
            part.close()
            raise
        yield part


def _check_streams(part: PartReader, spec: FeatureSpec) -> None:
    wanted = {stream.name: stream.shape(part.num_frames) for stream in spec.streams}
    if part.streams != wanted:
        raise StoreFormatError(
            f"the part of clip {part.key.clip_id!r} does not have the streams of spec {spec.fingerprint}: "
            f"expected {wanted}, got {dict(part.streams)}; extract the clip again"
        )
