"""Heads whose predictions are averaged, and who predicts which clip.

On an official split every head predicts every clip. On the split `fold` a clip is predicted by the heads of
its own fold alone, which have not seen it in training:

    fold of the clip    0  0  1  2          heads of fold 0 predict the first two clips,
    predicted by        A  A  B  C          and so on: out-of-fold predictions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cache import FeatureStore
from tagf_head.annotations import Annotations, Split
from tagf_head.checkpoint import Checkpoint, load_checkpoint
from tagf_head.config import LabelConfig
from tagf_head.data.folds import plan_folds
from tagf_head.data.split_data import SplitData
from tagf_head.data.windows import plan_windows
from tagf_head.errors import CheckpointError
from tagf_head.evaluation.deviation import Deviations, DeviationTally
from tagf_head.evaluation.gate_weights import GateTally, GateWeights
from tagf_head.evaluation.head_passes import GatedRows
from tagf_head.evaluation.stitching import predict_gated_rows

_TRAINING_SPLITS: tuple[Split, ...] = ("train", "validation")
_NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One trained head and the file that it came from."""

    path: Path
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """One head or several, trained on labels that were made in one way.

    Attributes:
        members: The heads, in the order in which they were given.
    """

    members: tuple[Member, ...]

    @property
    def labels(self) -> LabelConfig:
        """How the heads' labels were made."""
        return self.members[0].checkpoint.info.train.labels

    @property
    def gate_candidates(self) -> dict[str, tuple[str, ...]]:
        """Gates that all heads have, with the same candidates."""
        first, *others = (member.checkpoint.head.gate_candidates for member in self.members)
        return {
            name: candidates
            for name, candidates in first.items()
            if all(other.get(name) == candidates for other in others)
        }

    @property
    def predicts_deviations(self) -> bool:
        """Whether all heads were made to predict deviations."""
        return all(member.checkpoint.info.train.head.uncertainty for member in self.members)


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsemblePrediction:
    """Mean over the heads that predict each row.

    Attributes:
        values: ``(N, 2)`` float64, valence and arousal.
        deviations: Their variances, as far as the heads know them.
        gates: Gate -> its weights; those of `Ensemble.gate_candidates`.
    """

    values: NDArray[np.float64]
    deviations: Deviations
    gates: dict[str, GateWeights]


def load_ensemble(paths: Sequence[Path], *, device: torch.device) -> Ensemble:
    """Read checkpoints.

    Raises:
        CheckpointError: There are none, one is given twice or cannot be used, or they were trained on labels
            that were made in different ways.
    """
    if not paths:
        raise CheckpointError("no checkpoint to evaluate; give at least one best.safetensors")
    members = tuple(Member(path=path, checkpoint=load_checkpoint(path, device=device)) for path in paths)
    first = members[0]
    for index, member in enumerate(members):
        if any(member.path.samefile(other.path) for other in members[:index]):
            raise CheckpointError(f"{member.path} is given twice; give each head of an ensemble once")
        labels, expected = (each.checkpoint.info.train.labels for each in (member, first))
        if labels != expected:
            raise CheckpointError(
                f"{member.path} was trained on labels with {labels}, {first.path} on labels with "
                f"{expected}; evaluate them one by one"
            )
    return Ensemble(members=members)


def check_official_split(ensemble: Ensemble, split: Split, annotations: Annotations) -> None:
    """Refuse to evaluate heads on clips that they were trained on, but for the training split.

    Raises:
        CheckpointError: A head was trained on some folds, and the split's clips may be among them; or on
            clips that were of the training split then.
        AnnotationError: There are no labels for the split.
    """
    for member in ensemble.members:
        fold = member.checkpoint.info.fold
        if fold is not None and split in _TRAINING_SPLITS:
            raise CheckpointError(
                f"{member.path} is of fold {fold.index} of {fold.num_folds}: its training may have seen "
                f"clips of split {split!r}; evaluate it on 'fold' (the clips that it has not seen) or 'test'"
            )
        seen = [] if split == "train" else member.checkpoint.info.seen(annotations.clip_ids(split))
        if seen:
            named = ", ".join(seen[:_NUM_NAMED]) + (", ..." if len(seen) > _NUM_NAMED else "")
            raise CheckpointError(
                f"{member.path} was trained on {len(seen)} of the clips of split {split!r} in "
                f"{annotations.path}: {named}; move their labels back to the training split, or train again "
                "on the splits as they are now"
            )


