"""The sentences and cards of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.report.number_text import count, fixed, number, share
from pipeline.report.report_content import ReportContent
from tagf_head.config import TARGETS
from tagf_head.data.clip_groups import counted

_METRICS = ("ccc", "pcc", "rmse", "mae", "sagr")
# Width of the drawing in which a score stands.
_RAIL = 200.0


def lead(content: ReportContent) -> str:
    """What the page is about, in one sentence."""
    metrics = content.metrics
    num_failed = sum(row.error is not None for row in content.rows)
    failed = f" {count(num_failed, 'clip')} failed." if num_failed else ""
    if metrics is not None:
        heads = metrics.get("ensemble_size", 1)
        head = str(metrics.get("head", "a head"))
        who = head if heads == 1 else f"An ensemble of {heads} ({head})"
        frames, labelled = metrics.get("num_frames", 0), metrics.get("num_labelled_frames", 0)
        return (
            f"{who} on the split {metrics.get('split', '?')}: {count(metrics.get('num_clips', 0), 'clip')}, "
            f"{count(frames, 'frame')}, {number(labelled)} of them with labels.{failed}"
        )
    if content.is_prediction:
        frames = sum(row.num_frames for row in content.rows)
        num_clips = len(content.rows) - num_failed
        return f"Valence and arousal of {count(num_clips, 'clip')}, {count(frames, 'frame')}.{failed}"
    if content.training:
        return f"A trained run that was not evaluated yet.{failed}"
    return f"What lies in this folder.{failed}"


def cards(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The three scores with their intervals, drawn on one scale."""
    found = [
        ("Mean CCC", "mean", metrics, "mean_ccc"),
        *((f"CCC of {target}", target, metrics[target], "ccc") for target in TARGETS),
    ]
    lows = [values.get(f"{name}_low") for _, _, values, name in found]
    lowest = min((value for value in lows if value is not None), default=0.0)
    scale_low = -1.0 if lowest < 0 else 0.0
    confidence = f"{metrics['interval'].get('confidence', 0.95):.0%}".replace("%", " %")

    def x(value: float | None) -> float | None:
        if value is None:
            return None
        return round(_RAIL * (min(1.0, max(scale_low, value)) - scale_low) / (1 - scale_low), 2)

    for title, kind, values, name in found:
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        has_interval = low is not None and high is not None
        yield {
            "title": title,
            "kind": kind,
            "value": values.get(name),
            "x": x(values.get(name)),
            "low_x": x(low) if has_interval else None,
            "high_x": x(high) if has_interval else None,
            "scale_low": scale_low,
            "interval": f"{confidence} interval {fixed(low)} to {fixed(high)}"
            if has_interval
            else "no interval: one group of clips",
        }


def metric_lines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every metric of both targets, pooled and as the mean over clips."""
    lines = [{"name": target.capitalize(), "numbers": _values(metrics[target])} for target in TARGETS]
    of_clips = metrics.get("clip_mean") or {}
    lines += [
        {"name": f"{target.capitalize()}, mean over clips", "numbers": _values(of_clips[target])}
        for target in TARGETS
        if target in of_clips
    ]
    return lines


def metric_notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What the metrics rest on, one sentence each."""
    interval = metrics["interval"]
    yield (
        f"Intervals: {number(interval.get('num_resamples', 0))} bootstrap resamples of "
        f"{counted(interval.get('num_units', 0), interval.get('unit', 'clip'))}. Pooled over all labelled "
        "frames, unless it says mean over clips."
    )
    smoothing = metrics.get("smoothing")
    if isinstance(smoothing, Mapping):
        without = smoothing.get("without") or {}
        yield (
            f"Predictions are smoothed ({smoothing.get('kind')}, {smoothing.get('seconds')} s); without "
            f"that, the mean CCC is {fixed(without.get('mean_ccc'))}."
        )
    reliability = metrics.get("reliability")
    if isinstance(reliability, Mapping):
        for modality in ("visual", "audio"):
            of = reliability.get(modality)
            if isinstance(of, Mapping):
                changes = " and ".join(
                    f"{target} to CCC {fixed(of[target].get('ccc_without'))}"
                    for target in TARGETS
                    if target in of
                )
                yield f"Without the {modality} stream: {changes}."


def calibration_lines(metrics: Mapping[str, Any]) -> dict[str, list[list[float]]] | None:
    """Levels and the shares of labels within them, by target."""
    found = metrics.get("calibration")
    if not isinstance(found, Mapping) or any(target not in found for target in TARGETS):
        return None
    return {
        target: [[float(level), float(value)] for level, value in found[target]["coverage"].items()]
        for target in TARGETS
    }


def calibration_notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What the chart of calibration says in numbers."""
    for target in TARGETS:
        found = metrics["calibration"][target]
        yield (
            f"{target.capitalize()}: mean deviation {fixed(found.get('mean_sd'))}; "
            f"{share(found['coverage'].get('0.90'))} of the labels within the 90 % interval; negative log "
            f"likelihood {fixed(found.get('nll'))}, of the best constant {fixed(found.get('constant_nll'))}."
        )


def gate_note(metrics: Mapping[str, Any] | None) -> str:
    """Whether the gates choose or average."""
    found = (metrics or {}).get("gates")
    if not isinstance(found, Mapping) or not found:
        return ""
    parts = [
        f"{name} {fixed(gate.get('entropy'))} of {fixed(gate.get('max_entropy'))}"
        for name, gate in found.items()
        if isinstance(gate, Mapping)
    ]
    return (
        f"Entropy over all frames, in nats: {', '.join(parts)}; at the largest value a gate averages and "
        "chooses nothing."
    )


def training_note(content: ReportContent) -> str:
    """What the curves are of."""
    if not content.training:
        return ""
    if len(content.training) > 1:
        return (
            f"{len(content.training)} folds; each keeps its epoch of the best mean CCC on the clips held out."
        )
    epochs = len(content.training[0]["columns"]["epoch"])
    return (
        f"{count(epochs, 'epoch')}; the weights are those of the epoch with the best mean CCC on the "
        "validation split."
    )


def robustness_note(content: ReportContent) -> str:
    """What the panels show."""
    if content.robustness is None:
        return ""
    return (
        "CCC while the signals get worse; bars are a standard deviation over checkpoints, dotted lines the "
        f"score without a disturbance. {count(content.robustness['num_checkpoints'], 'checkpoint')}."
    )


def comparison_note(content: ReportContent) -> str:
    """What the chart and the table of heads show."""
    if content.comparison is None:
        return ""
    seeds = content.comparison["seeds"].split()
    return (
        f"CCC on the split {content.comparison['split']}, mean over "
        f"{count(len(seeds), 'seed')}; lines are 95 % intervals, ticks are seeds."
    )


def _values(values: Mapping[str, Any]) -> list[float | None]:
    return [values.get(name) for name in _METRICS]
