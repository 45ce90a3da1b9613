"""True and predicted courses of some clips, as `dvc plots` draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tagf_head.config import TARGETS
from tagf_head.data.split_data import SplitData
from tagf_head.evaluation.predictions import Predictions
from tagf_head.run_folder import csv_bytes, write_file


def write_traces(path: Path, predictions: Predictions, data: SplitData, num_clips: int) -> None:
    """True and predicted course of the first clips, one line per frame, target and series, for `dvc plots`.

    Columns: clip_id, time_s, target (valence or arousal), series (true or predicted), value. There is no
    `true` line where a frame has no label.
    """
    starts = np.cumsum(data.row_size) - data.row_size
    lines = [
        (clip_id, f"{data.time_s[row]:.6f}", target, series, f"{values[row, column]:.6f}")
        for clip_id, start, size in list(zip(data.clip_ids, starts, data.row_size, strict=True))[:num_clips]
        for column, target in enumerate(TARGETS)
        for series, values, shown in (
            ("true", data.label, data.label_mask),
            ("predicted", predictions.values, np.ones_like(data.label_mask)),
        )
        for row in range(start, start + size)
        if shown[row]
    ]
    write_file(path, csv_bytes(("clip_id", "time_s", "target", "series", "value"), lines))
