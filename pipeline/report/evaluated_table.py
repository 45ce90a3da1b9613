"""The clips of clip_metrics.csv, which an evaluation wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.report.clip_table import SHOWN_METRICS, ClipRow
from pipeline.report.csv_lines import number, read_lines
from tagf_head.config import TARGETS

_METRICS = tuple(f"{target}_{metric}" for target in TARGETS for metric in SHOWN_METRICS)


def rows_of_file(path: Path, rows: Sequence[ClipRow]) -> list[ClipRow]:
    """Metrics of every clip of the file.

    Args:
        path: clip_metrics.csv.
        rows: What the predictions say of the clips; a clip that they lack gets a row of its own.

    Raises:
        ReportError: The file is damaged.
    """
    lines = read_lines(
        path,
        ("clip_id", "group", "num_frames", "num_labelled", "face_share", *_METRICS),
        remedy="write it again with 'tagf evaluate --clip-metrics'",
    )
    known = {row.clip_id: row for row in rows}
    found = {}
    for line in lines:
        clip_id = line["clip_id"]
        row = known.get(clip_id) or ClipRow(
            clip_id=clip_id, num_frames=int(number(path, line, "num_frames") or 0)
        )
        found[clip_id] = replace(
            row,
            group=line["group"],
            num_labelled=int(number(path, line, "num_labelled") or 0),
            face_share=number(path, line, "face_share"),
            metrics={name: number(path, line, name) for name in _METRICS},
        )
    return [found.pop(row.clip_id, row) for row in rows] + [*found.values()]
