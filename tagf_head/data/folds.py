"""Cross-validation: the labelled clips in folds, each of which is the validation split once.

Fold 0 is the official validation split where there is one, as in the literature on Aff-Wild2 (six folds of
its 432 labelled videos). Groups of clips are never torn, see `tagf_head.data.clip_groups`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache import FeatureStore
from tagf_head.annotations import Annotations, Split, select_clips
from tagf_head.data.clip_groups import ClipGroups, GroupUnit, clip_groups
from tagf_head.data.media_digests import media_digests
from tagf_head.errors import AnnotationError, HeadError

_SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One of several folds, as the validation split.

    Attributes:
        index: In ``[0, num_folds)``.
        num_folds: Number of folds.
    """

    index: int
    num_folds: int

    def __post_init__(self) -> None:
        if self.num_folds < 2:
            raise HeadError(f"cross-validation needs at least 2 folds, got {self.num_folds}")
        if not 0 <= self.index < self.num_folds:
            raise HeadError(
                f"a fold of {self.num_folds} must lie in 0 to {self.num_folds - 1}, got {self.index}"
            )


@dataclass(frozen=True, kw_only=True)
class FoldPlan:
    """All folds of some clips.

    Attributes:
        clip_ids: All clips, in the order of the store.
        folds: Clips of each fold, in the order of the store.
        unit: What is never torn.
    """

    clip_ids: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    unit: GroupUnit

    def split(self, index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Clips to train on and clips to validate on, where one fold is held out; in the order of the store.

        Args:
            index: The fold, see `Fold`.
        """
        held_out = set(self.folds[index])
        return tuple(clip_id for clip_id in self.clip_ids if clip_id not in held_out), self.folds[index]


def plan_folds(annotations: Annotations, store: FeatureStore, num_folds: int) -> FoldPlan:
    """Folds of the clips that the splits `train` and `validation` have labels for.

    Where there is a validation split, it is fold 0 and the clips of the training split are spread over the
    others; otherwise those are spread over all. The largest group goes first, always into the fold that has
    the fewest labels so far, so that equal inputs give equal folds on every machine.

    Args:
        annotations: The labels.
        store: The features; clips without labels are left out.
        num_folds: Number of folds, at least 2.

    Raises:
        AnnotationError: A labelled clip has no features, the official split tears a group, or there are too
            few groups with labels.
        HeadError: Fewer than 2 folds.
    """
    Fold(index=0, num_folds=num_folds)
    splits = [split for split in _SPLITS if annotations.splits.get(split)] or [_SPLITS[0]]
    of_split = {
        split: select_clips(annotations, split, store.clip_ids, features=store.where) for split in splits
    }
    chosen = {clip_id for clips in of_split.values() for clip_id in clips}
    clip_ids = tuple(clip_id for clip_id in store.clip_ids if clip_id in chosen)
    groups = clip_groups(clip_ids, subjects=annotations.subjects, media_sha256=media_digests(store, clip_ids))
    official = set(of_split.get("validation", ()))
    _check_whole(annotations, clip_ids, groups, official)
    num_labelled: dict[str, int] = {}
    for clip_id, group in zip(clip_ids, groups.group, strict=True):
        if clip_id not in official:
            labels = annotations.clips("train")[clip_id]
            num_labelled[group] = num_labelled.get(group, 0) + labels.num_labelled
    first = 1 if official else 0
    num_usable = sum(count > 0 for count in num_labelled.values())
    if num_usable < num_folds - first:
        raise AnnotationError(
            f"{num_folds} folds need at least {num_folds - first} groups with labels"
            + (" beside the validation split" if official else "")
            + f", {annotations.path} has {num_usable} (by {groups.unit}); ask for fewer folds"
        )
    fold_of_group = _spread(num_labelled, range(first, num_folds))
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    for clip_id, group in zip(clip_ids, groups.group, strict=True):
        folds[0 if clip_id in official else fold_of_group[group]].append(clip_id)
    return FoldPlan(clip_ids=clip_ids, folds=tuple(tuple(fold) for fold in folds), unit=groups.unit)


def _check_whole(
    annotations: Annotations, clip_ids: Sequence[str], groups: ClipGroups, official: set[str]
) -> None:
    """Refuse a validation split that shares a group with the training split."""
    example: dict[tuple[str, bool], str] = {}
    for clip_id, group in zip(clip_ids, groups.group, strict=True):
        example.setdefault((group, clip_id in official), clip_id)
        if (group, True) in example and (group, False) in example:
            raise AnnotationError(
                f"{annotations.path}: group {group!r} (by {groups.unit}) is in the training split (clip "
                f"{example[group, False]!r}) and in the validation split (clip {example[group, True]!r}), "
                "but belongs to one fold; move its clips to one split, or all clips to train for folds "
                "without an official one"
            )


def _spread(num_labelled: Mapping[str, int], folds: Sequence[int]) -> dict[str, int]:
    """Fold of each group."""
    load = dict.fromkeys(folds, 0)
    fold_of = {}
    for group in sorted(num_labelled, key=lambda group: (-num_labelled[group], group)):
        fold = min(load, key=lambda fold: (load[fold], fold))
        fold_of[group] = fold
        load[fold] += num_labelled[group]
    return fold_of
