"""Stage one against the pure forward pass of its backbones, on the same frames in the same process.

Everything is a ratio within one run, since two runs on a shared machine differ by more than what is measured.
Each figure is the median over rounds in which the things compared take turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from machine import write_result
from PIL import Image

from cache import ClipKey, PartStore
from pipeline.backbones import load_backbone
from pipeline.clip_source import ClipSource
from pipeline.config import CorpusConfig, ExtractConfig, VisualConfig
from pipeline.extract import ClipExtraction
from pipeline.faces.tracks import track_faces
from pipeline.feature_spec import feature_spec
from pipeline.input_blocks import MAX_BLOCK_INPUTS, ExampleBlock, FaceBlock
from pipeline.manifest import read_manifest
from pipeline.media.video import decode_video
from pipeline.models import Models, load_models
from pipeline.sample_corpus import write_sample_corpus
from pipeline.stage_clock import StageClock

CONFIG = ExtractConfig(visual=VisualConfig(views=("center",)))
CORPUS = CorpusConfig(clips=4, seconds=30.0)
NUM_CLIPS = 2
SPEC = feature_spec(CONFIG)
ROUNDS = 3
BLOCKS = 4  # of 64 inputs, for the networks alone


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def extract(clips: list[ClipSource], models: Models, folder: Path, clock: StageClock) -> list[dict]:
    """Facts of each clip."""
    parts = PartStore(folder / "parts")
    facts = []
    for clip in clips:
        key = ClipKey(
            clip_id=clip.clip_id,
            media_sha256="0" * 64,
            faces_sha256=None,
            selection="",
            fingerprint=SPEC.fingerprint,
        )
        work = ClipExtraction(source=clip, config=CONFIG, models=models, spill=folder, clock=clock)
        with parts.writer(key, SPEC) as writer:
            facts.append(work.write_rows(work.faces(), writer))
            writer.commit({})
    return facts


def crop_faces(clip: ClipSource, models: Models, folder: Path) -> ClipSource:
    """The clip with its faces cropped beforehand, 112 x 112 as in Aff-Wild2."""
    faces = folder / "cropped" / clip.clip_id
    faces.mkdir(parents=True)
    frames = decode_video(clip.media)
    for crop in track_faces(frames, models.detector, CONFIG.faces, (112,), "largest", folder):
        if crop.crops is not None:
            Image.fromarray(crop.crops[112]).save(faces / f"{crop.index + 1:05d}.jpg", quality=95)
    return replace(clip, faces=faces)


def seconds_per_input(models: Models, stream: str, block: FaceBlock | ExampleBlock) -> float:
    """Of the network alone, in full batches."""
    blocks = [block] * BLOCKS
    return seconds_of(lambda: list(models.embedders[stream].map(blocks))) / (BLOCKS * len(block))


def main() -> None:
    rounds: dict[str, list[float]] = {"cropped": [], "video": [], "forward": [], "plain": [], "ir50": []}
    random = np.random.default_rng(0)
    faces = FaceBlock(crops=random.integers(0, 256, (MAX_BLOCK_INPUTS, 48, 48, 3), dtype=np.uint8))
    sounds = ExampleBlock(
        grid=random.normal(size=(400, 64)).astype(np.float32),
        first_rows=np.arange(MAX_BLOCK_INPUTS, dtype=np.int64) * 4,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample_corpus(folder / "corpus", CORPUS)
        videos = list(read_manifest(folder / "corpus" / "videos", "videos").clips)[:NUM_CLIPS]
        models = load_models(CONFIG, "cpu")
        cropped = [crop_faces(clip, models, folder) for clip in videos]
        plain = load_backbone(CONFIG.visual.backbone, CONFIG.visual.weights)
        pictures = torch.rand(CONFIG.batch_size, *plain.input_shape)
        for _ in range(ROUNDS):
            clock = StageClock()
            start = time.perf_counter()
            facts = extract(cropped, models, folder, clock)
            rounds["cropped"].append(time.perf_counter() - start)
            num_faces = sum(each["num_face_frames"] for each in facts)
            num_heard = sum(each["num_audio_frames"] for each in facts)
            face_s = seconds_per_input(models, "visual", faces)
            rounds["forward"].append(
                num_faces * face_s + num_heard * seconds_per_input(models, "audio", sounds)
            )
            rounds["video"].append(seconds_of(lambda: extract(videos, models, folder, StageClock())))
            rounds["ir50"].append(face_s)
            with torch.inference_mode():
                plain_s = seconds_of(lambda: [plain(pictures) for _ in range(2 * BLOCKS)])
            rounds["plain"].append(plain_s / (2 * BLOCKS * CONFIG.batch_size))
    num_frames = sum(each["num_frames"] for each in facts)
    median = {name: statistics.median(seconds) for name, seconds in rounds.items()}

    def ratio(above: str, below: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rounds[above], rounds[below], strict=True)), 3)

    write_result(
        "extraction",
        {
            "frames": num_frames,
            "frames_with_face": num_faces,
            "clips": len(videos),
            "rounds": ROUNDS,
            "frames_per_s_from_cropped_faces": round(num_frames / median["cropped"], 1),
            "frames_per_s_from_video": round(num_frames / median["video"], 1),
            "frames_per_s_pure_forward": round(num_frames / median["forward"], 1),
            "cropped_over_pure_forward": ratio("forward", "cropped"),
            "video_over_pure_forward": ratio("forward", "video"),
            "ir50_faces_per_s": round(1 / median["ir50"], 1),
            "ir50_over_plain_module": ratio("plain", "ir50"),
            "stage_seconds_from_cropped_faces": {
                stage: round(seconds, 2) for stage, seconds in clock.seconds.items()
            },
        },
    )


if __name__ == "__main__":
    main()
