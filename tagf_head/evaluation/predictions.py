"""Predictions per frame, and the Parquet file that holds them.

Columns: `clip_id` (string), `frame` (int64, index of the decoded picture in its video), `time_s` (float64,
seconds on the container's timeline), `valence`, `arousal` (float32, in [-1, 1]), `face_found` (bool), and
where standard deviations are known `valence_sd`, `arousal_sd` (float32). Rows of a clip follow one another.
The file's metadata name the clips, also those without any row, and say which
belong together, so that whoever resamples the predictions draws the units of the evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tagf_head.config import TARGETS
from tagf_head.data.clip_groups import ClipGroups, GroupUnit
from tagf_head.errors import HeadError
from tagf_head.run_folder import write_file

_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("frame", pa.int64()),
        ("time_s", pa.float64()),
        ("valence", pa.float32()),
        ("arousal", pa.float32()),
        ("face_found", pa.bool_()),
    ]
)
_DEVIATIONS = tuple((f"{target}_sd", pa.float32()) for target in TARGETS)
_SCHEMA_WITH_DEVIATIONS = pa.schema([*_SCHEMA, *(pa.field(*column) for column in _DEVIATIONS)])
# Of the metadata: the unit, and the group of each clip, also of those that have no row.
_GROUPS_KEY = b"tagf.groups"


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a head says of every frame of some clips.

    Attributes:
        clip_ids: The C clips.
        row_size: ``(C,)`` number of rows of each clip; N is their sum.
        frame: ``(N,)`` int64, index of the decoded picture in its video.
        time_s: ``(N,)`` float64.
        values: ``(N, 2)`` float32, valence and arousal.
        face_found: ``(N,)`` bool.
        groups: Which of the clips belong together.
        deviation: ``(N, 2)`` float32, standard deviations of the values' errors; None where none are known.
    """

    clip_ids: tuple[str, ...]
    row_size: NDArray[np.int64]
    frame: NDArray[np.int64]
    time_s: NDArray[np.float64]
    values: NDArray[np.float32]
    face_found: NDArray[np.bool_]
    groups: ClipGroups
    deviation: NDArray[np.float32] | None = None


def clip_column(predictions: Predictions) -> pa.Array:
    """``(N,)`` clip id of every row."""
    clip = pa.array(np.repeat(np.arange(len(predictions.clip_ids), dtype=np.int32), predictions.row_size))
    return pa.DictionaryArray.from_arrays(clip, pa.array(predictions.clip_ids, pa.string())).cast(pa.string())


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as Parquet; the same predictions give the same bytes."""
    columns = [
        clip_column(predictions),
        predictions.frame,
        predictions.time_s,
        predictions.values[:, 0],
        predictions.values[:, 1],
        predictions.face_found,
        *(() if predictions.deviation is None else predictions.deviation.T),
    ]
    schema = _SCHEMA if predictions.deviation is None else _SCHEMA_WITH_DEVIATIONS
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    group = dict(zip(predictions.clip_ids, predictions.groups.group, strict=True))
    groups = json.dumps({"unit": predictions.groups.unit, "group": group})
    schema = schema.with_metadata({_GROUPS_KEY: groups.encode()})
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer)
    write_file(path, buffer.getvalue().to_pybytes())


def read_predictions(path: Path) -> Predictions:
    """Inverse of `write_predictions`.

    Raises:
        HeadError: No such file, or not a predictions file.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise HeadError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); run the evaluation again"
        ) from error
    has_deviations = table.schema.equals(_SCHEMA_WITH_DEVIATIONS)
    if not has_deviations and not table.schema.equals(_SCHEMA):
        raise HeadError(
            f"{path} is not a predictions file: expected columns {', '.join(_SCHEMA.names)}, with or without "
            f"{', '.join(name for name, _ in _DEVIATIONS)}, got "
            f"{', '.join(f'{field.name} ({field.type})' for field in table.schema)}; run the evaluation again"
        )
    encoded = table["clip_id"].combine_chunks().dictionary_encode()
    clip = np.asarray(encoded.indices)
    starts = np.flatnonzero(np.diff(clip, prepend=-1))
    found = tuple(encoded.dictionary.to_pylist())
    if len(starts) != len(found):
        raise HeadError(f"{path}: the rows of a clip must follow one another; run the evaluation again")
    size_of = dict(zip(found, np.diff(starts, append=len(clip)).tolist(), strict=True))
    clip_ids, groups = _read_clips(path, (table.schema.metadata or {}).get(_GROUPS_KEY), found)
    return Predictions(
        clip_ids=clip_ids,
        row_size=np.array([size_of.get(clip_id, 0) for clip_id in clip_ids], np.int64),
        frame=table["frame"].to_numpy(),
        time_s=table["time_s"].to_numpy(),
        values=np.stack([table[name].to_numpy() for name in TARGETS], axis=1),
        face_found=table["face_found"].to_numpy(),
        groups=groups,
        deviation=(
            np.stack([table[name].to_numpy() for name, _ in _DEVIATIONS], axis=1) if has_deviations else None
        ),
    )


def _read_clips(
    path: Path, metadata: bytes | None, found: Sequence[str]
) -> tuple[tuple[str, ...], ClipGroups]:
    """All clips and their groups; those that have rows in the order of the rows, `found`."""
    try:
        groups = json.loads(metadata or b"")
        unit = groups["unit"]
        if unit not in get_args(GroupUnit):
            raise ValueError(f"unknown unit {unit!r}")
        of_clip: dict[str, str] = groups["group"]
        has_rows = {*found}
        clip_ids = tuple(of_clip)
        if [clip_id for clip_id in clip_ids if clip_id in has_rows] != [*found]:
            # Somebody has put the clips' rows into another order.
            clip_ids = (*found, *(clip_id for clip_id in clip_ids if clip_id not in has_rows))
        return clip_ids, ClipGroups(unit=unit, group=tuple(of_clip[clip_id] for clip_id in clip_ids))
    except (ValueError, KeyError, TypeError) as error:
        raise HeadError(
            f"{path}: its metadata do not say which clips belong together ({error!r}); run the evaluation "
            "again"
        ) from error
