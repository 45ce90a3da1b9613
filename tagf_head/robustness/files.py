"""The files of a robustness measurement, each replaced in one step when everything has been measured."""

from __future__ import annotations

from pathlib import Path

from tagf_head.robustness.chart import draw
from tagf_head.robustness.report import RobustnessReport
from tagf_head.robustness.tables import gates_csv, markdown, scores_csv
from tagf_head.run_folder import write_file

SCORES_FILE = "robustness.csv"
GATES_FILE = "gates.csv"
SUMMARY_FILE = "robustness.md"
SVG_FILE = "robustness.svg"
PNG_FILE = "robustness.png"


def write_report(out: Path, report: RobustnessReport) -> None:
    """Write all files; gates.csv only where a head has gates, and not that of an earlier measurement.

    Raises:
        HeadError: The folder cannot be written.
    """
    svg, png = draw(report)
    gates = gates_csv(report)
    contents = {
        SCORES_FILE: scores_csv(report),
        SUMMARY_FILE: markdown(report).encode(),
        SVG_FILE: svg,
        PNG_FILE: png,
    }
    if gates is None:
        (out / GATES_FILE).unlink(missing_ok=True)
    else:
        contents[GATES_FILE] = gates
    for name, content in contents.items():
        write_file(out / name, content)
