"""Pictures and sound side by side against stage one, which has them one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cache import ClipFeatures, ClipKey, PartStore
from pipeline.clip_source import ClipSource
from pipeline.config import AudioConfig, ExtractConfig, MediaConfig, VisualConfig
from pipeline.errors import ExtractionError, MediaError
from pipeline.extract import ClipExtraction
from pipeline.feature_spec import feature_spec
from pipeline.models import Models, load_models
from pipeline.prediction.clip_rows import ROW_ARRAYS, RowBlock, media_rows

CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("center",)),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    batch_size=16,
)
NUM_FRAMES = 150


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1]))
        torch.set_num_threads(1)
        yield load_models(CONFIG, "cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, write_media: Callable[..., None]) -> ClipSource:
    """Faces in some frames, sound that begins late and ends early."""
    root, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    write_media(
        root / "x.mkv",
        [np.full((48, 64, 3), 90, np.uint8)] * NUM_FRAMES,
        [frame / 25 for frame in range(NUM_FRAMES)],
        samples=0.2 * rng.standard_normal((1, 40_000)).astype(np.float32),
        sample_rate_hz=16_000,
        sound_start_s=1.3,
    )
    (root / "faces").mkdir()
    for frame in [*range(0, 50, 7), *range(90, 150)]:
        crop = rng.integers(0, 256, (48, 48, 3), np.uint8)
        Image.fromarray(crop).save(root / "faces" / f"{frame + 1:05d}.jpg")
    return ClipSource(clip_id="x", media=root / "x.mkv", faces=root / "faces")


def extracted(clip: ClipSource, config: ExtractConfig, models: Models, folder: Path) -> ClipFeatures:
    spec = feature_spec(config)
    key = ClipKey(
        clip_id="x", media_sha256="0" * 64, faces_sha256=None, selection="", fingerprint=spec.fingerprint
    )
    work = ClipExtraction(source=clip, config=config, models=models, spill=folder)
    parts = PartStore(folder / "parts")
    with parts.writer(key, spec) as writer:
        writer.commit(work.write_rows(work.faces(), writer))
    return parts.read(key).features


def blocks_of(clip: ClipSource, config: ExtractConfig, models: Models, folder: Path) -> list[RowBlock]:
    work = ClipExtraction(source=clip, config=config, models=models, spill=folder)
    return list(media_rows(work, work.faces()))


@pytest.mark.parametrize("resample_fps", [None, 3.0, 180.0])
def test_rows_are_those_of_stage_one(
    clip: ClipSource, models: Models, tmp_path: Path, resample_fps: float | None
) -> None:
    config = dataclasses.replace(CONFIG, media=MediaConfig(resample_fps=resample_fps))
    expected = extracted(clip, config, models, tmp_path)
    assert expected.audio_found.any()
    assert not expected.audio_found.all()
    blocks = blocks_of(clip, config, models, tmp_path)
    for name in ROW_ARRAYS:
        whole = np.concatenate([block.arrays[name] for block in blocks])
        assert whole.dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(whole, getattr(expected, name))
    for name in ("visual", "audio"):
        rows = np.concatenate([getattr(block, name) for block in blocks])
        streams = expected.streams["visual"][0] if name == "visual" else expected.streams["audio"]
        assert rows.dtype == np.float16
        np.testing.assert_array_equal(rows, streams)


def test_sound_is_decoded_in_step_with_the_pictures(
    clip: ClipSource, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come while pictures are decoded, also through a stretch without a face or without sound."""
    decoded: list[int] = []
    frames = ClipExtraction._frames

    def counted(work: ClipExtraction, **options: Any) -> Iterator[Any]:
        for frame in frames(work, **options):
            decoded.append(frame.index)
            yield frame

    monkeypatch.setattr(ClipExtraction, "_frames", counted)
    monkeypatch.setattr("pipeline.frame_blocks.MAX_BLOCK_INPUTS", 8)
    monkeypatch.setattr("pipeline.embedding._MAX_WAITING_BLOCKS", 3)
    expected = extracted(clip, CONFIG, models, tmp_path)
    decoded.clear()
    work = ClipExtraction(source=clip, config=CONFIG, models=models, spill=tmp_path)
    num_rows, rows = 0, []
    for block in media_rows(work, work.faces()):
        num_rows += len(block)
        # At most: three blocks wait and one is drawn, for faces and again for sound; and one is in flight.
        assert len(decoded) - num_rows <= 8 * 8
        rows.append(block.visual)
    np.testing.assert_array_equal(np.concatenate(rows), expected.streams["visual"][0])


def test_media_without_pictures(models: Models, tmp_path: Path, write_media: Callable[..., None]) -> None:
    write_media(tmp_path / "z.mp4", [], [], samples=np.zeros((1, 4800), np.float32))
    with pytest.raises(MediaError, match=r"z\.mp4"):
        blocks_of(ClipSource(clip_id="z", media=tmp_path / "z.mp4"), CONFIG, models, tmp_path)


def test_rows_that_float16_cannot_hold_are_refused(
    clip: ClipSource, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = type(models.embedders["audio"])._embed
    audio = models.embedders["audio"]
    monkeypatch.setattr(audio, "_embed", lambda inputs: forward(audio, inputs) * 1e9)
    with pytest.raises(ExtractionError, match=r"clip 'x', stream 'audio', frame \d+: expected embeddings"):
        blocks_of(clip, CONFIG, models, tmp_path)
