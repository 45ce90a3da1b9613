"""Codes of the frames' places, against the published formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tagf_head.layers.positions import frame_positions


@pytest.mark.parametrize("num_features", [2, 6, 16])
def test_against_the_formula(num_features: int) -> None:
    measured = frame_positions(torch.ones(2, 700, dtype=torch.bool), num_features, torch.float64)
    expected = np.empty((700, num_features))
    for place in range(700):
        for i in range(num_features // 2):
            angle = place / 10_000 ** (2 * i / num_features)
            expected[place, 2 * i : 2 * i + 2] = math.sin(angle), math.cos(angle)
    for window in measured:
        np.testing.assert_allclose(window, expected, rtol=0, atol=1e-9)


def test_places_count_valid_frames() -> None:
    mask = torch.tensor([[False, True, True, False, False, True, False]])
    measured = frame_positions(mask, 4, torch.float64)
    expected = frame_positions(torch.ones(1, 3, dtype=torch.bool), 4, torch.float64)
    assert torch.equal(measured[mask], expected[0])
    assert torch.isfinite(measured).all()
