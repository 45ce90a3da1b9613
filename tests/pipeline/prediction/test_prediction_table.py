"""Columns of tables: their names, order, types and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ExtractionError
from pipeline.prediction.column_names import ColumnChoice, parse_columns
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_table import PredictionTable

MakeRows = Callable[..., PredictedRows]
FIRST = ["clip_id", "frame", "time_s", "valence", "arousal", "face_found"]
FACES = ["face_x", "face_y", "face_width", "face_height", "face_score"]


def test_columns_are_those_of_evaluation_and_further_ones_on_request(make_rows: MakeRows, gates) -> None:
    rows = make_rows()
    plain = PredictionTable(gate_candidates=gates).of_rows(rows).to_pandas()
    assert list(plain) == FIRST
    assert plain.dtypes.astype(str).tolist() == ["str", "int64", "float64", "float32", "float32", "bool"]
    full = PredictionTable(choice=parse_columns(["deviation,gates", "faces"]), gate_candidates=gates)
    table = full.of_rows(rows).to_pandas()
    of_gates = ["visual_H0", "visual_H1", "visual_H2", "audio_H0", "audio_H1"]
    assert list(table) == [*FIRST, *FACES, *of_gates, "valence_sd", "arousal_sd"]
    np.testing.assert_array_equal(table[["valence", "arousal"]], rows.values)
    np.testing.assert_array_equal(table[["valence_sd", "arousal_sd"]], rows.deviation)
    np.testing.assert_array_equal(table[of_gates], np.hstack(list(rows.gates.values())))
    assert (table.clip_id == "clip").all()
    found = rows.face_found
    left, top, right, bottom = rows.face_box[found].T
    np.testing.assert_array_equal(
        table.loc[found, FACES].to_numpy().T, [left, top, right - left, bottom - top, rows.face_score[found]]
    )
    assert table.loc[~found, FACES].isna().all(axis=None)


def test_a_cropped_face_has_no_box(make_rows: MakeRows) -> None:
    rows = replace(make_rows(), face_box=np.zeros((10, 4), np.float32), face_found=np.ones(10, bool))
    table = PredictionTable(choice=parse_columns(["faces"])).of_rows(rows).to_pandas()
    assert table[FACES].isna().all(axis=None)
    assert table.face_found.all()


def test_names_of_openface(make_rows: MakeRows) -> None:
    rows = make_rows()
    table = PredictionTable(choice=parse_columns(["openface"])).of_rows(rows).to_pandas()
    assert list(table) == ["frame", "face_id", "timestamp", "confidence", "success", "valence", "arousal"]
    np.testing.assert_array_equal(table.frame, rows.frame + 1)
    np.testing.assert_array_equal(table.timestamp, rows.time_s)
    np.testing.assert_array_equal(table.success, rows.face_found.astype(int))
    np.testing.assert_array_equal(table.confidence, rows.face_score)
    assert (table.face_id == 0).all()


def test_names_of_py_feat(make_rows: MakeRows) -> None:
    rows = make_rows()
    chosen = PredictionTable(choice=parse_columns(["py-feat", "deviation"]))
    table = chosen.of_rows(rows, Path("videos/a b.mp4")).to_pandas()
    rectangle = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
    assert list(table) == [*rectangle, "valence", "arousal", "input", "frame", "valence_sd", "arousal_sd"]
    assert (table.input == "videos/a b.mp4").all()
    np.testing.assert_array_equal(table.frame, rows.frame)
    np.testing.assert_array_equal(table.FaceRectX[rows.face_found], rows.face_box[rows.face_found, 0])
    assert table.loc[~rows.face_found, rectangle].isna().all(axis=None)


def test_deviations_that_nobody_says(make_rows: MakeRows) -> None:
    table = PredictionTable(choice=parse_columns(["deviation"]))
    with pytest.raises(ExtractionError, match=r"clip 'clip': columns 'deviation' .* --uncertainty"):
        table.of_rows(make_rows(deviation=False))


def test_words() -> None:
    assert parse_columns([]) == ColumnChoice()
    assert parse_columns(["gates, faces"]).groups == {"faces", "gates"}
    with pytest.raises(ExtractionError, match=r"columns 'face': expected groups .*; did you mean 'faces'\?"):
        parse_columns(["gates,face"])
    with pytest.raises(ExtractionError, match="names of one tool, got 'openface' and 'py-feat'"):
        parse_columns(["py-feat", "openface"])
