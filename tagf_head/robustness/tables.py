"""A robustness measurement as CSV, for programs, and as Markdown, for people."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cache.features import VISUAL_STREAM
from cache.rows import AUDIO_STREAM
from tagf_head.config import TARGETS
from tagf_head.evaluation.bootstrap import CONFIDENCE, CccIntervals
from tagf_head.evaluation.markdown import markdown_table
from tagf_head.evaluation.results import RANDOM_WEIGHTS_NOTE
from tagf_head.robustness.conditions import Condition
from tagf_head.robustness.curves import mean_and_deviation
from tagf_head.robustness.report import MeasuredHead, Panel, RobustnessReport
from tagf_head.run_folder import csv_bytes

_COLUMNS = ("head", "checkpoint", "seed", "family", "modality", "level", "unit", "corruption_seed")
_SCORES = (*TARGETS, "mean")
_SCORE_COLUMNS = tuple(
    f"{what}_{target}{bound}"
    for what in ("ccc", "change")
    for target in _SCORES
    for bound in ("", "_low", "_high")
)
_ERROR_COLUMNS = tuple(f"{what}_{target}" for what in ("rmse", "predicted_sd") for target in TARGETS)
_PRESENT_COLUMNS = tuple(f"{stream}_present" for stream in (VISUAL_STREAM, AUDIO_STREAM))
_GATE_COLUMNS = (
    "gate",
    "candidate",
    "mean_weight",
    "altered_mean_weight",
    "altered_change",
    "entropy",
    "max_entropy",
)

#: What the rows without a disturbance are called.
CLEAN = "clean"


def scores_csv(report: RobustnessReport) -> bytes:
    """One line per checkpoint and condition: CCC, its change against the clean rows, errors, rows present.

    A cell is empty where there is nothing to say: the CCC of labels that never change, the bounds of an
    interval over one group, the deviation of a head that predicts none.
    """
    return csv_bytes(
        (*_COLUMNS, *_SCORE_COLUMNS, *_ERROR_COLUMNS, *_PRESENT_COLUMNS),
        (
            (
                *_place(report, head, condition),
                *_scores(measured.ccc),
                *_scores(measured.change),
                *(_number(value) for value in (*measured.rmse, *(measured.predicted_sd or (None, None)))),
                *(_number(report.present[condition][stream]) for stream in (VISUAL_STREAM, AUDIO_STREAM)),
            )
            for head, condition in _lines(report)
            for measured in (head.under(condition),)
        ),
    )


def gates_csv(report: RobustnessReport) -> bytes | None:
    """One line per checkpoint, condition, gate and candidate; None where no head has gates."""
    lines = [
        (
            *_place(report, head, condition),
            name,
            candidate,
            _number(gate.mean_weight[column]),
            _number(None if gate.altered_mean_weight is None else gate.altered_mean_weight[column]),
            _number(gate.altered_change),
            _number(gate.entropy),
            _number(gate.max_entropy),
        )
        for head, condition in _lines(report)
        for name, gate in head.under(condition).gates.items()
        for column, candidate in enumerate(gate.candidates)
    ]
    return csv_bytes((*_COLUMNS, *_GATE_COLUMNS), lines) if lines else None


def markdown(report: RobustnessReport) -> str:
    """Tables of the mean CCC per condition, and of what the gates did at both ends of each."""
    sizes = ", ".join(f"{curve} {len(report.of_curve(curve))}" for curve in report.curves)
    lines = [
        f"# Robustness on {report.split}",
        "",
        f"{report.num_clips} clips, {report.num_frames} frames, {report.num_labelled} with labels. "
        f"Checkpoints: {sizes}.",
        "Mean of the CCC of valence and of arousal; ± is the standard deviation over checkpoints. "
        f"robustness.csv has each target by itself, and {CONFIDENCE:.0%} intervals over groups of clips "
        f"({report.unit}).",
        f"Whatever is random in a disturbance is drawn once, with seed {report.corruption_seed}, and is the "
        "same for every checkpoint: ± does not say how much another draw would change.",
    ]
    if report.random_weights:
        lines.append(RANDOM_WEIGHTS_NOTE)
    for panel in report.panels:
        levels = report.levels(panel)
        lines += ["", f"## {report.title(panel)}", ""]
        # A picture without a face found is no picture: how many are left says what a head has to go on.
        varying = [
            stream
            for stream in report.present[None]
            if len({report.present[each][stream] for each in (None, *levels)}) > 1
        ]
        header = (levels[0].unit, *(f"frames with {stream} features" for stream in varying), *report.curves)
        rows = (
            (
                _level(condition),
                *(f"{report.present[condition][stream]:.1%}" for stream in varying),
                *(_shown(*report.ccc(curve, condition, "mean")) for curve in report.curves),
            )
            for condition in (None, *levels)
        )
        lines.append(markdown_table([header, *rows]).rstrip())
    gated = list(_gate_lines(report))
    if gated:
        lines += [
            "",
            "## Gates",
            "",
            "Mean weight of each candidate over all frames, and entropy in nats beside that of equal "
            "weights, without a disturbance. Then, for each disturbance, the share of the weight that it "
            "moves to other candidates in the frames that it alters, at the level where that is most. "
            "Means over checkpoints; gates.csv has every level.",
            "",
            markdown_table(
                [
                    ("head", "gate", "mean weights", "entropy", *(_short(panel) for panel in report.panels)),
                    *gated,
                ]
            ).rstrip(),
        ]
    return "\n".join(lines) + "\n"


def _lines(report: RobustnessReport) -> Iterator[tuple[MeasuredHead, Condition | None]]:
    for head in report.heads:
        for condition in (None, *report.conditions):
            yield head, condition


def _place(report: RobustnessReport, head: MeasuredHead, condition: Condition | None) -> tuple[object, ...]:
    of_condition = (
        (CLEAN, "", "", "")
        if condition is None
        else (condition.family, condition.modality, f"{condition.level:g}", condition.unit)
    )
    return (head.curve, str(head.checkpoint), head.seed, *of_condition, report.corruption_seed)


def _scores(intervals: CccIntervals) -> Iterator[str]:
    for target in _SCORES:
        interval = getattr(intervals, target)
        yield from (_number(value) for value in (interval.estimate, interval.low, interval.high))


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6f}"


def _gate_lines(report: RobustnessReport) -> Iterator[tuple[str, ...]]:
    for curve in report.curves:
        for gate, candidates in report.gates(curve).items():
            clean = report.reactions(curve, gate, None)
            weights = (
                mean_and_deviation([each.mean_weight[column] for each in clean])[0]
                for column in range(len(candidates))
            )
            entropy = mean_and_deviation([each.entropy for each in clean])[0]
            yield (
                curve,
                gate,
                ", ".join(f"{name} {weight:.3f}" for name, weight in zip(candidates, weights, strict=True)),
                f"{entropy:.3f} of {clean[0].max_entropy:.3f}",
                *(_most_moved(report, curve, gate, panel) for panel in report.panels),
            )


def _most_moved(report: RobustnessReport, curve: str, gate: str, panel: Panel) -> str:
    most = report.most_moved(curve, gate, panel)
    return "n/a" if most is None else f"{most[0]:.4f} at {most[1].level:g} {most[1].unit}"


def _short(panel: Panel) -> str:
    """What a narrow column calls a panel; a family that knows one modality needs no other word."""
    family, modality = panel
    return f"{family} {modality}" if family in ("noise", "drop") else family.replace("_", " ")


def _level(condition: Condition | None) -> str:
    return CLEAN if condition is None else f"{condition.level:g}"


def _shown(mean: float, deviation: float) -> str:
    if math.isnan(mean):
        return "n/a"
    return f"{mean:.3f}" if math.isnan(deviation) else f"{mean:.3f} ± {deviation:.3f}"
