"""What backbones are given, in blocks of consecutive frames, as the workers that decode hand it over.

Plain arrays in the smallest form that says everything: pixels before normalisation, and log-mel rows and
samples once, however many overlapping examples share them. Imports no torch: a block crosses the border
between processes.

Shapes: n inputs in a block, C side of a face crop in pixels, R rows of log-mel, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.media.timeline import EXAMPLE_ROWS

# Bounds what lies between two stages of a run, at any length of clip.
MAX_BLOCK_INPUTS = 64
MEL_BANDS = 64


@dataclass(frozen=True, kw_only=True)
class FaceBlock:
    """Face crops.

    Attributes:
        crops: RGB, (n, C, C, 3) uint8.
    """

    crops: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape = self.crops.shape
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or self.crops.dtype != np.uint8:
            raise ValueError(f"crops must be (n, C, C, 3) uint8, got {shape} {self.crops.dtype}")
        _check_count(len(self.crops))

    def __len__(self) -> int:
        return len(self.crops)

    def part(self, which: slice | NDArray[np.bool_]) -> FaceBlock:
        """Some of the inputs, in order: a slice, or a mask of shape (n,)."""
        return replace(self, crops=self.crops[which])


@dataclass(frozen=True, kw_only=True)
class ExampleBlock:
    """Log-mel examples that share their rows.

    Attributes:
        grid: Consecutive rows of log-mel, 10 ms apart, (R, 64) float32.
        first_rows: Where in `grid` each example begins, (n,) int64; example i is
            ``grid[first_rows[i] : first_rows[i] + 96]``.
    """

    grid: NDArray[np.float32]
    first_rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.grid.ndim != 2 or self.grid.shape[1] != MEL_BANDS or self.grid.dtype != np.float32:
            raise ValueError(
                f"grid must be (R, {MEL_BANDS}) float32, got {self.grid.shape} {self.grid.dtype}"
            )
        _check_places("first_rows", self.first_rows, len(self.grid) - EXAMPLE_ROWS)

    def __len__(self) -> int:
        return len(self.first_rows)

    def part(self, which: slice | NDArray[np.bool_]) -> ExampleBlock:
        """Some of the inputs, in order: a slice, or a mask of shape (n,). They share all of `grid`."""
        return replace(self, first_rows=self.first_rows[which])


@dataclass(frozen=True, kw_only=True)
class SampleBlock:
    """Windows of sound that share their samples.

    Attributes:
        samples: 16 kHz mono, (S,) float32.
        first_samples: Where in `samples` each window begins, (n,) int64.
        window_samples: Samples of each window.
    """

    samples: NDArray[np.float32]
    first_samples: NDArray[np.int64]
    window_samples: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise ValueError(f"samples must be (S,) float32, got {self.samples.shape} {self.samples.dtype}")
        if self.window_samples < 1:
            raise ValueError(f"window_samples must be at least 1, got {self.window_samples}")
        _check_places("first_samples", self.first_samples, len(self.samples) - self.window_samples)

    def __len__(self) -> int:
        return len(self.first_samples)

    def part(self, which: slice | NDArray[np.bool_]) -> SampleBlock:
        """Some of the inputs, in order: a slice, or a mask of shape (n,). They share all of `samples`."""
        return replace(self, first_samples=self.first_samples[which])


Block: TypeAlias = FaceBlock | ExampleBlock | SampleBlock


def _check_places(name: str, places: NDArray[np.int64], last: int) -> None:
    """Places must lie within the array that they point into, from 0 to `last`."""
    if places.ndim != 1 or places.dtype != np.int64:
        raise ValueError(f"{name} must be (n,) int64, got {places.shape} {places.dtype}")
    _check_count(len(places))
    if len(places) and not 0 <= int(places.min()) <= int(places.max()) <= last:
        raise ValueError(f"{name} must lie in 0..{last}, got {int(places.min())}..{int(places.max())}")


def _check_count(count: int) -> None:
    if count > MAX_BLOCK_INPUTS:
        raise ValueError(f"a block holds at most {MAX_BLOCK_INPUTS} inputs, got {count}")
