"""Where labels lie: folders of splits, with one file per clip or two, and tables of label files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache import FeatureStore
from tagf_head.annotations import Annotations, load_annotations
from tagf_head.errors import AnnotationError

PER_FRAME = "valence,arousal\n0.5,-0.25\n-1,1\n"
TIMED = "time,valence,arousal\n0,0.5,-0.25\n0.04,-1,1\n"
PAIR = {"valence": "time;A1;A2\n0;0.4;0.6\n0.04;-1;-1\n", "arousal": "time;A1\n0;-0.25\n0.04;1\n"}


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


def labels_of(annotations: Annotations, clip_id: str) -> np.ndarray:
    aligned = annotations.align(clip_id, source_frame=np.arange(2), time_s=np.arange(2) / 25, delay_s=0.0)
    assert aligned.mask.all()
    return aligned.labels


def test_a_folder_may_hold_every_kind_of_file(tmp_path: Path) -> None:
    files = {
        "Train_Set/b_left.txt": PER_FRAME,
        "Train_Set/a.csv": TIMED,
        "Train_Set/._b_left.txt": "rubbish of a Mac's archive",
        "Train_Set/notes.md": "no label file",
        "Validation_Set/c.TXT": PER_FRAME,
        **{f"Test_Set/{target}/d.csv": content for target, content in PAIR.items()},
        "Test_Set/e.tsv": TIMED.replace(",", "\t"),
        "Test_Set/anna/1.b.csv": TIMED,
        **{f"Test_Set/anna/{target}/2.csv": content for target, content in PAIR.items()},
        "Test_Set/__MACOSX/._e.tsv": "rubbish",
    }
    annotations = load_annotations(write(tmp_path, files))
    assert {split: annotations.clip_ids(split) for split in ("train", "validation", "test")} == {
        "train": ("a", "b_left"),
        "validation": ("c",),
        "test": ("anna/1.b", "anna/2", "d", "e"),
    }
    for clip_id in ("a", "b_left", "c", "d", "e", "anna/1.b", "anna/2"):
        np.testing.assert_array_equal(labels_of(annotations, clip_id), np.float32([[0.5, -0.25], [-1, 1]]))
    assert annotations.subjects == {}


def test_reads_splits_below_the_archives_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "VA_Estimation_Challenge/Validation_Set/a.txt": PER_FRAME,
            "subjects.csv": "clip_id;subject\na;anna\n",
        },
    )
    annotations = load_annotations(tmp_path)
    assert annotations.clip_ids("validation") == ("a",)
    assert annotations.subjects == {"a": "anna"}


@pytest.mark.parametrize("other", ["Test_Set/a.txt", "Train_Set/a.csv", "Train_Set/valence/a.txt"])
def test_a_clip_with_two_files_is_refused(tmp_path: Path, other: str) -> None:
    write(tmp_path, {"Train_Set/a.txt": PER_FRAME, other: TIMED})
    with pytest.raises(AnnotationError, match=r"clip 'a' has labels in .*Train_Set/a.* and in "):
        load_annotations(tmp_path)


@pytest.mark.parametrize("lacking", ["valence", "arousal"])
def test_half_a_pair_is_refused(tmp_path: Path, lacking: str) -> None:
    write(tmp_path, {f"Train_Set/{target}/a.csv": PAIR[target] for target in PAIR if target != lacking})
    with pytest.raises(AnnotationError, match=rf"there is no .*Train_Set/{lacking}/a\.csv; add that file"):
        load_annotations(tmp_path)


def test_missing_annotations(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no annotations in .*labels: .* got no such folder"):
        load_annotations(tmp_path / "labels")
    (tmp_path / "labels").mkdir()
    with pytest.raises(AnnotationError, match=r"no annotations in .*labels: .* got none of them"):
        load_annotations(tmp_path / "labels")


def test_missing_split(tmp_path: Path) -> None:
    annotations = load_annotations(write(tmp_path, {"Train_Set/a.txt": PER_FRAME}))
    with pytest.raises(AnnotationError, match=r"no labels for split 'test'.*got only train"):
        annotations.clips("test")
    (tmp_path / "Test_Set").mkdir()
    with pytest.raises(AnnotationError, match=r"no labels for split 'test'.*got an empty folder"):
        load_annotations(tmp_path).clip_ids("test")


def test_subjects_of_a_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"Train_Set/a.txt": PER_FRAME, "subjects.csv": "Clip_ID;Subject;sex\na;anna;f\nb;;m\nx;bo;m\n"},
    )
    assert load_annotations(tmp_path).subjects == {"a": "anna", "x": "bo"}
    write(tmp_path, {"subjects.csv": "clip_id,subject\na,anna\na,bo\n"})
    with pytest.raises(
        AnnotationError, match=r"subjects\.csv, line 3: expected each clip once, got 'a' again"
    ):
        load_annotations(tmp_path)
    write(tmp_path, {"subjects.csv": "clip,subject\na,anna\n"})
    with pytest.raises(
        AnnotationError, match=r"subjects\.csv, line 1: expected one column 'clip_id'.* got 0 among"
    ):
        load_annotations(tmp_path)


def test_a_table_of_label_files(tmp_path: Path) -> None:
    table = (
        "\ufeffclip_id;video;faces;annotation;split;subject\r\n"
        "anna/1;v/1.mp4;;labels/1.csv;train;anna\r\n"
        "two;v/2.mp4;;labels/2.txt;Validation;bo\r\n"
        "pair;v/3.mp4;;labels/arousal/3.csv;train;\r\n"
        "silent;v/4.mp4;;;;cem\r\n"
    )
    write(
        tmp_path / "corpus",
        {
            "clips.csv": table,
            "labels/1.csv": TIMED,
            "labels/2.txt": PER_FRAME,
            **{f"labels/{target}/3.csv": content for target, content in PAIR.items()},
        },
    )
    annotations = load_annotations(tmp_path / "corpus/clips.csv")
    assert annotations.clip_ids("train") == ("anna/1", "pair")
    assert annotations.clip_ids("validation") == ("two",)
    assert annotations.subjects == {"anna/1": "anna", "two": "bo", "silent": "cem"}
    for clip_id in ("anna/1", "two", "pair"):
        np.testing.assert_array_equal(labels_of(annotations, clip_id), np.float32([[0.5, -0.25], [-1, 1]]))
    with pytest.raises(AnnotationError, match=r"no labels for split 'test'.*got only train, validation"):
        annotations.clips("test")


def test_the_table_that_extraction_reads_is_read(tmp_path: Path) -> None:
    from pipeline.layouts.clip_table import read_clip_table

    write(
        tmp_path,
        {"clips.csv": "clip_id,video,annotation,split,subject\na,1.mp4,a.csv,test,anna\n", "a.csv": TIMED},
    )
    (tmp_path / "1.mp4").touch()
    clip = read_clip_table(tmp_path / "clips.csv").clips[0]
    annotations = load_annotations(tmp_path / "clips.csv")
    assert annotations.clip_ids(clip.split) == (clip.clip_id,)
    assert annotations.subjects == {clip.clip_id: clip.subject}


@pytest.mark.parametrize(
    ("rows", "line", "got"),
    [
        ("a,a.txt,train\na,a.txt,train\n", 3, "got clip 'a' of line 2 again"),
        (",a.txt,train\n", 2, "got an empty cell"),
        ("a,none.txt,train\n", 2, "none.txt; paths are relative to the table's folder"),
        ("a,a.txt,\n", 2, "split must be one of train, validation, test where there is a label file, got ''"),
        ("a,a.txt,dev\n", 2, "got 'dev'"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, rows: str, line: int, got: str) -> None:
    write(tmp_path, {"clips.csv": f"clip_id,annotation,split\n{rows}", "a.txt": PER_FRAME})
    with pytest.raises(AnnotationError) as caught:
        load_annotations(tmp_path / "clips.csv")
    assert f"clips.csv, line {line}: " in str(caught.value)
    assert got in str(caught.value)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (PER_FRAME, "line 1: expected one column 'clip_id' (needed: clip_id, annotation, split), got 0"),
        (
            "clip_id,annotation,split\na,,train\n",
            "expected label files in column 'annotation', got none in 1 lines",
        ),
        ("", "expected a line of column names, got an empty file"),
    ],
)
def test_what_is_no_table_of_label_files(tmp_path: Path, content: str, got: str) -> None:
    write(tmp_path, {"a.csv": content})
    with pytest.raises(AnnotationError) as caught:
        load_annotations(tmp_path / "a.csv")
    assert f"a.csv{', ' if got.startswith('line') else ': '}{got}" in str(caught.value)


@pytest.mark.parametrize("kind", ["mean", "ewe"])
def test_gold_standard_reaches_every_layout(tmp_path: Path, kind: str) -> None:
    raters = [(np.sin(i), np.sin(i) ** 3, np.cos(3 * i)) for i in range(40)]
    rows = [",".join(map(str, (i / 25, *each))) for i, each in enumerate(raters)]
    one = "\n".join(["time,valence_1,valence_2,valence_3,arousal", *(f"{row},0" for row in rows)])
    half = "\n".join(["time,1,2,3", *rows])
    write(
        tmp_path,
        {
            "Train_Set/one.csv": one,
            **{f"Train_Set/{target}/pair.csv": half for target in ("valence", "arousal")},
            "clips.csv": "clip_id,annotation,split\nlisted,Train_Set/one.csv,train\n",
        },
    )
    from tagf_head.annotations.gold_standard import gold_standard

    expected = gold_standard(np.array(raters), kind)
    for path, clip_id in ((tmp_path, "one"), (tmp_path, "pair"), (tmp_path / "clips.csv", "listed")):
        found = load_annotations(path, kind).align(
            clip_id, source_frame=np.arange(40), time_s=np.arange(40) / 25, delay_s=0.0
        )
        np.testing.assert_allclose(found.labels[:, 0], expected, atol=1e-7)
        arousal = expected if clip_id == "pair" else 0
        np.testing.assert_allclose(found.labels[:, 1], arousal, atol=1e-7)


def test_labels_at_the_frames_times_are_labels_per_frame(tmp_path: Path, corpus) -> None:
    store, per_frame = FeatureStore.open(corpus.store), load_annotations(corpus.annotations)
    for folder in ("Train_Set", "Validation_Set", "Test_Set"):
        (tmp_path / folder).mkdir()
        for path in (corpus.annotations / folder).iterdir():
            rows = zip(store[path.stem].time_s, corpus.labels[path.stem], strict=True)
            lines = "".join(f"{time_s:.6f};{a};{v}\n" for time_s, (v, a) in rows)
            (tmp_path / folder / f"{path.stem}.csv").write_text(f"time;arousal;valence\n{lines}")
    timed = load_annotations(tmp_path)
    for split in ("train", "validation", "test"):
        assert timed.clip_ids(split) == per_frame.clip_ids(split)
        for clip_id in timed.clip_ids(split):
            rows = store[clip_id]
            for delay_s in (0.0, 0.2):
                expected, found = (
                    each.align(clip_id, source_frame=rows.source_frame, time_s=rows.time_s, delay_s=delay_s)
                    for each in (per_frame, timed)
                )
                np.testing.assert_array_equal(found.mask, expected.mask)
                np.testing.assert_allclose(found.labels, expected.labels, rtol=0, atol=1e-6)
                for count in ("num_not_annotated", "num_missing", "num_surplus"):
                    assert getattr(found, count) == getattr(expected, count), (clip_id, delay_s, count)
