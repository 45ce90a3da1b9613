"""Settings of stage two: the head, its training and its evaluation.

`TrainConfig` and `EvaluateConfig` are the sections `train` and `evaluate` of params.yaml. The defaults are
the paper's (arXiv 2507.02080, section 4); the demo's params.yaml sets what its short clips need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CccScope = Literal["batch", "window"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Shape of a head.

    Attributes:
        name: Name in the registry of heads.
        visual_features: Width D_v of a visual row, taken from the store in training.
        audio_features: Width D_a of an audio row, taken from the store in training.
        visual_channels: Channels of the visual TCN's levels; level i has dilation 2**i.
        audio_channels: Channels of the audio TCN's levels.
        kernel_size: Taps of every temporal convolution.
        causal: Whether the temporal convolutions see no later frame.
        tcn_dropout: Dropout within the temporal convolutions.
        num_steps: Recursion steps T of joint cross-attention.
        share_steps: Whether the recursion's steps share their weights.
        attention_dropout: Dropout on correlations and on attended features.
        reference_length: Number of frames to which the correlations' sum over time is scaled.
        include_input: Whether the recursion's input is one of the gate's candidates.
        regressor_features: Hidden width of the regressors.
    """

    name: str = "tagf"
    visual_features: int = 512
    audio_features: int = 128
    visual_channels: tuple[int, ...] = (512, 512, 256, 256)
    audio_channels: tuple[int, ...] = (128, 128, 128, 128)
    kernel_size: int = 5
    causal: bool = True
    tcn_dropout: float = 0.1
    num_steps: int = 2
    share_steps: bool = False
    attention_dropout: float = 0.6
    reference_length: int = 300
    include_input: bool = True
    regressor_features: int = 256

    def __post_init__(self) -> None:
        widths = ("visual_features", "audio_features", "regressor_features")
        for name in (*widths, "num_steps", "reference_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("visual_channels", "audio_channels"):
            channels = getattr(self, name)
            if not channels or min(channels) < 1:
                raise ValueError(f"{name} must list at least one positive width, got {list(channels)}")
        if self.kernel_size < 1 or (not self.causal and self.kernel_size % 2 == 0):
            raise ValueError(
                f"kernel_size must be positive, and odd where causal is false, got {self.kernel_size}"
            )
        for name in ("tcn_dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training of one head.

    Attributes:
        head: The head's shape.
        window: Frames per window.
        stride: Frames from one window's start to the next one's.
        batch_size: Windows per optimiser step.
        lr: Adam's learning rate after warm-up.
        min_lr: Lowest learning rate of the plateau schedule.
        weight_decay: Adam's weight decay (L2, added to the gradient).
        warmup_epochs: Epochs over which the learning rate rises linearly to `lr`, per optimiser step.
        max_epochs: Most epochs.
        plateau_patience: Epochs in a row without improvement that are borne; at the next one the learning
            rate is multiplied by `plateau_factor`.
        plateau_factor: See `plateau_patience`.
        early_stop_patience: Epochs without improvement after which training ends.
        ccc_over: Whether the loss takes its moments over the whole batch or per window.
        seed: Seed of the initial weights, of dropout and of the order of the windows.
    """

    head: HeadConfig = field(default_factory=HeadConfig)
    window: int = 300
    stride: int = 200
    batch_size: int = 6
    lr: float = 1e-5
    min_lr: float = 1e-8
    weight_decay: float = 1e-3
    warmup_epochs: int = 5
    max_epochs: int = 100
    plateau_patience: int = 5
    plateau_factor: float = 0.1
    early_stop_patience: int = 10
    ccc_over: CccScope = "batch"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("window", "batch_size", "max_epochs", "early_stop_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.stride <= self.window:
            raise ValueError(
                f"stride must lie in 1..window ({self.window}), or frames stay unseen; got {self.stride}"
            )
        if not 0 < self.min_lr <= self.lr:
            raise ValueError(f"0 < min_lr <= lr must hold, got min_lr {self.min_lr} and lr {self.lr}")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"plateau_factor must lie between 0 and 1, got {self.plateau_factor}")
        for name in ("weight_decay", "warmup_epochs", "plateau_patience", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Evaluation of a checkpoint.

    Attributes:
        split: `train`, `validation` or `test`.
        batch_size: Windows per forward pass; has no influence on the result but rounding.
        trace_clips: Number of clips whose traces are written for `dvc plots`.
    """

    split: Literal["train", "validation", "test"] = "test"
    batch_size: int = 16
    trace_clips: int = 3

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.trace_clips < 0:
            raise ValueError(f"trace_clips must not be negative, got {self.trace_clips}")
