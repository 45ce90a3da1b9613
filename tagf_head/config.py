"""Settings of stage two: the head, its training and its evaluation.

`TrainConfig` and `EvaluateConfig` are the sections `train` and `evaluate` of params.yaml. The defaults are
the paper's (arXiv 2507.02080, section 4); the demo's params.yaml sets what its short clips need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tagf_head.head_config import HeadConfig

__all__ = ["AugmentConfig", "EvaluateConfig", "HeadConfig", "LabelConfig", "TrainConfig"]

CccScope = Literal["batch", "window"]
GoldStandard = Literal["mean", "ewe"]
#: `bfloat16` is autocast on a GPU, with float32 weights.
Precision = Literal["float32", "bfloat16", "float64"]
#: `fold` are the clips that a fold's checkpoint has not seen in training.
EvaluatedSplit = Literal["train", "validation", "test", "fold"]

#: In this order everywhere.
TARGETS = ("valence", "arousal")
MAX_DELAY_S = 60.0
#: torch's generators take 64 bits.
_SEED_LIMIT = 2**63


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How annotations become one label per frame.

    Attributes:
        gold_standard: Of several raters: their `mean`, or `ewe`, the evaluator-weighted mean (Grimm and
            Kroschel, 2005), which weighs each rater by the correlation with the mean of all.
        delay_s: Seconds by which annotators lag behind what they see: the frame at t is given the label that
            was noted for t + delay_s.
    """

    gold_standard: GoldStandard = "mean"
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if not abs(self.delay_s) <= MAX_DELAY_S:
            raise ValueError(f"delay_s must lie within {MAX_DELAY_S} seconds of 0, got {self.delay_s}")

    def __str__(self) -> str:
        return f"gold standard {self.gold_standard!r} and delay {self.delay_s} s"


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What training does to the features of a window; 0 leaves them alone.

    Attributes:
        drop_visual: Probability that a window's visual rows are zero, as where no face is found.
        drop_audio: Probability that its audio rows are zero; never both of a window.
        shift_audio_frames: Audio rows are taken up to so many frames earlier or later than the picture's.
        noise: Standard deviation of Gaussian noise, in units of a row's root mean square; rows of zeros stay.
        mixup: Parameter of the Beta(mixup, mixup) distribution that a window's share in the mixture with
            another window of the batch is drawn from (Zhang et al., 2018).
    """

    drop_visual: float = 0.0
    drop_audio: float = 0.0
    shift_audio_frames: int = 0
    noise: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("drop_visual", "drop_audio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.drop_visual + self.drop_audio > 1:
            raise ValueError(
                f"drop_visual + drop_audio must not exceed 1, got {self.drop_visual} + {self.drop_audio}"
            )
        for name in ("shift_audio_frames", "noise", "mixup"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


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
        gradient_clip: Largest norm of the gradient of all weights together; none by default.
        precision: Of the forward and backward pass.
        compile: Whether the head goes through `torch.compile`.
        rows_memory_gb: Features of more gigabytes than this stay in the store's files, mapped into memory,
            and windows are copied from there; by default half of what is free.
        labels: How annotations become labels.
        augment: What is done to the features of a training window.
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
    gradient_clip: float | None = None
    precision: Precision = "float32"
    compile: bool = False
    rows_memory_gb: float | None = None
    labels: LabelConfig = field(default_factory=LabelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
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
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.seed >= _SEED_LIMIT:
            raise ValueError(f"seed must be below 2**63, got {self.seed}")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip must be positive, or null for none, got {self.gradient_clip}")
        if self.rows_memory_gb is not None and not self.rows_memory_gb >= 0:
            raise ValueError(f"rows_memory_gb must not be negative, got {self.rows_memory_gb}")
        if self.head.targets in TARGETS:
            raise ValueError(
                f"head.targets {self.head.targets!r} is one half of 'separate' and not trained alone; set "
                "'together' or 'separate'"
            )
        head = self.head.resolved()
        if head.time_mixing == "learned" and head.reference_length != self.window:
            raise ValueError(
                "head.time_mixing 'learned' fixes the window to head.reference_length, got window "
                f"{self.window} and reference_length {head.reference_length}; set both to the same"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Evaluation of a checkpoint.

    Attributes:
        split: `train`, `validation` or `test`, or `fold`: the clips of a checkpoint's own fold.
        batch_size: Windows per forward pass on an accelerator; has no influence on the result but rounding. A
            CPU is given up to 8 windows of one clip, whatever is set here.
        trace_clips: Number of clips whose traces are written for `dvc plots`.
        folds: Number of folds for `tagf train --fold`; by default the official split alone.
        rows_memory_gb: As for `TrainConfig`.
    """

    split: EvaluatedSplit = "test"
    batch_size: int = 16
    trace_clips: int = 3
    folds: int | None = None
    rows_memory_gb: float | None = None

    def __post_init__(self) -> None:
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"folds must be at least 2, or null for the official split, got {self.folds}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.trace_clips < 0:
            raise ValueError(f"trace_clips must not be negative, got {self.trace_clips}")
        if self.rows_memory_gb is not None and not self.rows_memory_gb >= 0:
            raise ValueError(f"rows_memory_gb must not be negative, got {self.rows_memory_gb}")
