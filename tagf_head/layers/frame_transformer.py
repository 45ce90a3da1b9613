"""Transformer encoder over the frames of a window (Vaswani et al., 2017), for any length and any mask.

`torch.nn.TransformerEncoder` computes the same. But in evaluation it takes other kernels than in training,
which shorten windows to their valid frames; its layers start as copies of one; and its keys have a bias that
no result depends on, since it is the same in all scores of a query. Such a bias has rounding noise for a
gradient, which Adam with weight decay turns into steps as large as any other.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tagf_head.errors import HeadError
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.positions import frame_positions


class FrameTransformer(nn.Module):
    """Layers of self-attention from frame to frame, on frames to which positions may be added.

    Args:
        num_features: Width D of a frame.
        num_layers: Number of layers.
        num_heads: Attention heads; a divisor of D.
        feedforward_features: Hidden width of a layer.
        dropout: Probability with which a value is dropped, of the attention's weights too.
        positions: Whether `frame_positions` are added; without, only the mask tells frames' places apart.
        shifted: Whether the last normalisation adds a bias, which a linear map and a batch normalisation
            behind it would subtract again.

    Raises:
        HeadError: D is no multiple of the number of attention heads.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_layers: int,
        num_heads: int,
        feedforward_features: int,
        dropout: float,
        positions: bool,
        shifted: bool = True,
    ) -> None:
        super().__init__()
        if num_features % num_heads:
            raise HeadError(
                f"model_features must be a multiple of num_attention_heads, got {num_features} and "
                f"{num_heads}; change one of them"
            )
        self.num_features = num_features
        self.positions = positions
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                num_features,
                num_heads=num_heads,
                feedforward_features=feedforward_features,
                dropout=dropout,
                shifted=shifted or layer < num_layers - 1,
            )
            for layer in range(num_layers)
        )

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """Lets each valid frame attend to the valid frames of its window.

        Args:
            frames: `(B, L, D)`; padding must be finite, and has no influence on a valid frame.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, D)`; the values in padding mean nothing.
        """
        if self.positions:
            dtype = next(self.parameters()).dtype  # under autocast, frames may be of another
            frames = frames + frame_positions(frame_mask, self.num_features, dtype)
        frames = self.dropout(frames)
        # A softmax over nothing is NaN in some of torch's kernels: the frames of a window that is padding
        # altogether see one another.
        visible = frame_mask | ~frame_mask.any(dim=1, keepdim=True)  # (B, L)
        for layer in self.layers:
            frames = layer(frames, visible[:, None, None, :])
        return frames


class TransformerLayer(nn.Module):
    """One layer, which normalises after its sums, as published.

        A = softmax(Q K^T / sqrt(D / heads)) V          per head, with Q, K and V linear in X
        X = LayerNorm(X + dropout(Linear(A)))
        X = LayerNorm(X + dropout(Linear(dropout(ReLU(Linear(X))))))

    Args:
        num_features: Width D of a frame.
        num_heads: Attention heads; a divisor of D.
        feedforward_features: Hidden width.
        dropout: Probability with which a value is dropped, of the softmax too.
        shifted: Whether the last normalisation adds a bias.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_heads: int,
        feedforward_features: int,
        dropout: float,
        shifted: bool,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(num_features, num_features)
        self.key = nn.Linear(num_features, num_features, bias=False)
        self.value = nn.Linear(num_features, num_features)
        self.attended = nn.Linear(num_features, num_features)
        self.attended_norm = nn.LayerNorm(num_features)
        self.hidden = nn.Linear(num_features, feedforward_features)
        self.output = nn.Linear(feedforward_features, num_features)
        self.output_norm = nn.LayerNorm(num_features, bias=shifted)
        self.dropout = Dropout(dropout)

    def forward(self, frames: Tensor, visible: Tensor) -> Tensor:
        """Applies the layer.

        Args:
            frames: X, `(B, L, D)`.
            visible: Whether a frame is attended to, bool `(B, 1, 1, L)`; at least one in each window.

        Returns:
            `(B, L, D)`.
        """
        query, key, value = (
            linear(frames).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )  # (B, heads, L, D / heads)
        dropout = self.dropout.probability if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible, dropout_p=dropout)
        attended = self.attended(attended.transpose(1, 2).flatten(start_dim=2))
        frames = self.attended_norm(frames + self.dropout(attended))
        hidden = self.dropout(F.relu(self.hidden(frames)))
        updated: Tensor = self.output_norm(frames + self.dropout(self.output(hidden)))
        return updated
