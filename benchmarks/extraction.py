"""Stage one against the pure forward pass of its backbones, on the same frames in the same process.

Everything is a ratio within one run, since two runs on a shared machine differ by more than what is measured.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import write_result

from pipeline.backbones import load_backbone
from pipeline.config import CorpusConfig, ExtractConfig, VisualConfig
from pipeline.extract import extract_clip, load_models
from pipeline.manifest import read_manifest
from pipeline.sample_corpus import write_sample_corpus
from pipeline.stage_clock import StageClock

CONFIG = ExtractConfig(visual=VisualConfig(views=("center",)))
CORPUS = CorpusConfig(clips=4, seconds=4.0)
REPEATS = 3


def seconds_of(work) -> float:
    """Shortest of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_sample_corpus(Path(folder) / "corpus", CORPUS)
        clips = read_manifest(Path(folder) / "corpus" / "videos", "videos")
        models = load_models(CONFIG, "cpu")
        extract_clip(clips[0], CONFIG, models)  # warm-up

        clock = StageClock()
        start = time.perf_counter()
        features = [extract_clip(clip, CONFIG, models, clock)[0] for clip in clips]
        whole_s = time.perf_counter() - start

    num_frames = sum(each.num_frames for each in features)
    num_faces = sum(int(each.face_found.sum()) for each in features)
    num_heard = sum(int(each.audio_found.sum()) for each in features)
    batch = CONFIG.batch_size
    generator = np.random.default_rng(0)
    faces = generator.uniform(-1, 1, (batch, *models.visual.input_shape)).astype(np.float32)
    sounds = generator.normal(size=(batch, *models.audio.input_shape)).astype(np.float32)
    visual_s = seconds_of(lambda: models.visual(faces)) / batch
    audio_s = seconds_of(lambda: models.audio(sounds)) / batch
    forward_s = visual_s * num_faces + audio_s * num_heard

    plain = load_backbone(CONFIG.visual.backbone, CONFIG.visual.weights)
    contiguous = torch.from_numpy(faces)
    with torch.inference_mode():
        plain_s = seconds_of(lambda: plain(contiguous)) / batch

    write_result(
        "extraction",
        {
            "frames": num_frames,
            "frames_per_s": round(num_frames / whole_s, 1),
            "stage_seconds": {stage: round(seconds, 2) for stage, seconds in clock.seconds.items()},
            "pure_forward_frames_per_s": round(num_frames / forward_s, 1),
            "whole_run_over_pure_forward": round(forward_s / whole_s, 3),
            "ir50_frames_per_s": round(1 / visual_s, 1),
            "vggish_examples_per_s": round(1 / audio_s, 1),
            "ir50_over_plain_module": round(plain_s / visual_s, 2),
        },
    )


if __name__ == "__main__":
    main()
