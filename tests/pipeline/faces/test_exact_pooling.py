"""Pooling by other means, against torch's own to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.faces.exact_pooling import AreaSums, MaxPool


def as_mtcnn_has_it(picture: np.ndarray) -> torch.Tensor:
    """As `detect_face` turns a picture into numbers."""
    return torch.as_tensor(picture[None].copy()).permute(0, 3, 1, 2).type(torch.float32)


def random_picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(240, 320), (97, 131), (40, 41)])
@pytest.mark.parametrize("size", [(73, 97), (13, 18), (12, 12), (40, 40), (300, 400)])
def test_whole_pictures_are_resized_as_by_torch(shape, size):
    picture = random_picture(*shape)
    tensor = as_mtcnn_has_it(picture)
    ours, theirs = AreaSums(picture).resize(tensor, size), F.interpolate(tensor, size, mode="area")
    assert torch.equal(ours, theirs)
    assert ours.stride() == theirs.stride()  # the convolutions after it choose their algorithm by that


@settings(max_examples=60)
@given(st.tuples(*[st.integers(0, 59)] * 2), st.tuples(*[st.integers(0, 79)] * 2), st.sampled_from([24, 48]))
def test_parts_of_pictures_are_resized_as_by_torch(rows, columns, size):
    picture = random_picture(60, 80)
    top, bottom, left, right = min(rows), max(rows) + 1, min(columns), max(columns) + 1
    part = as_mtcnn_has_it(picture)[0, :, top:bottom, left:right].unsqueeze(0)
    ours = AreaSums(picture).resize(part, (size, size))
    theirs = F.interpolate(part, (size, size), mode="area")
    assert torch.equal(ours, theirs)
    assert ours.stride() == theirs.stride()


def test_sums_beyond_32_bits_do_no_harm():
    white = np.full((4200, 4200, 3), 255, np.uint8)  # 4.5e9 in each channel
    whole = torch.empty((1, 4200, 4200, 3), device="meta").permute(0, 3, 1, 2)  # its place in memory alone
    part = whole[0, :, 4100:4150, 4100:4150].unsqueeze(0)
    assert (AreaSums(white).resize(part, (24, 24)) == 255).all()


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("height", [3, 4, 5, 22, 71])
@pytest.mark.parametrize("width", [3, 8, 9])
def test_maxima_are_those_of_torch(kernel, layout, height, width):
    generator = torch.Generator().manual_seed(height * width)
    x = torch.randn((2, 10, height, width), generator=generator).to(memory_format=layout)
    ours, theirs = MaxPool(kernel)(x), torch.nn.MaxPool2d(kernel, 2, ceil_mode=True)(x)
    assert torch.equal(ours, theirs)


def test_other_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel must be 2 or 3, got 4"):
        MaxPool(4)
