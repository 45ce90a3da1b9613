"""A few clips in containers of all kinds, and their store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cache import FeatureStore
from pipeline.config import AudioConfig, ExtractConfig, VisualConfig
from pipeline.run.clip_supervisor import clip_process
from pipeline.run.runner import RunOptions, extract_features

TINY = Path(__file__).parents[1]  # has the tiny backbones
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("center", "flip")),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    batch_size=16,
)


@dataclass
class Corpus:
    """Media, their store, and the work folder that both came from."""

    root: Path
    source: Path
    config: ExtractConfig = CONFIG

    @property
    def store(self) -> Path:
        return self.root / "features.zarr"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def clean(self) -> FeatureStore:
        return FeatureStore.open(self.store)

    def extract(self, source: Path, out: Path, **options: Any) -> FeatureStore:
        given = {"workers": 1, "device": "cpu", "work_dir": self.work} | options
        extract_features(source, "manifest", out, self.config, RunOptions(**given))
        return FeatureStore.open(out)


@pytest.fixture(scope="package", autouse=True)
def importable() -> Iterator[None]:
    """The tiny backbones can be imported, here and in the processes that this one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TINY))
        clip_process().close()  # one of an earlier test could not import them
        yield
        clip_process().close()


@pytest.fixture(scope="package")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, draw_face: Callable[..., Any], write_media: Callable[..., None]
) -> Corpus:
    """A moving face in two clips, one of which begins late; faces that come cropped; grey pictures."""
    root = tmp_path_factory.mktemp("degradation")
    source = root / "source"
    source.mkdir()
    rng = np.random.default_rng(0)
    time_s = np.arange(24_000) / 16_000
    sound = 0.2 * np.sin(2 * np.pi * 300 * time_s) * (time_s % 0.5) + 0.02 * rng.standard_normal(24_000)
    sound = sound[None].astype(np.float32)
    pictures = [draw_face((160, 200), (76 + frame / 3, 100), 130.0)[0] for frame in range(24)]
    times_s = [frame / 25 for frame in range(24)]
    write_media(source / "face.mp4", pictures, times_s, samples=sound, sample_rate_hz=16_000)
    write_media(
        source / "late.mkv",
        pictures[:12],
        [0.2 + time_s for time_s in times_s[:12]],
        samples=np.repeat(sound, 2, 0),
        sound_start_s=0.33,
    )
    faces = source / "cropped" / "c"
    faces.mkdir(parents=True)
    for frame in (0, 1, 2, 5):
        Image.fromarray(pictures[frame][44:156, 24:136]).save(faces / f"{frame + 1:05d}.jpg")
    grey = [np.full((48, 64, 3), 60 + 5 * frame, np.uint8) for frame in range(8)]
    for name, options in {
        "c.mov": {"rotation_deg": 90},
        "d.avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame", "time_base": Fraction(1, 25)},
        "e.webm": {"video_codec": "libvpx", "audio_codec": "libopus"},
        "f.ts": {"pixel_aspect_ratio": Fraction(2)},
    }.items():
        write_media(
            source / name, grey, times_s[:8], samples=sound[:, :8000], sample_rate_hz=48_000, **options
        )
    write_media(source / "silent.mp4", grey, times_s[:8])
    lines = [
        "clip_id,video,faces,split",
        "a/face,face.mp4,,test",
        "late,late.mkv,,test",
        "c,c.mov,cropped/c,test",
        *(f"{name[0]},{name},,test" for name in ("d.avi", "e.webm", "f.ts", "silent.mp4")),
    ]
    (source / "clips.csv").write_text("\n".join(lines) + "\n")
    corpus = Corpus(root, source / "clips.csv")
    corpus.extract(corpus.source, corpus.store)
    return corpus
