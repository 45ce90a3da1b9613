"""l2 normalisation of rows (arXiv 2507.02080, eq. 2), where rows of zeros stand for frames without a face."""

from __future__ import annotations

import torch
from torch import Tensor


def normalize_rows(rows: Tensor) -> Tensor:
    """Rows divided by their l2 norm (eq. 2).

    A row of zeros, which stands for a frame without a face, stays zero, and its gradient passes unchanged.
    (Dividing by a small constant there, as `torch.nn.functional.normalize` does, would multiply it by 1e12.)

    Args:
        rows: `(..., D)`.

    Returns:
        Rows of length 1 or 0, `(..., D)`.
    """
    norm: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / norm.masked_fill(norm == 0, 1)
