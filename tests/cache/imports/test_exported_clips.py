"""Exports that were changed or damaged on their way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cache import CorruptFeatureError, StoreFormatError
from cache.errors import CacheError
from cache.exports import export_store
from cache.imports import export_format, import_export


@pytest.fixture
def npy(packed: Any, tmp_path: Path) -> Path:
    export_store(packed[0], tmp_path / "out", "npy")
    return tmp_path / "out"


@pytest.fixture
def hdf5(packed: Any, tmp_path: Path) -> Path:
    export_store(packed[0], tmp_path / "out.h5", "hdf5")
    return tmp_path / "out.h5"


def test_what_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    for name in ("text", "other.h5", "."):
        assert export_format(tmp_path / name) is None
    with pytest.raises(CacheError, match="nowhere: no such file"):
        export_format(tmp_path / "nowhere")
    with pytest.raises(CacheError, match="no such file"):
        import_export(tmp_path / "nowhere.h5", tmp_path / "s")


@pytest.mark.parametrize("array", ["visual", "audio", "time_s", "face_found", "face_box"])
def test_a_flipped_bit_in_npy(npy: Path, tmp_path: Path, array: str) -> None:
    path = npy / array / "clip_2.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFeatureError, match=f"{array}/clip_2.npy: clip 'clip_2' was changed since"):
        import_export(npy, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def test_a_flipped_bit_in_hdf5(packed: Any, hdf5: Path, tmp_path: Path) -> None:
    data = bytearray(hdf5.read_bytes())
    data[data.index(packed[1]["clip_2"].streams["text"].tobytes()) + 3] ^= 1
    hdf5.write_bytes(data)
    with pytest.raises(CorruptFeatureError, match="clip_2/text: clip 'clip_2' was changed since"):
        import_export(hdf5, tmp_path / "s.zarr")


def test_arrays_of_another_shape_or_type(npy: Path, tmp_path: Path) -> None:
    rows = np.load(npy / "audio" / "clip_0.npy")
    for other in (rows[:-1], rows.astype(np.float32)):
        np.save(npy / "audio" / "clip_0.npy", other)
        with pytest.raises(CorruptFeatureError, match=r"expected float16 of shape \(7, 3\), got"):
            import_export(npy, tmp_path / "s.zarr")
    (npy / "audio" / "clip_0.npy").unlink()
    with pytest.raises(CacheError, match=r"audio/clip_0.npy: no such file"):
        import_export(npy, tmp_path / "s.zarr")


def test_an_index_that_was_edited(npy: Path, tmp_path: Path) -> None:
    index = json.loads((npy / "index.json").read_text())
    index["clips"].pop()
    (npy / "index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptFeatureError, match="does not fit its own digest"):
        import_export(npy, tmp_path / "s.zarr")
    index["format_version"] = 9
    (npy / "index.json").write_text(json.dumps(index))
    with pytest.raises(StoreFormatError, match=r"reads tagf-feature-export version 1, got .* version 9"):
        import_export(npy, tmp_path / "s.zarr")
    (npy / "index.json").write_text("[]")
    with pytest.raises(StoreFormatError, match="expected the index of an export"):
        import_export(npy, tmp_path / "s.zarr")


def test_what_this_program_wrote_otherwise(packed: Any, npy: Path, hdf5: Path, tmp_path: Path) -> None:
    assert (export_format(npy), export_format(hdf5)) == ("npy", "hdf5")
    export_store(packed[0], tmp_path / "table", "parquet")
    with pytest.raises(CacheError, match="table is a Parquet file, which is not imported"):
        export_format(tmp_path / "table")
    with pytest.raises(CacheError, match="is a feature store already"):
        export_format(packed[0])


def test_hdf5_that_is_cut_short(hdf5: Path, tmp_path: Path) -> None:
    data = hdf5.read_bytes()
    for length in (0, 10, 1000, len(data) // 2, len(data) - 1):
        hdf5.write_bytes(data[:length])
        with pytest.raises(CorruptFeatureError, match="cannot be read"):
            export_format(hdf5)
        with pytest.raises(CorruptFeatureError, match="cannot be read"):
            import_export(hdf5, tmp_path / "s.zarr")


def test_what_lies_at_the_destination_stays(npy: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreFormatError, match="expected a feature store or nothing"):
        import_export(npy, tmp_path / "work")
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years of work"
