"""A tiny feature store and its labels, in which both streams show valence and arousal."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from cache import ClipFeatures, ClipKey, FeatureSpec, PartStore, StreamSpec, pack_store
from tagf_head.config import HeadConfig, TrainConfig

if TYPE_CHECKING:
    from tagf_head.training.train import TrainResult

VISUAL_FEATURES, AUDIO_FEATURES = 16, 8

TINY_HEAD = HeadConfig(
    name="tagf",
    visual_channels=(8, 8),
    audio_channels=(6,),
    kernel_size=3,
    tcn_dropout=0.1,
    recurrent_features=6,
    attention_dropout=0.1,
    attended_features=4,
    reference_length=20,
    num_layers=1,
    num_attention_heads=2,
    attention_features=3,
    model_features=8,
    feedforward_features=12,
    regressor_features=8,
)
TINY_TRAINING = TrainConfig(
    head=TINY_HEAD, window=20, stride=12, batch_size=4, lr=3e-3, warmup_epochs=1, max_epochs=4, seed=5
)

SPLITS = {
    "Train_Set": {"t1": 50, "t2": 33, "t3_left": 7, "t3_right": 41},
    "Validation_Set": {"v1": 30, "v2": 45},
    "Test_Set": {"e1": 26, "e2_left": 38, "e2_right": 11, "e3": 20},
}


@dataclass(frozen=True)
class Corpus:
    """Where a tiny corpus lies, and what is in it."""

    store: Path
    annotations: Path
    clips: Mapping[str, ClipFeatures]
    labels: Mapping[str, np.ndarray]
    """As written to the files, float64."""


WriteCorpus = Callable[..., Corpus]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # The promise of equal bits holds for one number of threads, and the tests' heads are too small for two.
    torch.set_num_threads(1)


def tiny_spec(**settings: str | int | float | bool) -> FeatureSpec:
    return FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=VISUAL_FEATURES, views=("center", "flip")),
            StreamSpec(name="audio", num_features=AUDIO_FEATURES),
        ),
        settings={"visual.weights": "random:0/1", "audio.anchor": "center", **settings},
    )


def make_clip(num_frames: int, emotion: np.ndarray, generator: np.random.Generator) -> ClipFeatures:
    """Features that show `emotion`, (N, 2), by direction alone, since heads normalise their rows."""

    def stream(num_features: int, noise: float) -> np.ndarray:
        # One mixture for every clip: the generator of the mixture does not belong to the clip.
        mixture = np.random.default_rng(num_features).standard_normal((3, num_features))
        shown = np.column_stack([np.ones(num_frames), emotion]) @ mixture
        return (shown + noise * generator.standard_normal(shown.shape)).astype(np.float16)

    visual = np.stack([stream(VISUAL_FEATURES, 0.2), stream(VISUAL_FEATURES, 0.2)])
    face_found = generator.random(num_frames) > 0.1
    visual[:, ~face_found] = 0
    return ClipFeatures(
        streams={"visual": visual, "audio": stream(AUDIO_FEATURES, 0.2)},
        time_s=np.arange(num_frames) / 25 + 0.4,
        source_frame=np.arange(num_frames, dtype=np.int64),
        face_found=face_found,
        audio_found=np.ones(num_frames, bool),
        face_box=np.zeros((num_frames, 4), np.float32),
        face_score=face_found.astype(np.float32),
    )


def make_emotion(num_frames: int, generator: np.random.Generator) -> np.ndarray:
    """(N, 2) valence and arousal, two slow waves."""
    phase = generator.uniform(0, 2 * np.pi, 2) + np.arange(num_frames)[:, None] / generator.uniform(4, 9, 2)
    return np.round(0.6 * np.sin(phase) + generator.uniform(-0.3, 0.3, 2), 6)


def write_labels(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("valence,arousal\n" + "".join(f"{v},{a}\n" for v, a in labels))


def write_corpus(
    directory: Path,
    splits: Mapping[str, Mapping[str, int]] = SPLITS,
    *,
    seed: int = 0,
    spec: FeatureSpec | None = None,
) -> Corpus:
    """Store and labels; one clip more in the store than there are labels, every 7th frame not annotated."""
    spec = spec or tiny_spec()
    generator = np.random.default_rng(seed)
    part_store, parts = PartStore(directory / "parts"), []
    clips, labels = {}, {}
    sizes = {clip: size for split in splits.values() for clip, size in split.items()} | {"unlabelled": 9}
    for clip_id, num_frames in sizes.items():
        emotion = make_emotion(num_frames, generator)
        clips[clip_id] = make_clip(num_frames, emotion, generator)
        labels[clip_id] = emotion
        key = ClipKey(
            clip_id=clip_id,
            media_sha256=hashlib.sha256(clip_id.encode()).hexdigest(),
            faces_sha256=None,
            selection="",
            fingerprint=spec.fingerprint,
        )
        part_store.commit(key, clips[clip_id], {})
        parts.append((part_store, key))
    for folder, split in splits.items():
        for clip_id in split:
            labels[clip_id][3::7, 1] = -5
            write_labels(directory / "annotations" / folder / f"{clip_id}.txt", labels[clip_id])
    pack_store(parts, spec, directory / "features.zarr")
    return Corpus(directory / "features.zarr", directory / "annotations", clips, labels)


@pytest.fixture(scope="session", name="write_corpus")
def _write_corpus() -> WriteCorpus:
    """Writes a corpus of its own for a test that changes it."""
    return write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The tiny corpus, for tests that leave it alone."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def run_processes() -> Callable[..., list[Any]]:
    """`process_group.run_processes`: real processes that run one function as a gloo group."""
    # By path: under pytest's importlib mode, test folders are not importable by name.
    path = Path(__file__).with_name("process_group.py")
    spec = importlib.util.spec_from_file_location("process_group", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Callable[..., list[Any]] = module.run_processes
    return run


@pytest.fixture(scope="session")
def training() -> TrainConfig:
    """Settings with which training of the tiny corpus takes a second."""
    return TINY_TRAINING


@pytest.fixture(scope="session")
def undisturbed(
    corpus: Corpus, training: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainResult]:
    """A run of the tiny training that nothing came in the way of: its folder, and what it gave."""
    from tagf_head.training.train import train_head

    directory = tmp_path_factory.mktemp("undisturbed")
    result = train_head(
        corpus.store, corpus.annotations, directory / "run", training, work_dir=directory / "work"
    )
    return directory / "run", result


@pytest.fixture
def train(corpus: Corpus, tmp_path: Path) -> Callable[..., TrainResult]:
    """Trains on the tiny corpus, into a folder of the test's, with a work folder of the test's."""
    from tagf_head.training.train import train_head

    def run(name: str, config: TrainConfig, **options: Any) -> TrainResult:
        return train_head(
            corpus.store, corpus.annotations, tmp_path / name, config, work_dir=tmp_path / "work", **options
        )

    return run
