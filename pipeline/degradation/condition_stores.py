"""A store for each condition: the given clips, extracted again under it with the spec of their own store.

    WORK_DIR/white_noise=10/features.zarr      rows under the condition
                            extraction_report.json
    parts of finished clips                    in the usual work folder, as for any extraction

What a condition does not touch is taken from the clips' store, so that conditions of the sound cost no face
detection and no visual backbone, and the rows of the other modality are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cache.errors import CacheError
from cache.parts import ClipKey
from cache.store import FeatureStore, StorePath
from pipeline.clip_source import Manifest
from pipeline.config import ExtractConfig
from pipeline.degradation.clean_clips import CleanClip, clean_clips
from pipeline.degradation.condition import Condition
from pipeline.degradation.errors import DegradationError
from pipeline.errors import BackboneServerError, ExtractionError
from pipeline.feature_spec import clip_streams
from pipeline.run.clip_keys import clip_key
from pipeline.run.numeric_code import code_digest
from pipeline.run.runner import RunOptions, extract_clips
from pipeline.run.work_dir import WorkDir

STORE_NAME = "features.zarr"


def extract_conditions(
    store: StorePath | Sequence[StorePath],
    source: Path,
    layout: str,
    clip_ids: Sequence[str],
    conditions: Sequence[Condition],
    work_dir: Path,
    config: ExtractConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    parts_dir: Path | None = None,
    progress: bool = False,
) -> dict[Condition, Path]:
    """Extract clips under conditions; what is finished is kept, also after an interruption.

    Args:
        store: The store that holds the clips as they are, or several as one.
        source: What it was extracted from.
        layout: How that is laid out, one of `pipeline.manifest.LAYOUTS`.
        clip_ids: The clips, each once; the stores have them in this order.
        conditions: What is done to them.
        work_dir: Where the conditions' stores are written.
        config: The `extract` section that the store was extracted with.
        seed: Of everything random, not negative.
        device: As for `RunOptions`.
        workers: As for `RunOptions`.
        parts_dir: Work folder of finished clips; None for `$TAGF_WORK_DIR` or `~/.cache/tagf`.
        progress: Whether to show progress and notes on standard error.

    Returns:
        The store of each condition: same clips, rows, times and fingerprint as the store, other features.

    Raises:
        DegradationError: The clips are not in the store or not in the source, or their media are others.
        StaleFeatureError: The store was extracted with other settings.
        ManifestError: The source does not say what it holds.
        WeightsError: Weights that are missing, damaged or of another architecture.
        ExtractionError: A clip failed under some condition; the other conditions are extracted all the same.
        StorageError: A disk is full or not writable.
    """
    if seed < 0:
        raise DegradationError(f"seed must not be negative, got {seed}")
    digests = WorkDir(parts_dir).media_digests()
    clips = clean_clips(store, source, layout, clip_ids, config, digests, progress=progress)
    options = RunOptions(work_dir=parts_dir, device=device, workers=workers, progress=progress)
    stores: dict[Condition, Path] = {}
    failures: list[str] = []
    for condition in dict.fromkeys(conditions):
        out = work_dir / condition.name / STORE_NAME
        try:
            _extract(clips, condition, seed, out, source, layout, config, options)
        except BackboneServerError:
            raise
        except ExtractionError as error:
            failures.append(f"{condition.name}: {error}")
        else:
            stores[condition] = out
    if failures:
        raise ExtractionError(
            f"{len(failures)} of {len(failures) + len(stores)} conditions failed, the others are kept in "
            f"{work_dir}; first {failures[0]}"
        )
    return stores


def _extract(
    clips: Sequence[CleanClip],
    condition: Condition,
    seed: int,
    out: Path,
    source: Path,
    layout: str,
    config: ExtractConfig,
    options: RunOptions,
) -> None:
    """Write the store of one condition, unless it is there."""
    degradations = {clip.source.clip_id: clip.degradation(condition, seed) for clip in clips}
    streams, fingerprint = clip_streams(config), clips[0].rows.key.fingerprint
    keys = [
        degradations[clip.source.clip_id].key(
            clip_key(clip.source, clip.digests, config, streams, fingerprint)
        )
        for clip in clips
    ]
    if not _is_finished(out, keys):
        out.parent.mkdir(parents=True, exist_ok=True)
        extract_clips(
            Manifest(clips=tuple(clip.source for clip in clips)),
            out,
            config,
            options,
            source=str(source),
            layout=layout,
            degradations=degradations,
        )


def _is_finished(out: Path, keys: Sequence[ClipKey]) -> bool:
    """Whether a store holds these clips, made by the present code. What cannot be read is made again."""
    try:
        there = FeatureStore.open(out)
        return [there[clip].key for clip in there] == list(keys) and all(
            there[clip].facts.get("code_digest") == code_digest() for clip in there
        )
    except CacheError:
        return False
