"""Everything that a report shows, gathered from wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.prediction.prediction_record import RECORD_NAME
from pipeline.report.clip_media import media_of_clip, media_of_source
from pipeline.report.clip_prediction import ClipPrediction, PredictionSource
from pipeline.report.clip_table import ClipRow, row_of_clip, spread_choice
from pipeline.report.clip_traces import clip_traces
from pipeline.report.comparison_chart import comparison_chart
from pipeline.report.errors import ReportError
from pipeline.report.evaluated_clips import EvaluatedClips
from pipeline.report.evaluated_table import rows_of_file
from pipeline.report.predicted_folder import PredictedFolder
from pipeline.report.provenance import (
    Provenance,
    prediction_provenance,
    read_description,
    run_provenance,
)
from pipeline.report.robustness_chart import robustness_chart
from pipeline.report.training_curves import training_curves
from pipeline.report.true_labels import TrueLabels
from tagf_head.config import LabelConfig
from tagf_head.run_folder import (
    CHECKPOINT_FILE,
    CLIP_METRICS_FILE,
    CONFIG_FILE,
    LOG_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
)

GATES_FILE = "gates.parquet"
COMPARISON_FOLDER = "comparison"
ROBUSTNESS_FOLDER = "robustness"
# Points of all traces together: with plotly's script, the page stays below 8 MB.
_MAX_POINTS = 80_000
_FEWEST_POINTS = 200
_MOST_POINTS = 6_000
_RUN_FILES = (CONFIG_FILE, CHECKPOINT_FILE, METRICS_FILE, LOG_FILE, PREDICTIONS_FILE, CLIP_METRICS_FILE)


@dataclass(frozen=True, kw_only=True)
class ReportSources:
    """Where a report's parts lie.

    Attributes:
        folder: A run, or a folder of predictions.
        annotations: The labels; None to show predictions alone.
        media: Source of the videos; None for those that the predictions name.
        layout: How `media` is read, as by `tagf extract`.
        extraction: extraction_report.json of the features, for the clips that failed.
        comparison: Folder of a comparison; None to look in the run and beside it.
        robustness: Folder of a robustness measurement; likewise.
        num_clips: Clips whose traces are shown.
    """

    folder: Path
    annotations: Path | None = None
    media: Path | None = None
    layout: str = "videos"
    extraction: Path | None = None
    comparison: Path | None = None
    robustness: Path | None = None
    num_clips: int = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """What the page shows.

    Attributes:
        name: Of the run or the folder.
        is_prediction: Whether it is a folder of predictions, without training and evaluation.
        metrics: Content of metrics.json; None where there is none.
        rows: The table's clips.
        traces: Row's number -> its traces.
        media: Row's number -> its media file.
        has_labels: Whether true labels are shown.
        training: Curves of every run or fold.
        comparison: Of heads; None where there is none.
        robustness: Of heads; None where there is none.
        provenance: Where the numbers come from.
        notes: What the reader should know about the page itself, one sentence each.
    """

    name: str
    is_prediction: bool
    metrics: Mapping[str, Any] | None
    rows: Sequence[ClipRow]
    traces: Mapping[int, Mapping[str, Any]]
    media: Mapping[int, Path]
    has_labels: bool
    training: Sequence[Mapping[str, Any]]
    comparison: Mapping[str, Any] | None
    robustness: Mapping[str, Any] | None
    provenance: Provenance
    notes: list[str]


def gather(sources: ReportSources) -> ReportContent:
    """Read what there is.

    Raises:
        ReportError: Nothing to report on, or a file is damaged.
        HeadError: Predictions or labels are damaged, or do not fit together.
        ManifestError: The source of the videos does not say what its clips are.
    """
    folder = sources.folder
    if (folder / RECORD_NAME).is_file():
        return _gather_prediction(sources)
    if not any((folder / name).is_file() for name in _RUN_FILES) and not [*folder.glob("fold-*/*")]:
        what = "an empty or other folder" if folder.is_dir() else "no such folder"
        raise ReportError(
            f"{folder}: expected a run ({', '.join(_RUN_FILES)}: any of them) or a folder of predictions "
            f"({RECORD_NAME}), got {what}; name the --out of 'tagf train' or of 'tagf predict'"
        )
    return _gather_run(sources)


def _gather_run(sources: ReportSources) -> ReportContent:
    folder = sources.folder
    metrics = _read_metrics(folder / METRICS_FILE)
    description = read_description(folder)
    labels = _labels(sources, _label_config(metrics, description))
    predictions = folder / PREDICTIONS_FILE
    gates = folder / GATES_FILE
    clips = EvaluatedClips(predictions, gates if gates.is_file() else None) if predictions.is_file() else None
    rows: list[ClipRow] = []
    if clips is not None:
        rows = _rows(clips, labels, clips.groups)
    if labels is None and (folder / CLIP_METRICS_FILE).is_file():
        rows = rows_of_file(folder / CLIP_METRICS_FILE, rows)
    media = {} if sources.media is None else media_of_source(sources.media, sources.layout)
    return _content(
        sources,
        rows,
        clips,
        labels,
        media,
        is_prediction=False,
        metrics=metrics,
        provenance=run_provenance(folder, description, metrics),
    )


def _gather_prediction(sources: ReportSources) -> ReportContent:
    clips = PredictedFolder(sources.folder)
    labels = _labels(sources, LabelConfig())
    rows = _rows(clips, labels, {})
    found = {row.clip_id for row in rows}
    rows += [
        ClipRow(
            clip_id=clip.clip_id,
            num_frames=0,
            error=clip.error or f"{clip.status}, and its table is not there: predict again",
        )
        for clip in clips.clips
        if clip.clip_id not in found
    ]
    media = clips.media if sources.media is None else media_of_source(sources.media, sources.layout)
    return _content(
        sources,
        rows,
        clips,
        labels,
        media,
        is_prediction=True,
        metrics=None,
        provenance=prediction_provenance(clips.record),
    )


def _content(
    sources: ReportSources,
    rows: list[ClipRow],
    clips: PredictionSource | None,
    labels: TrueLabels | None,
    media: Mapping[str, Path],
    *,
    is_prediction: bool,
    metrics: Mapping[str, Any] | None,
    provenance: Provenance,
) -> ReportContent:
    notes = list(provenance.notes)
    if labels is not None and rows and not any(row.num_labelled is not None for row in rows):
        raise ReportError(
            f"annotations {sources.annotations}: expected labels of the predicted clips, got none for any of "
            f"{len(rows)}, such as {rows[0].clip_id!r}; name the labels of these clips or leave out "
            "--annotations"
        )
    if sources.extraction is not None:
        rows = [*rows, *_failed(sources.extraction, {row.clip_id for row in rows})]
    predicted = frozenset(() if clips is None else clips.clip_ids)
    chosen = spread_choice(rows, sources.num_clips, predicted)
    traces = {} if clips is None else _traces(clips, labels, rows, chosen)
    num_with_rows = sum(row.num_frames > 0 and row.clip_id in predicted for row in rows)
    if len(chosen) < num_with_rows:
        notes.append(
            f"Traces of {len(chosen)} of {num_with_rows} clips are on this page, in even steps from the "
            f"worst to the best where labels are at hand; 'tagf report --clips {num_with_rows}' shows all."
        )
    found = {index: media_of_clip(rows[index].clip_id, media) for index in chosen}
    return ReportContent(
        name=sources.folder.resolve().name,
        is_prediction=is_prediction,
        metrics=metrics,
        rows=rows,
        traces=traces,
        media={index: path for index, path in found.items() if path is not None},
        has_labels=labels is not None,
        training=[] if is_prediction else training_curves(sources.folder),
        comparison=_beside(sources.folder, sources.comparison, COMPARISON_FOLDER, comparison_chart),
        robustness=_beside(sources.folder, sources.robustness, ROBUSTNESS_FOLDER, robustness_chart),
        provenance=provenance,
        notes=notes,
    )


def _rows(clips: PredictionSource, labels: TrueLabels | None, groups: Mapping[str, str]) -> list[ClipRow]:
    rows = []
    for clip_id in clips.clip_ids:
        group = groups.get(clip_id) or (labels.subject(clip_id) if labels else None)
        rows.append(row_of_clip(clips.read(clip_id), labels, group))
    return rows


def _traces(
    clips: PredictionSource, labels: TrueLabels | None, rows: Sequence[ClipRow], chosen: Sequence[int]
) -> dict[int, Mapping[str, Any]]:
    num_points = max(_FEWEST_POINTS, min(_MOST_POINTS, _MAX_POINTS // max(1, len(chosen))))

    def drawn(clip: ClipPrediction) -> dict[str, Any]:
        return clip_traces(clip, None if labels is None else labels.of_clip(clip), num_points=num_points)

    return {index: drawn(clips.read(rows[index].clip_id)) for index in chosen}


def _failed(path: Path, known: set[str]) -> list[ClipRow]:
    """Clips that stage one could not read, and that therefore have no row in the features."""
    from pipeline.run.extraction_report import read_report

    return [
        ClipRow(clip_id=clip.clip_id, error=clip.error or "failed")
        for clip in read_report(path).failures
        if clip.clip_id not in known
    ]


def _labels(sources: ReportSources, config: LabelConfig) -> TrueLabels | None:
    return None if sources.annotations is None else TrueLabels(sources.annotations, config)


def _label_config(metrics: Mapping[str, Any] | None, description: Mapping[str, Any] | None) -> LabelConfig:
    """How the evaluation made its labels, else how training did."""
    found = (metrics or {}).get("labels")
    train = (description or {}).get("train")
    if not isinstance(found, Mapping) and isinstance(train, Mapping):
        found = train.get("labels")
    if not isinstance(found, Mapping):
        return LabelConfig()
    try:
        return LabelConfig(
            gold_standard="ewe" if found.get("gold_standard") == "ewe" else "mean",
            delay_s=float(found.get("delay_s", 0.0)),
        )
    except (TypeError, ValueError) as error:
        raise ReportError(
            f"metrics.json or config.yaml: damaged label settings ({error}); evaluate again"
        ) from error


def _read_metrics(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    remedy = "run 'tagf evaluate' again"
    try:
        metrics = json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read as JSON ({error}); {remedy}") from error
    needed = ("valence", "arousal", "mean_ccc", "interval")
    if not isinstance(metrics, dict) or any(name not in metrics for name in needed):
        raise ReportError(f"{path}: expected {', '.join(needed)}, got other JSON; {remedy}")
    return metrics


def _beside(folder: Path, given: Path | None, name: str, read: Any) -> Mapping[str, Any] | None:
    """What lies in a folder that was named, else in the run, else beside it."""
    if given is not None:
        found: Mapping[str, Any] | None = read(given)
        if found is None:
            raise ReportError(
                f"{given}: expected the --out of 'tagf {'compare' if name == COMPARISON_FOLDER else name}', "
                f"got no {name}.csv; correct the path or leave it out"
            )
        return found
    for place in (folder / name, folder.resolve().parent / name):
        found = read(place)
        if found is not None:
            return found
    return None
