"""Peak memory of the process that works on a clip: 10 s against 2 h, with the real networks loaded.

The long clip shows no face, so that it does not take hours on a CPU: IR-50 and VGGish are loaded and used on
the short one; on the long one, rows of faces are zeros, and sound goes through a small network in place of
VGGish (whose own memory is that of one batch). Everything else is as always: decoding, detection, resampling,
log-mel, rows, part.
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

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "pipeline"
FPS, RATE_HZ = 30, 48_000
SECONDS = {"10 s": 10, "2 h": 7200}

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

path, heavy = Path(sys.argv[1]), sys.argv[2] == "heavy"
vggish = AudioConfig()
tiny = AudioConfig(backbone="tiny_backbones:TinyMel", weights="")
config = ExtractConfig(
    visual=VisualConfig(views=("center", "flip")), audio=vggish if heavy else tiny,
    faces=FaceConfig(detect_every=30), limits=LimitsConfig(frames=10_000_000),
)
also = load_models(ExtractConfig(visual=config.visual, audio=vggish), "cpu")  # loaded, whatever is used
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


def main() -> None:
    figures: dict[str, object] = {}
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        for label, seconds in SECONDS.items():
            path = Path(name) / f"{seconds}.mp4"
            write_clip(path, seconds)
            start = time.perf_counter()
            said = subprocess.run(
                [sys.executable, "-c", WORK, str(path), "heavy" if seconds <= 10 else "light"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(TESTS)))},
                stdout=subprocess.PIPE,
                check=True,
            )
            figures[label] = json.loads(said.stdout) | {"seconds": round(time.perf_counter() - start)}
            peaks[label] = json.loads(said.stdout)["peak_mb"]
    figures["growth_mb"] = peaks["2 h"] - peaks["10 s"]
    write_result("memory", figures)


if __name__ == "__main__":
    main()
