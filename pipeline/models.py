"""The networks of stage one, loaded once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pipeline.backbones import BACKBONES, load_backbone
from pipeline.backbones.backbone import Backbone
from pipeline.backbones.clip_stream import ClipStream
from pipeline.backbones.folding import FoldedBackbone
from pipeline.backbones.user_backbone import check_output
from pipeline.config import ExtractConfig
from pipeline.embedding import RowMapper, StreamEmbedder
from pipeline.errors import ExtractionError
from pipeline.faces.detector import Detector, FaceDetector
from pipeline.feature_spec import clip_streams
from pipeline.stream_facts import stream_facts


@dataclass(frozen=True, kw_only=True)
class Models:
    """What a configuration names, ready to use.

    Attributes:
        detector: Finds faces.
        embedders: Backbones by the names of their streams: `visual`, `audio` and further ones.
        clip_streams: Further streams that take a whole clip at once.
    """

    detector: Detector
    embedders: Mapping[str, RowMapper]
    clip_streams: Mapping[str, ClipStream]


def load_models(config: ExtractConfig, device: str = "cpu") -> Models:
    """Load what a configuration names.

    Args:
        config: The `extract` section.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: a GPU where there is one.

    Raises:
        WeightsError: Weights that are missing, damaged or of another architecture; a backbone of one's own
            that cannot be used.
        ExtractionError: A device that this machine lacks, or settings that do not go together.
    """
    place = resolve_device(device)
    if config.precision != "float32" and place.type == "cpu":
        raise ExtractionError(
            f"precision {config.precision!r} is for GPUs: on a CPU it is 5 to 10 times slower than float32; "
            "set extract.precision to float32, or give --device cuda"
        )
    embedders: dict[str, RowMapper] = {}
    for name, stream in stream_facts(config).items():
        if stream.takes == "clip":
            continue
        backbone = load_backbone(
            stream.backbone,
            stream.weights,
            input_size_px=config.visual.input_size_px if name == "visual" else None,
            final_relu=name == "audio" and config.audio.final_relu,
        )
        embedders[name] = StreamEmbedder(
            _ready(backbone, stream.backbone, config.batch_size),
            name=name,
            views=stream.views,
            batch_size=config.batch_size,
            device=place,
            precision=config.precision,
        )
    return Models(
        detector=FaceDetector(config.faces.min_size_px, device=place),
        embedders=embedders,
        clip_streams=clip_streams(config),
    )


def _ready(backbone: Backbone, name: str, batch_size: int) -> Backbone:
    """A backbone of ours folded; one of the user's own as it is, its output checked once."""
    if name in BACKBONES:
        return FoldedBackbone(backbone)
    check_output(backbone, name, batch_size)
    return backbone


def resolve_device(device: str) -> torch.device:
    """The device of that name.

    Raises:
        ExtractionError: No device of that name, or this machine lacks it.
    """
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ExtractionError(f"device {device!r} is not known; give auto, cpu, cuda or cuda:N") from error
    num_gpus = torch.cuda.device_count() if has_gpu else 0
    if resolved.type not in ("cpu", "cuda") or (
        resolved.type == "cuda" and (resolved.index or 0) >= num_gpus
    ):
        raise ExtractionError(
            f"device {device!r}: expected a device of this machine, which has {num_gpus} GPUs that torch can "
            "use; give 'auto' or 'cpu'"
        )
    return resolved
