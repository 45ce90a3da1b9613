"""What a report shows of robustness.csv: CCC by level, a panel per disturbance and a line per head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.report.csv_lines import number, read_lines
from tagf_head.config import TARGETS

SCORES_FILE = "robustness.csv"
_CLEAN = "clean"
_SCORES = (*TARGETS, "mean")
_MODALITIES = {"visual": "picture", "audio": "sound", "both": "picture and sound"}
_FAMILIES = {"shift": "Sound after picture", "noise": "Noise on features", "drop": "Features dropped"}
# Families whose level 0 is no disturbance: the others have their undisturbed score as a line of its own.
_FROM_ZERO = ("shift", "drop")


def robustness_chart(folder: Path) -> dict[str, Any] | None:
    """Panels of a robustness measurement.

    Args:
        folder: Where `tagf robustness --out` wrote.

    Returns:
        `heads`, and `panels` with title, unit, levels and, by head and score, mean and standard deviation
        over the head's checkpoints at each level; None where there is no measurement.

    Raises:
        ReportError: The file is damaged.
    """
    path = folder / SCORES_FILE
    if not path.is_file():
        return None
    needed = ("head", "family", "modality", "level", "unit", *(f"ccc_{score}" for score in _SCORES))
    lines = read_lines(path, needed, remedy="run 'tagf robustness' again")
    heads = list(dict.fromkeys(line["head"] for line in lines))
    panels = dict.fromkeys((line["family"], line["modality"]) for line in lines if line["family"] != _CLEAN)
    return {
        "heads": heads,
        "panels": [_panel(path, lines, heads, family, modality) for family, modality in panels],
        "num_checkpoints": len({line.get("checkpoint") for line in lines}),
    }


def _panel(
    path: Path, lines: Sequence[Mapping[str, str]], heads: Sequence[str], family: str, modality: str
) -> dict[str, Any]:
    own = [line for line in lines if (line["family"], line["modality"]) == (family, modality)]
    levels = sorted({number(path, line, "level") or 0.0 for line in own})
    name = _FAMILIES.get(family, family.replace("_", " ").capitalize())
    on = f", {_MODALITIES.get(modality, modality)}" if family != "shift" else ""
    clean = [line for line in lines if line["family"] == _CLEAN]
    return {
        "title": name + on,
        "unit": own[0]["unit"],
        "levels": levels,
        # More noise is to the right, as more of everything else is.
        "reversed": own[0]["unit"] == "dB",
        "from_zero": family in _FROM_ZERO,
        "curves": {
            head: {
                score: {
                    "clean": _mean(path, [line for line in clean if line["head"] == head], score)[0],
                    **_at_levels(path, [line for line in own if line["head"] == head], levels, score),
                }
                for score in _SCORES
            }
            for head in heads
        },
    }


def _at_levels(
    path: Path, lines: Sequence[Mapping[str, str]], levels: Sequence[float], score: str
) -> dict[str, list[float | None]]:
    found = [
        _mean(path, [line for line in lines if number(path, line, "level") == level], score)
        for level in levels
    ]
    return {"mean": [mean for mean, _ in found], "sd": [deviation for _, deviation in found]}


def _mean(path: Path, lines: Sequence[Mapping[str, str]], score: str) -> tuple[float | None, float | None]:
    """Mean over checkpoints, and their standard deviation over n - 1."""
    values = [value for line in lines if (value := number(path, line, f"ccc_{score}")) is not None]
    if not values:
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
