"""l2 normalisation of rows against numpy, and rows of zeros."""

from __future__ import annotations

import numpy as np
import torch

from tagf_head.layers.row_normalisation import normalize_rows


def test_rows_have_length_one() -> None:
    rows = torch.randn(2, 3, 7, dtype=torch.float64) * torch.logspace(-9, 9, 3, dtype=torch.float64)[:, None]
    expected = rows.numpy() / np.sqrt((rows.numpy() ** 2).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(normalize_rows(rows).numpy(), expected, rtol=0, atol=1e-12)


def test_zero_rows_stay_zero_with_a_bounded_gradient() -> None:
    rows = torch.randn(4, 6)
    rows[1] = 0
    rows.requires_grad_()
    normalised = normalize_rows(rows)
    normalised.sum().backward()
    assert torch.equal(normalised[1], torch.zeros(6))
    assert torch.equal(rows.grad[1], torch.ones(6))
    assert torch.isfinite(rows.grad).all()


def test_gradient_is_the_numerical_one() -> None:
    rows = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalize_rows, rows)
