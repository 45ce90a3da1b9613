"""Whether two extractions of one clip give the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cache.features import FRAME_ARRAYS, ClipFeatures

# Across machines: of a row's largest value. Two roundings to float16 differ by up to 1e-3 of it.
RELATIVE_TOLERANCE = 2e-3
# Rows smaller than this are compared as if they were this large: seconds, pixels and probabilities, and
# embeddings.
_FRAME_ARRAY_SCALE = 1.0
_STREAM_SCALE = 1e-3


def first_difference(old: ClipFeatures, new: ClipFeatures, *, bitwise: bool) -> str | None:
    """Where two extractions differ.

    Args:
        old: One extraction.
        new: The other.
        bitwise: Whether every bit must be equal, as on one type of machine. Otherwise, each value may be off
            by `RELATIVE_TOLERANCE` of the largest value of its row, and only masks and frame numbers must be
            equal.

    Returns:
        The first array and row that differ; None where none does.
    """
    if set(old.streams) != set(new.streams):
        return f"streams {sorted(old.streams)} became {sorted(new.streams)}"
    compared = [(name, getattr(old, name), getattr(new, name), _FRAME_ARRAY_SCALE) for name in FRAME_ARRAYS]
    compared += [
        (f"stream {name!r}", old.streams[name], new.streams[name], _STREAM_SCALE) for name in old.streams
    ]
    for name, before, after, scale in compared:
        if before.shape != after.shape:
            return f"{name} of shape {before.shape} became {after.shape}"
        differing = _unequal_bits(before, after)
        if not bitwise and np.issubdtype(before.dtype, np.floating):
            differing = _beyond_tolerance(before, after, scale)
        if differing.any():
            place = np.unravel_index(int(np.argmax(differing)), differing.shape)
            where = ", ".join(str(index) for index in place)
            return f"{name} differs at [{where}]: {before[place]} became {after[place]}"
    return None


def _unequal_bits(before: NDArray[np.generic], after: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Elementwise; 0.0 and -0.0 are equal in value, not in bits."""
    different: NDArray[np.bool_] = before != after
    if np.issubdtype(before.dtype, np.floating):
        different = different | (np.signbit(before) != np.signbit(after))
    return different


def _beyond_tolerance(
    before: NDArray[np.generic], after: NDArray[np.generic], smallest_scale: float
) -> NDArray[np.bool_]:
    """Elementwise; a value's scale is the largest one of its row, in a list its own."""
    first, second = before.astype(np.float64), after.astype(np.float64)
    size = np.abs(first).max(axis=-1, keepdims=True) if first.ndim > 1 else np.abs(first)
    beyond: NDArray[np.bool_] = np.abs(first - second) > RELATIVE_TOLERANCE * np.maximum(size, smallest_scale)
    return beyond
