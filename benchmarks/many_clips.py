"""Time per clip of a run over 10,000 tiny clips against one over 100: what a run itself costs must not grow.

Backbones that cost nothing, so that the rest shows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from machine import write_result

from pipeline.config import AudioConfig, ExtractConfig, VisualConfig
from pipeline.run.runner import RunOptions, extract_features

TESTS = Path(__file__).parents[1] / "tests" / "pipeline"
NUM_FRAMES = 3
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("center",)),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    batch_size=16,
)


def write_clip(path: Path, number: int) -> None:
    """Three grey pictures, another grey for each clip, so that no two files are the same."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in range(NUM_FRAMES):
            grey = np.full((48, 64, 3), (number + frame) % 256, np.uint8)
            grey[0, 0] = number // 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(stream.encode())


def seconds_per_clip(folder: Path, num_clips: int) -> tuple[float, float]:
    """Of a run from nothing, and of a second one that finds everything finished."""
    media = folder / f"media{num_clips}"
    for number in range(num_clips):
        group = media / f"{number // 1000:03d}"
        group.mkdir(parents=True, exist_ok=True)
        write_clip(group / f"{number:05d}.mp4", number)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        extract_features(
            media,
            "videos",
            folder / "features.zarr",
            CONFIG,
            RunOptions(work_dir=folder / f"work{num_clips}", device="cpu"),
        )
        seconds.append((time.perf_counter() - start) / num_clips)
    shutil.rmtree(media)
    return seconds[0], seconds[1]


def main() -> None:
    sys.path.insert(0, str(TESTS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds_per_clip(folder, 10)  # starts the workers, which then stay
        few, few_again = seconds_per_clip(folder, 100)
        many, many_again = seconds_per_clip(folder, 10_000)
    write_result(
        "many_clips",
        {
            "frames_per_clip": NUM_FRAMES,
            "milliseconds_per_clip_of_100": round(1000 * few, 2),
            "milliseconds_per_clip_of_10000": round(1000 * many, 2),
            "ratio": round(many / few, 3),
            "milliseconds_per_finished_clip_of_100": round(1000 * few_again, 2),
            "milliseconds_per_finished_clip_of_10000": round(1000 * many_again, 2),
        },
    )


if __name__ == "__main__":
    main()
