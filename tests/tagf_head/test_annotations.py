"""Reading and aligning labels in the text form of Aff-Wild2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagf_head.annotations import align_labels, load_annotations, select_clips
from tagf_head.errors import AnnotationError


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, rows in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"valence,arousal\n{rows}")
    return directory


def test_reads_each_split(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "Train_Set/a.txt": "0.5,-0.25\n-1,1\n",
            "Train_Set/b_left.txt": "0,0",
            "Validation_Set/c.txt": "",
            "Train_Set/._a.txt": "rubbish of a Mac's archive",
            "Train_Set/notes.md": "no label file",
        },
    )
    annotations = load_annotations(tmp_path)
    assert {split: list(clips) for split, clips in annotations.splits.items()} == {
        "train": ["a", "b_left"],
        "validation": ["c"],
    }
    np.testing.assert_array_equal(annotations.clips("train")["a"], np.float32([[0.5, -0.25], [-1, 1]]))
    assert annotations.clips("validation")["c"].shape == (0, 2)


def test_reads_splits_below_the_archives_folder(tmp_path: Path) -> None:
    write(tmp_path, {"VA_Estimation_Challenge/Validation_Set/a.txt": "0.1,0.2\n"})
    assert list(load_annotations(tmp_path).clips("validation")) == ["a"]


@pytest.mark.parametrize("text", ["valence,arousal\r\n0.1,0.2\r\n", "\ufeffvalence,arousal\n0.1,0.2\n\n"])
def test_reads_what_other_systems_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "Test_Set").mkdir()
    (tmp_path / "Test_Set/a.txt").write_bytes(text.encode())
    np.testing.assert_array_equal(
        load_annotations(tmp_path).clips("test")["a"], np.array([[0.1, 0.2]], np.float32)
    )


@pytest.mark.parametrize(
    ("rows", "line", "got"),
    [
        ("0,0\n0.5,1.01\n", 3, "arousal must lie in [-1, 1] or be -5"),
        ("-5.5,0\n", 2, "valence must lie in [-1, 1] or be -5"),
        ("0,nan\n", 2, "arousal must lie in [-1, 1]"),
        ("0,0\n0,0\nhalf,0\n", 4, "'half,0'"),
        ("0,0\n\n0,0\n", 3, "got ''"),
        ("0,0\n0.5\n", 3, "'0.5'"),
        ("0,0,0\n", 2, "'0,0,0'"),
        ("0,0\n# 0,0\n", 3, "'# 0,0'"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, rows: str, line: int, got: str) -> None:
    write(tmp_path, {"Train_Set/clip.txt": rows})
    with pytest.raises(AnnotationError) as caught:
        load_annotations(tmp_path)
    assert f"clip.txt, line {line}: " in str(caught.value)
    assert got in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", ["arousal,valence", "0.1,0.2", ""])
def test_header_is_checked(tmp_path: Path, header: str) -> None:
    (tmp_path / "Train_Set").mkdir()
    (tmp_path / "Train_Set/a.txt").write_text(f"{header}\n0.1,0.2\n")
    with pytest.raises(AnnotationError, match=r"a\.txt, line 1: expected the header 'valence,arousal'"):
        load_annotations(tmp_path)


def test_clip_in_two_splits_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"Train_Set/a.txt": "0,0\n", "Test_Set/a.txt": "0,0\n"})
    with pytest.raises(AnnotationError, match="clip 'a' has labels in Train_Set and in Test_Set"):
        load_annotations(tmp_path)


@pytest.mark.parametrize(("made", "got"), [(False, "no such folder"), (True, "none of them")])
def test_missing_annotations(tmp_path: Path, made: bool, got: str) -> None:
    directory = tmp_path / "labels"
    if made:
        directory.mkdir()
    with pytest.raises(AnnotationError, match=rf"no annotations in .*labels: .* got {got}"):
        load_annotations(directory)


def test_missing_split(tmp_path: Path) -> None:
    annotations = load_annotations(write(tmp_path, {"Train_Set/a.txt": "0,0\n"}))
    with pytest.raises(AnnotationError, match=r"no labels for split 'test'.*got only train"):
        annotations.clips("test")


def test_select_clips_keeps_the_stores_order_and_ignores_clips_without_labels(tmp_path: Path) -> None:
    annotations = load_annotations(write(tmp_path, {f"Train_Set/{clip}.txt": "0,0\n" for clip in "abc"}))
    assert select_clips(annotations, "train", ("c", "x", "a", "b"), features="f") == ("c", "a", "b")


def test_labels_without_features_are_named(tmp_path: Path) -> None:
    annotations = load_annotations(write(tmp_path, {f"Train_Set/{clip}.txt": "0,0\n" for clip in "abcde"}))
    with pytest.raises(AnnotationError) as caught:
        select_clips(annotations, "train", ("c",), features="data/features.zarr")
    assert "4 of 5 labelled clips" in str(caught.value)
    assert "data/features.zarr: a, b, d, ...;" in str(caught.value)
    assert "dvc repro extract" in str(caught.value)


def test_not_annotated_in_one_column_masks_the_row() -> None:
    labels = np.array([[0.1, 0.2], [-5, 0.3], [0.4, -5], [-5, -5], [0.5, 0.6]], np.float32)
    aligned = align_labels(labels, np.arange(5))
    assert aligned.mask.tolist() == [True, False, False, False, True]
    np.testing.assert_array_equal(aligned.labels[[0, 4]], labels[[0, 4]])
    assert not aligned.labels[1:4].any()
    assert (aligned.num_not_annotated, aligned.num_missing, aligned.num_surplus) == (3, 0, 0)


def test_surplus_label_rows_are_dropped() -> None:
    labels = np.array([[0.1, 0.1], [0.2, 0.2], [-5, -5]], np.float32)
    aligned = align_labels(labels, np.arange(1))
    np.testing.assert_array_equal(aligned.labels, labels[:1])
    assert (aligned.num_not_annotated, aligned.num_missing, aligned.num_surplus) == (0, 0, 2)


def test_missing_label_rows_are_masked() -> None:
    aligned = align_labels(np.array([[0.1, -0.1]], np.float32), np.arange(3))
    assert aligned.mask.tolist() == [True, False, False]
    assert not aligned.labels[1:].any()
    assert (aligned.num_not_annotated, aligned.num_missing, aligned.num_surplus) == (0, 2, 0)


def test_labels_follow_the_decoded_picture() -> None:
    labels = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    aligned = align_labels(labels, np.array([0, 2, 3, 7]))
    np.testing.assert_array_equal(aligned.labels[:3], labels[[0, 2, 3]])
    assert aligned.mask.tolist() == [True, True, True, False]
    assert (aligned.num_missing, aligned.num_surplus) == (1, 3)


def test_digest_covers_labels_clips_and_splits(tmp_path: Path) -> None:
    def digest(name: str, files: dict[str, str]) -> str:
        return load_annotations(write(tmp_path / name, files)).digest(("train", "validation"))

    base = {"Train_Set/a.txt": "0,0\n", "Validation_Set/b.txt": "0,0\n"}
    first = digest("first", base)
    assert digest("same", {**base, "Test_Set/c.txt": "1,1\n"}) == first
    changed = [
        {**base, "Train_Set/a.txt": "0,0.001\n"},
        {**base, "Train_Set/a.txt": "0,0\n0,0\n"},
        {"Train_Set/a2.txt": "0,0\n", "Validation_Set/b.txt": "0,0\n"},
        {"Train_Set/b.txt": "0,0\n", "Validation_Set/a.txt": "0,0\n"},
    ]
    digests = [digest(f"changed{index}", files) for index, files in enumerate(changed)]
    assert len({first, *digests}) == 5
