"""Clips on their way into a store, wherever they come from: a part, another store, memory.

`cache.store_writer.write_store` takes clips in this form alone, and never asks for more of one than a chunk
of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.features import FRAME_ARRAYS, ClipFeatures
from cache.parts import ClipKey


class RowSource(Protocol):
    """One clip."""

    @property
    def key(self) -> ClipKey:
        """What the clip was made from; its fingerprint is the store's."""

    @property
    def facts(self) -> Mapping[str, Json]:
        """Provenance of the clip, JSON."""

    @property
    def num_frames(self) -> int:
        """Number of rows N."""

    def read_into(self, array: str, view: int, start: int, out: NDArray[Any]) -> None:
        """Fill `out` with rows of one array.

        Asked array by array, within an array view by view, within a view with rising `start`; each row is
        asked for once.

        Args:
            array: A stream, or an array of `cache.features.FRAME_ARRAYS`.
            view: Which view; 0 where the array has none.
            start: First row, in ``[0, N)``.
            out: ``(n, D)`` for a stream and ``(n, ...)`` for another array, C-contiguous, of the array's
                dtype. Not necessarily aligned to it.

        Raises:
            CorruptFeatureError: What the rows come from is damaged.
        """

    def close(self) -> None:
        """Let go of what the rows come from."""


class FeaturesSource:
    """A clip whose rows are in memory.

    Attributes:
        key: What it was made from.
        facts: Provenance.
    """

    def __init__(self, key: ClipKey, features: ClipFeatures, facts: Mapping[str, Json]) -> None:
        self.key = key
        self.facts = facts
        self._features = features

    @property
    def num_frames(self) -> int:
        """Number of rows."""
        return self._features.num_frames

    def read_into(self, array: str, view: int, start: int, out: NDArray[Any]) -> None:
        """See `RowSource.read_into`."""
        features = self._features
        rows: NDArray[Any] = getattr(features, array) if array in FRAME_ARRAYS else features.streams[array]
        if array not in FRAME_ARRAYS and rows.ndim == 3:
            rows = rows[view]
        out[...] = rows[start : start + len(out)]

    def close(self) -> None:
        """Nothing to let go of."""
