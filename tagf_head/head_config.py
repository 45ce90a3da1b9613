"""Shape of a head.

Settings that are None are settled by the head's name (`tagf_head.head_presets`), and `HeadConfig.resolved`
fills them in. So `--head paper` has the paper's form whatever params.yaml leaves open, and a setting that
contradicts the name is an error instead of another head under that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Literal, get_args

from tagf_head.head_presets import DEFAULTS, PRESETS, preset_of

#: What comes first in each stream: temporal convolutions, or a bidirectional LSTM over time.
StreamEncoderKind = Literal["tcn", "lstm"]
#: How TAGF fuses the recursion's results: by its gate, or, to see what that is worth, by their mean or by the
#: last one alone.
StepFusion = Literal["gate", "mean", "last"]
#: `learned` is eq. 7 of arXiv 2507.02080, `channel_mean` the score of the released code.
GateScore = Literal["learned", "channel_mean"]
#: `learned` is the released code's linear map over the frames of a window, which fixes their number.
TimeMixing = Literal["none", "learned"]
#: What an early-fusion head runs over the frames.
SequenceEncoderKind = Literal["transformer", "lstm"]
#: `separate` is a whole head for each target; `valence` and `arousal` are its halves.
Targets = Literal["together", "separate", "valence", "arousal"]
Option = bool | int | float | str

#: In this order everywhere.
HALVES: tuple[Targets, ...] = ("valence", "arousal")

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "stream_encoder": get_args(StreamEncoderKind),
        "fusion": get_args(StepFusion),
        "score": get_args(GateScore),
        "time_mixing": get_args(TimeMixing),
        "sequence_encoder": get_args(SequenceEncoderKind),
        "targets": get_args(Targets),
    }
)
_COUNTS = (
    "visual_features",
    "audio_features",
    "num_steps",
    "reference_length",
    "recurrent_features",
    "attended_features",
    "attention_features",
    "num_layers",
    "num_attention_heads",
    "model_features",
    "feedforward_features",
    "regressor_features",
)
_PROBABILITIES = (
    "tcn_dropout",
    "attention_dropout",
    "gate_dropout",
    "sequence_dropout",
    "regressor_dropout",
)


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Shape of a head. Which settings a head looks at is said in docs/heads.md; others have no influence.

    Attributes:
        name: Name in the registry of heads, or `package.module:Class` of a head of one's own.
        visual_features: Width D_v of a visual row, taken from the store in training.
        audio_features: Width D_a of an audio row, taken from the store in training.
        stream_encoder: What runs over each stream before they are fused.
        visual_channels: Channels of the visual TCN's levels; level i has dilation 2**i.
        audio_channels: Channels of the audio TCN's levels.
        kernel_size: Taps of every temporal convolution.
        causal: Whether the temporal convolutions see no later frame.
        tcn_dropout: Dropout within the temporal convolutions.
        recurrent_features: Width of what a bidirectional LSTM over time gives, both directions together.
        num_steps: Recursion steps T of joint cross-attention.
        share_steps: Whether the recursion's steps share their weights.
        attention_dropout: Dropout on correlations and on attended features.
        attended_features: Width k of JCA's attended features.
        gate_dropout: Dropout before the score `channel_mean`; eq. 7 has none.
        reference_length: Number of frames to which the correlations' sum over time is scaled; with
            `time_mixing: learned` the one number of frames that a window may have.
        include_input: Whether the recursion's input is one of the gate's candidates.
        fusion: How TAGF fuses the recursion's results.
        score: How the gate scores a candidate.
        time_mixing: Whether frames are mixed over time before they are correlated.
        sequence_encoder: What an early-fusion head runs over the frames.
        positions: Whether sinusoidal positions are added to the frames of a transformer.
        num_layers: Layers of a transformer, or of the LSTM in its place.
        num_attention_heads: Attention heads of a transformer, or of the attention across modalities.
        attention_features: Width of queries, keys and values of one attention head across modalities.
        model_features: Width of the frames in a transformer.
        feedforward_features: Hidden width of a transformer's layers.
        sequence_dropout: Dropout within a transformer, between the layers of an LSTM, and on followers.
        regressor_features: Hidden width of the regressors.
        regressor_dropout: Dropout on the hidden units of the regressors that have one.
        targets: One head for valence and arousal, or one each.
        uncertainty: Whether the head predicts the standard deviation of its error as well.
        options: Settings of a head of one's own.
    """

    name: str = "tagf"
    visual_features: int = 512
    audio_features: int = 128
    stream_encoder: StreamEncoderKind | None = None
    visual_channels: tuple[int, ...] | None = None
    audio_channels: tuple[int, ...] | None = None
    kernel_size: int = 5
    causal: bool | None = None
    tcn_dropout: float = 0.1
    recurrent_features: int = 512
    num_steps: int = 2
    share_steps: bool | None = None
    attention_dropout: float = 0.6
    attended_features: int = 32
    gate_dropout: float = 0.1
    reference_length: int = 300
    include_input: bool | None = None
    fusion: StepFusion | None = None
    score: GateScore | None = None
    time_mixing: TimeMixing | None = None
    sequence_encoder: SequenceEncoderKind | None = None
    positions: bool | None = None
    num_layers: int | None = None
    num_attention_heads: int | None = None
    attention_features: int = 16
    model_features: int | None = None
    feedforward_features: int | None = None
    sequence_dropout: float | None = None
    regressor_features: int | None = None
    regressor_dropout: float | None = None
    targets: Targets | None = None
    uncertainty: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("visual_channels", "audio_channels"):
            channels = getattr(self, name)
            if channels is not None and (not channels or min(channels) < 1):
                raise ValueError(f"{name} must list at least one positive width, got {list(channels)}")
        if self.kernel_size < 1:
            raise ValueError(f"kernel_size must be positive, got {self.kernel_size}")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {value}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in (None, *choices):
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        self._check_against_name()
        if self._has_tcn() and not self._settled("causal") and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd where causal is false, got {self.kernel_size}")
        fixed = preset_of(self.name).fixed
        if fixed.get("fusion") == "gate" and self.num_steps == 1 and not self._settled("include_input"):
            remedy = "" if "include_input" in fixed else "include_input to true, or "
            raise ValueError(
                f"the gate of head {self.name!r} needs at least 2 candidates, num_steps 1 without the input "
                f"leaves 1; set {remedy}num_steps to 2"
            )
        for name in ("recurrent_features", "model_features"):
            if self._settled(name) % 2:  # type: ignore[operator]
                raise ValueError(f"{name} must be even, got {self._settled(name)}")

    def _check_against_name(self) -> None:
        for name, fixed in preset_of(self.name).fixed.items():
            allowed = (None, fixed, *HALVES) if fixed == "separate" else (None, fixed)
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"head {self.name!r} has {name} {_shown(fixed)}, got {_shown(getattr(self, name))}; "
                    f"leave {name} out, or take head {self._where_possible(name)}"
                )
        if self.options and self.name in PRESETS:
            raise ValueError(
                f"options are for a head of one's own, head {self.name!r} has none; leave them out "
                f"(got {', '.join(self.options)})"
            )

    def _has_tcn(self) -> bool:
        """Whether temporal convolutions run over the streams; a head of one's own may have them."""
        return not self._fuses_early() and self._settled("stream_encoder") == "tcn"

    def _fuses_early(self) -> bool:
        return "sequence_encoder" in preset_of(self.name).fixed

    def _where_possible(self, name: str) -> str:
        """A head that can have what a setting says."""
        if not self._fuses_early() and name not in PRESETS["tagf"].fixed:
            return "'tagf', where it can be set"
        wanted = getattr(self, name)
        return repr(next(head for head, preset in PRESETS.items() if preset.fixed.get(name) == wanted))

    def resolved(self) -> ResolvedHeadConfig:
        """The same head with every setting that its name settles filled in."""
        settled = {name: self._settled(name) for name in DEFAULTS}
        return ResolvedHeadConfig(**{each.name: getattr(self, each.name) for each in fields(self)} | settled)

    def _settled(self, name: str) -> object:
        value = getattr(self, name)
        preset = preset_of(self.name)
        return {**DEFAULTS, **preset.defaults, **preset.fixed}[name] if value is None else value


@dataclass(frozen=True, kw_only=True)
class ResolvedHeadConfig(HeadConfig):
    """A `HeadConfig` that leaves nothing open: what heads are made from."""

    stream_encoder: StreamEncoderKind
    visual_channels: tuple[int, ...]
    audio_channels: tuple[int, ...]
    causal: bool
    share_steps: bool
    include_input: bool
    fusion: StepFusion
    score: GateScore
    time_mixing: TimeMixing
    sequence_encoder: SequenceEncoderKind
    positions: bool
    num_layers: int
    num_attention_heads: int
    model_features: int
    feedforward_features: int
    sequence_dropout: float
    regressor_features: int
    regressor_dropout: float
    targets: Targets

    @property
    def num_outputs(self) -> int:
        """Number of targets that one head with these settings estimates.

        Raises:
            ValueError: The settings are those of two heads.
        """
        if self.targets == "separate":
            raise ValueError(
                "targets 'separate' is one head for each target, not one for both; make them with "
                "tagf_head.heads.build_head"
            )
        return len(HALVES) if self.targets == "together" else 1


def _shown(value: object) -> str:
    return str(value).lower()
