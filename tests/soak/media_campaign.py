"""Damaged media files by the thousand beside healthy ones, through whole runs: `media_campaign.py --files N`.

A run must end, give every clip an outcome and every failure a stage and a reason of an expected kind, leave
nothing behind, and give healthy clips the same bytes as a run without the damaged ones. Files are named by a
seed and a number, so that each can be made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / folder) for folder in ("", "tests", "tests/pipeline", "tests/soak", "benchmarks")]

from drawn_face import draw_face  # noqa: E402
from media_files import write_media  # noqa: E402
from mutated_media import mutate, seeds  # noqa: E402
from watched_run import RunResult, watched_run  # noqa: E402

from pipeline.config import Subject  # noqa: E402
from pipeline.run.extraction_report import ClipOutcome  # noqa: E402

# Files of one run, so that the disk does not fill.
_BATCH = 1000
# One after the other, run by run; each keeps its faces in another way.
_SUBJECTS: tuple[Subject, ...] = ("largest", "longest", "all")
# Of what a damaged file may be accused; other errors are mistakes of ours.
_EXPECTED = {"MediaError", "FaceDetectionError", "ClipProcessError"}
# What the supervisor says of a process that it killed; of any other ClipProcessError, the process died.
_KILLED = {"no further frame within": "hangs", "the process grew to": "swells"}
_DAMAGED, _HEALTHY = "damaged", "healthy"


@dataclass(kw_only=True)
class Tally:
    """What is known of the campaign so far.

    Attributes:
        containers: Outcomes of the damaged files by container.
        classes: Failures by error class.
        stages: Failures by stage.
        remarkable: Crashes, hangs, swells and unexpected errors, one line each.
        problems: What must not be, one line each.
        slowest: Seconds and name of the slowest damaged file.
        num_compared: Parts of healthy clips that were compared.
        peak_run_mb: Peak memory of the processes that ran the runs.
        peak_clip_mb: The same of the largest of their processes.
    """

    containers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    classes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    remarkable: dict[str, list[str]] = field(
        default_factory=lambda: {"crashes": [], "hangs": [], "swells": [], "unexpected": []}
    )
    problems: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    num_compared: int = 0
    peak_run_mb: int = 0
    peak_clip_mb: int = 0

    def add(self, name: str, clip: ClipOutcome) -> bool:
        """Count a damaged file's outcome; whether it is worth a look."""
        self.containers[name.rpartition(".")[2]][clip.status] += 1
        self.slowest = max(self.slowest, (clip.seconds, name))
        if clip.status == "extracted":
            return False
        stage, error = clip.failed_stage or "", clip.error or ""
        kind, _, reason = error.partition(": ")
        self.classes[kind] += 1
        self.stages[stage] += 1
        expected = clip.status == "failed" and kind in _EXPECTED
        if not (expected and stage and reason and len(error.splitlines()) == 1):
            what = "unexpected"
            self.problems.append(f"{name}: {clip.status} at {stage!r}: {error!r}")
        elif kind == "ClipProcessError":
            what = next((what for said, what in _KILLED.items() if said in reason), "crashes")
        else:
            return False
        self.remarkable[what].append(f"{name}: {stage}: {error}")
        return True


