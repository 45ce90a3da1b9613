"""Recursive joint cross-attention (arXiv 2507.02080, eqs 3-4).

Each modality is correlated, channel by channel, with a joint representation of both, and what the correlation
brings out is added to its features. The step is applied T times to its own result. Without mixing over time
before the correlation (K_m = X_m) windows of any length and any mask work.

Letters: D_v and D_a features of the modalities m, d = D_v + D_a.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.layers.dropout import Dropout
from tagf_head.layers.time_mixing import TimeMixing


class JointCrossAttentionStep(nn.Module):
    """One recursion step, for both modalities at once.

        J   = Linear([X_v ; X_a])                                  joint representation, L x d
        K_m = X_m, or a linear map of X_m over time                L x D_m
        C_m = dropout(tanh(K_m^T J / sqrt(d)))                     eq. 3, correlation of channels, D_m x d
        U_m = ReLU(tanh(Linear(X_m) C_m))                          attended features, L x d
        X_m <- X_m + dropout(ReLU(Linear(U_m)))                    eq. 4, L x D_m

    The product K_m^T J is a sum over time. It runs over valid frames alone and is scaled by
    `reference_length / n_valid`, so that neither padding nor a window's length changes its size.

    Args:
        visual_features: D_v.
        audio_features: D_a.
        dropout: Probability with which a value of C_m and of the update is dropped.
        reference_length: Number of frames to which the sum over time is scaled; with `mix_time`, of every
            window.
        mix_time: Whether K_m is a learned map of X_m over time.
    """

    def __init__(
        self,
        visual_features: int,
        audio_features: int,
        *,
        dropout: float,
        reference_length: int,
        mix_time: bool,
    ) -> None:
        super().__init__()
        joint_features = visual_features + audio_features
        self.widths = [visual_features, audio_features]
        self.scale = reference_length / math.sqrt(joint_features)
        self.joint = nn.Linear(joint_features, joint_features)
        self.mix_time = mix_time
        if mix_time:
            self.visual_mixing = TimeMixing(reference_length)
            self.audio_mixing = TimeMixing(reference_length)
        self.visual_query = nn.Linear(visual_features, visual_features)
        self.audio_query = nn.Linear(audio_features, audio_features)
        self.visual_update = nn.Linear(joint_features, visual_features)
        self.audio_update = nn.Linear(joint_features, audio_features)
        self.dropout = Dropout(dropout)

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Applies the step; both modalities are updated from the step's inputs.

        Args:
            visual: X_v, `(B, L, D_v)`; padding must be finite, and has no influence on a valid frame.
            audio: X_a, `(B, L, D_a)`, likewise.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            The updated X_v and X_a; the values in padding mean nothing.

        Raises:
            HeadError: With `mix_time`, the windows have another length.
        """
        valid = frame_mask[..., None].to(visual.dtype)  # (B, L, 1)
        num_valid = valid.sum(dim=1, keepdim=True)  # (B, 1, 1)
        features = torch.cat([visual, audio], dim=-1)  # (B, L, d)
        # Frames are weighted once, in J: padding then adds nothing to the sum whatever K_m is there.
        joint = self.joint(features) * (valid * (self.scale / num_valid.clamp(min=1)))  # (B, L, d)
        keys = features
        if self.mix_time:
            mixed = [self.visual_mixing(visual * valid), self.audio_mixing(audio * valid)]
            keys = torch.cat(mixed, dim=-1)  # (B, L, d)
        # One product gives the correlations of both modalities: they are its upper and lower rows.
        correlation = self.dropout(torch.tanh(keys.transpose(1, 2) @ joint))  # (B, d, d)
        visual_correlation, audio_correlation = correlation.split(self.widths, dim=1)  # (B, D_m, d)

        visual_attended = torch.relu(torch.tanh(self.visual_query(visual) @ visual_correlation))  # (B, L, d)
        audio_attended = torch.relu(torch.tanh(self.audio_query(audio) @ audio_correlation))  # (B, L, d)
        return (
            visual + self.dropout(torch.relu(self.visual_update(visual_attended))),
            audio + self.dropout(torch.relu(self.audio_update(audio_attended))),
        )


class JointCrossAttention(nn.Module):
    """T recursion steps, whose results the gates choose among.

    Args:
        visual_features: D_v.
        audio_features: D_a.
        num_steps: T.
        share_steps: Whether all steps have the same weights.
        dropout: Probability with which a value of C_m and of the update is dropped.
        reference_length: Number of frames to which the sum over time is scaled; with `mix_time`, of every
            window.
        mix_time: Whether K_m is a learned map of X_m over time.
    """

    def __init__(
        self,
        visual_features: int,
        audio_features: int,
        *,
        num_steps: int,
        share_steps: bool,
        dropout: float,
        reference_length: int,
        mix_time: bool,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.steps = nn.ModuleList(
            JointCrossAttentionStep(
                visual_features,
                audio_features,
                dropout=dropout,
                reference_length=reference_length,
                mix_time=mix_time,
            )
            for _ in range(1 if share_steps else num_steps)
        )

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Applies all steps.

        Args:
            visual: `(B, L, D_v)`; padding must be finite, and has no influence on a valid frame.
            audio: `(B, L, D_a)`, likewise.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            Per modality H^(0), the input, to H^(T), the last step's result: T + 1 tensors `(B, L, D_m)`.
        """
        visual_results, audio_results = [visual], [audio]
        for t in range(self.num_steps):
            step = self.steps[t % len(self.steps)]
            visual, audio = step(visual, audio, frame_mask)
            visual_results.append(visual)
            audio_results.append(audio)
        return visual_results, audio_results


def joint_cross_attention(
    visual_features: int, audio_features: int, config: ResolvedHeadConfig
) -> JointCrossAttention:
    """The recursion of a head, between streams that are `visual_features` and `audio_features` wide."""
    return JointCrossAttention(
        visual_features,
        audio_features,
        num_steps=config.num_steps,
        share_steps=config.share_steps,
        dropout=config.attention_dropout,
        reference_length=config.reference_length,
        mix_time=config.time_mixing == "learned",
    )
