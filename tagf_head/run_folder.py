"""The files of a run's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from cache.atomic_file import make_directory, replacement_of
from tagf_head.errors import HeadError

CHECKPOINT_FILE = "best.safetensors"
CLIP_METRICS_FILE = "clip_metrics.csv"
CONFIG_FILE = "config.yaml"
LOG_FILE = "training_log.csv"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
TENSORBOARD_FOLDER = "tensorboard"
UNFINISHED_FILE = "unfinished.yaml"


def write_file(path: Path, *content: bytes | memoryview) -> None:
    """Replace a file in one step by pieces that follow one another; its folder is made where it is missing.

    Raises:
        HeadError: The disk is full, or the folder cannot be made or written.
    """
    try:
        make_directory(path.parent)
        with replacement_of(path) as file:
            for piece in content:
                file.write(piece)
    except OSError as error:
        raise HeadError(
            f"{path} cannot be written ({error.strerror or error}); make room or choose another folder"
        ) from error


def csv_bytes(header: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """A table as CSV in UTF-8, lines ending in a line feed alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
