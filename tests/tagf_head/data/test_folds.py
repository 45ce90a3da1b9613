"""Folds of the labelled clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cache import FeatureStore
from tagf_head.annotations import Annotations, load_annotations
from tagf_head.annotations.frame_labels import FrameLabels
from tagf_head.data.folds import Fold, FoldPlan, plan_folds
from tagf_head.errors import AnnotationError, HeadError


@dataclass
class Store:
    """As much of a feature store as folds look at."""

    clip_ids: tuple[str, ...]
    file_of: Mapping[str, str] = field(default_factory=dict)
    where: str = "features.zarr"
    spec: Any = field(default_factory=lambda: SimpleNamespace(settings={}))

    def __getitem__(self, clip_id: str) -> Any:
        return SimpleNamespace(media_sha256=self.file_of.get(clip_id, clip_id))


def frames(num_labelled: int, num_masked: int = 3) -> FrameLabels:
    values = np.zeros((num_labelled + num_masked, 2), np.float32)
    values[num_labelled:, 1] = -5
    return FrameLabels(values=values)


def annotate(
    train: Mapping[str, int], validation: Mapping[str, int] | None = None, **subjects: str
) -> Annotations:
    splits: dict[Any, Any] = {"train": {clip: frames(count) for clip, count in train.items()}}
    if validation is not None:
        splits["validation"] = {clip: frames(count) for clip, count in validation.items()}
    splits["test"] = {"e1": frames(50)}
    return Annotations(path=Path("labels"), splits=splits, subjects=subjects)


def plan(annotations: Annotations, num_folds: int, store: Store | None = None) -> FoldPlan:
    if store is None:
        clips = sorted({clip for clips in annotations.splits.values() for clip in clips} | {"unlabelled"})
        store = Store(tuple(clips))
    return plan_folds(annotations, store, num_folds)  # type: ignore[arg-type]


TRAIN = {f"t{index:02d}": count for index, count in enumerate([90, 10, 30, 60, 55, 5, 45, 20, 70, 15, 0, 0])}
VALIDATION = {"v1": 40, "v2_left": 12, "v2_right": 13}


def test_fold_0_is_the_official_validation_split() -> None:
    folds = plan(annotate(TRAIN, VALIDATION), 6)
    train, validation = folds.split(0)
    assert validation == tuple(VALIDATION)
    assert train == tuple(TRAIN)
    assert folds.unit == "media file"


@pytest.mark.parametrize("validation", [None, {}, VALIDATION])
def test_every_labelled_clip_is_held_out_once(validation: Mapping[str, int] | None) -> None:
    annotations = annotate(TRAIN, validation)
    folds = plan(annotations, 4)
    labelled = sorted([*TRAIN, *(validation or {})])
    assert sorted(clip for fold in folds.folds for clip in fold) == labelled
    for index in range(4):
        train, held_out = folds.split(index)
        assert sorted(train + held_out) == labelled
        assert held_out == folds.folds[index]
        for clips in (train, held_out):
            assert [*clips] == sorted(clips)  # the order of the store
        assert any(annotations._labels[clip].num_labelled for clip in held_out)


def test_folds_are_balanced_by_labelled_frames() -> None:
    for validation, num_spread in ((None, 4), (VALIDATION, 3)):
        folds = plan(annotate(TRAIN, validation), 4).folds
        loads = [sum(TRAIN[clip] for clip in fold) for fold in folds[4 - num_spread :]]
        # Of sizes up to 90 that sum to 400, the best that any plan could do is within a few frames of equal.
        assert sum(loads) == 400
        assert max(loads) - min(loads) <= 15


def test_groups_are_never_torn() -> None:
    names = ["anna", "bo", "cem", "dora", "eli"]
    subjects = {clip: names[index % 5] for index, clip in enumerate(TRAIN)}
    folds = plan(annotate(TRAIN, **subjects), 3)
    assert folds.unit == "subject"
    of_fold = [{subjects[clip] for clip in fold} for fold in folds.folds]
    assert sorted(name for each in of_fold for name in each) == sorted(names)
    # One clip of a stranger, and anna's clips still are hers.
    del subjects["t03"]
    folds = plan(annotate(TRAIN, **subjects), 3)
    assert folds.unit == "media file, with known subjects kept together"
    of_fold = [{subjects[clip] for clip in fold if clip in subjects} for fold in folds.folds]
    assert sorted(name for each in of_fold for name in each) == sorted(names)
    store = Store(tuple(TRAIN), {"t00": "same", "t03": "same", "t08": "same"})
    folds = plan(annotate(TRAIN), 3, store)
    assert [{"t00", "t03", "t08"} <= {*fold} for fold in folds.folds].count(True) == 1


def test_the_plan_is_that_of_the_content_not_of_its_order() -> None:
    base = plan(annotate(TRAIN, VALIDATION), 5)
    turned = plan(
        annotate(dict(reversed(TRAIN.items())), dict(reversed(VALIDATION.items()))),
        5,
        Store((*reversed(TRAIN), *VALIDATION)),
    )
    assert [{*fold} for fold in turned.folds] == [{*fold} for fold in base.folds]
    assert turned.clip_ids == (*reversed(TRAIN), *VALIDATION)


def test_an_official_split_that_tears_a_group_is_refused() -> None:
    annotations = annotate({"t1": 5, "t2": 5}, {"v1": 5}, t1="anna", t2="bo", v1="anna")
    with pytest.raises(
        AnnotationError, match=r"'anna' \(by subject\) is in the training split \(clip 't1'\) and in the val"
    ):
        plan(annotations, 2)
    with pytest.raises(AnnotationError, match=r"'t1' \(by media file\) .*\(clip 't1'\).*\(clip 'v1'\)"):
        plan(annotate({"t1": 5, "t2": 5}, {"v1": 5}), 2, Store(("t1", "t2", "v1"), {"t1": "x", "v1": "x"}))


def test_too_few_groups_and_impossible_folds() -> None:
    two = annotate({"a_left": 5, "a_right": 5, "b": 5, "c": 0})
    assert len(plan(two, 2).folds) == 2
    with pytest.raises(
        AnnotationError, match=r"3 folds need at least 3 groups with labels, labels has 2 \(by media file\)"
    ):
        plan(two, 3)
    with pytest.raises(
        AnnotationError, match="need at least 2 groups with labels beside the validation split"
    ):
        plan(annotate({"a": 5}, {"v": 5}), 3)
    with pytest.raises(HeadError, match="at least 2 folds, got 1"):
        plan(two, 1)
    with pytest.raises(HeadError, match="must lie in 0 to 5, got 6"):
        Fold(index=6, num_folds=6)
    with pytest.raises(HeadError, match="must lie in 0 to 5, got -1"):
        Fold(index=-1, num_folds=6)


def test_labelled_clips_without_features_are_named() -> None:
    with pytest.raises(AnnotationError, match=r"1 of 2 labelled clips .* no features in features\.zarr: b"):
        plan(annotate({"a": 5, "b": 5}), 2, Store(("a",)))


def test_folds_of_a_store(corpus) -> None:
    annotations = load_annotations(corpus.annotations)
    folds = plan_folds(annotations, FeatureStore.open(corpus.store), 3)
    assert folds.unit == "media file"
    # By labelled frames t1 has 43, t2 28, and the two sides of t3 have 41.
    assert folds.folds == (("v1", "v2"), ("t1",), ("t2", "t3_left", "t3_right"))
