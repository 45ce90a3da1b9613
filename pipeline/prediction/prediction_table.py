"""Predicted rows as a table, with the columns that were chosen.

Letters in shapes: N rows of a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import ExtractionError
from pipeline.prediction.column_names import DEVIATION_COLUMNS, FACE_COLUMNS, ColumnChoice
from pipeline.prediction.predicted_rows import PredictedRows

_FACE_RECT = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore")
# What is not named here is a float32, as the heads give it.
_TYPES = {
    "clip_id": pa.string(),
    "input": pa.string(),
    "frame": pa.int64(),
    "face_id": pa.int64(),
    "success": pa.int64(),
    "time_s": pa.float64(),
    "timestamp": pa.float64(),
    "face_found": pa.bool_(),
}


@dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """Makes tables of rows.

    Attributes:
        choice: The columns.
        gate_candidates: Gate -> names of its candidates, of the heads that predict.
        schema: Columns and their types.
    """

    choice: ColumnChoice = field(default_factory=ColumnChoice)
    gate_candidates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return pa.schema(
            [(name, _TYPES.get(name, pa.float32())) for name in self.choice.columns(self.gate_candidates)]
        )

    def of_rows(self, rows: PredictedRows, media: Path | None = None) -> pa.Table:
        """A block of rows as a table.

        Boxes and their scores are null where there is none, so that no face seems to lie in a corner.

        Args:
            rows: The rows.
            media: The media file, for py-feat's column `input`; that of rows from a store is not known.

        Raises:
            ExtractionError: Deviations are asked for and the rows have none.
        """
        schema = self.schema
        columns = self._columns(rows, media)
        return pa.Table.from_arrays(
            [pa.array(columns[each.name], each.type, from_pandas=True) for each in schema], schema=schema
        )

    def _columns(self, rows: PredictedRows, media: Path | None) -> dict[str, Any]:
        """Every column that the table may have, under all of its names."""
        left, top, right, bottom = rows.face_box.T
        has_box = right > left  # (N,); a cropped face comes without a box
        place = [
            np.where(has_box, values, np.float32(np.nan))
            for values in (left, top, right - left, bottom - top, rows.face_score)
        ]
        columns: dict[str, Any] = {
            "clip_id": [rows.clip_id] * len(rows),
            "input": ["" if media is None else str(media)] * len(rows),
            # OpenFace counts frames from 1.
            "frame": rows.frame + 1 if self.choice.names == "openface" else rows.frame,
            "time_s": rows.time_s,
            "timestamp": rows.time_s,
            "valence": rows.values[:, 0],
            "arousal": rows.values[:, 1],
            "face_found": rows.face_found,
            "success": rows.face_found.astype(np.int64),
            "face_id": np.zeros(len(rows), np.int64),
            "confidence": np.where(rows.face_found, rows.face_score, np.float32(0)),
            **dict(zip(FACE_COLUMNS, place, strict=True)),
            **dict(zip(_FACE_RECT, place, strict=True)),
        }
        if "gates" in self.choice.groups:
            columns |= {
                f"{gate}_{candidate}": rows.gates[gate][:, number]
                for gate, candidates in self.gate_candidates.items()
                for number, candidate in enumerate(candidates)
            }
        if "deviation" in self.choice.groups:
            if rows.deviation is None:
                raise ExtractionError(
                    f"clip {rows.clip_id!r}: columns 'deviation' are asked for, and the head says none; give "
                    "a checkpoint that was trained with --uncertainty, or several checkpoints"
                )
            columns |= dict(zip(DEVIATION_COLUMNS, rows.deviation.T, strict=True))
        return columns
