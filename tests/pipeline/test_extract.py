"""One clip through decoding, faces, log-mel and backbones whose rows can be worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cache import ClipFeatures, ClipKey, FeatureSpec, PartStore, StreamSpec
from pipeline.backbones.backbone import Backbone
from pipeline.backbones.clip_stream import ClipFrames, ClipStream
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig, FaceConfig, MediaConfig, VisualConfig
from pipeline.embedding import StreamEmbedder
from pipeline.errors import ExtractionError, MediaError
from pipeline.extract import ClipExtraction
from pipeline.faces.detector import FaceDetector
from pipeline.faces.tracks import track_faces
from pipeline.media.audio import stream_sound
from pipeline.media.log_mel import LogMelStream
from pipeline.media.video import decode_video
from pipeline.models import Models
from pipeline.stage_clock import StageClock

CONFIG = ExtractConfig(faces=FaceConfig(detect_every=4), batch_size=16)
NUM_FRAMES, NUM_FACES, FPS = 30, 20, 25
CPU = torch.device("cpu")


class Halves(Backbone):
    """Means of the left and the right half, times a gain."""

    num_features = 2

    def __init__(self, takes: Any, shape: tuple[int, ...], gain: float = 1.0) -> None:
        super().__init__()
        self.takes, self.input_shape, self.gain = takes, shape, gain

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        middle = inputs.shape[-1] // 2
        axes = tuple(range(1, inputs.ndim))
        halves = [inputs[..., :middle].mean(axes), inputs[..., middle:].mean(axes)]
        return self.gain * torch.stack(halves, 1)


class Places(ClipStream):
    """Frame number and time of every row."""

    num_features = 2

    def rows(self, clip: ClipFrames) -> NDArray[np.float32]:
        return np.stack([clip.source_frame, clip.time_s], 1).astype(np.float32)


@pytest.fixture
def models(detector: FaceDetector) -> Callable[..., Models]:
    def build(
        batch_size: int = 16,
        visual_gain: float = 1.0,
        audio_gain: float = 1.0,
        views: tuple[str, ...] = ("center", "flip"),
    ) -> Models:
        def embedder(name: str, backbone: Backbone, views: tuple[str, ...] | None = None) -> StreamEmbedder:
            return StreamEmbedder(backbone, name=name, batch_size=batch_size, device=CPU, views=views)

        return Models(
            detector=detector,
            embedders={
                "visual": embedder("visual", Halves("faces", (3, 40, 40), visual_gain), views),
                "large": embedder("large", Halves("faces", (3, 112, 112))),
                "audio": embedder("audio", Halves("log_mel", (1, 96, 64), audio_gain)),
                "sound": embedder("sound", Halves("waveform", (1600,))),
            },
            clip_streams={"places": Places("")},
        )

    return build


@pytest.fixture
def extract(tmp_path: Path) -> Callable[..., tuple[ClipFeatures, dict[str, Any]]]:
    """Rows and facts of a clip, through a part."""

    def run(
        source: ClipSource, config: ExtractConfig, models: Models, clock: StageClock | None = None
    ) -> tuple[ClipFeatures, dict[str, Any]]:
        streams = [
            StreamSpec(
                name=name,
                num_features=2,
                views=tuple(each.views) if name == "visual" and each.views else None,
            )
            for name, each in models.embedders.items()
        ]
        spec = FeatureSpec(streams=(*streams, StreamSpec(name="places", num_features=2)), settings={})
        key = ClipKey(
            clip_id="x", media_sha256="0" * 64, faces_sha256=None, selection="", fingerprint="0" * 16
        )
        parts = PartStore(tmp_path / "parts")
        work = ClipExtraction(
            source=source, config=config, models=models, spill=tmp_path, clock=clock or StageClock()
        )
        with parts.writer(key, spec) as writer:
            facts = work.write_rows(work.faces(), writer)
            writer.commit(facts)
        return parts.read(key).features, facts

    return run


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
    clip: ClipSource,
    models: Callable[..., Models],
    detector: FaceDetector,
    extract: Callable[..., Any],
    tmp_path: Path,
) -> None:
    clock = StageClock()
    features, facts = extract(clip, CONFIG, models(), clock)
    frames = decode_video(clip.media)
    crops = list(track_faces(frames, detector, CONFIG.faces, (48, 112), "largest", tmp_path))
    found = np.array([crop.crops is not None for crop in crops])
    assert found[: NUM_FACES - 1].all()
    assert not found[NUM_FACES:].any()
    visual = np.zeros((2, NUM_FRAMES, 2))
    large = np.zeros((NUM_FRAMES, 2))
    for frame in np.flatnonzero(found):
        pixels = (crops[frame].crops[48][4:44, 4:44] / 255 - 0.5) / 0.5
        halves = [pixels[:, :20].mean(), pixels[:, 20:].mean()]
        visual[:, frame] = halves, halves[::-1]
        pixels = (crops[frame].crops[112] / 255 - 0.5) / 0.5
        large[frame] = pixels[:, :56].mean(), pixels[:, 56:].mean()
    np.testing.assert_allclose(features.streams["visual"], visual, atol=1e-3)
    np.testing.assert_allclose(features.streams["large"], large, atol=1e-3)
    assert np.array_equal(features.face_found, found)
    assert np.array_equal(features.face_box[3], crops[3].box)
    assert features.face_score[3] == np.float32(crops[3].score)
    assert not features.face_box[~found].any()
    assert not features.face_score[~found].any()

    examples, heard = LogMelStream(stream_sound(clip.media), "center").block(features.time_s)
    log_mel = np.stack([examples.grid[first : first + 96] for first in examples.first_rows])
    audio = np.stack([log_mel[:, :, :32].mean((1, 2)), log_mel[:, :, 32:].mean((1, 2))], 1)
    audio[~heard] = 0
    np.testing.assert_allclose(features.streams["audio"], audio, rtol=1e-3)
    # Examples reach 0.4875 s to either side: the tone is heard from 0.3125 s on, and the encoder's priming
    # 64 ms earlier, where the container does not note it.
    assert np.array_equal(features.audio_found, heard)
    assert features.audio_found[features.time_s > 0.32].all()
    assert not features.audio_found[features.time_s < 0.24].any()

    np.testing.assert_allclose(features.time_s, np.arange(NUM_FRAMES) / FPS, atol=1e-6)
    assert features.source_frame.tolist() == list(range(NUM_FRAMES))
    assert facts["num_frames"] == NUM_FRAMES
    assert facts["num_face_frames"] == found.sum()
    assert facts["num_audio_frames"] == features.audio_found.sum()
    assert facts["media"]["width"] == 160
    np.testing.assert_allclose(features.streams["places"][:, 0], np.arange(NUM_FRAMES))
    np.testing.assert_allclose(features.streams["places"][:, 1], features.time_s, atol=1e-3)
    assert min(clock.seconds.values()) > 0


def test_rows_do_not_depend_on_the_batch_size(
    clip: ClipSource, models: Callable[..., Models], extract: Callable[..., Any]
) -> None:
    small, _ = extract(clip, CONFIG, models(batch_size=16))
    large, _ = extract(clip, CONFIG, models(batch_size=50))
    for name in small.streams:
        assert np.array_equal(small.streams[name], large.streams[name])


def test_one_view_is_the_same_as_among_two(
    clip: ClipSource, models: Callable[..., Models], extract: Callable[..., Any]
) -> None:
    both, _ = extract(clip, CONFIG, models())
    config = ExtractConfig(visual=VisualConfig(views=("flip",)), faces=CONFIG.faces, batch_size=16)
    alone, _ = extract(clip, config, models(views=("flip",)))
    assert np.array_equal(alone.streams["visual"], both.streams["visual"][1:])


@pytest.mark.parametrize("gains", [{"visual_gain": 1e6}, {"audio_gain": float("nan")}])
def test_rows_that_float16_cannot_hold_are_refused(
    clip: ClipSource, models: Callable[..., Models], extract: Callable[..., Any], gains: dict[str, float]
) -> None:
    stream = next(iter(gains)).removesuffix("_gain")
    healthy, _ = extract(clip, CONFIG, models())
    first = np.argmax(healthy.audio_found if stream == "audio" else healthy.face_found)
    message = f"clip 'group/x', stream '{stream}', frame {first}: expected embeddings that float16 holds"
    with pytest.raises(ExtractionError, match=message):
        extract(clip, CONFIG, models(**gains))


def test_the_row_that_float16_cannot_hold_is_named_in_any_block(
    clip: ClipSource, models: Callable[..., Models], extract: Callable[..., Any]
) -> None:
    config = dataclasses.replace(CONFIG, media=MediaConfig(resample_fps=300))  # sound begins in the second
    healthy, _ = extract(clip, config, models())
    first = int(np.argmax(healthy.audio_found))
    assert first > 64
    with pytest.raises(ExtractionError, match=f"stream 'audio', frame {first}: expected embeddings"):
        extract(clip, config, models(audio_gain=float("nan")))


def test_clip_without_sound_and_faces(
    tmp_path: Path,
    models: Callable[..., Models],
    extract: Callable[..., Any],
    write_media: Callable[..., None],
) -> None:
    write_media(tmp_path / "y.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 3, [0, 0.04, 0.08])
    features, facts = extract(ClipSource(clip_id="y", media=tmp_path / "y.mp4"), CONFIG, models())
    assert features.num_frames == 3
    assert not features.face_found.any()
    assert not features.audio_found.any()
    assert not features.streams["visual"].any()
    assert not features.streams["audio"].any()
    assert facts["media"]["audio_codec"] is None


def test_media_without_pictures_are_refused(
    tmp_path: Path,
    models: Callable[..., Models],
    extract: Callable[..., Any],
    write_media: Callable[..., None],
) -> None:
    write_media(tmp_path / "z.mp4", [], [], samples=np.zeros((1, 4800), np.float32))
    with pytest.raises(MediaError, match=r"z\.mp4"):
        extract(ClipSource(clip_id="z", media=tmp_path / "z.mp4"), CONFIG, models())


def test_rows_at_a_constant_rate_show_the_frames_nearest_in_time(
    clip: ClipSource, models: Callable[..., Models], extract: Callable[..., Any]
) -> None:
    each, _ = extract(clip, CONFIG, models())
    config = dataclasses.replace(CONFIG, media=MediaConfig(resample_fps=37))
    often, facts = extract(clip, config, models())
    times_s = np.arange(facts["num_frames"]) / 37
    assert abs(facts["num_frames"] - 30 / 25 * 37) <= 1
    np.testing.assert_allclose(often.time_s, times_s, atol=1e-9)
    nearest = np.array([np.argmin(np.abs(each.time_s - time_s)) for time_s in times_s])
    assert np.array_equal(often.source_frame, nearest)
    assert np.array_equal(often.streams["visual"], each.streams["visual"][:, nearest])
    assert np.array_equal(often.face_box, each.face_box[nearest])
    # Sound is that of the row's own time, not of the frame's.
    loud = (often.time_s > 0.86) & (often.time_s < 1.04)
    assert len(np.unique(often.streams["sound"][loud], axis=0)) == loud.sum()
    assert len(np.unique(often.source_frame[loud])) < loud.sum()


def test_cropped_faces_are_taken_as_they_are(
    clip: ClipSource, models: Callable[..., Models], extract: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "cropped"
    folder.mkdir()
    for frame in (0, 3, 29, 50):
        colour = np.full((112, 112, 3), 2 * frame + 100, np.uint8)
        colour[:, 56:] = 50
        Image.fromarray(colour).save(folder / f"{frame + 1:05d}.jpg", quality=100)
    cropped = dataclasses.replace(clip, faces=folder)
    features, facts = extract(cropped, CONFIG, models())
    assert np.flatnonzero(features.face_found).tolist() == [0, 3, 29]
    assert facts["num_surplus_faces"] == 1
    left = (np.array([100, 106, 158]) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(features.streams["large"][[0, 3, 29], 0], left, atol=0.02)
    np.testing.assert_allclose(features.streams["visual"][0][[0, 3, 29], 0], left, atol=0.03)
    assert not features.face_box.any()
    assert np.array_equal(features.face_score, features.face_found.astype(np.float32))