def unseen_clips(
    ensemble: Ensemble, store: FeatureStore, annotations: Annotations
) -> tuple[tuple[str, ...], ...]:
    """The clips of each head's own fold, which its training has not seen.

    Args:
        ensemble: Heads of folds, as many of each fold.
        store: The features that they were trained on.
        annotations: The labels that they were trained on.

    Raises:
        CheckpointError: A head is of no fold, the heads are of different divisions into folds or unequally
            many of each, or features or labels are not those of their training, so that the folds may have
            moved.
    """
    annotations_digest = annotations.digest(_TRAINING_SPLITS)
    num_of_fold: dict[int, int] = {}
    num_folds = None
    for member in ensemble.members:
        info = member.checkpoint.info
        if info.fold is None:
            raise CheckpointError(
                f"{member.path} was trained on the official split, not on folds; evaluate it on 'validation' "
                "or 'test'"
            )
        num_folds = num_folds or info.fold.num_folds
        if info.fold.num_folds != num_folds:
            raise CheckpointError(
                f"{member.path} is of one of {info.fold.num_folds} folds, {ensemble.members[0].path} of one "
                f"of {num_folds}; evaluate heads of one cross-validation"
            )
        for what, trained_on, found in (
            ("features", info.features_digest, store.digest),
            ("labels", info.annotations_digest, annotations_digest),
        ):
            if trained_on != found:
                raise CheckpointError(
                    f"{member.path} was trained on other {what} (digest {trained_on[:12]}, here "
                    f"{found[:12]}), so its folds may be others; train again, or evaluate it on 'test'"
                )
        num_of_fold[info.fold.index] = num_of_fold.get(info.fold.index, 0) + 1
    if len(set(num_of_fold.values())) > 1:
        raise CheckpointError(
            "expected as many checkpoints of each fold, got "
            + ", ".join(f"{count} of fold {fold}" for fold, count in sorted(num_of_fold.items()))
        )
    assert num_folds is not None
    folds = plan_folds(annotations, store, num_folds).folds
    return tuple(
        folds[member.checkpoint.info.fold.index] for member in ensemble.members if member.checkpoint.info.fold
    )


def predict(
    ensemble: Ensemble, data: SplitData, clips: Sequence[Sequence[str]], batch_size: int
) -> EnsemblePrediction:
    """Predictions of an ensemble: the mean, in float64, of what its heads say by themselves.

    Args:
        ensemble: The heads.
        data: Clips, on the heads' device.
        clips: For each head, the clips that it predicts; every clip is predicted by equally many heads.
        batch_size: Windows per forward pass on an accelerator.

    Raises:
        HeadError: A prediction is not finite.
    """
    row_size = data.row_size

    def of_members() -> Iterator[tuple[GatedRows, NDArray[np.bool_]]]:
        for member, of_member in zip(ensemble.members, clips, strict=True):
            settings, own = member.checkpoint.info.train, set(of_member)
            is_own = np.array([clip_id in own for clip_id in data.clip_ids], np.bool_)
            rows = np.repeat(is_own, row_size)
            all_windows = plan_windows(row_size, settings.window, settings.stride)
            plan = all_windows.select(is_own[all_windows.clip])
            yield (
                predict_gated_rows(member.checkpoint.head, data.rows, plan, batch_size, wanted=rows),
                rows,
            )

    return mean_over_heads(ensemble, of_members(), int(row_size.sum()))


def mean_over_heads(
    ensemble: Ensemble, found: Iterable[tuple[GatedRows, NDArray[np.bool_]]], num_rows: int
) -> EnsemblePrediction:
    """The mean of what the heads of an ensemble say by themselves.

    Args:
        ensemble: The heads.
        found: For each head in order, what it says of n rows, and which of all they are, ``(N,)``; every row
            is predicted by equally many heads.
        num_rows: Number of rows N.
    """
    estimates = DeviationTally(num_rows, predicted=ensemble.predicts_deviations)
    tally = GateTally(num_rows, ensemble.gate_candidates)
    for of_head, rows in found:
        estimates.add(of_head.values, of_head.variance, rows)
        tally.add({name: of_head.gates[name] for name in ensemble.gate_candidates}, rows)
    return EnsemblePrediction(values=estimates.mean(), deviations=estimates.deviations(), gates=tally.gates())
