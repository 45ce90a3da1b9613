"""Writing of a sample corpus: media, labels, the table of episodes and a record of how it was made."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import av
import joblib
import numpy as np
import PIL
from numpy.typing import NDArray

from pipeline.config import CorpusConfig
from pipeline.errors import PipelineError
from pipeline.progress_bar import ProgressBar
from pipeline.sample_corpus.clip import NOT_ANNOTATED, ClipPlan, labels, pictures, sound, voice
from pipeline.sample_corpus.media import write_mp4
from pipeline.sample_corpus.plan import plan_corpus, split_sizes
from pipeline.sample_corpus.scene import HEIGHT_PX, WIDTH_PX
from pipeline.sample_corpus.voice import SAMPLE_RATE_HZ

GENERATOR_VERSION = 1
"""Rises with every change that makes other media or labels from the same settings."""

CORPUS_FORMAT = "tagf-sample-corpus"
CORPUS_FILE = "corpus.json"
_STATEMENT = (
    "A stand-in for licensed data: drawn faces and synthetic voices, made to try a system out. "
    "Results on it say nothing about real people."
)


def write_sample_corpus(
    out: Path, config: CorpusConfig, *, workers: int | None = None, progress: bool = False
) -> None:
    """Write a small corpus of real media with labels in the form of Aff-Wild2.

    The corpus is a stand-in for licensed data: drawn faces and synthetic voices; it says nothing about real
    people. Faces follow valence closely and arousal loosely, voices the other way round. Its files depend on
    `config`, the versions of the libraries and the machine, not on the number of workers. It appears under
    `out` complete or not at all::

        OUT/videos/ID.mp4                       H.264, AAC
        OUT/annotations/{Train,Validation,Test}_Set/ID.txt   one row per frame, -5 where not annotated
        OUT/annotations/subjects.csv            who is seen: a person of its own in each clip
        OUT/episodes.csv                        when a modality lies
        OUT/corpus.json                         settings, versions, clips

    Args:
        out: Folder to write: missing, empty, or an earlier sample corpus, which is replaced.
        config: Size and seed of the corpus.
        workers: Processes that draw and encode; None takes one per processor core.
        progress: Show a progress bar on standard error.

    Raises:
        PipelineError: `out` holds something else than a sample corpus, or `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise PipelineError(f"workers must be at least 1, or None for one per processor core, got {workers}")
    out = out.absolute()
    _require_replaceable(out)
    plans = plan_corpus(config)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=".partial", dir=out.parent))
    try:
        partial.chmod(0o755)
        (partial / "videos").mkdir()
        _write_labels(partial / "annotations", plans)
        _write_episodes(partial / "episodes.csv", plans)
        _write_media(partial / "videos", plans, workers, progress)
        _write_record(partial / CORPUS_FILE, config, plans)
        _move_into_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_clip(folder: Path, plan: ClipPlan) -> None:
    """Draw, synthesise and encode one clip to `folder/ID.mp4`."""
    utterance = voice(plan)
    write_mp4(
        folder / f"{plan.clip_id}.mp4",
        pictures(plan, utterance),
        sound(plan, utterance),
        size=(WIDTH_PX, HEIGHT_PX),
        fps=plan.fps,
        sample_rate_hz=SAMPLE_RATE_HZ,
    )


def _require_replaceable(out: Path) -> None:
    """Refuse to write over anything that is not a sample corpus."""
    if not os.path.lexists(out):
        return
    remedy = "name a new or empty folder"
    if not out.is_dir():
        raise PipelineError(f"{out} is not a folder; the sample corpus needs one: {remedy}")
    if not any(out.iterdir()):
        return
    try:
        record = json.loads((out / CORPUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("format") != CORPUS_FORMAT:
        raise PipelineError(
            f"{out} is not empty and holds no sample corpus ({CORPUS_FILE} of format '{CORPUS_FORMAT}' "
            f"expected); it is left as it is: {remedy}"
        )


def _write_media(folder: Path, plans: Sequence[ClipPlan], workers: int | None, progress: bool) -> None:
    """Write all clips, several at once."""
    num_workers = min(workers or joblib.cpu_count(), len(plans))
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=num_workers, batch_size=1, return_as="generator_unordered")
        done = parallel(joblib.delayed(write_clip)(folder, plan) for plan in plans)
        with ProgressBar("sample corpus", "clip", len(plans), shown=progress) as bar:
            for _ in done:
                bar.update()


def _write_labels(folder: Path, plans: Sequence[ClipPlan]) -> None:
    """Write one label file per clip below the folder of its split."""
    for split in split_sizes(len(plans)):
        (folder / split).mkdir(parents=True)
    for plan in plans:
        text = "\n".join(["valence,arousal", *map(_label_row, labels(plan)), ""])
        (folder / plan.split / f"{plan.clip_id}.txt").write_text(text, encoding="utf-8")
    # Every clip draws a person of its own.
    subjects = "".join(f"{plan.clip_id},{plan.clip_id}\n" for plan in plans)
    (folder / "subjects.csv").write_text("clip_id,subject\n" + subjects, encoding="utf-8")


def _label_row(row: NDArray[np.float64]) -> str:
    """One line of a label file."""
    valence, arousal = row
    return "-5,-5" if valence == NOT_ANNOTATED else f"{valence:.6f},{arousal:.6f}"


def _write_episodes(path: Path, plans: Sequence[ClipPlan]) -> None:
    """Write the table of the stretches in which a modality is of no use."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["clip_id", "kind", "start_s", "end_s", "modality", "detail"])
        for plan in plans:
            for episode in plan.episodes:
                times = f"{episode.start_s:.3f}", f"{episode.end_s:.3f}"
                writer.writerow([plan.clip_id, episode.kind, *times, episode.modality, episode.detail])


def _write_record(path: Path, config: CorpusConfig, plans: Sequence[ClipPlan]) -> None:
    """Write how the corpus was made; the last file, so that it marks a complete corpus."""
    record = {
        "format": CORPUS_FORMAT,
        "generator_version": GENERATOR_VERSION,
        "statement": _STATEMENT,
        "settings": asdict(config),
        "versions": {
            "av": av.__version__,
            "libavcodec": ".".join(str(part) for part in av.library_versions["libavcodec"]),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "machine": platform.machine(),
        },
        "clips": [
            {"clip_id": plan.clip_id, "split": plan.split, "num_frames": plan.num_frames} for plan in plans
        ],
    }
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _move_into_place(partial: Path, out: Path) -> None:
    """Put the finished corpus where it belongs; an earlier one makes way first and is deleted last."""
    if not out.exists():
        partial.rename(out)
        return
    _require_replaceable(out)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=".old", dir=out.parent))
    out.rename(aside / out.name)
    partial.rename(out)
    shutil.rmtree(aside)
