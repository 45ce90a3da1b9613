"""Shape of a head, and the named configurations of TAGF.

Settings that are None are settled by the head's name: `paper` and `released` fix some of them, the rest take
defaults, and `HeadConfig.resolved` fills them in. So `--head paper` has the paper's form whatever params.yaml
leaves open, and a setting that contradicts the name is an error instead of another head under that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal, get_args

#: `learned` is eq. 7 of arXiv 2507.02080, `channel_mean` the score of the released code.
GateScore = Literal["learned", "channel_mean"]
#: `learned` is the released code's linear map over the frames of a window, which fixes their number.
TimeMixing = Literal["none", "learned"]
#: `separate` is a whole head for each target; `valence` and `arousal` are its halves.
Targets = Literal["together", "separate", "valence", "arousal"]

#: In this order everywhere.
HALVES: tuple[Targets, ...] = ("valence", "arousal")

#: What holds where neither a setting nor the head's name says otherwise. Causal or not was measured:
#: docs/benchmarks.md, "Causal or not".
_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "causal": False,
        "share_steps": False,
        "include_input": True,
        "score": "learned",
        "time_mixing": "none",
        "targets": "together",
    }
)
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"score": get_args(GateScore), "time_mixing": get_args(TimeMixing), "targets": get_args(Targets)}
)
#: What a head's name settles: `paper` is eqs 6-8 to the letter, where the gate chooses among H^(1) ... H^(T),
#: `released` everything as the released code does it.
_FIXED: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper": MappingProxyType({"include_input": False, "score": "learned"}),
        "released": MappingProxyType(
            {
                "causal": True,
                "share_steps": False,
                "include_input": True,
                "score": "channel_mean",
                "time_mixing": "learned",
                "targets": "separate",
            }
        ),
    }
)


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
        gate_dropout: Dropout before the score `channel_mean`; eq. 7 has none.
        reference_length: Number of frames to which the correlations' sum over time is scaled; with
            `time_mixing: learned` the one number of frames that a window may have.
        include_input: Whether the recursion's input is one of the gate's candidates.
        score: How the gate scores a candidate.
        time_mixing: Whether frames are mixed over time before they are correlated.
        targets: One head for valence and arousal, or one each.
        regressor_features: Hidden width of the regressors.
    """

    name: str = "tagf"
    visual_features: int = 512
    audio_features: int = 128
    visual_channels: tuple[int, ...] = (512, 512, 256, 256)
    audio_channels: tuple[int, ...] = (128, 128, 128, 128)
    kernel_size: int = 5
    causal: bool | None = None
    tcn_dropout: float = 0.1
    num_steps: int = 2
    share_steps: bool | None = None
    attention_dropout: float = 0.6
    gate_dropout: float = 0.1
    reference_length: int = 300
    include_input: bool | None = None
    score: GateScore | None = None
    time_mixing: TimeMixing | None = None
    targets: Targets | None = None
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
        if self.kernel_size < 1:
            raise ValueError(f"kernel_size must be positive, got {self.kernel_size}")
        for name in ("tcn_dropout", "attention_dropout", "gate_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in (None, *choices):
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name, fixed in _FIXED.get(self.name, {}).items():
            allowed = (None, fixed, *HALVES) if fixed == "separate" else (None, fixed)
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"head {self.name!r} has {name} {_shown(fixed)}, got {_shown(getattr(self, name))}; "
                    f"leave {name} out, or take head 'tagf', where it can be set"
                )
        if not self._settled("causal") and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd where causal is false, got {self.kernel_size}")
        if self.num_steps == 1 and not self._settled("include_input"):
            raise ValueError(
                "a gate needs at least 2 candidates, num_steps 1 without the input leaves 1; set "
                "include_input to true or num_steps to 2"
            )

    def resolved(self) -> ResolvedHeadConfig:
        """The same head with every setting that its name settles filled in."""
        settled = {name: self._settled(name) for name in _DEFAULTS}
        return ResolvedHeadConfig(**{each.name: getattr(self, each.name) for each in fields(self)} | settled)

    def _settled(self, name: str) -> object:
        value = getattr(self, name)
        return {**_DEFAULTS, **_FIXED.get(self.name, {})}[name] if value is None else value


@dataclass(frozen=True, kw_only=True)
class ResolvedHeadConfig(HeadConfig):
    """A `HeadConfig` that leaves nothing open: what heads are made from."""

    causal: bool
    share_steps: bool
    include_input: bool
    score: GateScore
    time_mixing: TimeMixing
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
