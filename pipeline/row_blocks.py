"""Rows of a clip on their way from the backbones, block by block.

Shapes: r rows of a block, V views, D features of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ExtractionError
from pipeline.input_blocks import MAX_BLOCK_INPUTS


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRows:
    """What a block of pictures gives.

    Attributes:
        arrays: The arrays beside the streams but for `audio_found`, (r, ...) each, as in the store.
        streams: Streams made of faces by name, float16: (V, r, D) with views, else (r, D).
    """

    arrays: Mapping[str, NDArray[Any]]
    streams: Mapping[str, NDArray[np.float16]]


@dataclass(frozen=True, kw_only=True, eq=False)
class SoundRows:
    """What a block of sound gives.

    Attributes:
        found: Whether there is sound below each row's example, (r,).
        rows: Of one stream, (r, D) float16; zeros where there is no sound.
    """

    found: NDArray[np.bool_]
    rows: NDArray[np.float16]


def time_blocks(times_s: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Times of rows, (N,), in blocks that a backbone takes at once."""
    for start in range(0, len(times_s), MAX_BLOCK_INPUTS):
        yield times_s[start : start + MAX_BLOCK_INPUTS]


def stored_rows(
    embeddings: NDArray[np.float32], clip_id: str, stream: str, rows: NDArray[np.intp]
) -> NDArray[np.float16]:
    """Embeddings as float16, refused where they do not fit.

    Args:
        embeddings: (..., n, D).
        clip_id: Their clip.
        stream: Their stream.
        rows: Number of each one's row in the clip, (n,).

    Raises:
        ExtractionError: One is not a number, or too large.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stored = embeddings.astype(np.float16)
    finite = np.isfinite(stored).all(axis=-1)
    if not finite.all():
        place = tuple(np.argwhere(~finite)[0])
        worst = float(np.abs(embeddings[place]).max())
        raise ExtractionError(
            f"clip {clip_id!r}, stream {stream!r}, frame {rows[place[-1]]}: expected embeddings that float16 "
            f"holds (up to 65504), got {worst:g}; check the weights of the {stream} backbone"
        )
    return stored
