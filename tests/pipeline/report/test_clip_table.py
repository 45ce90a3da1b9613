"""The table of clips: metrics by the formula, and which clips are shown when there are too many."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.clip_cells import cells, clips_note, columns
from pipeline.report.clip_table import ClipRow, row_of_clip, spread_choice
from pipeline.report.evaluated_clips import EvaluatedClips
from pipeline.report.evaluated_table import rows_of_file
from pipeline.report.true_labels import TrueLabels
from tagf_head.config import LabelConfig


def ccc_by_hand(p: np.ndarray, t: np.ndarray) -> float:
    covariance = ((p - p.mean()) * (t - t.mean())).mean()
    return 2 * covariance / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)


@pytest.fixture(scope="module")
def clips(run) -> EvaluatedClips:
    return EvaluatedClips(run.folder / "predictions.parquet", run.folder / "gates.parquet")


@pytest.mark.parametrize("clip_id", ["calm", "joy/left", "sad"])
def test_a_rows_metrics_are_those_of_the_formula(run, clips, clip_id):
    row = row_of_clip(clips.read(clip_id), TrueLabels(run.annotations, LabelConfig()), "someone")
    label, rows = run.labels[clip_id], run.rows(clip_id)
    mask = label[:, 0] > -5
    for column, target in enumerate(("valence", "arousal")):
        values = run.predictions.values[rows, column].astype(float)[mask]
        assert row.metrics[f"{target}_ccc"] == pytest.approx(
            ccc_by_hand(values, label[mask, column]), abs=1e-6
        )
        rmse = np.sqrt(((values - label[mask, column]) ** 2).mean())
        assert row.metrics[f"{target}_rmse"] == pytest.approx(rmse, abs=1e-6)
    assert row.num_labelled == mask.sum()
    assert row.face_share == run.predictions.face_found[rows].mean()
    assert row.seconds == pytest.approx(len(label) * 0.04)
    assert row.mean_sd == pytest.approx(run.predictions.deviation[rows].mean(), rel=1e-6)


def test_metrics_from_the_labels_equal_those_of_the_evaluations_file(run, clips):
    labels = TrueLabels(run.annotations, LabelConfig())
    own = [row_of_clip(clips.read(clip_id), labels, None) for clip_id in clips.clip_ids]
    bare = [row_of_clip(clips.read(clip_id), None, None) for clip_id in clips.clip_ids]
    for mine, theirs in zip(own, rows_of_file(run.folder / "clip_metrics.csv", bare), strict=True):
        assert theirs.group == f"person of {mine.clip_id}"
        assert theirs.num_labelled == mine.num_labelled
        for name, value in mine.metrics.items():
            assert theirs.metrics[name] == pytest.approx(value, abs=2e-6)


def row(clip_id: str, ccc: float | None, num_frames: int = 5) -> ClipRow:
    return ClipRow(clip_id=clip_id, num_frames=num_frames, metrics={"valence_ccc": ccc, "arousal_ccc": ccc})


def test_few_clips_are_all_shown_but_those_without_rows():
    rows = [row("a", 0.1), row("b", None), row("c", 0.3, num_frames=0)]
    assert spread_choice(rows, 50, {"a", "b", "c"}) == [0, 1]
    assert spread_choice(rows, 50, {"b", "c"}) == [1]


def test_of_many_clips_worst_and_best_are_shown_and_some_between():
    scores = np.random.default_rng(3).permutation(200) / 200
    chosen = spread_choice(
        [row(str(i), float(score)) for i, score in enumerate(scores)], 9, {*map(str, range(200))}
    )
    assert len(chosen) == 9
    assert chosen == sorted(chosen)
    found = np.sort(scores[chosen])
    assert found[0] == scores.min()
    assert found[-1] == scores.max()
    assert np.diff(found).max() < 2 / 8


def test_clips_without_labels_are_shown_in_their_order():
    assert spread_choice([row(str(i), None) for i in range(9)], 4, {*"012345678"}) == [0, 1, 2, 3]
    mixed = [row("a", None), row("b", 0.5), row("c", None), row("d", 0.1)]
    assert spread_choice(mixed, 3, {*"abcd"}) == [0, 1, 3]


def test_a_failed_clip_has_a_column_with_its_reason():
    rows = [row("a", 0.5), ClipRow(clip_id="b", error="no video stream")]
    names = [column["name"] for column in columns(rows)]
    assert names[0] == "clip"
    assert names[-1] == "status"
    assert cells(rows[1], names)[-1]["text"] == "no video stream"
    assert cells(rows[1], names)[1] == {"text": "–", "value": "", "kind": "number", "bar": None}  # noqa: RUF001
    assert "1 clip failed" in clips_note(rows)


def test_columns_of_which_nothing_is_known_are_left_out():
    names = [column["name"] for column in columns([ClipRow(clip_id="a", num_frames=3, face_share=1.0)])]
    assert names == ["clip", "frames", "seconds", "faces"]
