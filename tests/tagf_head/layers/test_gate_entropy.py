"""Entropy of gates against scipy, and its extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from tagf_head.layers.gate_entropy import gate_entropy


def test_against_scipy_over_valid_frames() -> None:
    alpha = torch.softmax(3 * torch.randn(3, 8, 4, dtype=torch.float64), dim=-1)
    mask = torch.arange(8) < torch.tensor([8, 3, 0])[:, None]
    expected = np.mean([scipy.stats.entropy(frame) for frame in alpha[mask].numpy()])
    for padding in (0.0, 0.7, float("nan")):
        filled = alpha.masked_fill(~mask[..., None], padding)
        assert float(gate_entropy(filled, mask)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_candidates", [2, 3, 5])
def test_extremes(num_candidates: int) -> None:
    mask = torch.ones(1, 6, dtype=torch.bool)
    equal = torch.full((1, 6, num_candidates), 1 / num_candidates)
    assert float(gate_entropy(equal, mask)) == pytest.approx(math.log(num_candidates), rel=1e-6)
    one = torch.nn.functional.one_hot(torch.zeros(1, 6, dtype=torch.int64), num_candidates).float()
    assert float(gate_entropy(one, mask)) == 0
    assert float(gate_entropy(equal, ~mask)) == 0
