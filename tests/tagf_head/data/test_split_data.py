"""Clips with their rows, labels and groups, and where the rows are put."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cache import FeatureSpec, FeatureStore, StreamSpec, UnknownClipError
from tagf_head.annotations import load_annotations
from tagf_head.config import LabelConfig
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.mapped_rows import MappedRows
from tagf_head.data.split_data import SplitData, load_clips, load_split, open_features
from tagf_head.data.windows import plan_windows
from tagf_head.errors import AnnotationError, HeadError


def load(corpus, split: str = "train", **options) -> SplitData:
    return load_split(FeatureStore.open(corpus.store), load_annotations(corpus.annotations), split, **options)


def test_split_keeps_what_evaluation_needs(corpus) -> None:
    train = load(corpus)
    assert train.name == "train"
    assert train.clip_ids == ("t1", "t2", "t3_left", "t3_right")
    assert train.row_size.tolist() == [50, 33, 7, 41]
    for name in ("time_s", "source_frame", "face_found"):
        expected = np.concatenate([getattr(corpus.clips[clip_id], name) for clip_id in train.clip_ids])
        np.testing.assert_array_equal(getattr(train, name), expected)


def test_clips_of_several_splits_in_the_order_asked_for(corpus) -> None:
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    chosen = ("v2", "t1", "e1")
    for limit in (None, 0):
        data = load_clips(store, annotations, chosen, name="fold 2", rows_memory_gb=limit)
        assert (data.name, data.clip_ids, data.row_size.tolist()) == ("fold 2", chosen, [45, 50, 26])
        batch = next(data.rows.batches(plan_windows(data.row_size, 50, 50), 3))
        for index, clip_id in enumerate(chosen):
            clip, labels = corpus.clips[clip_id], corpus.labels[clip_id]
            size = clip.num_frames
            np.testing.assert_array_equal(batch.audio[index, :size], clip.streams["audio"])
            annotated = (labels != -5).all(axis=1)
            np.testing.assert_array_equal(batch.label_mask[index, :size], annotated)
            np.testing.assert_array_equal(
                batch.label[index, :size][annotated], labels[annotated].astype(np.float32)
            )


def test_labels_and_rows_agree(corpus) -> None:
    data = load(corpus, "validation")
    assert data.rows.num_rows == len(data.label) == 75
    np.testing.assert_array_equal(data.rows.label[:-1], data.label)
    np.testing.assert_array_equal(data.rows.label_mask[:-1], data.label_mask)
    assert not data.rows.label[-1].any()
    assert not data.rows.label_mask[-1]


def test_a_delay_shifts_the_labels(corpus) -> None:
    now, later = (load(corpus, labels=LabelConfig(delay_s=delay)) for delay in (0, 3 / 25))
    # Frame i shows what was noted for frame i + 3, clip by clip; the last three have nothing.
    starts = np.cumsum(now.row_size) - now.row_size
    for start, size in zip(starts, now.row_size, strict=True):
        clip = slice(start, start + size - 3)
        noted = slice(start + 3, start + size)
        np.testing.assert_array_equal(later.label[clip], now.label[noted])
        np.testing.assert_array_equal(later.label_mask[clip], now.label_mask[noted])
        assert not later.label_mask[start + size - 3 : start + size].any()
    assert later.counts.num_missing == 3 * 4


def test_groups_are_those_of_the_clips(corpus, tmp_path: Path, write_corpus) -> None:
    train = load(corpus)
    assert train.groups.unit == "media file"
    first, second, left, right = train.groups.group
    assert left == right
    assert len({first, second, left}) == 3
    named = write_corpus(tmp_path)
    (named.annotations / "subjects.csv").write_text(
        "clip_id,subject\nt1,anna\nt2,anna\nt3_left,ben\nt3_right,carl\n"
    )
    groups = load(named).groups
    assert (groups.unit, groups.group) == ("subject", ("anna", "anna", "ben", "carl"))


@pytest.mark.parametrize(
    ("limit_gb", "kind"),
    # 131 rows of two views of 16 and 8 float16
    [(131 * 80 / 1e9, DeviceRows), (131 * 80 / 1e9 - 1e-9, MappedRows), (0, MappedRows), (None, DeviceRows)],
)
def test_rows_beyond_the_limit_stay_in_the_store(corpus, limit_gb: float | None, kind: type) -> None:
    assert type(load(corpus, rows_memory_gb=limit_gb).rows) is kind


@pytest.mark.parametrize(("free", "kind"), [(2 * 131 * 80, DeviceRows), (2 * 131 * 80 - 1, MappedRows)])
def test_half_of_what_is_free_is_left_free(
    corpus, monkeypatch: pytest.MonkeyPatch, free: int, kind: type
) -> None:
    monkeypatch.setattr("tagf_head.data.split_data.free_bytes", lambda device: free)
    assert type(load(corpus).rows) is kind


def test_rows_stay_float16_on_the_device(corpus) -> None:
    rows = load(corpus).rows
    assert isinstance(rows, DeviceRows)
    assert (rows.visual.dtype, tuple(rows.visual.shape)) == (torch.float16, (2, 132, 16))
    assert (rows.audio.dtype, tuple(rows.audio.shape)) == (torch.float16, (132, 8))


@pytest.mark.parametrize("limit_gb", [None, 0])
def test_center_view_is_found_by_name(tmp_path: Path, write_corpus, limit_gb: float | None) -> None:
    spec = FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=16, views=("flip", "center")),
            StreamSpec(name="audio", num_features=8),
        ),
        settings={},
    )
    corpus = write_corpus(tmp_path, spec=spec)
    rows = load(corpus, "test", rows_memory_gb=limit_gb).rows
    batch = next(rows.batches(plan_windows(np.array([26]), 26, 26), 1))
    np.testing.assert_array_equal(batch.visual[0].numpy(), corpus.clips["e1"].streams["visual"][1])


def test_label_counts(tmp_path: Path, write_corpus) -> None:
    corpus = write_corpus(tmp_path)
    path = corpus.annotations / "Train_Set/t1.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-4]))
    path = corpus.annotations / "Train_Set/t3_left.txt"
    path.write_text(path.read_text() + "0.1,0.1\n-5,0\n")
    counts = load(corpus).counts
    # Rows 3, 10, 17, ... are not annotated: 7, 5, 1 and 6 of them; of t1's last four rows, row 47 is one.
    masked = 7 - 0 + 5 + 1 + 6 - sum(row % 7 == 3 for row in range(46, 50))
    assert (counts.num_frames, counts.num_missing, counts.num_surplus) == (131, 4, 2)
    assert counts.num_not_annotated == masked
    assert counts.num_labelled == 131 - 4 - masked
    assert counts.num_unlabelled_clips == 1


def test_clips_without_any_label_are_refused(tmp_path: Path, write_corpus) -> None:
    corpus = write_corpus(tmp_path)
    for path in (corpus.annotations / "Validation_Set").iterdir():
        path.write_text("valence,arousal\n-5,-5\n")
    with pytest.raises(AnnotationError, match="none of the 75 frames of 'validation'"):
        load(corpus, "validation")


def test_no_clips_at_all_are_refused(corpus) -> None:
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    with pytest.raises(AnnotationError, match=r"none of the 0 frames of 'fold 1' \(0 clips"):
        load_clips(store, annotations, (), name="fold 1")


def test_a_clip_that_the_store_lacks_is_refused(corpus) -> None:
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    with pytest.raises(UnknownClipError, match="has no clip 'nobody'"):
        load_clips(store, annotations, ("t1", "nobody"), name="fold 1")


def test_a_clip_that_is_named_twice_is_refused(corpus) -> None:
    store, annotations = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    with pytest.raises(ValueError, match="'t1' twice"):
        load_clips(store, annotations, ("t1", "t2", "t1"), name="fold 1")


def test_a_store_without_audio_is_refused(tmp_path: Path, corpus) -> None:
    from cache import write_store

    spec = FeatureSpec(streams=(StreamSpec(name="visual", num_features=2, views=("center",)),), settings={})
    write_store((), spec, tmp_path / "features.zarr")
    with pytest.raises(HeadError, match="has the streams visual; training needs visual and audio"):
        open_features(tmp_path / "features.zarr")
