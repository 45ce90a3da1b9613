"""What the crash campaign kills: runs that make parts in parallel and pack a store of them.

A workload runs in a process forked from one that has imported everything, so that a run takes tenths of a
second. This one is `cache` alone; for `tagf extract` see `extraction_workload`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
from crash_places import Place
from process_tree import exit_code, fork

from cache import ClipFeatures, ClipKey, FeatureSpec, PartStore, StreamSpec, pack_store

# Several shards and chunks of every array, in a store of few rows.
SMALL = {"chunk_rows": 8, "shard_rows": 32}


class Workload(Protocol):
    """A run from beginning to end; a second one in the same place takes up what the first has finished.

    Attributes:
        name: For people.
        num_clips: Clips of the whole run.
        tells_packing: Whether `run` says when the packing begins.
    """

    name: str
    num_clips: int
    tells_packing: bool

    def run(self, place: Place, num_clips: int, packing: Callable[[], object]) -> None:
        """Make the parts and the store of the first clips; called in a process of its own.

        Args:
            place: Where.
            num_clips: How many clips.
            packing: To be called when all parts are there and the packing begins.
        """
        ...


class CacheWorkload:
    """Parts by several processes at once, then the store.

    Args:
        num_clips: Clips.
        num_workers: Processes that commit parts.
    """

    name = "cache"
    tells_packing = True

    def __init__(self, num_clips: int = 8, num_workers: int = 3) -> None:
        self.num_clips, self._num_workers = num_clips, num_workers
        self._spec = FeatureSpec(
            streams=(
                StreamSpec(name="visual", num_features=6, views=("center", "flip")),
                StreamSpec(name="audio", num_features=4),
            ),
            settings={"audio.anchor": "center"},
        )
        import zarr  # noqa: F401  # here, and not once in each run
        from zarr.codecs import Crc32cCodec  # noqa: F401

    def run(self, place: Place, num_clips: int, packing: Callable[[], object]) -> None:
        """As `Workload.run`."""
        parts = PartStore(place.parts)
        keys = [self._key(number) for number in range(num_clips)]
        workers = [
            fork(partial(self._commit, parts, range(first, num_clips, self._num_workers)))
            for first in range(self._num_workers)
        ]
        codes = [exit_code(worker, 60.0) for worker in workers]
        if any(codes):
            raise RuntimeError(f"processes that commit parts ended with {codes}")
        packing()
        pack_store([(parts, key) for key in keys], self._spec, place.store, **SMALL)

    def _commit(self, parts: PartStore, numbers: range) -> None:
        parts.write_spec(self._spec)
        for number in numbers:
            if self._key(number) not in parts:
                parts.commit(self._key(number), self._features(number), {"number": number})

    def _key(self, number: int) -> ClipKey:
        return ClipKey(
            clip_id=f"clip/{number}",
            media_sha256=f"{number:064x}",
            faces_sha256=None,
            selection="all",
            fingerprint=self._spec.fingerprint,
        )

    def _features(self, number: int) -> ClipFeatures:
        """Of no rows, of some, or of several shards."""
        rng = np.random.default_rng(number)
        num_frames = (9, 0, 40, 1)[number % 4]
        return ClipFeatures(
            streams={
                stream.name: rng.standard_normal(stream.shape(num_frames)).astype(np.float16)
                for stream in self._spec.streams
            },
            time_s=np.arange(num_frames) / 25,
            source_frame=np.arange(num_frames),
            face_found=rng.random(num_frames) < 0.5,
            audio_found=rng.random(num_frames) < 0.5,
            face_box=rng.random((num_frames, 4), np.float32),
            face_score=rng.random(num_frames, np.float32),
        )
