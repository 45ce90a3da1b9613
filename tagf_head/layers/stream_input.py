"""What a head does first with a stream of embeddings: check its shape, clear its padding, normalise it."""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.errors import HeadError
from tagf_head.layers.row_normalisation import normalize_rows


def stream_input(
    rows: Tensor, frame_mask: Tensor, *, name: str, in_features: int, dtype: torch.dtype
) -> Tensor:
    """Embeddings as heads compute with them (arXiv 2507.02080, eq. 2).

    Args:
        rows: Embeddings of any floating dtype, `(B, L, in_features)`; what stands in padding has no
            influence, even NaN.
        frame_mask: False in padding, bool `(B, L)`.
        name: The stream's name, `visual` or `audio`, for messages.
        in_features: Width of an embedding.
        dtype: Of the head's parameters.

    Returns:
        `(B, L, in_features)`, each row of length 1, or zero in padding and where there is no content.

    Raises:
        HeadError: Rows or mask have another shape, or the mask is not of dtype bool.
    """
    if rows.dim() != 3 or rows.shape[2] != in_features:
        raise HeadError(
            f"{name} rows: expected (windows, frames, {in_features}), got {tuple(rows.shape)}; "
            f"set the head's {name}_features to the store's width"
        )
    if frame_mask.shape != rows.shape[:2] or frame_mask.dtype is not torch.bool:
        raise HeadError(
            f"frame_mask: expected torch.bool {tuple(rows.shape[:2])}, as the {name} rows have, "
            f"got {frame_mask.dtype} {tuple(frame_mask.shape)}"
        )
    # The store's rows are float16.
    return normalize_rows(rows.to(dtype).masked_fill(~frame_mask[..., None], 0))
