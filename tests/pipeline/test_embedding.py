"""Backbones over fixed batch shapes, and what the visual ones see of a crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.backbones import load_backbone
from pipeline.backbones.backbone import Backbone
from pipeline.embedding import Embedder, face_views

CPU = torch.device("cpu")


class ShapeProbe(Backbone):
    """Gives the mean of each input, and remembers the shapes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features, self.input_shape = 1, (3, 4, 4)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(inputs.shape))
        return inputs.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("name", ["ir50", "resnet50"])
def test_rows_do_not_depend_on_their_neighbours(name: str) -> None:
    embed = Embedder(load_backbone(name, "random:0"), batch_size=16, device=CPU)
    inputs = np.random.default_rng(0).uniform(-1, 1, (16, 3, 40, 40)).astype(np.float32)
    full, few = embed(inputs), embed(inputs[[11, 2, 5]])
    assert np.array_equal(few, full[[11, 2, 5]])
    assert len(np.unique(full, axis=0)) == 16


def test_every_call_has_the_configured_shape() -> None:
    probe = ShapeProbe()
    embed = Embedder(probe, batch_size=16, device=CPU)
    inputs = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((5, 3, 4, 4), dtype=np.float32)
    assert embed(inputs)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert embed(np.repeat(inputs, 3, axis=0)).shape == (15, 1)
    assert probe.shapes == [(16, 3, 4, 4)] * 2
    with pytest.raises(ValueError, match="inputs must be at most 16, the batch size, got 20"):
        embed(np.repeat(inputs, 4, axis=0))


def test_centre_and_flip_of_a_crop() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    views = face_views(crop, ("center", "flip"), 40)
    assert views.shape == (2, 3, 40, 40)
    for row, column, channel in [(0, 0, 0), (39, 0, 1), (7, 31, 2)]:
        # The centre 40 of 48 pixels start at pixel 4.
        value = (int(crop[4 + row, 4 + column, channel]) / 255 - 0.5) / 0.5
        assert views[0, channel, row, column] == pytest.approx(value, abs=1e-6)
        assert views[1, channel, row, 39 - column] == views[0, channel, row, column]
    assert np.array_equal(face_views(crop, ("flip",), 40)[0], views[1])
    assert face_views(np.full((48, 48, 3), 255, np.uint8), ("center",), 48).max() == 1
    assert face_views(np.zeros((48, 48, 3), np.uint8), ("center",), 48).min() == -1


def test_small_crops_are_enlarged_whole() -> None:
    crop = np.zeros((48, 48, 3), dtype=np.uint8)
    crop[:] = (np.arange(48) * 5)[None, :, None]
    (face,) = face_views(crop, ("center",), 160)
    # Pixel centres: column c of 160 lies at (c + 0.5) * 48 / 160 - 0.5 of the 48, clamped to its ends.
    columns = np.clip((np.arange(160) + 0.5) * 48 / 160 - 0.5, 0, 47)
    expected = (np.interp(columns, np.arange(48), np.arange(48) * 5) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(face, np.broadcast_to(expected, (3, 160, 160)), atol=1e-5)
