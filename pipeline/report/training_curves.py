"""The curves of training_log.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.report.csv_lines import number, read_lines
from tagf_head.run_folder import LOG_FILE

_NEEDED = ("epoch", "train_loss", "validation_ccc_valence", "validation_ccc_arousal", "validation_ccc_mean")
_SHOWN = (*_NEEDED, "lr")


def training_curves(run: Path) -> list[dict[str, Any]]:
    """Curves of a run, or of every fold of a cross-validation, in the order of the folders' names.

    Returns:
        `name` (empty for the run itself) and `columns`, each a list of numbers or None per epoch; nothing
        where no log lies there.

    Raises:
        ReportError: A log is damaged.
    """
    logs = [("", run / LOG_FILE)] if (run / LOG_FILE).is_file() else []
    logs += [(path.parent.name, path) for path in sorted(run.glob(f"fold-*/{LOG_FILE}"))]
    return [{"name": name, "columns": _columns(path)} for name, path in logs]


def _columns(path: Path) -> dict[str, list[float | None]]:
    lines = read_lines(path, _NEEDED, remedy="train again, or move the file away")
    return {name: [number(path, line, name) for line in lines] for name in _SHOWN}
