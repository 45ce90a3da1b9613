"""What a report shows of comparison.csv: the CCC of every head with its interval, seeds and difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.report.csv_lines import number, read_lines
from tagf_head.config import TARGETS

TABLE_FILE = "comparison.csv"
TRIALS_FILE = "trials.csv"
_SCORES = (*TARGETS, "mean")
_REMEDY = "run 'tagf compare' again"


def comparison_chart(folder: Path) -> dict[str, Any] | None:
    """Heads of a comparison, in the table's order.

    Args:
        folder: Where `tagf compare --out` wrote.

    Returns:
        `split`, `reference`, `seeds` and `heads`, each with mean, interval, seeds' scores and the paired
        difference from the reference; None where there is no comparison.

    Raises:
        ReportError: A file is damaged.
    """
    path = folder / TABLE_FILE
    if not path.is_file():
        return None
    lines = read_lines(
        path, ("head", "split", "seeds", *(f"{score}_ccc" for score in _SCORES)), remedy=_REMEDY
    )
    trials_path = folder / TRIALS_FILE
    trials = (
        read_lines(trials_path, ("head", *(f"{score}_ccc" for score in _SCORES)), remedy=_REMEDY)
        if trials_path.is_file()
        else []
    )
    heads = [
        {
            "head": line["head"],
            "num_parameters": number(path, line, "num_parameters"),
            "scores": {
                score: {
                    name: number(path, line, f"{score}_ccc{suffix}")
                    for name, suffix in (("ccc", ""), ("sd", "_sd"), ("low", "_low"), ("high", "_high"))
                }
                | {
                    name: number(path, line, f"{score}_ccc_difference{suffix}")
                    for name, suffix in (
                        ("difference", ""),
                        ("difference_low", "_low"),
                        ("difference_high", "_high"),
                    )
                }
                | {
                    "seeds": [
                        number(trials_path, trial, f"{score}_ccc")
                        for trial in trials
                        if trial["head"] == line["head"]
                    ]
                }
                for score in _SCORES
            },
        }
        for line in lines
    ]
    return {
        "split": lines[0]["split"] if lines else "",
        "seeds": lines[0]["seeds"] if lines else "",
        "reference": next((line["reference"] for line in lines if line.get("reference")), None),
        "heads": heads,
    }
