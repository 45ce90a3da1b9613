"""predictions.parquet: exactly the columns that were promised, the same bytes each time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagf_head.data.clip_groups import ClipGroups
from tagf_head.errors import HeadError
from tagf_head.evaluation.predictions import Predictions, read_predictions, write_predictions


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(
        clip_ids=("b", "a_left"),
        row_size=np.array([3, 2]),
        frame=np.array([0, 1, 3, 0, 1]),
        time_s=np.array([0.1, 0.14, 0.2, 5.0, 5.04]),
        values=np.array([[0.1, -0.1], [0.2, -0.2], [0.3, -0.3], [0.4, -0.4], [0.5, -0.5]], np.float32),
        face_found=np.array([True, False, True, True, False]),
        groups=ClipGroups(unit="subject", group=("anna", "bert")),
    )


def test_columns(tmp_path: Path, predictions: Predictions) -> None:
    write_predictions(tmp_path / "new" / "predictions.parquet", predictions)
    table = pandas.read_parquet(tmp_path / "new" / "predictions.parquet")
    assert list(table.columns) == ["clip_id", "frame", "time_s", "valence", "arousal", "face_found"]
    assert table["clip_id"].tolist() == ["b", "b", "b", "a_left", "a_left"]
    assert table["frame"].tolist() == [0, 1, 3, 0, 1]
    assert table["time_s"].tolist() == [0.1, 0.14, 0.2, 5.0, 5.04]
    assert table["valence"].to_numpy().tolist() == predictions.values[:, 0].tolist()
    assert table["arousal"].to_numpy().tolist() == predictions.values[:, 1].tolist()
    assert table["face_found"].tolist() == [True, False, True, True, False]


def test_round_trip_and_equal_bytes(tmp_path: Path, predictions: Predictions) -> None:
    write_predictions(tmp_path / "a", predictions)
    found = read_predictions(tmp_path / "a")
    assert found.groups == predictions.groups
    assert found.clip_ids == predictions.clip_ids
    for name in ("row_size", "frame", "time_s", "values", "face_found"):
        np.testing.assert_array_equal(getattr(found, name), getattr(predictions, name))
        assert getattr(found, name).dtype == getattr(predictions, name).dtype
    write_predictions(tmp_path / "b", found)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_deviations_have_columns_of_their_own(tmp_path: Path, predictions: Predictions) -> None:
    deviation = np.linspace(0.1, 1, 10, dtype=np.float32).reshape(5, 2)
    write_predictions(tmp_path / "a", dataclasses.replace(predictions, deviation=deviation))
    table = pq.read_table(tmp_path / "a")
    assert table.schema.names[:6] == list(pandas.read_parquet(tmp_path / "a").columns[:6])
    assert table.schema.names[6:] == ["valence_sd", "arousal_sd"]
    assert [table.schema.field(name).type for name in table.schema.names[6:]] == [pa.float32()] * 2
    assert table["arousal_sd"].to_numpy().tolist() == deviation[:, 1].tolist()
    found = read_predictions(tmp_path / "a")
    np.testing.assert_array_equal(found.deviation, deviation)
    assert found.deviation.dtype == np.float32
    np.testing.assert_array_equal(found.values, predictions.values)
    # Files of heads without them are what they were.
    write_predictions(tmp_path / "b", predictions)
    assert read_predictions(tmp_path / "b").deviation is None
    pq.write_table(table.drop_columns(["arousal_sd"]), tmp_path / "half")
    with pytest.raises(
        HeadError, match=r"with or without valence_sd, arousal_sd, got .* valence_sd \(float\)"
    ):
        read_predictions(tmp_path / "half")


def test_no_rows(tmp_path: Path) -> None:
    empty = Predictions(
        clip_ids=(),
        row_size=np.zeros(0, np.int64),
        frame=np.zeros(0, np.int64),
        time_s=np.zeros(0),
        values=np.zeros((0, 2), np.float32),
        face_found=np.zeros(0, bool),
        groups=ClipGroups(unit="clip", group=()),
    )
    write_predictions(tmp_path / "a", empty)
    assert read_predictions(tmp_path / "a").clip_ids == ()


def test_clips_without_rows_are_kept_in_their_places(tmp_path: Path, predictions: Predictions) -> None:
    some = dataclasses.replace(
        predictions,
        clip_ids=("x", "b", "y", "a_left", "z"),
        row_size=np.array([0, 3, 0, 2, 0]),
        groups=ClipGroups(unit="subject", group=("anna", "anna", "cem", "bert", "dora")),
    )
    write_predictions(tmp_path / "a", some)
    found = read_predictions(tmp_path / "a")
    assert (found.clip_ids, found.groups) == (some.clip_ids, some.groups)
    assert found.row_size.tolist() == [0, 3, 0, 2, 0]


def test_files_that_hold_no_predictions(tmp_path: Path, predictions: Predictions) -> None:
    with pytest.raises(HeadError, match="none cannot be read as Parquet"):
        read_predictions(tmp_path / "none")
    (tmp_path / "text").write_text("no Parquet")
    with pytest.raises(HeadError, match="text cannot be read as Parquet"):
        read_predictions(tmp_path / "text")
    pq.write_table(pa.table({"clip_id": ["a"]}), tmp_path / "foreign")
    with pytest.raises(HeadError, match=r"expected columns clip_id, frame, .* got clip_id \(string\)"):
        read_predictions(tmp_path / "foreign")
    write_predictions(tmp_path / "a", predictions)
    table = pq.read_table(tmp_path / "a")
    pq.write_table(table.take([0, 3, 1, 2, 4]), tmp_path / "mixed")
    with pytest.raises(HeadError, match="rows of a clip must follow one another"):
        read_predictions(tmp_path / "mixed")


def test_groups_are_plain_metadata(tmp_path: Path, predictions: Predictions) -> None:
    write_predictions(tmp_path / "a", predictions)
    table = pq.read_table(tmp_path / "a")
    assert json.loads(table.schema.metadata[b"tagf.groups"]) == {
        "unit": "subject",
        "group": {"b": "anna", "a_left": "bert"},
    }
    # Whatever the order of the clips.
    pq.write_table(table.take([3, 4, 0, 1, 2]), tmp_path / "other_order")
    assert read_predictions(tmp_path / "other_order").groups.group == ("bert", "anna")
    for name, groups in {
        "none": None,
        "unit": '{"unit": "town", "group": {"b": "x", "a_left": "y"}}',
        "clip": '{"unit": "clip", "group": {"b": "x"}}',
        "text": "no JSON",
    }.items():
        metadata = None if groups is None else {"tagf.groups": groups}
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / name)
        with pytest.raises(HeadError, match="do not say which clips belong together"):
            read_predictions(tmp_path / name)
