"""What is known of a model that is to be shared: a checkpoint, and an evaluation of that very checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.file_digest import file_digest
from pipeline.model_sharing.backbone_weights import BackboneWeights, backbone_weights
from pipeline.model_sharing.model_source import find_checkpoint
from tagf_head.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint
from tagf_head.errors import HeadError
from tagf_head.run_folder import METRICS_FILE


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedModel:
    """A trained head as it is shared.

    Attributes:
        name: What the card calls it.
        licence: Identifier of its licence, as the Hugging Face Hub writes it.
        dataset: Name of what it was trained and evaluated on; None where it is not said.
        path: The checkpoint.
        sha256: The checkpoint's digest.
        checkpoint: The checkpoint, on the CPU.
        metrics: Content of metrics.json; None for a model that was not evaluated.
        weights: Weights of the backbones that its features come from.
    """

    name: str
    licence: str
    dataset: str | None
    path: Path
    sha256: str
    checkpoint: Checkpoint
    metrics: Mapping[str, Any] | None
    weights: tuple[BackboneWeights, ...]

    @property
    def info(self) -> CheckpointInfo:
        """What the checkpoint says of itself."""
        return self.checkpoint.info

    @property
    def num_parameters(self) -> int:
        """Trained numbers."""
        return sum(each.numel() for each in self.checkpoint.head.parameters())


def read_model(run: Path, *, name: str | None, licence: str, dataset: str | None) -> SharedModel:
    """Read a run.

    Args:
        run: A run's folder, or its checkpoint; metrics.json is looked for beside it.
        name: What to call the model; None for the name of the run's folder.
        licence: Identifier of the licence.
        dataset: Name of what it was trained and evaluated on.

    Raises:
        CheckpointError: The run has no checkpoint that can be read.
        HeadError: Its metrics cannot be read, or are those of another checkpoint.
    """
    path = find_checkpoint(run)
    sha256 = file_digest(path)
    checkpoint = load_checkpoint(path)
    return SharedModel(
        name=_one_line(name) or _name_of(run, path),
        licence=licence,
        dataset=_one_line(dataset) or None,
        path=path,
        sha256=sha256,
        checkpoint=checkpoint,
        metrics=_metrics(path.with_name(METRICS_FILE), path, sha256),
        weights=backbone_weights(checkpoint.info.spec),
    )


def _metrics(path: Path, checkpoint: Path, sha256: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        evaluated = list(metrics["checkpoints_sha256"])
        if evaluated == [sha256]:
            _require_complete(metrics)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HeadError(
            f"{path} is no complete metrics.json of this version ({type(error).__name__}: {error}); write it "
            "again with 'tagf evaluate', or move it away to share the model without metrics"
        ) from error
    if evaluated != [sha256]:
        shown = ", ".join(str(each)[:12] for each in evaluated)
        raise HeadError(
            f"{path} holds the metrics of another checkpoint (SHA-256 {shown}, {checkpoint.name} has "
            f"{sha256[:12]}); run 'tagf evaluate' on this one, or move the file away to share the model "
            "without metrics"
        )
    found: dict[str, Any] = metrics
    return found


def _require_complete(metrics: Mapping[str, Any]) -> None:
    """Read everything that the card shows without asking whether it is there."""
    for target in ("valence", "arousal"):
        for value in (metrics[target], metrics["clip_mean"][target]):
            _ = [value[name] for name in ("ccc", "pcc", "rmse", "mae", "sagr")]
    _ = [metrics["interval"][name] for name in ("confidence", "unit", "num_units", "num_resamples")]
    _ = [metrics[name] for name in ("mean_ccc", "split", "num_clips", "num_frames", "num_labelled_frames")]


def _name_of(run: Path, checkpoint: Path) -> str:
    if run.is_dir() or run.is_file():
        return checkpoint.absolute().parent.resolve().name
    return run.name.partition("@")[0]  # a repository's


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
