"""`tagf predict` against stage one on the same clips, and the memory that a long video takes.

Speed: frames per second of a prediction over those of an extraction, as a ratio within one run in which the
two take turns. Both find faces with MTCNN, embed them with IR-50 and sound with VGGish, on all cores; stage
one writes its rows, prediction runs TAGF at the paper's size over them.

Memory: peak while a process predicts, 10 s against one hour. As in `memory.py` these clips show no face
and have their sound embedded by a network that costs nothing, so that an hour takes minutes: MTCNN and IR-50
are loaded, every frame is decoded and looked through for cuts, every sixtieth for faces.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import torch
from extraction import CONFIG, CORPUS, NUM_CLIPS, extract
from machine import write_result
from memory import ROOT, TESTS, write_clip

from pipeline import Predictor
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig
from pipeline.feature_spec import feature_spec
from pipeline.manifest import read_manifest
from pipeline.models import load_models
from pipeline.sample_corpus import write_sample_corpus
from pipeline.stage_clock import StageClock
from tagf_head.checkpoint import CheckpointInfo, save_checkpoint
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.heads import build_head

ROUNDS = 3
SECONDS = {"10 s": 10, "1 h": 3600}

# One process per clip: what one leaves in memory is not counted for the other.
WORK = """
import json, sys, time
from pathlib import Path
from pipeline import Predictor

def status_mb(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024

predictor = Predictor.from_checkpoint(sys.argv[1], device="cpu")
loaded_mb = status_mb("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: loading the networks has one of its own
start, first_s, num_rows = time.perf_counter(), None, 0
for rows in predictor.stream(sys.argv[2]):
    first_s = first_s or time.perf_counter() - start
    num_rows += len(rows)
print(json.dumps({
    "frames": num_rows, "seconds": round(time.perf_counter() - start, 1), "first_rows_s": round(first_s, 1),
    "loaded_mb": loaded_mb, "peak_mb": status_mb("VmHWM"),
}))
"""


def write_head(path: Path, config: ExtractConfig) -> Path:
    """A checkpoint of TAGF at the paper's size, with random weights."""
    spec = feature_spec(config)
    widths = {f"{stream.name}_features": stream.num_features for stream in spec.streams}
    shape = HeadConfig(**widths, uncertainty=True)
    torch.manual_seed(0)
    info = CheckpointInfo(
        train=TrainConfig(head=shape),
        spec=spec,
        features_digest="",
        annotations_digest="",
        versions={},
        key="",
        best_epoch=1,
        validation_ccc={},
        trained_on=(),
    )
    save_checkpoint(path, build_head(shape).state_dict(), info)
    return path


def speed(folder: Path) -> dict[str, float]:
    """Frames per second of both, and their ratio."""
    write_sample_corpus(folder / "corpus", CORPUS)
    clips = list(read_manifest(folder / "corpus" / "videos", "videos").clips)[:NUM_CLIPS]
    predictor = Predictor.from_checkpoint(write_head(folder / "head.safetensors", CONFIG), device="cpu")
    models = load_models(CONFIG, "cpu")
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        facts = extract(clips, models, folder, StageClock())
        middle = time.perf_counter()
        num_rows = sum(len(rows) for clip in clips for rows in predictor.stream(clip, spill=folder))
        rounds.append((middle - start, time.perf_counter() - middle))
    num_frames = sum(each["num_frames"] for each in facts)
    if num_rows != num_frames:
        raise RuntimeError(f"expected {num_frames} predicted rows, got {num_rows}")
    extraction_s, prediction_s = (statistics.median(each) for each in zip(*rounds, strict=True))
    return {
        "clips": len(clips),
        "frames": num_frames,
        "rounds": ROUNDS,
        "frames_per_s_extracted": round(num_frames / extraction_s, 1),
        "frames_per_s_predicted": round(num_frames / prediction_s, 1),
        "predicted_over_extracted": round(statistics.median(a / b for a, b in rounds), 3),
    }


def repeat_clip(path: Path, times: int, longer: Path) -> None:
    """A clip again and again, as a longer one: its packets, each time later."""
    with av.open(str(path)) as given, av.open(str(longer), "w") as container:
        streams = {each.index: container.add_stream_from_template(each) for each in given.streams}
        length_s = given.duration / av.time_base
        for number in range(times):
            given.seek(0)
            for packet in given.demux():
                if packet.dts is not None:
                    shift = round(number * length_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    container.mux(packet)


def measured(checkpoint: Path, media: Path) -> dict[str, float]:
    """Figures of one clip."""
    said = subprocess.run(
        [sys.executable, "-c", WORK, str(checkpoint), str(media)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(TESTS)))},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(said.stdout)


def memory(folder: Path) -> dict[str, object]:
    """Peaks of a short and a long clip, and their difference."""
    sys.path.append(str(TESTS))
    tiny = AudioConfig(backbone="tiny_backbones:TinyMel", weights="")
    config = ExtractConfig(visual=CONFIG.visual, audio=tiny, faces=FaceConfig(detect_every=60))
    checkpoint = write_head(folder / "memory.safetensors", config)
    figures: dict[str, object] = {}
    peaks = []
    write_clip(folder / "10.mp4", 10)
    for label, seconds in SECONDS.items():
        repeat_clip(folder / "10.mp4", seconds // 10, folder / f"{label}.mp4")
        figures[label] = found = measured(checkpoint, folder / f"{label}.mp4")
        peaks.append(found["peak_mb"])
    return {**figures, "growth_mb": peaks[1] - peaks[0]}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        figures = {"speed": speed(Path(name)), "memory": memory(Path(name))}
    write_result("predict", figures)


if __name__ == "__main__":
    main()
