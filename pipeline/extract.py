"""One clip: media file in, one row per decoded frame out.

Frames stream through the face tracker into the visual backbone, a batch at a time; no decoded picture is
kept, only the crops of the batch that is filling. The sound follows when the frames' times are known.

Shapes: N frames of the clip, V views, D features of a stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cache.features import ClipFeatures
from cache.parts import Json
from pipeline.audio import read_waveform
from pipeline.backbones import load_backbone
from pipeline.config import ExtractConfig
from pipeline.embedding import Embedder, face_views
from pipeline.errors import ExtractionError, MediaError
from pipeline.face_tracks import FaceCrop, track_faces
from pipeline.faces import FaceDetector
from pipeline.log_mel import LogMelExamples
from pipeline.manifest import ClipSource
from pipeline.stage_clock import StageClock
from pipeline.video import decode_video, video_facts


@dataclass(frozen=True, kw_only=True)
class Models:
    """The networks of stage one, loaded once per process.

    Attributes:
        visual: Visual backbone.
        audio: Audio backbone.
        detector: Face detector.
    """

    visual: Embedder
    audio: Embedder
    detector: FaceDetector


def load_models(config: ExtractConfig, device: str = "cpu") -> Models:
    """Load what a configuration names.

    Args:
        config: The `extract` section.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: a GPU where there is one.

    Raises:
        WeightsError: Weights that are missing, damaged or of another architecture.
        ExtractionError: A device that this machine lacks.
    """
    place = resolve_device(device)
    visual, audio = (
        Embedder(load_backbone(stream.backbone, stream.weights), batch_size=config.batch_size, device=place)
        for stream in (config.visual, config.audio)
    )
    return Models(visual=visual, audio=audio, detector=FaceDetector(config.faces.min_size_px, device=place))


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


def extract_clip(
    source: ClipSource, config: ExtractConfig, models: Models, clock: StageClock | None = None
) -> tuple[ClipFeatures, dict[str, Json]]:
    """Extract one clip.

    Args:
        source: The clip.
        config: The `extract` section.
        models: From `load_models` with the same configuration.
        clock: Measures the stages, for the report.

    Returns:
        The features, and facts for the record that depend on the media alone: `media` (what the header says),
        `num_frames`, `num_face_frames` and `num_audio_frames`.

    Raises:
        MediaError: The media file cannot be decoded, or has no frames.
        ExtractionError: An embedding is not a number, or too large for float16.
    """
    clock = clock or StageClock()
    frames = clock.timed("decode", decode_video(source.media))
    tracked = clock.timed("faces", track_faces(frames, models.detector, config.faces))
    table = _FrameTable()
    visual = _visual_rows(source, table.record(tracked), config, models.visual, clock)
    if not table.time_s:
        raise MediaError(
            f"{str(source.media)!r}: expected at least one frame, decoded none; is the file cut short?"
        )
    time_s = np.array(table.time_s, dtype=np.float64)
    with clock.stage("log_mel"):
        examples = LogMelExamples(read_waveform(source.media), time_s, config.audio.anchor)
    audio = _audio_rows(source, examples, len(time_s), models.audio, clock)
    with clock.stage("decode"):
        media = video_facts(source.media)
    features = ClipFeatures(
        streams={"visual": visual, "audio": audio},
        time_s=time_s,
        source_frame=np.array(table.source_frame, dtype=np.int64),
        face_found=np.array(table.face_found, dtype=np.bool_),
        audio_found=examples.audio_found,
        face_box=np.array(table.face_box, dtype=np.float32),
        face_score=np.array(table.face_score, dtype=np.float32),
    )
    facts: dict[str, Json] = {
        "media": media,
        "num_frames": features.num_frames,
        "num_face_frames": int(features.face_found.sum()),
        "num_audio_frames": int(features.audio_found.sum()),
    }
    return features, facts


class _FrameTable:
    """What is kept of each frame beside its embeddings."""

    def __init__(self) -> None:
        self.time_s: list[float] = []
        self.source_frame: list[int] = []
        self.face_found: list[bool] = []
        self.face_box: list[NDArray[np.float32]] = []
        self.face_score: list[float] = []

    def record(self, crops: Iterable[FaceCrop]) -> Iterable[FaceCrop]:
        """Note each crop's frame on its way through."""
        for crop in crops:
            found = crop.crop is not None
            self.time_s.append(crop.time_s)
            self.source_frame.append(crop.index)
            self.face_found.append(found)
            self.face_box.append(
                crop.box if found and crop.box is not None else np.zeros(4, dtype=np.float32)
            )
            self.face_score.append(crop.score if found else 0.0)
            yield crop


def _visual_rows(
    source: ClipSource,
    crops: Iterable[FaceCrop],
    config: ExtractConfig,
    embedder: Embedder,
    clock: StageClock,
) -> NDArray[np.float16]:
    """(V, N, D): one row per view and frame, zero where no face was found."""
    num_views = len(config.visual.views)
    blank = np.zeros((num_views, embedder.num_features), dtype=np.float16)
    rows: list[NDArray[np.float16]] = []  # (V, D) of each frame
    # Faces that wait for their batch to fill, and the (frame, view) that each is of.
    faces: list[NDArray[np.float32]] = []
    places: list[tuple[int, int]] = []

    def embed_batch() -> None:
        batch = slice(embedder.batch_size)
        embedded = _as_stored(
            embedder(np.stack(faces[batch])), source, "visual", [row for row, _ in places[batch]]
        )
        for (row, view), embedding in zip(places[batch], embedded, strict=True):
            rows[row][view] = embedding
        del faces[batch], places[batch]

    for row, crop in enumerate(crops):
        rows.append(blank if crop.crop is None else blank.copy())
        if crop.crop is not None:
            with clock.stage("visual_backbone"):
                faces.extend(face_views(crop.crop, config.visual.views, embedder.input_shape[1]))
                places.extend((row, view) for view in range(num_views))
                while len(faces) >= embedder.batch_size:
                    embed_batch()
    if faces:
        with clock.stage("visual_backbone"):
            embed_batch()
    return (
        np.stack(rows, axis=1) if rows else np.zeros((num_views, 0, embedder.num_features), dtype=np.float16)
    )


def _audio_rows(
    source: ClipSource, examples: LogMelExamples, num_frames: int, embedder: Embedder, clock: StageClock
) -> NDArray[np.float16]:
    """(N, D): one row per frame, zero where no decoded sound lies below its example."""
    rows = np.zeros((num_frames, embedder.num_features), dtype=np.float16)
    for start in range(0, num_frames, embedder.batch_size):
        stop = min(start + embedder.batch_size, num_frames)
        heard = np.flatnonzero(examples.audio_found[start:stop])
        if not heard.size:
            continue
        with clock.stage("log_mel"):
            batch = examples.batch(start, stop)[heard]
        with clock.stage("audio_backbone"):
            rows[start + heard] = _as_stored(embedder(batch), source, "audio", start + heard)
    return rows


def _as_stored(
    embeddings: NDArray[np.float32], source: ClipSource, stream: str, frames: Sequence[int] | NDArray[np.intp]
) -> NDArray[np.float16]:
    """Embeddings as float16, refused where they do not fit."""
    with np.errstate(over="ignore", invalid="ignore"):
        stored = embeddings.astype(np.float16)
    finite = np.isfinite(stored).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        worst = float(np.abs(embeddings[bad]).max())
        raise ExtractionError(
            f"clip {source.clip_id!r}, stream {stream!r}, frame {frames[bad]}: expected embeddings that "
            f"float16 holds (up to 65504), got {worst:g}; check the weights of the {stream} backbone"
        )
    return stored
