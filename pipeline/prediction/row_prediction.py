"""From a clip's rows to what an ensemble says of them, block by block.

Each head has windows of its own; a row is given out when it is settled for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.prediction.clip_rows import ROW_ARRAYS, RowBlock
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.window_stream import WindowStream
from tagf_head.errors import HeadError
from tagf_head.evaluation.ensemble import Ensemble, mean_over_heads


def predicted_rows(
    ensemble: Ensemble, clip_id: str, blocks: Iterable[RowBlock], device: torch.device
) -> Iterator[PredictedRows]:
    """Predict a clip.

    Args:
        ensemble: The heads.
        clip_id: The clip.
        blocks: Its rows, in order.
        device: Where the heads are.

    Yields:
        Its predictions, in blocks of their own.

    Raises:
        HeadError: A prediction is not finite.
    """
    streams = [
        WindowStream(
            member.checkpoint.head,
            window=member.checkpoint.info.train.window,
            stride=member.checkpoint.info.train.stride,
            device=device,
        )
        for member in ensemble.members
    ]
    held: dict[str, NDArray[Any]] = {}
    for block in blocks:
        for stream in streams:
            stream.add(block.visual, block.audio)
        held = {
            name: np.concatenate([held[name], block.arrays[name]]) if held else block.arrays[name]
            for name in ROW_ARRAYS
        }
        if settled := min(stream.num_settled for stream in streams):
            yield _taken(ensemble, streams, clip_id, held, settled)
            held = {name: rows[settled:] for name, rows in held.items()}
    for stream in streams:
        stream.finish()
    if settled := min(stream.num_settled for stream in streams):
        yield _taken(ensemble, streams, clip_id, held, settled)


def _taken(
    ensemble: Ensemble,
    streams: Iterable[WindowStream],
    clip_id: str,
    held: dict[str, NDArray[Any]],
    num_rows: int,
) -> PredictedRows:
    """The next rows, which are settled for all heads."""
    everything = np.ones(num_rows, np.bool_)
    try:
        found = [(stream.take(num_rows), everything) for stream in streams]
    except HeadError as error:
        raise HeadError(f"clip {clip_id!r}: {error}") from error
    mean = mean_over_heads(ensemble, found, num_rows)
    return PredictedRows(
        clip_id=clip_id,
        frame=held["source_frame"][:num_rows],
        time_s=held["time_s"][:num_rows],
        values=mean.values.astype(np.float32),
        deviation=mean.deviations.total(),
        face_found=held["face_found"][:num_rows],
        face_box=held["face_box"][:num_rows],
        face_score=held["face_score"][:num_rows],
        gates={name: gate.weights.astype(np.float32) for name, gate in mean.gates.items()},
    )
