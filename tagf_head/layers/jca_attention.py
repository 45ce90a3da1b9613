"""Joint cross-attention as first published (JCA; Praveen et al., CVPRW 2022), with maps of rank k.

Letters: D_v and D_a features of the modalities m, d = D_v + D_a, k attended features, L frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tagf_head.layers.dropout import Dropout
from tagf_head.layers.time_mixing import TimeMixing


class JcaAttention(nn.Module):
    """Attended features of both modalities. No map has a bias.

        J       = [X_v ; X_a]                                      L x d
        C_m     = tanh(K_m^T J / sqrt(d))                          correlation of channels, D_m x d

    as published (`mix_time`):

        K_m     = W_m X_m                                          over time, L x D_m
        H_m     = ReLU(C_m W_cm + X_m^T W'_m)                      D_m x k; W_cm: d x k, W'_m: L x k
        X_att,m = X_m + (H_m W_hm)^T                               L x D_m; W_hm: k x L

    W_m, W'_m and W_hm run over time, and fix the number of frames. Without them, for windows of any length:

        K_m     = X_m
        H_m     = ReLU(X_m (C_m W_cm) + X_m W'_m)                  L x k; W_cm: d x k, W'_m: D_m x k
        X_att,m = X_m + H_m W_hm                                   L x D_m; W_hm: k x D_m

    There the k attended features are a frame's instead of a channel's: each frame's features meet the
    correlation, as they do in TAGF.

    The product K_m^T J is a sum over time. It runs over valid frames alone and is scaled by
    `reference_length / n_valid`, so that neither padding nor a window's length changes its size; a window of
    `reference_length` frames without padding has the published sum. Dropout, on C_m and on what is added to
    X_m, lies where TAGF has it.

    Args:
        visual_features: D_v.
        audio_features: D_a.
        attended_features: k.
        dropout: Probability with which a value of C_m and of the update is dropped.
        reference_length: Number of frames to which the sum over time is scaled; with `mix_time`, of every
            window.
        mix_time: Whether the maps over time are there.
    """

    def __init__(
        self,
        visual_features: int,
        audio_features: int,
        *,
        attended_features: int,
        dropout: float,
        reference_length: int,
        mix_time: bool,
    ) -> None:
        super().__init__()
        joint_features = visual_features + audio_features
        self.scale = reference_length / math.sqrt(joint_features)
        self.visual, self.audio = (
            _ModalityAttention(
                num_features,
                joint_features,
                attended_features=attended_features,
                dropout=dropout,
                num_frames=reference_length if mix_time else None,
            )
            for num_features in (visual_features, audio_features)
        )

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attends to both modalities.

        Args:
            visual: X_v, `(B, L, D_v)`; padding must be finite, and has no influence on a valid frame.
            audio: X_a, `(B, L, D_a)`, likewise.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            X_att,v and X_att,a; the values in padding mean nothing.

        Raises:
            HeadError: With `mix_time`, the windows have another length.
        """
        valid = frame_mask[..., None].to(visual.dtype)  # (B, L, 1)
        num_valid = valid.sum(dim=1, keepdim=True).clamp(min=1)  # (B, 1, 1)
        visual, audio = visual * valid, audio * valid
        joint = torch.cat([visual, audio], dim=-1) * (self.scale / num_valid)  # (B, L, d)
        return self.visual(visual, joint), self.audio(audio, joint)


class _ModalityAttention(nn.Module):
    """`JcaAttention` for one modality, whose width is D.

    Args:
        num_features: D.
        joint_features: d.
        attended_features: k.
        dropout: As there.
        num_frames: L, where the maps over time are there.
    """

    def __init__(
        self,
        num_features: int,
        joint_features: int,
        *,
        attended_features: int,
        dropout: float,
        num_frames: int | None,
    ) -> None:
        super().__init__()
        self.mixing = None if num_frames is None else TimeMixing(num_frames, bias=False)
        mapped = num_features if num_frames is None else num_frames
        self.from_correlation = nn.Linear(joint_features, attended_features, bias=False)
        self.from_features = nn.Linear(mapped, attended_features, bias=False)
        self.update = nn.Linear(attended_features, mapped, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor, joint: Tensor) -> Tensor:
        """X_att `(B, L, D)` of X `(B, L, D)`, zero in padding, and the scaled J `(B, L, d)`, likewise."""
        keys = features if self.mixing is None else self.mixing(features)  # (B, L, D)
        correlation = self.dropout(torch.tanh(keys.transpose(1, 2) @ joint))  # (B, D, d)
        projected = self.from_correlation(correlation)  # (B, D, k)
        if self.mixing is None:
            attended = torch.relu(features @ projected + self.from_features(features))  # (B, L, k)
            update = self.update(attended)
        else:
            by_channel = self.from_features(features.transpose(1, 2))  # (B, D, k)
            update = self.update(torch.relu(projected + by_channel)).transpose(1, 2)
        attended_features: Tensor = features + self.dropout(update)
        return attended_features
