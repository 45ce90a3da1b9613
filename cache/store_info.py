"""What a store holds, gathered from its metadata, its table of clips and its times."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.clip_table import clip_provenance
from cache.layout import AUDIO_S, CLIP_FACTS, FACE_SHARE, FORMAT_VERSION
from cache.packed_store import PackedStore
from cache.spec import FeatureSpec
from cache.store_writer import further_attributes

_BLOCK_ROWS = 2**20
_TIME = "time_s"
_AUDIO_FOUND = "audio_found"


@dataclass(frozen=True, kw_only=True, eq=False)
class StoreInfo:
    """What a store holds.

    Attributes:
        store: Where it lies.
        format_version: Of its format.
        digest: SHA-256 over its bytes.
        spec: What its features are.
        attributes: Further attributes of its group.
        num_clips: Number of clips.
        num_frames: Rows of all clips.
        num_objects: Its objects.
        num_bytes: Their bytes.
        duration_s: Seconds that its clips last together.
        face_share: Share of the rows with a face; 0 where there are no rows.
        audio_s: Seconds with sound.
        audio_share: Share of the rows with sound; 0 where there are no rows.
        frames_per_clip: Rows of the shortest clip, of the median, and of the longest.
        chunk_rows: Rows per chunk, array by array.
        shard_rows: Rows per shard, array by array.
        code_digests: Digest of the numeric code -> number of clips that it made; empty text where unknown.
        machines: Machine -> number of clips, likewise.
    """

    store: str
    format_version: int
    digest: str
    spec: FeatureSpec
    attributes: Mapping[str, Json]
    num_clips: int
    num_frames: int
    num_objects: int
    num_bytes: int
    duration_s: float
    face_share: float
    audio_s: float
    audio_share: float
    frames_per_clip: tuple[int, int, int]
    chunk_rows: Mapping[str, int]
    shard_rows: Mapping[str, int]
    code_digests: Mapping[str, int]
    machines: Mapping[str, int]

    def to_mapping(self) -> dict[str, Json]:
        """Plain values for JSON."""
        shortest, median, longest = self.frames_per_clip
        return {
            "store": self.store,
            "format_version": self.format_version,
            "fingerprint": self.spec.fingerprint,
            "digest": self.digest,
            "feature_spec": json.loads(self.spec.to_json()),
            "attributes": dict(self.attributes),
            "num_clips": self.num_clips,
            "num_frames": self.num_frames,
            "num_objects": self.num_objects,
            "num_bytes": self.num_bytes,
            "duration_s": self.duration_s,
            "face_share": self.face_share,
            "audio_s": self.audio_s,
            "audio_share": self.audio_share,
            "frames_per_clip": {"shortest": shortest, "median": median, "longest": longest},
            "chunk_rows": dict(self.chunk_rows),
            "shard_rows": dict(self.shard_rows),
            "code_digests": dict(self.code_digests),
            "machines": dict(self.machines),
        }


def store_info(store: Path | str, storage_options: Mapping[str, Any] | None = None) -> StoreInfo:
    """Look at a store.

    Args:
        store: Its path or URL.
        storage_options: For fsspec's file system, where `store` is a URL of one.

    Raises:
        CacheError: The store is missing, damaged or no feature store.
    """
    opened = PackedStore.open(store, storage_options)
    sizes = sorted(opened.row_size.tolist()) or [0]
    faces = float(np.sum(opened.column(FACE_SHARE) * opened.row_size))
    facts = [
        clip_provenance(text, f"{opened.name}: clip {clip!r}")[1]
        for clip, text in zip(opened.clip_ids, opened.column(CLIP_FACTS), strict=True)
    ]
    return StoreInfo(
        store=opened.name,
        format_version=FORMAT_VERSION,
        digest=opened.digest,
        spec=opened.spec,
        attributes=further_attributes(opened.attributes, opened.spec),
        num_clips=opened.num_clips,
        num_frames=opened.num_frames,
        num_objects=len(opened.record.objects),
        num_bytes=sum(stored.size_bytes for stored in opened.record.objects.values()),
        duration_s=_duration_s(opened),
        face_share=faces / opened.num_frames if opened.num_frames else 0.0,
        audio_s=math.fsum(opened.column(AUDIO_S).tolist()),
        audio_share=_audio_share(opened),
        frames_per_clip=(sizes[0], sizes[len(sizes) // 2], sizes[-1]),
        chunk_rows={name: grid.chunk_rows for name, grid in opened.grids.items()},
        shard_rows={name: grid.shard_rows for name, grid in opened.grids.items()},
        code_digests=_counts(facts, "code_digest"),
        machines=_counts(facts, "machine"),
    )


def _counts(facts: Sequence[Mapping[str, Json]], name: str) -> dict[str, int]:
    """How many clips have which value of a fact, the most frequent first."""
    counts = Counter(str(each.get(name) or "") for each in facts)
    return dict(counts.most_common())


def _duration_s(store: PackedStore) -> float:
    """Seconds that all clips last: each row until the next, the last row as long as the one before it."""
    lasting = store.row_size > 1
    first = store.row_start[lasting]
    last = first + store.row_size[lasting] - 1
    times = _times_at(store, np.unique(np.concatenate((first, last - 1, last))))
    lengths = [
        times[stop] - times[start] + times[stop] - times[stop - 1]
        for start, stop in zip(first.tolist(), last.tolist(), strict=True)
    ]
    return math.fsum(lengths)


def _audio_share(store: PackedStore) -> float:
    """Share of the rows with sound."""
    starts = range(0, store.num_frames, _BLOCK_ROWS)
    blocks = (
        store.read(_AUDIO_FOUND, slice(start, min(start + _BLOCK_ROWS, store.num_frames))) for start in starts
    )
    return sum(int(block.sum()) for block in blocks) / max(store.num_frames, 1)


def _times_at(store: PackedStore, rows: NDArray[np.int64]) -> dict[int, float]:
    """Times of some rows, given rising; read in blocks, since each read of a remote store is a request."""
    times: dict[int, float] = {}
    for start in range(0, store.num_frames, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, store.num_frames)
        block = store.read(_TIME, slice(start, stop))
        chosen = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
        times.update(zip(chosen.tolist(), block[chosen - start].tolist(), strict=True))
    return times
