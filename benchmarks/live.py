"""What `tagf live` reaches on this machine: frames per second and latency.

IR-50 and VGGish of full size, and the causal TAGF of configs/live.yaml, which is trained here on a few clips.
A clip of the sample corpus of 25 frames per second is played: without a pace, which gives the highest rate
that could be kept up with, then at its own pace, then at its own pace with `--every 2`. Weights are random,
which has no influence on speed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from machine import write_result

from cache.settings import load_section
from pipeline.config import CorpusConfig, ExtractConfig
from pipeline.live.live_session import LiveSession, open_session
from pipeline.live.live_summary import LiveTally
from pipeline.run.engine import end_local_workers
from pipeline.run.runner import RunOptions, extract_features
from pipeline.sample_corpus import write_sample_corpus
from tagf_head.config import TrainConfig
from tagf_head.training.train import train_head

PARAMS = Path(__file__).parents[1] / "configs" / "live.yaml"
TRAINING = CorpusConfig(clips=6, seconds=2.0)
PLAYED = CorpusConfig(clips=4, seconds=20.0, seed=1)


def train_causal(folder: Path) -> Path:
    """A checkpoint of configs/live.yaml's head."""
    corpus = folder / "training"
    write_sample_corpus(corpus, TRAINING)
    config = load_section(PARAMS, "extract", ExtractConfig)
    options = RunOptions(device="cpu", workers=1, work_dir=folder / "work")
    extract_features(corpus / "videos", "videos", folder / "features.zarr", config, options)
    end_local_workers()
    training = replace(load_section(PARAMS, "train", TrainConfig), max_epochs=2)
    train_head(folder / "features.zarr", corpus / "annotations", folder / "run", training, device="cpu")
    return folder / "run" / "best.safetensors"


def played(session: LiveSession) -> dict[str, float | int | None]:
    """Figures of one session."""
    tally, intervals_s = LiveTally(), []
    start = last = time.perf_counter()
    for answer in session.answers():
        tally.add(answer)
        now = time.perf_counter()
        intervals_s.append(now - last)
        last = now
    elapsed_s = last - start
    median_s, late_s = tally.latency.quantile(0.5), tally.latency.quantile(0.95)
    return {
        "frames": session.source.num_frames,
        "answered": tally.num_answers,
        "with_face": tally.num_faces,
        "skipped": session.source.slot.num_missed,
        "frames_per_s": round(tally.num_answers / elapsed_s, 1),
        "latency_ms_median": None if median_s is None else round(1000 * median_s, 1),
        "latency_ms_p95": None if late_s is None else round(1000 * late_s, 1),
    }


def milliseconds(work: Callable[[], object], rounds: int = 15) -> float:
    """Median time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 1)


def steps(session: LiveSession) -> dict[str, float]:
    """What one frame takes, step by step, on a frame with a face in the middle of the clip."""
    maker, source = session.maker, session.source
    source.start()
    frame = source.slot.take()
    assert frame is not None
    for _ in range(60):
        row = maker.row(frame, source.sound_until(frame.time_s))
        session.window.push(row)
        frame = source.slot.take()
        assert frame is not None
    sound = source.sound_until(frame.time_s)
    follower = maker._follower
    heard = sound.ending_at(frame.time_s)
    assert heard is not None
    face = follower._faces
    crop = maker.visual_block(frame, face[0])
    found = {
        "detect": milliseconds(lambda: follower._detector.detect([frame.rgb])),
        "follow": milliseconds(lambda: follower._refiner.refine(frame.rgb, face)),
        "crop": milliseconds(lambda: maker.visual_block(frame, face[0])),
        "ir50": milliseconds(lambda: list(maker._visual.map([crop]))),
        "vggish": milliseconds(lambda: list(maker._audio.map([heard]))),
        "head": milliseconds(session.window.answer),
    }
    source.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = train_causal(folder)
        write_sample_corpus(folder / "played", PLAYED)
        clip = min((folder / "played" / "videos").glob("**/*.mp4"))

        def session(**options: object) -> LiveSession:
            return open_session(checkpoint, media=clip, device="auto", **options)  # type: ignore[arg-type]

        figures: dict[str, object] = {
            "threads": torch.get_num_threads(),
            "as_fast_as_possible": played(session(at_own_pace=False)),
            "own_pace": played(session()),
            "own_pace_every_2": played(session(every=2)),
            "step_ms": steps(session(at_own_pace=False)),
        }
    write_result("live", figures)


if __name__ == "__main__":
    main()
