"""The `extract` section of params.yaml, and the sample corpus's settings, as frozen dataclasses.

Every field of `ExtractConfig` is a setting of params.yaml under the same name; `cache.settings` turns the
mapping into the dataclass and reports a misspelt or impossible value by its key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["center", "start", "end"]
Alignment = Literal["similarity", "box"]


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Size and seed of the embedded sample corpus.

    Attributes:
        clips: Number of drawn subjects, one clip each.
        seconds: Length of each clip in seconds.
        fps: Frames per second, constant.
        seed: Seed of everything random in the corpus.
    """

    clips: int = 40
    seconds: float = 6.0
    fps: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clips < 4:
            raise ValueError(f"clips must be at least 4, so that each split holds one, got {self.clips}")
        if self.seconds < 1:
            raise ValueError(f"seconds must be at least 1, got {self.seconds}")
        if not 5 <= self.fps <= 120:
            raise ValueError(f"fps must lie in 5..120, got {self.fps}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class VisualConfig:
    """The visual stream.

    Attributes:
        backbone: Name of the frozen visual backbone.
        weights: Path of a checkpoint, or `random:SEED`.
        views: What is cached per frame: `center` is the centre crop of the aligned face,
            `flip` its mirror image.
    """

    backbone: Literal["ir50", "resnet50", "inception_resnet_v1"] = "ir50"
    weights: str = "random:0"
    views: tuple[Literal["center", "flip"], ...] = ("center", "flip")

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views must name at least one view, each once, got {list(self.views)}")


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """The audio stream.

    Attributes:
        backbone: Name of the frozen audio backbone.
        weights: Path of a checkpoint, or `random:SEED`.
        anchor: What of the 0.96 s VGGish example lies at the frame's time.
    """

    backbone: Literal["vggish"] = "vggish"
    weights: str = "random:0"
    anchor: Anchor = "center"


@dataclass(frozen=True, kw_only=True)
class FaceConfig:
    """Face detection and alignment.

    Attributes:
        detect_every: Run the detector on every n-th frame and interpolate between agreeing detections.
        min_probability: Faces that MTCNN gives a lower probability are not faces.
        min_size_px: Smallest face that the detector looks for, in pixels of the decoded picture.
        align: `similarity` maps the five landmarks onto the ArcFace template; `box` crops the box.
        margin: Share of the box's longer side added around it, for `box` alone.
    """

    detect_every: int = 5
    min_probability: float = 0.9
    min_size_px: int = 40
    align: Alignment = "similarity"
    margin: float = 0.2

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise ValueError(f"detect_every must be at least 1, got {self.detect_every}")
        if not 0 < self.min_probability < 1:
            raise ValueError(f"min_probability must lie between 0 and 1, got {self.min_probability}")
        if self.min_size_px < 12:
            raise ValueError(f"min_size_px must be at least 12, MTCNN's own window, got {self.min_size_px}")
        if self.margin < 0:
            raise ValueError(f"margin must not be negative, got {self.margin}")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Stage one.

    Attributes:
        visual: The visual stream.
        audio: The audio stream.
        faces: Detection and alignment.
        batch_size: Rows per backbone call; every call has this shape, the last one padded. From 16 on, rows
            do not depend on it to the last bit on one CPU type.
        precision: Compute precision of the backbones; rows are stored as float16.
    """

    visual: VisualConfig = field(default_factory=VisualConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    faces: FaceConfig = field(default_factory=FaceConfig)
    batch_size: int = 32
    precision: Literal["float32"] = "float32"

    def __post_init__(self) -> None:
        if self.batch_size < 16:
            raise ValueError(f"batch_size must be at least 16, or rows depend on it, got {self.batch_size}")
