"""Predictions that lie there already: the folder of a prediction, a run's folder, a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.prediction.prediction_record import RECORD_NAME
from pipeline.submission.abaw_file import ClipValues
from pipeline.submission.errors import SubmissionError

if TYPE_CHECKING:
    import pyarrow as pa

RUN_PREDICTIONS = "predictions.parquet"
_VALUES = ("valence", "arousal")
# OpenFace counts frames from 1, and has this column.
_OPENFACE_COLUMN = "timestamp"
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class PredictionSource:
    """Where predictions lie.

    Attributes:
        tables: Each file, after the clip that it is of; None where a column names the clips.
        failures: Clip -> why there are no predictions of it.
    """

    tables: tuple[tuple[str | None, Path], ...]
    failures: Mapping[str, str]

    def stream(self) -> Iterator[ClipValues]:
        """All predictions, block by block.

        Raises:
            SubmissionError: A file is damaged, or has other columns.
        """
        for clip_id, path in self.tables:
            yield from _stream_table(clip_id, path)


def find_predictions(path: Path) -> PredictionSource:
    """What there is to hand in.

    Args:
        path: The folder that `tagf predict` wrote, a run's folder, or one table with the columns `clip_id`,
            `frame`, `valence` and `arousal`, as Parquet or CSV.

    Raises:
        SubmissionError: There are no predictions, or their record is damaged.
    """
    if not path.exists():
        raise SubmissionError(
            f"predictions {str(path)!r}: nothing is there; give the folder of 'tagf predict', or the "
            f"{RUN_PREDICTIONS} of 'tagf evaluate --predictions'"
        )
    if not path.is_dir():
        return PredictionSource(tables=((None, path),), failures={})
    if (path / RECORD_NAME).is_file():
        return _of_folder(path)
    if (path / RUN_PREDICTIONS).is_file():
        return PredictionSource(tables=((None, path / RUN_PREDICTIONS),), failures={})
    raise SubmissionError(
        f"predictions {str(path)!r}: expected {RECORD_NAME} or {RUN_PREDICTIONS} in it, got neither; "
        "run 'tagf predict', or 'tagf evaluate' with --predictions"
    )


def _of_folder(folder: Path) -> PredictionSource:
    """The files that a prediction's record names."""
    try:
        clips: list[dict[str, Any]] = json.loads((folder / RECORD_NAME).read_text("utf-8"))["clips"]
        done = [clip for clip in clips if clip["status"] == "predicted"]
        failures = {str(clip["clip_id"]): str(clip["error"]) for clip in clips if clip not in done}
        # A name alone: no record leads out of its folder.
        tables = tuple((str(clip["clip_id"]), folder / Path(clip["file"]).name) for clip in done)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SubmissionError(
            f"predictions {str(folder)!r}: {RECORD_NAME} cannot be read ({type(error).__name__}: {error}); "
            "run 'tagf predict' again"
        ) from error
    return PredictionSource(tables=tables, failures=failures)


def _stream_table(clip_id: str | None, path: Path) -> Iterator[ClipValues]:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                columns = _columns(clip_id, path, file.schema_arrow.names)
                for block in file.iter_batches(_BLOCK_ROWS, columns=columns):
                    yield from _clips(clip_id, block, file.schema_arrow.names)
        else:
            with pa_csv.open_csv(path) as reader:
                _columns(clip_id, path, reader.schema.names)
                for block in reader:
                    yield from _clips(clip_id, block, reader.schema.names)
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SubmissionError(
            f"predictions {str(path)!r} cannot be read ({' '.join(str(error).split())}); predict again"
        ) from error


def _columns(clip_id: str | None, path: Path, names: list[str]) -> list[str]:
    """The columns to read."""
    wanted = [*(["clip_id"] if clip_id is None else []), "frame", *_VALUES]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SubmissionError(
            f"predictions {str(path)!r}: expected columns {', '.join(wanted)}, got no {', '.join(missing)} "
            f"among {', '.join(names)}; give the tables of 'tagf predict' or 'tagf evaluate --predictions'"
        )
    return wanted


def _clips(clip_id: str | None, block: pa.RecordBatch, names: list[str]) -> Iterator[ClipValues]:
    """The rows of a block, by clip."""
    import pyarrow as pa

    frame = block.column("frame").cast(pa.int64()).to_numpy(zero_copy_only=False)
    if _OPENFACE_COLUMN in names:
        frame = frame - 1
    values = np.stack(
        [block.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in _VALUES], axis=1
    )
    if clip_id is not None:
        yield clip_id, frame, values
        return
    clips = block.column("clip_id").cast(pa.string()).dictionary_encode()
    place = np.asarray(clips.indices)
    starts = np.flatnonzero(np.diff(place, prepend=-1)).tolist()
    # A file may have groups without a row.
    for start, stop in zip(starts, [*starts[1:], len(place)] if starts else [], strict=True):
        yield clips.dictionary[int(place[start])].as_py(), frame[start:stop], values[start:stop]
