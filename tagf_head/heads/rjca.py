"""Recursive joint cross-attention (RJCA), and the frame of the heads that put gates into it.

visual ─ BiLSTM ─┬─ joint cross- ──┬─ fusion ─┬─ BiLSTM ─ regressor ─ valence, arousal
audio ── BiLSTM ─┴─ attention, T × ┴─ fusion ─┘

Source: Praveen, Granger and Cardinal, "Recursive Joint Attention for Audio-Visual Fusion in Regression based
Emotion Recognition", ICASSP 2023, arXiv 2304.07958. Its BiLSTMs run over time, one over each stream and one
over both; TAGF's runs over the recursion steps. Published widths: 512 for each BiLSTM, d = 1024 in the
attention, a regressor 512 -> 128 -> ReLU -> dropout 0.6 -> 1 for each target.

    H_m^(0)  = BiLSTM(X_m / |X_m|)
    H^(t)    = joint cross-attention of H^(t-1)        `tagf_head.layers.joint_cross_attention`
    features = BiLSTM([H_v^(T) ; H_a^(T)])

Left open, and chosen here:

- The attention is TAGF's, which goes back to this one: its tanh and ReLU, a linear joint representation, and
  no map over time unless `time_mixing` is `learned`; each step has weights of its own unless `share_steps`.
- tanh after the regressor, which keeps estimates within [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.joint_cross_attention import joint_cross_attention
from tagf_head.layers.mlp_regressor import MlpRegressor
from tagf_head.layers.stream_encoder import audio_encoder, visual_encoder
from tagf_head.layers.temporal_lstm import TemporalLstm


class RjcaHead(Head):
    """BiLSTM per stream, T recursion steps, BiLSTM over both, regressor.

    A head that fuses the recursion's results in another way overrides `fuse`.

    Args:
        config: The head's settings; those of gates have no influence.
    """

    def __init__(self, config: ResolvedHeadConfig) -> None:
        super().__init__()
        self.visual_encoder = visual_encoder(config)
        self.audio_encoder = audio_encoder(config)
        visual_features, audio_features = self.visual_encoder.num_features, self.audio_encoder.num_features
        self.attention = joint_cross_attention(visual_features, audio_features, config)
        self.lstm = TemporalLstm(visual_features + audio_features, config.recurrent_features)
        self.num_features = self.lstm.num_features
        self.regressor = MlpRegressor(
            self.num_features,
            config.regressor_features,
            config.num_outputs,
            dropout=config.regressor_dropout,
        )

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`."""
        visual_results, audio_results = self.attention(
            self.visual_encoder(visual, frame_mask), self.audio_encoder(audio, frame_mask), frame_mask
        )  # H^(0) ... H^(T), each (B, L, D_v) and (B, L, D_a)
        fused, gates = self.fuse(visual_results, audio_results, frame_mask)
        features = self.lstm(fused, frame_mask)  # (B, L, recurrent_features)
        return HeadOutput(prediction=self.regressor(features), features=features, gates=gates)

    def fuse(
        self, visual_results: Sequence[Tensor], audio_results: Sequence[Tensor], frame_mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Makes one row per frame of what the recursion gave; here, of its last step alone.

        Args:
            visual_results: H_v^(0) ... H_v^(T), each `(B, L, D_v)`; the values in padding mean nothing.
            audio_results: H_a^(0) ... H_a^(T), each `(B, L, D_a)`, likewise.
            frame_mask: False in padding, bool `(B, L)`.

        Returns:
            `(B, L, d)`, and the gates as in `HeadOutput`.
        """
        return torch.cat([visual_results[-1], audio_results[-1]], dim=-1), {}
