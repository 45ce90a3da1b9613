"""A plain TAGF of the same sizes as ours: the yardstick of the head's speed.

Written as torch's layers suggest, one after the other, for full windows: it knows no masks, so that padding
would enter its convolutions, its statistics and its correlations. With the same weights it computes what
`tagf` does in its default settings; `NAMES` and `plain_tensors` carry them over.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tagf_head.heads.head import HeadOutput

VISUAL_CHANNELS, AUDIO_CHANNELS = (512, 512, 256, 256), (128, 128, 128, 128)
NUM_STEPS = 2


class PlainConvolution(nn.Module):
    """Causal weight-normalised convolution, LeakyReLU, dropout: `(B, D, L)`."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.margin = 4 * dilation
        self.conv = weight_norm(nn.Conv1d(in_channels, out_channels, 5, dilation=dilation))
        self.activation = nn.LeakyReLU(0.01)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, D_in, L)` to `(B, D_out, L)`."""
        return self.dropout(self.activation(self.conv(F.pad(x, (self.margin, 0)))))


class PlainLevel(nn.Module):
    """Two convolutions and a residual connection: `(B, D, L)`."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.first = PlainConvolution(in_channels, out_channels, dilation)
        self.second = PlainConvolution(out_channels, out_channels, dilation)
        same = in_channels == out_channels
        self.residual = nn.Identity() if same else nn.Conv1d(in_channels, out_channels, 1)
        self.activation = nn.LeakyReLU(0.01)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, D_in, L)` to `(B, D_out, L)`."""
        return self.activation(self.residual(x) + self.second(self.first(x)))


class PlainEncoder(nn.Module):
    """Normalise, TCN, BatchNorm, normalise: `(B, L, D)`."""

    def __init__(self, in_features: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = (in_features, *channels)
        self.levels = nn.Sequential(
            *(PlainLevel(widths[i], widths[i + 1], 2**i) for i in range(len(channels)))
        )
        self.batch_norm = nn.BatchNorm1d(channels[-1])

    def forward(self, x: Tensor) -> Tensor:
        """`(B, L, D_in)` to `(B, L, D_out)`."""
        x = self.levels(F.normalize(x, dim=-1).transpose(1, 2))
        return F.normalize(self.batch_norm(x).transpose(1, 2), dim=-1)


class PlainStep(nn.Module):
    """Joint cross-attention, one modality after the other."""

    def __init__(self, visual_features: int, audio_features: int) -> None:
        super().__init__()
        d = visual_features + audio_features
        self.joint = nn.Linear(d, d)
        self.visual_query = nn.Linear(visual_features, visual_features)
        self.audio_query = nn.Linear(audio_features, audio_features)
        self.visual_update = nn.Linear(d, visual_features)
        self.audio_update = nn.Linear(d, audio_features)
        self.dropout = nn.Dropout(0.6)

    def forward(self, visual: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """X_v and X_a of the next step."""
        joint = self.joint(torch.cat([visual, audio], dim=-1))
        scale = joint.shape[-1] ** -0.5
        visual_correlation = self.dropout(torch.tanh(visual.transpose(1, 2) @ joint * scale))
        audio_correlation = self.dropout(torch.tanh(audio.transpose(1, 2) @ joint * scale))
        visual_attended = torch.relu(torch.tanh(self.visual_query(visual) @ visual_correlation))
        audio_attended = torch.relu(torch.tanh(self.audio_query(audio) @ audio_correlation))
        return (
            visual + self.dropout(torch.relu(self.visual_update(visual_attended))),
            audio + self.dropout(torch.relu(self.audio_update(audio_attended))),
        )


class PlainGate(nn.Module):
    """Eqs 6-8 with torch's own bidirectional LSTM."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_features, num_features, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * num_features, 1, bias=False)

    def forward(self, candidates: list[Tensor]) -> Tensor:
        """F `(B, L, D)` from the candidates, each `(B, L, D)`."""
        stacked = torch.stack(candidates, dim=2)  # (B, L, M, D)
        states, _ = self.lstm(stacked.flatten(0, 1))
        weights = torch.softmax(self.score(states).reshape(stacked.shape[:3]), dim=-1)
        return (weights[..., None] * stacked).sum(dim=2)


class PlainRegressor(nn.Module):
    """One target: `(B, L, D)` to `(B, L, 1)`."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, 256)
        self.batch_norm = nn.BatchNorm1d(256)
        self.output = nn.Linear(256, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, L, D)` to `(B, L, 1)`."""
        x = self.batch_norm(self.hidden(x).transpose(1, 2)).transpose(1, 2)
        return torch.tanh(self.output(F.leaky_relu(x, 0.01)))


class PlainTagf(nn.Module):
    """The whole head; the mask is taken, as by other heads, and not looked at."""

    def __init__(self) -> None:
        super().__init__()
        visual_features, audio_features = VISUAL_CHANNELS[-1], AUDIO_CHANNELS[-1]
        self.visual_encoder = PlainEncoder(512, VISUAL_CHANNELS)
        self.audio_encoder = PlainEncoder(128, AUDIO_CHANNELS)
        self.steps = nn.ModuleList(PlainStep(visual_features, audio_features) for _ in range(NUM_STEPS))
        self.visual_gate = PlainGate(visual_features)
        self.audio_gate = PlainGate(audio_features)
        self.valence = PlainRegressor(visual_features + audio_features)
        self.arousal = PlainRegressor(visual_features + audio_features)

    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_all: bool = False
    ) -> Tensor | HeadOutput:
        """Valence and arousal, `(B, L, 2)`, or with what the regressors read."""
        visual, audio = self.visual_encoder(visual), self.audio_encoder(audio)
        visual_candidates, audio_candidates = [visual], [audio]
        for step in self.steps:
            visual, audio = step(visual, audio)
            visual_candidates.append(visual)
            audio_candidates.append(audio)
        fused = torch.cat([self.visual_gate(visual_candidates), self.audio_gate(audio_candidates)], dim=-1)
        prediction = torch.cat([self.valence(fused), self.arousal(fused)], dim=-1)
        return HeadOutput(prediction=prediction, features=fused) if return_all else prediction


#: Name of a module of `tagf` -> name of the plain one, as `load_named_weights` takes it.
NAMES: Mapping[str, str] = {
    "visual_encoder.tcn.levels": "visual_encoder.levels",
    "visual_encoder.batch_norm": "visual_encoder.batch_norm",
    "audio_encoder.tcn.levels": "audio_encoder.levels",
    "audio_encoder.batch_norm": "audio_encoder.batch_norm",
    "attention.steps": "steps",
    "visual_gate.lstm": "visual_gate.lstm",
    "visual_gate.score.linear": "visual_gate.score",
    "audio_gate.lstm": "audio_gate.lstm",
    "audio_gate.score.linear": "audio_gate.score",
    "regressor": "regressor",
}


def plain_tensors(head: PlainTagf) -> dict[str, Tensor]:
    """Tensors of the plain head, with the two regressors side by side, as `tagf` has them."""
    tensors = {
        name: tensor
        for name, tensor in head.state_dict().items()
        if not name.startswith(("valence.", "arousal."))
    }
    arousal = head.arousal.state_dict()
    for name, tensor in head.valence.state_dict().items():
        if tensor.dim():  # not the counter of batches
            tensors[f"regressor.{name}"] = torch.cat([tensor, arousal[name]])
    return tensors
