"""Peak memory of the process that works on a clip: 10 s against 2 h, and 10 s with everything in use.

The clips of 10 s and 2 h show no face and have their sound embedded by a network that costs nothing, so that
two hours take minutes on a CPU: IR-50 and MTCNN are loaded, every frame is decoded and looked through for
cuts, every sixtieth for faces, rows of faces are zeros. What that leaves out, the third clip has: a drawn
face in each frame, IR-50 and VGGish.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from machine import write_result

from pipeline.config import CorpusConfig
from pipeline.sample_corpus import write_sample_corpus

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "pipeline"
FPS, RATE_HZ = 30, 48_000
SECONDS = {"10 s": 10, "2 h": 7200}
CORPUS = CorpusConfig(clips=4, seconds=10.0, fps=FPS)

# One process per clip: the peak that the system keeps is that of a whole life.
WORK = """
import json, resource, sys, tempfile
from pathlib import Path
from cache import ClipKey, PartStore
from cache.pack import pack_store
from pipeline.clip_source import ClipSource
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, LimitsConfig, VisualConfig
from pipeline.extract import ClipExtraction
from pipeline.feature_spec import feature_spec
from pipeline.models import load_models

path, everything = Path(sys.argv[1]), sys.argv[2] == "everything"
tiny = AudioConfig(backbone="tiny_backbones:TinyMel", weights="")
config = ExtractConfig(
    visual=VisualConfig(views=("center", "flip")), audio=AudioConfig() if everything else tiny,
    faces=FaceConfig(detect_every=5 if everything else 60), limits=LimitsConfig(frames=10_000_000),
)
models = load_models(config, "cpu")
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
spec = feature_spec(config)
key = ClipKey(
    clip_id="x", media_sha256="0" * 64, faces_sha256=None, selection="", fingerprint=spec.fingerprint
)
source = ClipSource(clip_id="x", media=path)
with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    work = ClipExtraction(source=source, config=config, models=models, spill=Path(folder))
    with PartStore(Path(folder)).writer(key, spec) as writer:
        facts = work.write_rows(work.faces(), writer)
        part = writer.commit({})
    size = part.stat().st_size
print(json.dumps({
    "frames": facts["num_frames"], "audio_frames": facts["num_audio_frames"], "part_mb": size // 2**20,
    "loaded_mb": loaded // 1024, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""


def write_clip(path: Path, seconds: int) -> None:
    """Drifting stripes, and noise in two channels."""
    stripes = (np.arange(320)[None, :] * 3 + np.arange(180)[:, None]) % 256
    noise = np.random.default_rng(0).normal(0, 0.1, (2, RATE_HZ)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = container.add_stream("aac", rate=RATE_HZ, layout="stereo")
        for second in range(seconds):
            for frame in range(FPS):
                grey = np.roll(stripes, frame, axis=1).astype(np.uint8)
                picture = av.VideoFrame.from_ndarray(np.stack([grey] * 3, -1), "rgb24")
                picture.pts, picture.time_base = second * FPS + frame, Fraction(1, FPS)
                container.mux(video.encode(picture))
            block = av.AudioFrame.from_ndarray(noise, "fltp", "stereo")
            block.sample_rate, block.pts, block.time_base = RATE_HZ, second * RATE_HZ, Fraction(1, RATE_HZ)
            container.mux(sound.encode(block))
        container.mux(video.encode())
        container.mux(sound.encode())


def measured(path: Path, what: str) -> dict[str, int]:
    """Figures of one clip."""
    start = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-c", WORK, str(path), what],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(TESTS)))},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(said.stdout) | {"seconds": round(time.perf_counter() - start)}


def main() -> None:
    figures: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample_corpus(folder / "corpus", CORPUS)
        drawn = min((folder / "corpus" / "videos").iterdir())
        figures["10 s, everything in use"] = measured(drawn, "everything")
        for label, seconds in SECONDS.items():
            write_clip(folder / f"{seconds}.mp4", seconds)
            figures[label] = measured(folder / f"{seconds}.mp4", "little")
    growth_mb = figures["2 h"]["peak_mb"] - figures["10 s"]["peak_mb"]
    write_result("memory", {**figures, "growth_mb": growth_mb})


if __name__ == "__main__":
    main()
