"""Everything of a live prediction, opened: checkpoint, networks, source."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ExtractConfig
from pipeline.live.capture import Capture, camera_input
from pipeline.live.face_refiner import FaceRefiner
from pipeline.live.file_playback import FilePlayback
from pipeline.live.live_head import load_live_head, notes_on, trailing_window
from pipeline.live.live_prediction import LiveAnswer, predict_live
from pipeline.live.live_source import LiveSource
from pipeline.live.row_maker import RowMaker, live_models
from pipeline.live.trailing_window import TrailingWindow
from pipeline.model_sharing.model_source import find_checkpoint
from pipeline.models import resolve_device
from pipeline.prediction.extract_settings import extract_settings, library_note


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveSession:
    """What a live prediction needs.

    Attributes:
        source: Not started yet.
        maker: Makes its rows.
        window: Empty.
        config: The `extract` section of the head's features.
        notes: What its user should know, a line each.
    """

    source: LiveSource
    maker: RowMaker
    window: TrailingWindow
    config: ExtractConfig
    notes: tuple[str, ...]

    def answers(self) -> Generator[LiveAnswer]:
        """The answers, once; closing it ends the source.

        Raises:
            MediaError: The source failed.
        """
        return predict_live(self.source, self.maker, self.window, resample_fps=self.config.media.resample_fps)


def open_session(
    checkpoint: str | Path,
    *,
    media: Path | None = None,
    camera: str | None = None,
    microphone: str | None = None,
    every: int = 1,
    at_own_pace: bool = True,
    params: Path | None = None,
    weights: Mapping[str, str] | None = None,
    device: str = "auto",
) -> LiveSession:
    """Load what a live prediction needs, and open its source.

    Args:
        checkpoint: As for `find_checkpoint`.
        media: A file.
        camera: A camera instead, as for `camera_input`.
        microphone: With it, as for `camera_input`.
        every: Only every n-th frame is answered.
        at_own_pace: Whether a file's frames arrive at their times.
        params: File whose `extract` section says where weights are; None for none.
        weights: Weights by stream.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        CheckpointError: There is no such checkpoint, or its features are not causal.
        PipelineError: Weights, device or source cannot be used.
    """
    place = resolve_device(device)
    path = find_checkpoint(checkpoint)
    loaded = load_live_head(path, device=place)
    config = extract_settings(loaded.info, params=params, weights=weights or {}, where=str(path))
    inputs = None if camera is None else camera_input(camera, microphone)
    models = live_models(config, str(place))
    maker = RowMaker(config, models, FaceRefiner(place))
    notes = notes_on(loaded)
    if (of_libraries := library_note(loaded.info.spec, where=str(path))) is not None:
        notes.append(of_libraries)
    source: LiveSource
    if inputs is not None:
        source = Capture(inputs, config.limits, every=every, window_samples=maker.window_samples)
        if microphone is None:
            notes.append("no --microphone: the head hears silence")
    else:
        assert media is not None, "either a file or a camera"
        source = FilePlayback(
            media,
            config.media,
            config.limits,
            every=every,
            at_own_pace=at_own_pace,
            window_samples=maker.window_samples,
        )
    return LiveSession(
        source=source, maker=maker, window=trailing_window(loaded), config=config, notes=tuple(notes)
    )
