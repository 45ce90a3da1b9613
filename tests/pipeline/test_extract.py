"""One clip through decoding, faces, log-mel and backbones whose rows can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.audio import read_waveform
from pipeline.backbones.backbone import Backbone
from pipeline.config import ExtractConfig, FaceConfig, VisualConfig
from pipeline.embedding import Embedder
from pipeline.errors import ExtractionError, MediaError
from pipeline.extract import Models, extract_clip, resolve_device
from pipeline.face_tracks import track_faces
from pipeline.faces import FaceDetector
from pipeline.log_mel import LogMelExamples
from pipeline.manifest import ClipSource
from pipeline.stage_clock import StageClock
from pipeline.video import decode_video

CONFIG = ExtractConfig(faces=FaceConfig(detect_every=4), batch_size=16)
NUM_FRAMES, NUM_FACES, FPS = 30, 20, 25


class Halves(Backbone):
    """Means of the left and the right half, times a gain."""

    def __init__(self, shape: tuple[int, int, int], gain: float = 1.0) -> None:
        super().__init__()
        self.num_features, self.input_shape, self.gain = 2, shape, gain

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        middle = inputs.shape[3] // 2
        halves = [inputs[..., :middle].mean((1, 2, 3)), inputs[..., middle:].mean((1, 2, 3))]
        return self.gain * torch.stack(halves, 1)


@pytest.fixture
def models(detector: FaceDetector) -> Callable[..., Models]:
    def build(batch_size: int = 16, visual_gain: float = 1.0, audio_gain: float = 1.0) -> Models:
        cpu = torch.device("cpu")
        return Models(
            visual=Embedder(Halves((3, 40, 40), visual_gain), batch_size=batch_size, device=cpu),
            audio=Embedder(Halves((1, 96, 64), audio_gain), batch_size=batch_size, device=cpu),
            detector=detector,
        )

    return build


@pytest.fixture(scope="module")
def clip(
    tmp_path_factory: pytest.TempPathFactory, draw_face: Callable[..., Any], write_media: Callable[..., None]
) -> ClipSource:
    """A face that leaves after 20 of 30 frames, and a tone from 0.8 s: the first frames do not hear it."""
    path = tmp_path_factory.mktemp("clip") / "x.mp4"
    pictures = [
        draw_face((160, 200), (80 + frame / 4, 100) if frame < NUM_FACES else None, 130.0)[0]
        for frame in range(NUM_FRAMES)
    ]
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4800) / 16_000)
    write_media(
        path,
        pictures,
        [frame / FPS for frame in range(NUM_FRAMES)],
        samples=tone[None].astype(np.float32),
        sample_rate_hz=16_000,
        sound_start_s=0.8,
    )
    return ClipSource(clip_id="group/x", media=path)


def test_rows_are_what_the_backbones_make_of_crops_and_examples(
    clip: ClipSource, models: Callable[..., Models], detector: FaceDetector
) -> None:
    clock = StageClock()
    features, facts = extract_clip(clip, CONFIG, models(), clock)
    crops = list(track_faces(decode_video(clip.media), detector, CONFIG.faces))
    found = np.array([crop.crop is not None for crop in crops])
    assert found[: NUM_FACES - 1].all()
    assert not found[NUM_FACES:].any()
    visual = np.zeros((2, NUM_FRAMES, 2))
    for frame in np.flatnonzero(found):
        pixels = (crops[frame].crop[4:44, 4:44] / 255 - 0.5) / 0.5
        halves = [pixels[:, :20].mean(), pixels[:, 20:].mean()]
        visual[:, frame] = halves, halves[::-1]
    np.testing.assert_allclose(features.streams["visual"], visual, atol=1e-3)
    assert np.array_equal(features.face_found, found)
    assert np.array_equal(features.face_box[3], crops[3].box)
    assert features.face_score[3] == np.float32(crops[3].score)
    assert not features.face_box[~found].any()
    assert not features.face_score[~found].any()

    examples = LogMelExamples(read_waveform(clip.media), features.time_s, "center")
    log_mel = examples.batch(0, NUM_FRAMES)[:, 0]
    audio = np.stack([log_mel[:, :, :32].mean((1, 2)), log_mel[:, :, 32:].mean((1, 2))], 1)
    audio[~examples.audio_found] = 0
    np.testing.assert_allclose(features.streams["audio"], audio, rtol=1e-3)
    # Examples reach 0.4875 s to either side: the tone is heard from 0.3125 s on, and the encoder's priming
    # 64 ms earlier, where the container does not note it.
    assert np.array_equal(features.audio_found, examples.audio_found)
    assert features.audio_found[features.time_s > 0.32].all()
    assert not features.audio_found[features.time_s < 0.24].any()

    np.testing.assert_allclose(features.time_s, np.arange(NUM_FRAMES) / FPS, atol=1e-6)
    assert features.source_frame.tolist() == list(range(NUM_FRAMES))
    assert facts["num_frames"] == NUM_FRAMES
    assert facts["num_face_frames"] == found.sum()
    assert facts["num_audio_frames"] == features.audio_found.sum()
    assert facts["media"]["width"] == 160
    assert min(clock.seconds[stage] for stage in clock.seconds if stage != "write") > 0


def test_rows_do_not_depend_on_the_batch_size(clip: ClipSource, models: Callable[..., Models]) -> None:
    small, _ = extract_clip(clip, CONFIG, models(batch_size=16))
    large, _ = extract_clip(clip, CONFIG, models(batch_size=50))
    for name in ("visual", "audio"):
        assert np.array_equal(small.streams[name], large.streams[name])


def test_one_view_is_the_same_as_among_two(clip: ClipSource, models: Callable[..., Models]) -> None:
    both, _ = extract_clip(clip, CONFIG, models())
    config = ExtractConfig(visual=VisualConfig(views=("flip",)), faces=CONFIG.faces, batch_size=16)
    alone, _ = extract_clip(clip, config, models())
    assert np.array_equal(alone.streams["visual"], both.streams["visual"][1:])


@pytest.mark.parametrize("gains", [{"visual_gain": 1e6}, {"audio_gain": float("nan")}])
def test_rows_that_float16_cannot_hold_are_refused(
    clip: ClipSource, models: Callable[..., Models], gains: dict[str, float]
) -> None:
    stream = next(iter(gains)).removesuffix("_gain")
    healthy, _ = extract_clip(clip, CONFIG, models())
    first = np.argmax(healthy.audio_found if stream == "audio" else healthy.face_found)
    message = f"clip 'group/x', stream '{stream}', frame {first}: expected embeddings that float16 holds"
    with pytest.raises(ExtractionError, match=message):
        extract_clip(clip, CONFIG, models(**gains))


def test_clip_without_sound_and_faces(
    tmp_path: Path, models: Callable[..., Models], write_media: Callable[..., None]
) -> None:
    write_media(tmp_path / "y.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 3, [0, 0.04, 0.08])
    features, facts = extract_clip(ClipSource(clip_id="y", media=tmp_path / "y.mp4"), CONFIG, models())
    assert features.num_frames == 3
    assert not features.face_found.any()
    assert not features.audio_found.any()
    assert not features.streams["visual"].any()
    assert not features.streams["audio"].any()
    assert facts["media"]["audio_codec"] is None


def test_media_without_pictures_are_refused(
    tmp_path: Path, models: Callable[..., Models], write_media: Callable[..., None]
) -> None:
    write_media(tmp_path / "z.mp4", [], [], samples=np.zeros((1, 4800), np.float32))
    with pytest.raises(MediaError, match=r"z\.mp4"):
        extract_clip(ClipSource(clip_id="z", media=tmp_path / "z.mp4"), CONFIG, models())


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ExtractionError, match="device 'gpu' is not known; give auto, cpu, cuda or cuda:N"):
        resolve_device("gpu")
    with pytest.raises(ExtractionError, match="device 'cuda:99': expected a device of this machine"):
        resolve_device("cuda:99")
