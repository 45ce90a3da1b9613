"""What `tagf predict` does: checks what was asked for, has the clips predicted, and says what came of it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from cache import FeatureStore
from cache.file_digest import file_digest
from cache.spec import FeatureSpec
from pipeline.config import LimitsConfig
from pipeline.errors import ExtractionError
from pipeline.feature_spec import LIBRARIES, feature_spec, library_version
from pipeline.model_sharing.model_source import find_checkpoint
from pipeline.models import resolve_device
from pipeline.prediction.column_names import ColumnChoice
from pipeline.prediction.extract_settings import extract_settings, library_note
from pipeline.prediction.media_list import list_clips, without_overlays
from pipeline.prediction.prediction_files import TableFormat
from pipeline.prediction.prediction_inputs import PredictionInput, media_inputs, store_inputs
from pipeline.prediction.prediction_record import RECORD_NAME, PredictionRecord, PredictionSettings
from pipeline.prediction.prediction_run import PredictionRun
from pipeline.prediction.prediction_table import PredictionTable
from pipeline.prediction.prediction_task import Form, PredictorSettings, SubjectChoice
from tagf_head.data.split_data import open_features
from tagf_head.evaluation.ensemble import Ensemble, load_ensemble
from tagf_head.evaluation.smoothing import Smoothing

_RANDOM_NOTE = "random weights: the values mean nothing"


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """What is asked for.

    Attributes:
        media: Files, folders and patterns, or the source of a layout; none with `features`.
        layout: How the media are laid out.
        features: Paths or URLs of feature stores; none with `media`.
        checkpoints: Files, folders or names on the Hugging Face Hub.
        out: The folder to write.
        columns: Of the tables.
        table_format: Of the tables.
        forms: What else is written of each clip.
        smoothing: What is done to the values over time; None for nothing.
        subject: Whose face; None for what the features' settings say.
        params: YAML file with the `extract` section; None for what the checkpoints tell.
        weights: Stream and file of backbones' weights.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, or several GPUs separated by commas.
        workers: Child processes at once; None for as many as fit.
        max_failures: So many clips may fail.
        replace: Whether predictions by other settings in the folder are removed.
    """

    media: tuple[Path, ...]
    layout: str
    features: tuple[str, ...]
    checkpoints: tuple[str, ...]
    out: Path
    columns: ColumnChoice
    table_format: TableFormat
    forms: frozenset[Form]
    smoothing: Smoothing | None
    subject: SubjectChoice | None
    params: Path | None
    weights: tuple[tuple[str, str], ...]
    device: str
    workers: int | None
    max_failures: int
    replace: bool


def predict_clips(options: PredictionOptions) -> PredictionRecord:
    """Predict clips into a folder; notes and progress go to standard error.

    Args:
        options: What is asked for.

    Returns:
        The folder's record.

    Raises:
        ExtractionError: More clips failed than may; the others' files are there, and the record says what is
            wrong with each. Or what is asked for does not go together.
        HeadError: A checkpoint cannot be used.
        PipelineError: Media or weights are not at hand, or this machine lacks the device.
        CacheError: The store cannot be used, or the folder not be written to.
    """
    paths = tuple(find_checkpoint(name) for name in options.checkpoints)
    devices = tuple(str(resolve_device(name.strip())) for name in options.device.split(","))
    ensemble = load_ensemble(paths, device=resolve_device("cpu"))
    _check_columns(options.columns, ensemble)
    spec, limits, inputs = (
        _from_store(options, ensemble) if options.features else _from_media(options, ensemble)
    )
    table = PredictionTable(choice=options.columns, gate_candidates=ensemble.gate_candidates)
    infos = [member.checkpoint.info for member in ensemble.members]
    digests = tuple(file_digest(path) for path in paths)
    random_weights = any(info.random_weights for info in infos)
    if random_weights:
        _note(
            "the features of this checkpoint come from backbones with random weights: these values say "
            "nothing about real faces and voices"
        )
    settings = PredictionSettings(
        tagf=version("tagf"),
        checkpoints=tuple(
            {"path": str(path), "sha256": digest, "head": info.train.head.name}
            for path, digest, info in zip(paths, digests, infos, strict=True)
        ),
        random_weights=random_weights,
        extract=dict(spec.settings),
        smoothing=None if options.smoothing is None else asdict(options.smoothing),
        device=devices[0].partition(":")[0],
        columns=options.columns.columns(ensemble.gate_candidates),
        file_format=options.table_format,
        versions={"python": platform.python_version()} | {each: library_version(each) for each in LIBRARIES},
        forms=tuple(sorted(options.forms)),
    )
    run = PredictionRun(
        folder=options.out,
        settings=settings,
        predictor=PredictorSettings(
            checkpoints=paths,
            digests=digests,
            device=devices[0],
            params=options.params,
            weights=options.weights,
            subject=options.subject,
            from_store=bool(options.features),
            smoothing=options.smoothing,
        ),
        devices=devices,
        limits=limits,
        table=table,
        table_format=options.table_format,
        forms=options.forms,
        note=_RANDOM_NOTE if random_weights else "",
        stores=options.features,
        workers=options.workers,
        progress=True,
    )
    record = run.predict(inputs, replace_all=options.replace)
    _check_failures(record, inputs, options)
    return record


def _check_columns(columns: ColumnChoice, ensemble: Ensemble) -> None:
    """Refuse columns that the heads do not fill."""
    if "gates" in columns.groups and not ensemble.gate_candidates:
        names = ", ".join(member.checkpoint.info.train.head.name for member in ensemble.members)
        raise ExtractionError(
            f"columns 'gates': expected heads with gates in common, got {names}; leave that group out"
        )
    if "deviation" in columns.groups and not ensemble.predicts_deviations and len(ensemble.members) == 1:
        raise ExtractionError(
            f"columns 'deviation': {ensemble.members[0].path} says none; give a checkpoint that was trained "
            "with --uncertainty, or several checkpoints, or leave that group out"
        )


def _from_media(
    options: PredictionOptions, ensemble: Ensemble
) -> tuple[FeatureSpec, LimitsConfig, list[PredictionInput]]:
    clips = without_overlays(list_clips(options.media, options.layout), options.out)
    first = ensemble.members[0]
    where = str(first.path)
    config = extract_settings(
        first.checkpoint.info, params=options.params, weights=dict(options.weights), where=where
    )
    if note := library_note(first.checkpoint.info.spec, where=where):
        _note(note)
    spec = feature_spec(config)
    if options.subject is not None:
        spec = replace(spec, settings={**spec.settings, "faces.subject": options.subject})
    return spec, config.limits, media_inputs(clips)


def _from_store(
    options: PredictionOptions, ensemble: Ensemble
) -> tuple[FeatureSpec, LimitsConfig, list[PredictionInput]]:
    store: FeatureStore = open_features(options.features)
    for member in ensemble.members:
        store.require_spec(member.checkpoint.info.spec, where=str(member.path))
    return store.spec, LimitsConfig(), store_inputs(store)


def _check_failures(
    record: PredictionRecord, inputs: Sequence[PredictionInput], options: PredictionOptions
) -> None:
    """Refuse to call a run done in which too many clips failed."""
    asked = {each.clip_id for each in inputs}
    failed = [clip for clip in record.clips.values() if clip.source in asked and clip.status == "failed"]
    if len(failed) > options.max_failures:
        first = failed[0]
        raise ExtractionError(
            f"{len(failed)} of {len(asked)} clips failed (allowed: {options.max_failures}), first "
            f"{first.clip_id!r} at {first.failed_stage}: {first.error}; the other {len(asked) - len(failed)} "
            f"are in {options.out}, and {options.out / RECORD_NAME} names each failure"
        )


def _note(line: str) -> None:
    print(f"predict: {line}", file=sys.stderr, flush=True)
