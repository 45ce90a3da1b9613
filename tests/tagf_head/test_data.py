"""Gathering windows by index arithmetic, against a plain loop over the clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.data import SplitData, load_split
from tagf_head.errors import AnnotationError
from tagf_head.windows import WindowPlan, plan_windows

WINDOW, STRIDE = 20, 12


@pytest.fixture(scope="module")
def train(corpus) -> SplitData:
    return load_split(
        FeatureStore.open(corpus.store), load_annotations(corpus.annotations), "train", torch.device("cpu")
    )


def window_by_loop(corpus, clip_id: str, start: int, view: int) -> dict[str, np.ndarray]:
    """One window, frame by frame."""
    clip, labels = corpus.clips[clip_id], corpus.labels[clip_id]
    window = {
        "visual": np.zeros((WINDOW, 16), np.float32),
        "audio": np.zeros((WINDOW, 8), np.float32),
        "frame_mask": np.zeros(WINDOW, bool),
        "label": np.zeros((WINDOW, 2), np.float32),
        "label_mask": np.zeros(WINDOW, bool),
    }
    for offset in range(WINDOW):
        frame = start + offset
        if frame < clip.num_frames:
            window["visual"][offset] = clip.streams["visual"][view, frame]
            window["audio"][offset] = clip.streams["audio"][frame]
            window["frame_mask"][offset] = True
            if -5 not in labels[frame]:
                window["label"][offset] = labels[frame]
                window["label_mask"][offset] = True
    return window


def test_batches_equal_a_loop_over_frames(corpus, train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(len(plan), generator=generator)
    view = torch.randint(2, (len(plan),), generator=generator)
    assert set(view.tolist()) == {0, 1}
    batches = list(train.rows.batches(plan, 5, order=order, view=view))
    assert [len(batch.audio) for batch in batches] == [5] * (len(plan) // 5) + [len(plan) % 5]
    found = {
        name: torch.cat([getattr(batch, name) for batch in batches]).numpy()
        for name in ("visual", "audio", "frame_mask", "label", "label_mask")
    }
    for place, index in enumerate(order.tolist()):
        clip_id = train.clip_ids[plan.clip[index]]
        expected = window_by_loop(corpus, clip_id, int(plan.start[index]), int(view[index]))
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name][place], values, err_msg=f"{clip_id} {name}")
            assert found[name].dtype == values.dtype


def test_evaluation_reads_the_center_view_in_the_plans_order(corpus, train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    batch = next(train.rows.batches(plan, len(plan)))
    for index in range(len(plan)):
        expected = window_by_loop(corpus, train.clip_ids[plan.clip[index]], int(plan.start[index]), 0)
        np.testing.assert_array_equal(batch.visual[index].numpy(), expected["visual"])


def test_center_view_is_found_by_name(tmp_path: Path, write_corpus) -> None:
    from cache import FeatureSpec, StreamSpec

    spec = FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=16, views=("flip", "center")),
            StreamSpec(name="audio", num_features=8),
        ),
        settings={},
    )
    corpus = write_corpus(tmp_path, spec=spec)
    store = FeatureStore.open(corpus.store)
    rows = load_split(store, load_annotations(corpus.annotations), "test", torch.device("cpu")).rows
    batch = next(rows.batches(plan_windows(np.array([26]), 26, 26), 1))
    np.testing.assert_array_equal(batch.visual[0].numpy(), corpus.clips["e1"].streams["visual"][1])


def test_row_of_each_frame(train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    starts = np.cumsum(train.row_size) - train.row_size
    batch = next(train.rows.batches(plan, len(plan)))
    for index in range(len(plan)):
        first = starts[plan.clip[index]] + plan.start[index]
        rows = batch.row[index][batch.frame_mask[index]]
        assert rows.tolist() == list(range(first, first + plan.length[index]))


def test_rows_stay_float16_on_the_device(train: SplitData) -> None:
    assert train.rows.visual.dtype is torch.float16
    assert train.rows.audio.dtype is torch.float16


def test_split_keeps_what_evaluation_needs(corpus, train: SplitData) -> None:
    assert train.clip_ids == ("t1", "t2", "t3_left", "t3_right")
    assert train.row_size.tolist() == [50, 33, 7, 41]
    for name in ("time_s", "source_frame", "face_found"):
        expected = np.concatenate([getattr(corpus.clips[clip_id], name) for clip_id in train.clip_ids])
        np.testing.assert_array_equal(getattr(train, name), expected)


def test_label_counts(tmp_path: Path, write_corpus) -> None:
    corpus = write_corpus(tmp_path)
    path = corpus.annotations / "Train_Set/t1.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-4]))
    path = corpus.annotations / "Train_Set/t3_left.txt"
    path.write_text(path.read_text() + "0.1,0.1\n-5,0\n")
    store = FeatureStore.open(corpus.store)
    counts = load_split(store, load_annotations(corpus.annotations), "train", torch.device("cpu")).counts
    # Rows 3, 10, 17, ... are not annotated: 7, 5, 1 and 6 of them; of t1's last four rows, row 47 is one.
    masked = 7 - 0 + 5 + 1 + 6 - sum(row % 7 == 3 for row in range(46, 50))
    assert (counts.num_frames, counts.num_missing, counts.num_surplus) == (131, 4, 2)
    assert counts.num_not_annotated == masked
    assert counts.num_labelled == 131 - 4 - masked
    assert counts.num_unlabelled_clips == 1


def test_windows_without_labels_are_found(train: SplitData) -> None:
    rows = train.rows
    plan = WindowPlan(
        clip=np.array([0, 0, 1, 2, 3]),
        start=np.array([3, 3, 3, 3, 39]),
        length=np.array([1, 2, 1, 4, 2]),
        window=4,
    )
    assert rows.labelled(plan).tolist() == [False, True, False, True, True]


def test_a_split_without_any_label_is_refused(tmp_path: Path, write_corpus) -> None:
    corpus = write_corpus(tmp_path)
    for path in (corpus.annotations / "Validation_Set").iterdir():
        path.write_text("valence,arousal\n-5,-5\n")
    with pytest.raises(AnnotationError, match="none of the 75 frames of split 'validation'"):
        load_split(
            FeatureStore.open(corpus.store),
            load_annotations(corpus.annotations),
            "validation",
            torch.device("cpu"),
        )
