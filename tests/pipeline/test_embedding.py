"""Blocks to rows: batches of one shape, filled across blocks; views; kinds of inputs; precision."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.backbones import load_backbone
from pipeline.backbones.backbone import Backbone
from pipeline.backbones.calibration_inputs import drawn_pictures, made_up_sounds
from pipeline.backbones.folding import FoldedBackbone
from pipeline.embedding import StreamEmbedder
from pipeline.errors import ExtractionError
from pipeline.input_blocks import Block, ExampleBlock, FaceBlock, SampleBlock

CPU = torch.device("cpu")
# Largest error of a row in a short precision, relative to the row's norm: docs/backbones.md states these.
TOLERANCE = {
    "ir50": {"bfloat16": 0.06, "float16": 0.008},
    "resnet50": {"bfloat16": 0.5, "float16": 0.1},
    "inception_resnet_v1": {"bfloat16": 0.12, "float16": 0.015},
    "vggish": {"bfloat16": 0.15, "float16": 0.02},
}
PRECISIONS = ("bfloat16", "float16")


@cache
def plain(name: str) -> Backbone:
    """Drawn once: the calibration of random weights takes seconds."""
    return load_backbone(name, "random:0")


def folded(name: str) -> FoldedBackbone:
    return FoldedBackbone(plain(name))


class Probe(Backbone):
    """Gives the first numbers of each input, and remembers what it was called with."""

    def __init__(self, takes: Any, input_shape: tuple[int, ...], num_features: int = 2) -> None:
        super().__init__()
        self.takes, self.input_shape, self.num_features = takes, input_shape, num_features
        self.calls: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls.append(inputs)
        return inputs.flatten(1)[:, : self.num_features]


def faces(values: list[int], side: int = 8) -> FaceBlock:
    """Crops of one grey each."""
    crops = np.array(values, np.uint8)[:, None, None, None] * np.ones((1, side, side, 3), np.uint8)
    return FaceBlock(crops=crops)


def grey(value: float) -> float:
    return (value / 255 - 0.5) / 0.5


def embedder(backbone: Backbone, batch_size: int = 16, **settings: Any) -> StreamEmbedder:
    return StreamEmbedder(backbone, name="s", batch_size=batch_size, device=CPU, **settings)


def random_faces(count: int, side: int = 48, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "sizes", [[5], [3, 4, 0, 2], [16], [16, 16], [15, 1, 16, 7], [0], [], [64, 64, 1], [1] * 40]
)
@pytest.mark.parametrize("views", [None, ("center", "flip"), ("flip", "center", "top_left")])
def test_rows_come_back_per_block_and_in_order(sizes: list[int], views: tuple[str, ...] | None) -> None:
    probe = Probe("faces", (3, 8, 8))
    numbers = iter(range(1000))
    blocks = [faces([next(numbers) % 256 for _ in range(size)]) for size in sizes]
    results = list(embedder(probe, views=views).map(iter(blocks)))
    assert len(results) == len(blocks)
    for block, rows in zip(blocks, results, strict=True):
        shape = (len(block), 2) if views is None else (len(views), len(block), 2)
        assert rows.shape == shape
        assert rows.dtype == np.float32
        expected = [grey(value) for value in block.crops[:, 0, 0, 0]]
        np.testing.assert_allclose(rows[..., 0], np.broadcast_to(expected, shape[:-1]), atol=1e-6)


def test_every_call_has_the_configured_shape_and_as_few_calls_as_can_be_are_made() -> None:
    probe = Probe("faces", (3, 8, 8))
    blocks = [faces([9] * size) for size in (5, 11, 20, 1)]  # 37 faces, 74 inputs
    list(embedder(probe, views=("center", "flip")).map(blocks))
    assert [tuple(call.shape) for call in probe.calls] == [(16, 3, 8, 8)] * 5


def test_rows_are_given_out_before_all_blocks_are_read() -> None:
    """Memory does not grow with the clip: at most a few batches lie between reading and giving."""
    num_read = 0

    def endless() -> Iterator[Block]:
        nonlocal num_read
        while True:
            num_read += 1
            assert num_read < 30, "all is read before anything is given"
            yield faces([1] * 16)

    rows = embedder(Probe("faces", (3, 8, 8))).map(endless())
    for number in range(20):
        next(rows)
        assert num_read <= number + 2


def test_rows_are_given_out_though_faces_are_rare() -> None:
    """An hour without a face must not wait for the batch of the last one to fill."""
    num_read = 0

    def endless() -> Iterator[Block]:
        nonlocal num_read
        while True:
            num_read += 1
            assert num_read < 300, "all is read before anything is given"
            yield faces([num_read % 256] if num_read % 50 == 1 else [])

    probe = Probe("faces", (3, 8, 8))
    rows = embedder(probe).map(endless())
    for number in range(1, 200):
        given = next(rows)
        assert num_read <= number + 33
        assert len(given) == (number % 50 == 1)
        np.testing.assert_allclose(given[:, 0], [grey(number % 256)] * len(given), atol=1e-6)
    assert {tuple(call.shape) for call in probe.calls} == {(16, 3, 8, 8)}


def test_views_are_cut_and_mirrored_and_normalised() -> None:
    probe = Probe("faces", (3, 40, 40), num_features=1)
    crop = random_faces(1)
    views = ("center", "flip", "bottom_right_flip")
    list(embedder(probe, views=views).map([FaceBlock(crops=crop)]))
    (batch,) = probe.calls
    for row, column, channel in [(0, 0, 0), (39, 0, 1), (7, 31, 2)]:
        # The centre 40 of 48 pixels start at pixel 4, the bottom right ones at pixel 8.
        assert batch[0, channel, row, column] == pytest.approx(grey(crop[0, 4 + row, 4 + column, channel]))
        assert batch[1, channel, row, 39 - column] == batch[0, channel, row, column]
        assert batch[2, channel, row, column] == pytest.approx(grey(crop[0, 8 + row, 47 - column, channel]))
    assert batch.is_contiguous(), "a backbone of one's own may call view() on it"


def test_examples_are_cut_from_the_rows_they_share() -> None:
    grid = np.arange(110 * 64, dtype=np.float32).reshape(110, 64)
    probe = Probe("log_mel", (1, 96, 64), num_features=96 * 64)
    (rows,) = embedder(probe).map([ExampleBlock(grid=grid, first_rows=np.array([3, 14, 0]))])
    assert probe.calls[0].shape == (16, 1, 96, 64)
    for row, first in zip(rows, (3, 14, 0), strict=True):
        assert np.array_equal(row, grid[first : first + 96].ravel())


def test_windows_are_cut_from_the_samples_they_share() -> None:
    samples = np.arange(50, dtype=np.float32)
    probe = Probe("waveform", (30,), num_features=30)
    mapper = embedder(probe)
    block = SampleBlock(samples=samples, first_samples=np.array([20, 0]), window_samples=30)
    (rows,) = mapper.map([block])
    assert probe.calls[0].shape == (16, 30)
    assert np.array_equal(rows, np.stack([samples[20:50], samples[:30]]))
    assert (mapper.window_samples, mapper.crop_size_px, mapper.views) == (30, None, None)
    with pytest.raises(ExtractionError, match="stream 's': expected windows of 30 samples, got 20"):
        list(mapper.map([SampleBlock(samples=samples, first_samples=np.array([0]), window_samples=20)]))


def test_blocks_of_another_kind_or_size_are_refused() -> None:
    sounds = SampleBlock(samples=np.zeros(3, np.float32), first_samples=np.array([0]), window_samples=2)
    mapper = embedder(Probe("faces", (3, 40, 40)))
    assert (mapper.crop_size_px, mapper.window_samples) == (48, None)
    with pytest.raises(ExtractionError, match="stream 's': expected crops of 48 px, got 40 px"):
        list(mapper.map([faces([1], side=40)]))
    with pytest.raises(ExtractionError, match="its backbone takes faces, got a SampleBlock"):
        list(mapper.map([sounds]))


@pytest.mark.parametrize("name", ["ir50", "resnet50"])
def test_rows_depend_on_no_neighbour_no_place_and_no_batch_size(name: str) -> None:
    backbone = folded(name)
    crops = random_faces(16)
    alone = embedder(backbone, views=("center",))
    (expected,) = alone.map([FaceBlock(crops=crops)])
    assert len(np.unique(expected[0], axis=0)) == 16
    (few,) = alone.map([FaceBlock(crops=crops[[11, 2, 5]])])
    assert np.array_equal(few, expected[:, [11, 2, 5]])
    others = FaceBlock(crops=random_faces(9, seed=1))
    _, among = embedder(backbone, 32, views=("center",)).map([others, FaceBlock(crops=crops)])
    assert np.array_equal(among, expected)


def relative_errors(rows: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(rows - expected, axis=-1) / np.linalg.norm(expected, axis=-1))


def drawn_faces(count: int, side: int) -> FaceBlock:
    pictures = drawn_pictures(count, side, seed=3).transpose(0, 2, 3, 1)
    return FaceBlock(crops=np.rint((pictures + 1) * 127.5).astype(np.uint8))


@pytest.mark.parametrize(("precision", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_short_precisions_are_what_is_computed_in(precision: Any, dtype: torch.dtype) -> None:
    probe = Probe("waveform", (2,))
    block = SampleBlock(
        samples=np.float32([0.1, 0.2]), first_samples=np.array([0], np.int64), window_samples=2
    )
    (rows,) = embedder(probe, precision=precision).map([block])
    assert probe.calls[0].dtype == dtype
    assert rows.tolist() == [torch.tensor([0.1, 0.2]).to(dtype).tolist()]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["ir50", "resnet50"])
def test_short_precisions_keep_their_tolerance(name: str, precision: Any) -> None:
    block = drawn_faces(2, 48)
    (expected,) = embedder(folded(name), 2).map([block])
    short = embedder(folded(name), 2, precision=precision)
    (rows,) = short.map([block])
    assert rows.dtype == np.float32
    errors = relative_errors(rows, expected)
    assert errors.max() < TOLERANCE[name][precision]
    assert errors.min() > 1e-6, "it was computed in float32"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", *PRECISIONS])
@pytest.mark.parametrize("name", ["ir50", "resnet50", "inception_resnet_v1", "vggish"])
def test_gpu_rows_keep_their_tolerance_to_the_cpu(name: str, precision: Any) -> None:
    if name == "vggish":
        grid = made_up_sounds(8, seed=3).reshape(-1, 64)
        block: Block = ExampleBlock(grid=grid, first_rows=np.arange(0, len(grid), 96))
    else:
        block = drawn_faces(8, 160 if name == "inception_resnet_v1" else 48)
    (expected,) = embedder(folded(name)).map([block])
    on_gpu = StreamEmbedder(
        folded(name),
        name="s",
        batch_size=16,
        device=torch.device("cuda"),
        precision=precision,
    )
    (rows,) = on_gpu.map([block])
    assert relative_errors(rows, expected).max() < TOLERANCE[name].get(precision, 1e-4)
