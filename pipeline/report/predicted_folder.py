"""The predictions of a folder that `tagf predict` wrote: prediction.json, and a file per clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.prediction.prediction_record import FORMAT, RECORD_NAME
from pipeline.report.clip_prediction import ClipPrediction, gate_traces
from pipeline.report.errors import ReportError
from tagf_head.config import TARGETS

_DEVIATIONS = tuple(f"{target}_sd" for target in TARGETS)
# Columns that are no gate's, under the names of `tagf predict` and of its `--columns openface`.
_TIME_NAMES = ("time_s", "timestamp")
_FACE_NAMES = ("face_found", "success")
_SUFFIXES = {"csv": ".csv", "parquet": ".parquet"}


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """What prediction.json says of one clip.

    Attributes:
        clip_id: The clip.
        file: Its table; None where there is none.
        media: Its media file.
        status: `predicted` or `failed`.
        error: Why it failed.
        num_frames: Rows of the table.
        num_face_frames: Rows with a face.
    """

    clip_id: str
    file: Path | None
    media: Path | None
    status: str
    error: str | None
    num_frames: int
    num_face_frames: int


class PredictedFolder:
    """Clips of a folder of predictions.

    Args:
        folder: Where `tagf predict --out` wrote.

    Raises:
        ReportError: The folder's record is missing, damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.record = _read_record(folder / RECORD_NAME)
        self.clips = tuple(_clip_record(folder, clip) for clip in self.record["clips"])
        self._file = {clip.clip_id: clip.file for clip in self.clips if clip.file is not None}
        self.clip_ids = tuple(self._file)

    @property
    def media(self) -> Mapping[str, Path]:
        """Clip -> its media file, of the clips that name one."""
        return {clip.clip_id: clip.media for clip in self.clips if clip.media is not None}

    def read(self, clip_id: str) -> ClipPrediction:
        """The rows of one clip.

        Raises:
            ReportError: Its table is missing, damaged or lacks a column.
        """
        path = self._file[clip_id]
        try:
            table = pa_csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ReportError(f"{path} cannot be read ({reason}); run 'tagf predict' again") from error
        time_name = _column(table, _TIME_NAMES, path, "predict without '--columns py-feat'")
        face_name = _column(table, _FACE_NAMES, path, "predict again")
        frame_name = _column(table, ("frame",), path, "predict again")
        # OpenFace counts frames from 1.
        first = 1 if time_name == "timestamp" else 0
        has_deviation = {*_DEVIATIONS} <= {*table.column_names}
        gates = [name for name in table.column_names if _is_gate(name)]
        return ClipPrediction(
            clip_id=clip_id,
            frame=table[frame_name].to_numpy().astype(np.int64) - first,
            time_s=table[time_name].to_numpy().astype(np.float64),
            values=_matrix(table, TARGETS, path),
            deviation=_matrix(table, _DEVIATIONS, path) if has_deviation else None,
            face_found=table[face_name].to_numpy().astype(bool),
            gates=gate_traces(gates, _matrix(table, gates, path)) if gates else {},
        )


def _read_record(path: Path) -> dict[str, Any]:
    remedy = "name a folder that 'tagf predict --out' wrote"
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read as JSON ({error}); {remedy}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ReportError(f"{path}: expected format {FORMAT!r}, got {found!r}; {remedy}")
    if not isinstance(record.get("clips"), list):
        raise ReportError(f"{path}: expected a list of clips, got none; {remedy}")
    return record


def _clip_record(folder: Path, clip: Any) -> ClipRecord:
    try:
        name = clip["file"]
        file = None if name is None or clip["status"] != "predicted" else folder / name
        if file is not None and (Path(name).name != name or file.suffix not in _SUFFIXES.values()):
            raise ValueError(f"file {name!r} is no table of this folder")
        return ClipRecord(
            clip_id=str(clip["clip_id"]),
            file=file if file is not None and file.is_file() else None,
            media=None if clip["media"] is None else Path(clip["media"]),
            status=str(clip["status"]),
            error=None if clip["error"] is None else str(clip["error"]),
            num_frames=int(clip["num_frames"] or 0),
            num_face_frames=int(clip["num_face_frames"] or 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{folder / RECORD_NAME}: a clip's entry is damaged ({error!r}); run 'tagf predict' again"
        ) from error


def _column(table: pa.Table, names: tuple[str, ...], path: Path, remedy: str) -> str:
    for name in names:
        if name in table.column_names:
            return name
    raise ReportError(
        f"{path}: expected a column {' or '.join(repr(name) for name in names)}, got "
        f"{', '.join(table.column_names)}; {remedy}"
    )


def _is_gate(name: str) -> bool:
    """Whether a column is a gate's: GATE_CANDIDATE, of what was asked for beyond the standing columns."""
    known = {"clip_id", "frame", "valence", "arousal", "input", "confidence", *_TIME_NAMES, *_FACE_NAMES}
    is_face = name.lower().startswith("face")
    return "_" in name and name not in known and name not in _DEVIATIONS and not is_face


def _matrix(table: pa.Table, names: Sequence[str], path: Path) -> NDArray[np.float32]:
    """``(N, columns)``."""
    for name in names:
        _column(table, (name,), path, "predict again")
    columns = [table[name].to_numpy().astype(np.float32) for name in names]
    return np.stack(columns, axis=1)
