"""The metrics of one evaluation, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.cli.tables import print_table
from tagf_head.data.clip_groups import counted

_TARGETS = ("valence", "arousal")
_METRICS = ("ccc", "pcc", "rmse", "mae", "sagr")
_MODALITIES = ("visual", "audio")
_SOURCES = {
    "predicted": "predicted",
    "ensemble": "of the ensemble",
    "both": "predicted and of the ensemble",
}
_UNDEFINED = "n/a"


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Print what metrics.json says: a table of targets and metrics, and what they rest on.

    Args:
        metrics: Content of metrics.json.
    """
    interval = metrics["interval"]
    header = ("", "CCC", f"{interval['confidence']:.0%} interval", *(name.upper() for name in _METRICS[1:]))
    rows = [
        *((name, *_cells(metrics[name], metrics[name])) for name in _TARGETS),
        ("mean", _number(metrics["mean_ccc"]), _interval(metrics, "mean_ccc")),
        *((f"{name}, mean over clips", *_cells(metrics["clip_mean"][name], None)) for name in _TARGETS),
        *_unsmoothed_rows(metrics),
    ]
    print_table(_title(metrics), header, [(*row, *[""] * (len(header) - len(row))) for row in rows])
    for line in _notes(metrics):
        print(line)


def _title(metrics: Mapping[str, Any]) -> str:
    size = metrics["ensemble_size"]
    head = metrics["head"] if size == 1 else f"{metrics['head']}, ensemble of {size}"
    return (
        f"{head} on {metrics['split']}: {metrics['num_clips']} clips, {metrics['num_frames']} frames, "
        f"{metrics['num_labelled_frames']} with labels"
    )


def _unsmoothed_rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What the metrics would be without the smoothing."""
    if "smoothing" in metrics:
        without = metrics["smoothing"]["without"]
        yield from ((f"{name}, not smoothed", *_cells(without[name], None)) for name in _TARGETS)
        yield ("mean, not smoothed", _number(without["mean_ccc"]))


def _cells(values: Mapping[str, Any], intervals: Mapping[str, Any] | None) -> list[str]:
    ccc, *others = (_number(values[name]) for name in _METRICS)
    return [ccc, "" if intervals is None else _interval(intervals, "ccc"), *others]


def _number(value: float | None) -> str:
    # A space in place of the sign keeps the digits of a column below each other.
    return _UNDEFINED if value is None else f"{value: .3f}"


def _interval(values: Mapping[str, Any], name: str) -> str:
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return _UNDEFINED if low is None else f"[{low: .3f}, {high: .3f}]"


def _notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    interval = metrics["interval"]
    if "smoothing" in metrics:
        smoothing = metrics["smoothing"]
        yield (
            f"Smoothed: {smoothing['kind']} over {smoothing['seconds']:g} s; the intervals are of the "
            "smoothed predictions."
        )
    units = counted(interval["num_units"], interval["unit"])
    yield f"Intervals: {interval['num_resamples']} bootstrap resamples of {units}."
    for name, gate in metrics.get("gates", {}).items():
        weights = ", ".join(f"{candidate} {weight:.3f}" for candidate, weight in gate["mean_weight"].items())
        yield (
            f"Gate {name}: mean weights {weights}; entropy {gate['entropy']:.3f} of at most "
            f"{gate['max_entropy']:.3f} nats."
        )
    if "uncertainty" in metrics:
        yield from _calibration_notes(metrics)
    if "reliability" in metrics:
        yield from _reliability_notes(metrics["reliability"])
    if metrics["random_weights"]:
        yield "The frozen backbones have random weights: these numbers say nothing about real media."


def _calibration_notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    source = _SOURCES[metrics["uncertainty"]["source"]]
    for name in _TARGETS:
        found = metrics["calibration"][name]
        coverage, likelihoods = found["coverage"]["0.90"], (found["nll"], found["constant_nll"])
        yield (
            f"Deviation of {name}, {source}: mean {found['mean_sd']:.3f}; {coverage:.1%} within 90 %; "
            "NLL {} (constant {}).".format(*map(_plain, likelihoods))
        )
    if metrics["uncertainty"]["source"] == "ensemble":
        yield "Heads that agree can all be wrong: these are too small. Train with --uncertainty."


def _reliability_notes(reliability: Mapping[str, Any]) -> Iterator[str]:
    for modality in _MODALITIES:
        changes = ", ".join(
            f"{name} moves by {reliability[modality][name]['mean_absolute_change']:.3f} to CCC "
            f"{_plain(reliability[modality][name]['ccc_without'])}"
            for name in _TARGETS
        )
        yield f"Without {modality}: {changes}."
    if reliability["visual_share"] is not None:
        yield f"Share of the visual stream in both changes: {reliability['visual_share']:.3f}."


def _plain(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.3f}"
