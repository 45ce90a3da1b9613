"""Where a comparison keeps its trials, and which of them its table stands on.

The folder of a comparison keeps trials of former heads and seeds, so what lies in it says little.
"""

from __future__ import annotations

import csv
from pathlib import Path

#: Name of the files of the table and the plot, without their endings.
COMPARISON_NAME = "comparison"


def trial_folder(out: Path, head_folder: str, seed: int) -> Path:
    """Folder of a trial within that of the comparison."""
    return out / head_folder / f"seed-{seed}"


def recorded_trials(out: Path) -> frozenset[Path] | None:
    """Folders of the trials in the table of a comparison; None where `out` holds no such table."""
    try:
        with (out / f"{COMPARISON_NAME}.csv").open(encoding="utf-8", newline="") as file:
            trials = frozenset(
                trial_folder(out, row["folder"], int(seed))
                for row in csv.DictReader(file)
                for seed in row["seeds"].split()
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
        return None
    return trials or None
