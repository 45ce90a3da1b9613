"""What the name of a head settles: its form, and the sizes that its authors give.

`fixed` is what makes the head that head; a setting that contradicts it is an error. `defaults` hold where a
setting is left out. docs/heads.md says where each number comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class HeadPreset:
    """Settings of one named head.

    Attributes:
        description: What the head is, in a few words.
        fixed: Setting's name -> the one value that it can have.
        defaults: Setting's name -> its value where it is left out.
    """

    description: str = ""
    fixed: Mapping[str, object] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)


#: What holds where neither a setting nor the head's name says otherwise. Causal or not was measured:
#: docs/benchmarks.md, "Causal or not".
DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "stream_encoder": "tcn",
        "visual_channels": (512, 512, 256, 256),
        "audio_channels": (128, 128, 128, 128),
        "causal": False,
        "share_steps": False,
        "include_input": True,
        "fusion": "gate",
        "score": "learned",
        "time_mixing": "none",
        "targets": "together",
        "sequence_encoder": "transformer",
        "positions": True,
        "num_layers": 4,
        "num_attention_heads": 4,
        "model_features": 512,
        "feedforward_features": 2048,
        "sequence_dropout": 0.3,
        "regressor_features": 256,
        "regressor_dropout": 0.0,
    }
)

# RJCA and what was built on it: BiLSTMs over time instead of TCNs, and a narrow regressor with much dropout.
_RECURSIVE = HeadPreset(
    defaults={"stream_encoder": "lstm", "regressor_features": 128, "regressor_dropout": 0.6}
)

PRESETS: Mapping[str, HeadPreset] = MappingProxyType(
    {
        "tagf": HeadPreset(
            description="TAGF: recursive joint cross-attention, and a gate over its steps",
            fixed={"fusion": "gate"},
        ),
        # Equations 6-8 to the letter: the gate chooses among H^(1) ... H^(T).
        "paper": HeadPreset(
            description="TAGF, equations 6 to 8 to the letter: the gate chooses among the steps' results",
            fixed={"include_input": False, "fusion": "gate", "score": "learned"},
        ),
        # Everything as the released code does it.
        "released": HeadPreset(
            description="TAGF as the released code has it: causal, windows of one length, a head per target",
            fixed={
                "stream_encoder": "tcn",
                "causal": True,
                "share_steps": False,
                "include_input": True,
                "fusion": "gate",
                "score": "channel_mean",
                "time_mixing": "learned",
                "targets": "separate",
            },
        ),
        # What the gate is worth: TAGF without it.
        "tagf_mean": HeadPreset(
            description="TAGF without its gate: the mean of the steps' results", fixed={"fusion": "mean"}
        ),
        "tagf_last": HeadPreset(
            description="TAGF without its gate: the last step's result", fixed={"fusion": "last"}
        ),
        "jca": HeadPreset(description="joint cross-attention"),
        "rjca": replace(_RECURSIVE, description="recursive joint cross-attention between BiLSTMs over time"),
        "dca": replace(
            _RECURSIVE,
            description="joint cross-attention with a gate between attended and unattended features",
        ),
        "grjca": replace(
            _RECURSIVE, description="recursive joint cross-attention with a gate over the iterations"
        ),
        "hgrjca": replace(
            _RECURSIVE,
            description="recursive joint cross-attention with gates at each iteration and across them",
        ),
        "iaca": replace(
            _RECURSIVE, description="gates between cross- and self-attention, and between the modalities"
        ),
        "lfan": HeadPreset(
            description="leader-follower attention across the modalities",
            defaults={
                "visual_channels": (256, 256, 128, 128),
                "audio_channels": (64, 64, 32, 32),
                "num_attention_heads": 2,
                "sequence_dropout": 0.1,
            },
        ),
        "tcn_transformer": HeadPreset(
            description="TCN per stream, then a transformer encoder",
            defaults={
                "visual_channels": (512, 256, 128),
                "audio_channels": (512, 256, 128),
                "positions": False,
                "num_layers": 8,
            },
        ),
        "transformer": HeadPreset(
            description="early fusion and a transformer encoder with positions",
            fixed={"sequence_encoder": "transformer", "positions": True},
            defaults={"regressor_dropout": 0.3},
        ),
        "situ_transformer": HeadPreset(
            description="early fusion and a transformer encoder without positions",
            fixed={"sequence_encoder": "transformer", "positions": False},
            defaults={"regressor_dropout": 0.3},
        ),
        "situ_lstm": HeadPreset(
            description="early fusion and an LSTM encoder",
            fixed={"sequence_encoder": "lstm"},
            defaults={"num_layers": 1, "regressor_dropout": 0.3},
        ),
        "fuxi_transformer": HeadPreset(
            description="early fusion and a narrower transformer encoder",
            fixed={"sequence_encoder": "transformer", "positions": True},
            defaults={"model_features": 256, "feedforward_features": 1024, "regressor_dropout": 0.3},
        ),
        "concat": HeadPreset(description="TCN per stream and concatenation"),
        "visual_only": HeadPreset(description="TCN over the visual stream alone"),
        "audio_only": HeadPreset(description="TCN over the audio stream alone"),
    }
)


def preset_of(name: str) -> HeadPreset:
    """The preset of a head's name; nothing is settled by the name of a user's own head."""
    return PRESETS.get(name, HeadPreset())
