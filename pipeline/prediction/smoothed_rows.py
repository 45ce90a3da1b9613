"""Predictions on their way, smoothed: the values are held back as far as the smoothing looks ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pipeline.prediction.predicted_rows import PredictedRows
from tagf_head.evaluation.smoothing import Smoothing


def smoothed_rows(blocks: Iterable[PredictedRows], smoothing: Smoothing) -> Iterator[PredictedRows]:
    """The same rows with smoothed values; all else of them stays as it is, the deviations, too.

    Args:
        blocks: Rows of one clip after the other, those of a clip in order.
        smoothing: What to do; each clip is smoothed by itself.

    Yields:
        Blocks, not those that came in.

    Raises:
        HeadError: The times of a clip fall.
    """
    held: PredictedRows | None = None
    stream = smoothing.stream()
    for block in blocks:
        if held is not None and held.clip_id != block.clip_id:
            if len(held):
                yield replace(held, values=stream.finish())
            held, stream = None, smoothing.stream()
        values = stream.add(block.values, block.time_s)
        held = block if held is None else _joined(held, block)
        if len(values):
            yield replace(_part(held, slice(None, len(values))), values=values)
            held = _part(held, slice(len(values), None))
    if held is not None and len(held):
        yield replace(held, values=stream.finish())


def _joined(first: PredictedRows, second: PredictedRows) -> PredictedRows:
    if not len(first):
        return second
    return PredictedRows(
        clip_id=first.clip_id,
        frame=np.concatenate([first.frame, second.frame]),
        time_s=np.concatenate([first.time_s, second.time_s]),
        values=np.concatenate([first.values, second.values]),
        deviation=(
            None
            if first.deviation is None or second.deviation is None
            else np.concatenate([first.deviation, second.deviation])
        ),
        face_found=np.concatenate([first.face_found, second.face_found]),
        face_box=np.concatenate([first.face_box, second.face_box]),
        face_score=np.concatenate([first.face_score, second.face_score]),
        gates={name: np.concatenate([weights, second.gates[name]]) for name, weights in first.gates.items()},
    )


def _part(rows: PredictedRows, part: slice) -> PredictedRows:
    return PredictedRows(
        clip_id=rows.clip_id,
        frame=rows.frame[part],
        time_s=rows.time_s[part],
        values=rows.values[part],
        deviation=None if rows.deviation is None else rows.deviation[part],
        face_found=rows.face_found[part],
        face_box=rows.face_box[part],
        face_score=rows.face_score[part],
        gates={name: weights[part] for name, weights in rows.gates.items()},
    )
