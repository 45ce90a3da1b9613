"""The labels of a corpus as one: which clips are used, and what its digest covers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagf_head.annotations import load_annotations, select_clips
from tagf_head.errors import AnnotationError


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


def test_select_clips_keeps_the_stores_order_and_ignores_clips_without_labels(tmp_path: Path) -> None:
    write(tmp_path, {f"Train_Set/{clip}.txt": "valence,arousal\n0,0\n" for clip in "abc"})
    annotations = load_annotations(tmp_path)
    assert select_clips(annotations, "train", ("c", "x", "a", "b"), features="f") == ("c", "a", "b")


def test_labels_without_features_are_named(tmp_path: Path) -> None:
    write(tmp_path, {f"Train_Set/{clip}.txt": "valence,arousal\n0,0\n" for clip in "abcde"})
    with pytest.raises(AnnotationError) as caught:
        select_clips(load_annotations(tmp_path), "train", ("c",), features="data/features.zarr")
    assert "4 of 5 labelled clips" in str(caught.value)
    assert "data/features.zarr: a, b, d, ...;" in str(caught.value)
    assert "dvc repro extract" in str(caught.value)


def test_a_clip_without_labels_cannot_be_aligned(tmp_path: Path) -> None:
    annotations = load_annotations(write(tmp_path, {"Train_Set/a.txt": "valence,arousal\n0,0\n"}))
    with pytest.raises(AnnotationError, match="have no labels for clip 'b', only for 1 others"):
        annotations.align("b", source_frame=np.arange(1), time_s=np.arange(1.0), delay_s=0.0)


def test_labels_of_another_timeline_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"{1.7e9 + i / 10},0.1,0.2\n" for i in range(9))
    write(
        tmp_path,
        {
            "Train_Set/epoch.csv": f"time_s,valence,arousal\n{rows}",
            "Train_Set/short.csv": "time_s,valence,arousal\n0,0.1,0.2\n0.1,0.1,0.2\n",
            "Train_Set/unrated.csv": "time_s,valence,arousal\n70,,\n70.1,,\n",
        },
    )
    annotations = load_annotations(tmp_path)
    frames = {"source_frame": np.arange(3), "time_s": 5.0 + np.arange(3) / 25}
    for delay_s in (0.0, 2.0):
        with pytest.raises(AnnotationError, match=r"no label of clip 'epoch' .* from 5\.00 to 5\.08 s"):
            annotations.align("epoch", **frames, delay_s=delay_s)
    assert annotations.align("unrated", **frames, delay_s=0.0).num_missing == 3
    # A delay that is longer than the clip leaves it without labels, and is no mistake of the file's.
    frames = {"source_frame": np.arange(3), "time_s": np.arange(3) / 25}
    assert annotations.align("short", **frames, delay_s=1.0).num_missing == 3
    no_frames = annotations.align("epoch", source_frame=np.arange(0), time_s=np.zeros(0), delay_s=0.0)
    assert len(no_frames.mask) == 0


def test_labels_per_frame_may_end_before_the_rows_begin(tmp_path: Path) -> None:
    write(tmp_path, {"Train_Set/part.txt": "valence,arousal\n0.1,0.2\n0.3,0.4\n"})
    rows = {"source_frame": np.arange(40, 43), "time_s": np.arange(40, 43) / 25}
    aligned = load_annotations(tmp_path).align("part", **rows, delay_s=0.0)
    assert (aligned.num_missing, aligned.num_surplus, aligned.mask.any()) == (3, 2, False)


def test_digest_covers_labels_clips_splits_and_subjects(tmp_path: Path) -> None:
    def digest(name: str, files: dict[str, str], kind: str = "mean") -> str:
        return load_annotations(write(tmp_path / name, files), kind).digest(("train", "validation"))

    raters = "time,valence_1,valence_2,arousal\n0,0,0.5,0\n0.04,0.5,0.6,0\n0.08,0.1,0.7,0\n"
    base = {
        "Train_Set/a.txt": "valence,arousal\n0,0\n",
        "Train_Set/t.csv": raters,
        "Validation_Set/z.txt": "valence,arousal\n0,0\n",
        "subjects.csv": "clip_id,subject\na,anna\n",
    }

    def renamed(before: str, after: str) -> dict[str, str]:
        return {after if name == before else name: text for name, text in base.items()}

    first = digest("first", base)
    same = {
        **base,
        "Test_Set/c.txt": "valence,arousal\n1,1\n",
        "subjects.csv": "clip_id,subject\na,anna\nc,cem\n",
    }
    assert digest("same", same) == first
    # The same numbers in another form are the same labels.
    assert (
        digest("spreadsheet", {**base, "Train_Set/t.csv": raters.replace(",", ";").replace(".", ",")})
        == first
    )
    changed = [
        {**base, "Train_Set/a.txt": "valence,arousal\n0,0.001\n"},
        {**base, "Train_Set/a.txt": "valence,arousal\n0,0\n0,0\n"},
        {**base, "Train_Set/t.csv": raters.replace("0.08", "0.09")},
        {**base, "Train_Set/t.csv": raters.replace("0.7", "")},
        {**base, "subjects.csv": "clip_id,subject\na,bo\n"},
        renamed("Validation_Set/z.txt", "Validation_Set/z2.txt"),
        renamed("Train_Set/t.csv", "Validation_Set/t.csv"),
    ]
    digests = [digest(f"changed{index}", files) for index, files in enumerate(changed)]
    digests.append(digest("ewe", base, "ewe"))
    assert len({first, *digests}) == 1 + len(changed) + 1
