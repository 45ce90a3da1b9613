"""One picture and the sound up to it become one row, as stage one makes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from pipeline.config import ExtractConfig
from pipeline.embedding import RowMapper, StreamEmbedder
from pipeline.errors import ExtractionError
from pipeline.faces.detector import Face
from pipeline.faces.tracks import cut_out
from pipeline.input_blocks import Block, FaceBlock
from pipeline.live.face_follower import FaceFollower
from pipeline.live.face_refiner import FaceRefiner
from pipeline.live.live_source import LiveFrame
from pipeline.live.trailing_sound import TrailingSound
from pipeline.media.video import VideoFrame
from pipeline.models import Models, load_models, resolve_device
from pipeline.prediction.extract_settings import read_by_heads


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveRow:
    """What the backbones say of a picture and the sound up to it.

    Attributes:
        visual: (D_v,) float16, zeros where there is no face.
        audio: (D_a,) float16, zeros where there is no sound.
        face: The subject's face, None where there is none.
    """

    visual: NDArray[np.float16]
    audio: NDArray[np.float16]
    face: Face | None


def live_models(config: ExtractConfig, device: str) -> Models:
    """The networks of a live prediction: the two streams and the view that heads read.

    On a CPU a network is called with the one input that there is, so that its rows differ from stage one's by
    rounding. A GPU takes no longer for stage one's whole batch, and gives its very rows.

    Raises:
        WeightsError: As `load_models`.
        ExtractionError: As `load_models`.
    """
    models = load_models(read_by_heads(config), device)
    if resolve_device(device).type != "cpu":
        return models
    single = {
        name: each.in_batches_of(1) if isinstance(each, StreamEmbedder) else each
        for name, each in models.embedders.items()
    }
    return replace(models, embedders=single)


class RowMaker:
    """Makes the rows of one live source.

    Args:
        config: The `extract` section.
        models: Of its two streams.
        refiner: Finds faces again between detections.
    """

    def __init__(self, config: ExtractConfig, models: Models, refiner: FaceRefiner) -> None:
        self._config = config
        self._visual, self._audio = (models.embedders[name] for name in (VISUAL_STREAM, AUDIO_STREAM))
        self._follower = FaceFollower(models.detector, refiner, config.faces)

    @property
    def window_samples(self) -> int | None:
        """Samples of sound per row; None for log-mel examples."""
        return self._audio.window_samples

    def row(self, frame: LiveFrame, sound: TrailingSound) -> LiveRow:
        """The row of the next picture.

        Raises:
            ExtractionError: An embedding is not a number, or too large for float16.
        """
        face = self._follower.face(frame)
        visual: NDArray[np.float16] = np.zeros(self._visual.num_features, np.float16)
        if face is not None:
            visual = _row(self._visual, self.visual_block(frame, face), VISUAL_STREAM, frame)
        heard = sound.ending_at(frame.time_s)
        audio: NDArray[np.float16] = np.zeros(self._audio.num_features, np.float16)
        if heard is not None:
            audio = _row(self._audio, heard, AUDIO_STREAM, frame)
        return LiveRow(visual=visual, audio=audio, face=face)

    def visual_block(self, frame: LiveFrame, face: Face) -> FaceBlock:
        """The visual backbone's input for a face, a block of one."""
        size_px = self._visual.crop_size_px or 0
        picture = VideoFrame(
            index=frame.index, time_s=frame.time_s, rgb=frame.rgb, row_times_s=(frame.time_s,)
        )
        crops = cut_out(picture, face, self._config.faces, (size_px,)).crops
        assert crops is not None
        return FaceBlock(crops=crops[size_px][None])


def _row(embedder: RowMapper, block: Block, stream: str, frame: LiveFrame) -> NDArray[np.float16]:
    (embeddings,) = embedder.map([block])  # (1, D), with an axis of views before it where there are views
    with np.errstate(over="ignore", invalid="ignore"):
        row: NDArray[np.float16] = embeddings.reshape(-1, embeddings.shape[-1])[0].astype(np.float16)
    if not np.isfinite(row).all():
        raise ExtractionError(
            f"stream {stream!r}, frame {frame.index}: expected embeddings that float16 holds (up to 65504), "
            f"got {float(np.abs(embeddings).max()):g}; check the weights of the {stream} backbone"
        )
    return row
