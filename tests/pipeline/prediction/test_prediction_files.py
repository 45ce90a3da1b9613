"""Tables on the disk: read back by pandas and Arrow, complete or not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cache.errors import StorageError
from pipeline.prediction import prediction_files
from pipeline.prediction.column_names import parse_columns
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_files import RowFile, table_file
from pipeline.prediction.prediction_table import PredictionTable

MakeRows = Callable[..., PredictedRows]
FLOATS = ("valence", "arousal", "face_x", "face_y", "face_width", "face_height", "face_score")


@pytest.fixture
def table(gates) -> PredictionTable:
    return PredictionTable(choice=parse_columns(["faces", "gates", "deviation"]), gate_candidates=gates)


def in_blocks(rows: PredictedRows, size: int) -> Iterator[PredictedRows]:
    """The same rows in blocks, an empty one among them."""
    for part in (slice(0, 0), *(slice(start, start + size) for start in range(0, len(rows), size))):
        values = {field.name: getattr(rows, field.name) for field in fields(rows)}
        cut = {name: each[part] for name, each in values.items() if isinstance(each, np.ndarray)}
        of_gates = {name: each[part] for name, each in rows.gates.items()}
        yield PredictedRows(**{**values, **cut, "gates": of_gates})


@pytest.mark.parametrize("clip_id", ["clip", 'a, "b"\u00e4'])
def test_csv_gives_back_every_bit(
    make_rows: MakeRows, table: PredictionTable, tmp_path: Path, clip_id: str
) -> None:
    rows = make_rows(300, clip_id=clip_id, start_s=1 / 3, rate_hz=29.97)
    file = table_file(tmp_path / "clip.csv", "csv", table)
    for block in in_blocks(rows, 64):
        file.add(block)
    file.finish()
    file.commit()
    expected = table.of_rows(rows).to_pandas()
    kinds = {name: kind for name, kind in expected.dtypes.items() if name != "clip_id"}
    found = pd.read_csv(tmp_path / "clip.csv", dtype=kinds)
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
    assert found.time_s.tolist() == rows.time_s.tolist()
    # The digits are those of float32, not those of the nearest float64.
    assert pd.read_csv(tmp_path / "clip.csv", dtype=str).valence.str.len().mean() < len("-0.123456789")


def test_parquet_is_the_same_file_however_the_rows_come(
    make_rows: MakeRows, table: PredictionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_files, "_ROWS_PER_GROUP", 100)
    rows = make_rows(250)
    contents = set()
    for size in (7, 100, 250):
        path = tmp_path / f"{size}.parquet"
        file = table_file(path, "parquet", table)
        for block in in_blocks(rows, size):
            file.add(block)
        assert path.with_name(f"{path.name}.partial").stat().st_size > 2000  # two groups are there already
        file.finish()
        file.commit()
        contents.add(path.read_bytes())
    assert len(contents) == 1
    found = pq.read_table(path)
    pd.testing.assert_frame_equal(found.to_pandas(), table.of_rows(rows).to_pandas(), check_exact=True)
    assert found.schema == table.schema
    assert pq.ParquetFile(path).num_row_groups == 3


@pytest.mark.parametrize("table_format", ["csv", "parquet"])
def test_a_clip_without_rows_has_a_table(table: PredictionTable, tmp_path: Path, table_format) -> None:
    file = table_file(tmp_path / "clip", table_format, table)
    file.finish()
    file.commit()
    read = pd.read_csv if table_format == "csv" else pd.read_parquet
    found = read(tmp_path / "clip")
    assert list(found) == table.schema.names
    assert len(found) == 0


def test_first_rows_are_there_while_others_are_to_come(
    make_rows: MakeRows, table: PredictionTable, tmp_path: Path
) -> None:
    path, partial = tmp_path / "clip.csv", tmp_path / "clip.csv.partial"
    path.write_text("of an earlier run\n")
    file = table_file(path, "csv", table)
    file.add(make_rows(20))
    assert len(pd.read_csv(partial)) == 20
    assert path.read_text() == "of an earlier run\n"
    file.add(make_rows(5, first_frame=20))
    file.finish()
    file.commit()
    assert pd.read_csv(path).frame.tolist() == list(range(25))
    assert not partial.exists()


def test_what_is_given_up_leaves_nothing(make_rows: MakeRows, table: PredictionTable, tmp_path: Path) -> None:
    file = table_file(tmp_path / "clip.parquet", "parquet", table)
    file.add(make_rows(20))
    file.discard()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("table_format", ["csv", "parquet"])
def test_full_disk(make_rows: MakeRows, table: PredictionTable, tmp_path: Path, table_format) -> None:
    path = tmp_path / "clip"
    path.with_name("clip.partial").symlink_to("/dev/full")  # takes nothing
    with pytest.raises(StorageError, match=r"clip cannot be written \(No space left on device\); free space"):
        fill(table_file(path, table_format, table), make_rows())
    assert not path.exists()


def fill(file: RowFile, rows: PredictedRows) -> None:
    try:
        file.add(rows)
        file.finish()
        file.commit()
    finally:
        file.discard()


def test_folder_that_cannot_be_written(table: PredictionTable) -> None:
    with pytest.raises(StorageError, match=r"/proc/nowhere/clip.csv cannot be written"):
        table_file(Path("/proc/nowhere/clip.csv"), "csv", table)
