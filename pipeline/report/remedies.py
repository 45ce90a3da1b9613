"""What a page lacks, and the command that makes it."""

from __future__ import annotations

from pathlib import Path

from pipeline.report.report_content import ReportContent

Remedy = dict[str, str]


def remedies(content: ReportContent, folder: Path) -> dict[str, Remedy]:
    """What the page lacks, and the command that makes it."""
    run = str(folder)
    out = f"{run}/metrics.json"
    if content.is_prediction:
        evaluate = f"tagf report {run} --annotations LABELS --out report.html"
        again = "tagf predict MEDIA --checkpoint FILE --columns gates --out " + run
    else:
        evaluate = (
            f"tagf evaluate --features STORE --annotations LABELS --checkpoint {run}/best.safetensors "
            f"--out {out} --predictions {run}/predictions.parquet --clip-metrics {run}/clip_metrics.csv"
        )
        again = f"{evaluate} --gates {run}/gates.parquet"
    found: dict[str, Remedy] = {}
    if content.metrics is None and not content.is_prediction:
        found["summary"] = _remedy("There are no metrics yet.", evaluate)
    if not content.training:
        found["training"] = (
            _remedy(
                "A folder of predictions has no training. The run of the head has:",
                "tagf report RUN --out run.html",
            )
            if content.is_prediction
            else _remedy("There is no training log here.", f"tagf train ... --out {run}")
        )
    if not content.rows:
        found["clips"] = _remedy(
            "There are no clips yet." if not content.is_prediction else "No clip was predicted.", evaluate
        )
    if not content.traces:
        found["traces"] = _remedy("There are no predictions to draw.", evaluate)
    if not content.has_labels:
        found["labels"] = _remedy(
            "True labels are not drawn: name them.",
            f"tagf report {run} --annotations LABELS --out report.html",
        )
    found["gates"] = _remedy(
        "There are no gates' weights here: the head has none, or they were not written.", again
    )
    found["robustness"] = _remedy(
        "Robustness was not measured here.",
        "tagf robustness --features STORE --annotations LABELS "
        f"--checkpoint {run}/best.safetensors --out {folder.parent}/robustness",
    )
    found["comparison"] = _remedy(
        "Heads were not compared here.",
        f"tagf compare --features STORE --annotations LABELS --heads all --out {folder.parent}/comparison",
    )
    return found


def _remedy(text: str, command: str) -> Remedy:
    return {"text": text, "command": command}
