"""Blocks refuse what no backbone could take, and cross the border between processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.input_blocks import Block, ExampleBlock, FaceBlock, SampleBlock

ROOT = Path(__file__).parents[2]
GRID = np.zeros((100, 64), np.float32)
SAMPLES = np.zeros(100, np.float32)


def places(*values: int) -> Any:
    return np.array(values, np.int64)


def test_lengths_count_inputs_and_places_may_reach_to_the_end() -> None:
    assert len(FaceBlock(crops=np.zeros((0, 48, 48, 3), np.uint8))) == 0
    assert len(ExampleBlock(grid=GRID, first_rows=places(0, 4, 4))) == 3
    assert len(SampleBlock(samples=SAMPLES, first_samples=places(40), window_samples=60)) == 1
    assert len(ExampleBlock(grid=GRID[:0], first_rows=places())) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FaceBlock(crops=np.zeros((1, 48, 40, 3), np.uint8)), r"got \(1, 48, 40, 3\) uint8"),
        (lambda: FaceBlock(crops=np.zeros((1, 48, 48, 3), np.float32)), "float32"),
        (lambda: FaceBlock(crops=np.zeros((65, 4, 4, 3), np.uint8)), "at most 64 inputs, got 65"),
        (lambda: ExampleBlock(grid=GRID[:, :63], first_rows=places()), r"\(R, 64\) float32"),
        (
            lambda: ExampleBlock(grid=GRID, first_rows=places(0, 5)),
            r"rows must lie in 0\.\.4, got 0\.\.5",
        ),
        (lambda: ExampleBlock(grid=GRID, first_rows=places(-1)), r"0\.\.4, got -1\.\.-1"),
        (lambda: ExampleBlock(grid=GRID, first_rows=np.zeros(2, np.int32)), "int64"),
        (lambda: SampleBlock(samples=SAMPLES, first_samples=places(41), window_samples=60), r"0\.\.40, got"),
        (lambda: SampleBlock(samples=SAMPLES, first_samples=places(), window_samples=0), "at least 1"),
        (lambda: SampleBlock(samples=GRID, first_samples=places(), window_samples=1), r"\(S,\) float32"),
    ],
)
def test_impossible_blocks_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def blocks_of_five() -> list[Block]:
    rng = np.random.default_rng(0)
    return [
        FaceBlock(crops=rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)),
        ExampleBlock(grid=rng.random((120, 64), dtype=np.float32), first_rows=np.arange(5) * 4),
        SampleBlock(
            samples=rng.random(50, dtype=np.float32), first_samples=np.arange(5) * 3, window_samples=30
        ),
    ]


def inputs_of(block: Block) -> list[np.ndarray]:
    """What the network is given of each input, cut out by hand."""
    if isinstance(block, FaceBlock):
        return list(block.crops)
    if isinstance(block, ExampleBlock):
        return [block.grid[first : first + 96] for first in block.first_rows]
    return [block.samples[first : first + 30] for first in block.first_samples]


@pytest.mark.parametrize("block", blocks_of_five(), ids=lambda block: type(block).__name__)
@pytest.mark.parametrize(("start", "stop"), [(0, 2), (2, 5), (1, 2)])
def test_part_of_a_block_holds_the_same_inputs(block: Block, start: int, stop: int) -> None:
    mask = np.zeros(5, np.bool_)
    mask[start:stop] = True
    for part in (block.part(slice(start, stop)), block.part(mask)):
        assert type(part) is type(block)
        assert len(part) == stop - start
        for ours, whole in zip(inputs_of(part), inputs_of(block)[start:stop], strict=True):
            assert np.array_equal(ours, whole)


def test_blocks_survive_pickling_and_need_no_torch() -> None:
    block = pickle.loads(pickle.dumps(ExampleBlock(grid=GRID + 1, first_rows=places(3))))
    assert block.first_rows.tolist() == [3]
    assert (block.grid == 1).all()
    code = "import sys, pipeline.input_blocks, pipeline.face_views; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
