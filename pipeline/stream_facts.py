"""The streams that an `extract` section asks for, and whether its settings go together.

Imports no torch, unless a backbone of the user's own does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.backbones import backbone_facts
from pipeline.backbones.user_backbone import is_own
from pipeline.config import AudioConfig, ExtractConfig, StreamConfig, VisualConfig
from pipeline.errors import ExtractionError
from pipeline.face_views import check_views

_TAKES = {"visual": ("faces",), "audio": ("log_mel", "waveform")}


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """One stream of the features.

    Attributes:
        backbone: As the settings name it.
        weights: As the settings name them.
        takes: What its inputs are.
        num_features: Features per row.
        input_shape: Shape of one input; empty for whole clips.
        views: Views per face, for the visual stream alone.
    """

    backbone: str
    weights: str
    takes: Literal["faces", "log_mel", "waveform", "clip"]
    num_features: int
    input_shape: tuple[int, ...]
    views: tuple[str, ...] | None


def stream_facts(config: ExtractConfig) -> dict[str, StreamFacts]:
    """All streams by name: visual, audio, and the further ones in the order of the settings.

    Raises:
        WeightsError: A backbone that is not known, or one's own that cannot be used.
        ExtractionError: Settings that do not go together.
    """
    if config.audio.final_relu and config.audio.backbone != "vggish":
        raise ExtractionError(
            f"audio.final_relu is for vggish, got backbone {config.audio.backbone!r}; leave it out"
        )
    asked: dict[str, VisualConfig | AudioConfig | StreamConfig] = {
        "visual": config.visual,
        "audio": config.audio,
        **config.streams,
    }
    streams = {}
    for name, stream in asked.items():
        facts = backbone_facts(stream.backbone)
        if facts.takes not in _TAKES.get(name, (facts.takes,)):
            raise ExtractionError(
                f"{name}.backbone: expected one that takes {' or '.join(_TAKES[name])}, but "
                f"{stream.backbone} takes {facts.takes}; name it under extract.streams"
            )
        shape = facts.input_shape
        if name == "visual":
            shape = _visual_shape(config, shape)
            check_views(config.visual.views, shape[1], stream.backbone)
        streams[name] = StreamFacts(
            backbone=stream.backbone,
            weights=stream.weights,
            takes=facts.takes,
            num_features=facts.num_features,
            input_shape=shape,
            views=config.visual.views if name == "visual" else None,
        )
    return streams


def _visual_shape(config: ExtractConfig, usual: tuple[int, ...]) -> tuple[int, ...]:
    side = config.visual.input_size_px
    if side is None:
        return usual
    if is_own(config.visual.backbone) and side != usual[1]:
        raise ExtractionError(
            f"visual.input_size_px: {config.visual.backbone} states {usual[1]} px itself, got {side}; "
            "leave it out"
        )
    return (3, side, side)