class Campaign:
    """Runs over damaged files and healthy ones.

    Args:
        folder: Empty; for media and runs.
        num_files: Damaged files in all.
        seed: Of the damage.
        keep: Folder for the files that crash, hang, swell or fail in an unexpected way; None to keep none.
    """

    def __init__(self, folder: Path, num_files: int, seed: int, keep: Path | None) -> None:
        self.tally = Tally()
        self._folder, self._num_files, self._seed, self._keep = folder, num_files, seed, keep
        self._whole = seeds() | _faces(folder)
        # The same in every batch, since a clip's id is in its part; spread evenly between the damaged files.
        step = min(_BATCH, num_files) / len(self._whole)
        self._healthy = {
            f"{round(place * step):04d} {_HEALTHY} {name}": data
            for place, (name, data) in enumerate(self._whole.items())
        }
        self._references: dict[Subject, RunResult] = {}

    def run(self) -> None:
        """All batches."""
        for batch, first in enumerate(range(0, self._num_files, _BATCH)):
            subject = _SUBJECTS[batch % len(_SUBJECTS)]
            if subject not in self._references:
                self._references[subject] = self._reference(subject)
            self._run_batch(range(first, min(first + _BATCH, self._num_files)), subject)

    def _reference(self, subject: Subject) -> RunResult:
        """The healthy clips by themselves."""
        result = self._watched(self._healthy, subject, workers=1)
        for name in self._healthy:
            clip = result.clips.get(_clip_id(name))
            if clip is None or clip.status != "extracted":
                self.tally.problems.append(f"{name}, healthy and alone: {clip and clip.error}")
            elif "face" in name and not clip.num_face_frames:
                self.tally.problems.append(f"{name}: no face was found")
        return result

    def _run_batch(self, numbers: Sequence[int], subject: Subject) -> None:
        """One run over some damaged files and all healthy ones."""
        tally = self.tally
        damaged = {
            f"{place:04d} {_DAMAGED} {number:06d} {name}": data
            for place, (number, (name, data)) in enumerate(zip(numbers, self._damaged(numbers), strict=True))
        }
        result = self._watched(damaged | self._healthy, subject, workers=2)
        for name, data in damaged.items():
            clip = result.clips.get(_clip_id(name))
            if clip is None:
                tally.problems.append(f"{name}: no outcome")
            elif tally.add(name, clip) and self._keep is not None:
                self._keep.mkdir(parents=True, exist_ok=True)
                (self._keep / name).write_bytes(data)
        reference = self._references[subject]
        for clip_id in reference.clips:
            clip = result.clips.get(clip_id)
            if clip is None or clip.status != "extracted":
                tally.problems.append(f"{clip_id}, healthy beside damaged: {clip and clip.error}")
        for part, data in reference.parts.items():
            if result.parts.get(part) != data:
                tally.problems.append(f"part {part} of a healthy clip has other bytes beside damaged files")
        tally.num_compared += len(reference.parts)

    def _watched(self, media: Mapping[str, bytes], subject: Subject, workers: int) -> RunResult:
        source, place = self._folder / "media", self._folder / "run"
        source.mkdir()
        for name, data in media.items():
            (source / name).write_bytes(data)
        result = watched_run(
            source, place, workers=workers, subject=subject, timeout_s=300 + 0.5 * len(media)
        )
        self.tally.problems += result.problems
        self.tally.peak_run_mb = max(self.tally.peak_run_mb, result.peak_run_mb)
        self.tally.peak_clip_mb = max(self.tally.peak_clip_mb, result.peak_clip_mb)
        shutil.rmtree(source)
        shutil.rmtree(place)
        return result

    def _damaged(self, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """Names of healthy files, in turns, and what became of them."""
        names = sorted(self._whole)
        for number in numbers:
            rng = np.random.default_rng([self._seed, number])
            name, other = names[number % len(names)], names[int(rng.integers(len(names)))]
            yield name, mutate(self._whole[name], rng, self._whole[other])


def _clip_id(name: str) -> str:
    return name.rpartition(".")[0]


def _faces(folder: Path) -> dict[str, bytes]:
    """Files with a moving face and sound; those of `mutated_media` show noise."""
    pictures: list[NDArray[np.uint8]] = [
        draw_face((160, 120), (70 + 2 * frame, 60), 90)[0] for frame in range(10)
    ]
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(19_200) / 48_000)[None].astype(np.float32)
    files = {}
    for name, video_codec, audio_codec in (
        ("face_h264_aac.mp4", "libx264", "aac"),
        ("face_vp9_opus.webm", "libvpx-vp9", "libopus"),
        ("face_mpeg4_mp3.avi", "mpeg4", "libmp3lame"),
    ):
        path = folder / name
        write_media(
            path,
            pictures,
            [frame / 25 for frame in range(len(pictures))],
            video_codec=video_codec,
            audio_codec=audio_codec,
            time_base=Fraction(1, 25),  # MPEG-4 takes no finer one
            samples=tone,
            # The same bytes every time: no random ids, and nothing that depends on how threads go.
            video_options={"threads": "1"},
            container_options={"fflags": "+bitexact"},
        )
        files[name] = path.read_bytes()
        path.unlink()
    return files


def _figures(tally: Tally, num_files: int, seed: int, seconds: float) -> dict[str, object]:
    outcomes: Counter[str] = sum(tally.containers.values(), Counter())
    return {
        "command": f"python tests/soak/media_campaign.py --files {num_files} --seed {seed}",
        "files": num_files,
        "outcomes": dict(outcomes),
        "containers": {name: dict(counts) for name, counts in sorted(tally.containers.items())},
        "error_classes": dict(tally.classes.most_common()),
        "failed_stages": dict(tally.stages.most_common()),
        **{f"num_{what}": len(lines) for what, lines in tally.remarkable.items()},
        **tally.remarkable,
        "healthy_parts_compared": tally.num_compared,
        "slowest_file": {"seconds": round(tally.slowest[0], 2), "name": tally.slowest[1]},
        "peak_memory_of_run_mb": tally.peak_run_mb,
        "peak_memory_of_largest_child_mb": tally.peak_clip_mb,
        "seconds": round(seconds),
        "problems": tally.problems,
    }


def main() -> int:
    """Run the campaign; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="damaged files")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--out", type=Path, help="result file; benchmarks/results/mutated_media.json if none")
    parser.add_argument("--keep", type=Path, help="folder for files that crash, hang, swell or surprise")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tagf-media-campaign-") as folder:
        campaign = Campaign(Path(folder), options.files, options.seed, options.keep)
        campaign.run()
    figures = _figures(campaign.tally, options.files, options.seed, time.monotonic() - started)
    if options.out is None:
        from machine import write_result  # imports torch

        write_result("mutated_media", figures)
    else:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for problem in campaign.tally.problems:
        print(problem, file=sys.stderr)
    return 1 if campaign.tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
