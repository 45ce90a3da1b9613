"""The cells of the page's table of clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.report.clip_table import ClipRow
from pipeline.report.number_text import UNKNOWN, count, fixed, number, share
from tagf_head.config import TARGETS

Cell = dict[str, Any]


def columns(rows: Sequence[ClipRow]) -> list[dict[str, str]]:
    """Columns of the table of clips: those of which anything is known."""
    shown = [("clip", "Clip", "text")]
    if any(row.group is not None and row.group != row.clip_id for row in rows):
        shown.append(("group", "Group", "text"))
    shown += [
        ("frames", "Frames", "number"),
        ("seconds", "Seconds", "number"),
        ("faces", "Faces found", "number"),
    ]
    if any(row.num_labelled is not None for row in rows):
        shown += [("labelled", "Labelled", "number")]
        shown += [(f"{target}_ccc", f"CCC {target}", "number") for target in TARGETS]
        shown += [("mean_ccc", "CCC mean", "number")]
        shown += [(f"{target}_rmse", f"RMSE {target}", "number") for target in TARGETS]
    if any(row.mean_sd is not None for row in rows):
        shown.append(("mean_sd", "Mean deviation", "number"))
    if any(row.error is not None for row in rows):
        shown.append(("status", "Failure", "text"))
    return [{"name": name, "title": title, "kind": kind} for name, title, kind in shown]


def cells(row: ClipRow, names: Sequence[str]) -> list[Cell]:
    """A clip's cells, for people and, as `value`, for sorting; empty where nothing is known."""
    has_rows = row.num_frames > 0
    texts: dict[str, Cell] = {
        "clip": _text(row.clip_id),
        "group": _text(row.group or ""),
        "frames": _cell(row.num_frames if has_rows else None, lambda value: number(int(value))),
        "seconds": _cell(row.seconds if row.seconds > 0 else None, lambda value: f"{value:,.1f}"),
        "faces": _cell(row.face_share, share, bar=True),
        "labelled": _cell(
            row.num_labelled / row.num_frames if row.num_labelled is not None and has_rows else None, share
        ),
        "mean_ccc": _cell(row.mean_ccc, fixed),
        "mean_sd": _cell(row.mean_sd, fixed),
        "status": _text(row.error or "", kind="text status"),
    }
    return [texts[name] if name in texts else _cell(row.metrics.get(name), fixed) for name in names]


def clip_facts(row: ClipRow) -> str:
    """What stands below a clip's name."""
    if row.error is not None:
        return f"failed: {row.error}"
    parts = [count(row.num_frames, "frame"), f"{row.seconds:,.2f} s", f"faces in {share(row.face_share)}"]
    for target in TARGETS:
        value = row.metrics.get(f"{target}_ccc")
        if value is not None:
            parts.append(f"CCC of {target} {fixed(value)}")
    return ", ".join(parts)


def clips_note(rows: Sequence[ClipRow]) -> str:
    """What the table holds."""
    num_failed = sum(row.error is not None for row in rows)
    parts = ["Metrics of each clip by itself." if any(row.metrics for row in rows) else ""]
    if num_failed:
        parts.append(f"{count(num_failed, 'clip')} failed.")
    return " ".join(part for part in parts if part)


def _text(text: str, *, kind: str = "text") -> Cell:
    return {"text": text, "value": text, "kind": kind, "bar": None}


def _cell(value: float | None, write: Callable[[float], str], *, bar: bool = False) -> Cell:
    if value is None or not math.isfinite(value):
        return {"text": UNKNOWN, "value": "", "kind": "number", "bar": None}
    return {
        "text": write(value),
        "value": repr(value),
        "kind": "number",
        "bar": round(100 * value, 1) if bar else None,
    }
