"""The predictions of an evaluated run: predictions.parquet, and gates.parquet where it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.report.clip_prediction import ClipPrediction, GateTrace, gate_traces
from pipeline.report.errors import ReportError
from tagf_head.evaluation.predictions import Predictions, read_predictions

_GATE_KEYS = ("clip_id", "frame", "time_s")


class EvaluatedClips:
    """Clips of predictions.parquet.

    Args:
        predictions: The file.
        gates: gates.parquet; None where there is none.

    Raises:
        HeadError: `predictions` is no file of predictions.
        ReportError: `gates` is no file of gates, or belongs to other predictions.
    """

    def __init__(self, predictions: Path, gates: Path | None) -> None:
        self.predictions = read_predictions(predictions)
        self.clip_ids = self.predictions.clip_ids
        stops = np.cumsum(self.predictions.row_size)
        self._rows = {
            clip_id: slice(int(stop - size), int(stop))
            for clip_id, stop, size in zip(self.clip_ids, stops, self.predictions.row_size, strict=True)
        }
        self._gates = {} if gates is None else _read_gates(gates, self.predictions)

    @property
    def groups(self) -> Mapping[str, str]:
        """Clip -> what it was grouped by: a subject, a media file or the clip itself."""
        return dict(zip(self.clip_ids, self.predictions.groups.group, strict=True))

    def read(self, clip_id: str) -> ClipPrediction:
        """The rows of one clip."""
        found, rows = self.predictions, self._rows[clip_id]
        return ClipPrediction(
            clip_id=clip_id,
            frame=found.frame[rows],
            time_s=found.time_s[rows],
            values=found.values[rows],
            deviation=None if found.deviation is None else found.deviation[rows],
            face_found=found.face_found[rows],
            gates={
                name: GateTrace(candidates=gate.candidates, weights=gate.weights[rows])
                for name, gate in self._gates.items()
            },
        )


def _read_gates(path: Path, predictions: Predictions) -> dict[str, GateTrace]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ReportError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again with "
            "'tagf evaluate --gates'"
        ) from error
    names = [name for name in table.column_names if name not in _GATE_KEYS]
    is_of_them = (
        {*_GATE_KEYS} <= {*table.column_names}
        and np.array_equal(table["frame"].to_numpy(), predictions.frame)
        and np.array_equal(table["time_s"].to_numpy(), predictions.time_s)
    )
    if not is_of_them or not names:
        raise ReportError(
            f"{path}: expected a row of weights for every row of the predictions beside it, got those of "
            "other predictions; write both with one 'tagf evaluate --predictions FILE --gates FILE'"
        )
    weights: NDArray[np.floating] = np.stack([table[name].to_numpy() for name in names], axis=1)
    return gate_traces(names, weights)
