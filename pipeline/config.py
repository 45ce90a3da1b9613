"""The `extract` section of params.yaml, and the sample corpus's settings, as frozen dataclasses.

Every field of `ExtractConfig` is a setting of params.yaml under the same name; `cache.settings` turns the
mapping into the dataclass and reports a misspelt or impossible value by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["center", "start", "end"]
Alignment = Literal["similarity", "box"]
Precision = Literal["float32", "bfloat16", "float16"]
Subject = Literal["largest", "longest", "all"]
View = Literal[
    "center",
    "flip",
    "top_left",
    "top_right",
    "bottom_left",
    "bottom_right",
    "top_left_flip",
    "top_right_flip",
    "bottom_left_flip",
    "bottom_right_flip",
]


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
        backbone: `ir50`, `resnet50`, `inception_resnet_v1`, or `package.module:Class` of your own.
        weights: A registered name, the path of a checkpoint, or `random:SEED`.
        input_size_px: Side of the faces that the backbone is given; None for its usual one. `ir50` takes 40
            and 112.
        views: What is cached per frame. `center` is the centre crop of the aligned face, `flip` its mirror
            image; the corners are further crops, each of which costs a backbone pass and 2.1 GB per 2 million
            rows.
    """

    backbone: str = "ir50"
    weights: str = "random:0"
    input_size_px: int | None = None
    views: tuple[View, ...] = ("center", "flip")

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views must name at least one view, each once, got {list(self.views)}")
        if self.input_size_px is not None and self.input_size_px < 1:
            raise ValueError(f"input_size_px must be at least 1, got {self.input_size_px}")


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """The audio stream.

    Attributes:
        backbone: `vggish`, or `package.module:Class` of your own.
        weights: A registered name, the path of a checkpoint, or `random:SEED`.
        anchor: What of the audio example (0.975 s for VGGish) lies at the frame's time.
        final_relu: Whether VGGish ends in a ReLU, as the common PyTorch port does and the TAGF lineage does
            not.
    """

    backbone: str = "vggish"
    weights: str = "random:0"
    anchor: Anchor = "center"
    final_relu: bool = False


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """A further named stream.

    Attributes:
        backbone: `package.module:Class`, or the name of a backbone that comes with tagf.
        weights: What the backbone takes as its weights.
    """

    backbone: str
    weights: str = ""


@dataclass(frozen=True, kw_only=True)
class FaceConfig:
    """Face detection and alignment.

    Attributes:
        subject: Whose face it is where there are several: `largest` in each frame, `longest` track of the
            clip, or `all`: one clip per track.
        detect_every: Run the detector on every n-th frame and interpolate between agreeing detections.
        min_probability: Faces that MTCNN gives a lower probability are not faces.
        min_size_px: Smallest face that the detector looks for, in pixels of the decoded picture.
        min_track_s: Shorter tracks give no clip; for `all` alone.
        align: `similarity` maps the five landmarks onto the ArcFace template; `box` crops the box.
        margin: Share of the box's longer side added around it, for `box` alone.
    """

    subject: Subject = "largest"
    detect_every: int = 5
    min_probability: float = 0.9
    min_size_px: int = 40
    min_track_s: float = 1.0
    align: Alignment = "similarity"
    margin: float = 0.2

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise ValueError(f"detect_every must be at least 1, got {self.detect_every}")
        if not 0 < self.min_probability < 1:
            raise ValueError(f"min_probability must lie between 0 and 1, got {self.min_probability}")
        if self.min_size_px < 12:
            raise ValueError(f"min_size_px must be at least 12, MTCNN's own window, got {self.min_size_px}")
        if self.min_track_s < 0:
            raise ValueError(f"min_track_s must not be negative, got {self.min_track_s}")
        if self.margin < 0:
            raise ValueError(f"margin must not be negative, got {self.margin}")


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """What is taken of a media file.

    Attributes:
        resample_fps: Rows at this constant rate, each of the frame nearest in time; None for one row per
            decoded frame.
        video_stream: Number of the video stream among the file's video streams, from 0; None for the one
            that players choose.
        audio_stream: The same for sound.
    """

    resample_fps: float | None = None
    video_stream: int | None = None
    audio_stream: int | None = None

    def __post_init__(self) -> None:
        if self.resample_fps is not None and not 0 < self.resample_fps <= 1000:
            raise ValueError(f"resample_fps must lie in 0..1000, got {self.resample_fps}")
        for name in ("video_stream", "audio_stream"):
            number = getattr(self, name)
            if number is not None and number < 0:
                raise ValueError(f"{name} must not be negative, got {number}")


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """What a media file may cost; beyond it, the clip fails and the others go on.

    None of it changes a row, so none of it is in the fingerprint.

    Attributes:
        clip_timeout_s: Seconds without a further frame after which a clip is given up.
        memory_mb: Memory of the process that works on a clip.
        picture_px: Pixels of a decoded picture, width times height.
        frame_rate_hz: Frames per second that the header may claim.
        frames: Decoded frames.
        sound_s: Seconds from the first to the last audio sample.
    """

    clip_timeout_s: float = 120.0
    memory_mb: int = 4096
    picture_px: int = 36_000_000
    frame_rate_hz: float = 1000.0
    frames: int = 2_000_000
    sound_s: float = 8 * 3600.0

    def __post_init__(self) -> None:
        for name in ("clip_timeout_s", "memory_mb", "picture_px", "frame_rate_hz", "frames", "sound_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Stage one.

    Attributes:
        visual: The visual stream.
        audio: The audio stream.
        streams: Further streams by name.
        faces: Detection and alignment.
        media: Streams and rate.
        limits: Guards against media that hang, crash or swell.
        batch_size: Inputs per backbone call; every call has this shape, the last one padded. From 16 on, rows
            do not depend on it to the last bit on one CPU type.
        precision: Compute precision of the backbones; rows are stored as float16. The two short ones are for
            GPUs.
    """

    visual: VisualConfig = field(default_factory=VisualConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    streams: Mapping[str, StreamConfig] = field(default_factory=dict)
    faces: FaceConfig = field(default_factory=FaceConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    batch_size: int = 32
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.batch_size < 16:
            raise ValueError(f"batch_size must be at least 16, or rows depend on it, got {self.batch_size}")
        if taken := sorted({"visual", "audio"} & set(self.streams)):
            raise ValueError(f"streams must have names of their own, got {taken[0]!r}, which is a section")
