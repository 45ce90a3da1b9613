"""A clip with a drawn face and a tone, and heads that need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, VisualConfig
from pipeline.faces.detector import FaceDetector
from pipeline.feature_spec import feature_spec
from pipeline.models import Models, load_models
from tagf_head.checkpoint import CheckpointInfo, save_checkpoint
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.heads import build_head

TINY = Path(__file__).parents[1]  # has the tiny backbones
NUM_FRAMES, FPS = 18, 25
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("center",)),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights="", anchor="end"),
    faces=FaceConfig(detect_every=1),
    batch_size=16,
)
HEAD = HeadConfig(
    name="concat",
    visual_features=6,
    audio_features=8,
    visual_channels=(8,),
    audio_channels=(6,),
    kernel_size=3,
    causal=True,
    regressor_features=8,
)
TRAINING = TrainConfig(head=HEAD, window=12, stride=6)


@pytest.fixture(scope="package", autouse=True)
def importable() -> Iterator[None]:
    """The tiny backbones can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TINY))
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def config() -> ExtractConfig:
    return CONFIG


@pytest.fixture(scope="package")
def models(detector: FaceDetector, importable: None) -> Models:
    return replace(load_models(CONFIG), detector=detector)


@pytest.fixture(scope="package")
def write_clip(draw_face: Callable[..., Any], write_media: Callable[..., None]) -> Callable[..., Path]:
    """A face that moves, and noise at a sample rate."""

    def write(path: Path, sample_rate_hz: int = 16_000, num_frames: int = NUM_FRAMES) -> Path:
        pictures = [
            draw_face((160, 200), (75 + frame / 2, 100 + frame / 4), 130.0)[0] for frame in range(num_frames)
        ]
        generator = np.random.default_rng(0)
        samples = generator.normal(0, 0.1, (1, round(num_frames / FPS * sample_rate_hz)))
        write_media(
            path,
            pictures,
            [frame / FPS for frame in range(num_frames)],
            samples=samples.astype(np.float32),
            sample_rate_hz=sample_rate_hz,
            audio_codec="pcm_s16le",
        )
        return path

    return write


@pytest.fixture(scope="package")
def clip(tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path]) -> Path:
    return write_clip(tmp_path_factory.mktemp("live") / "clip.mkv")


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A head with its first weights; settings of the head and of the features in place of the usual ones."""

    def made(extract: ExtractConfig = CONFIG, **head: Any) -> Path:
        torch.manual_seed(0)
        training = replace(TRAINING, head=replace(HEAD, **head))
        info = CheckpointInfo(
            train=training,
            spec=feature_spec(extract),
            features_digest="0" * 64,
            annotations_digest="0" * 64,
            versions={},
            key="",
            best_epoch=1,
            validation_ccc={"valence": 0.0, "arousal": 0.0, "mean": 0.0},
            trained_on=(),
        )
        path = tmp_path / "best.safetensors"
        save_checkpoint(path, build_head(training.head).state_dict(), info)
        return path

    return made
