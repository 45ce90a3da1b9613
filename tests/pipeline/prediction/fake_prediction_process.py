"""A child process without networks: writes each clip's table, or is in the trouble that it is named after."""

from __future__ import annotations

import os
import signal

import numpy as np

from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_files import table_file
from pipeline.prediction.prediction_record import ClipRecord
from pipeline.prediction.prediction_task import PredictionTask
from pipeline.run.clip_process import Heart, serve


class FakePredictor:
    """In place of networks and heads, which one process holds on one device."""

    def __init__(self) -> None:
        self._devices: set[str] = set()

    def predict(self, task: PredictionTask, heart: Heart) -> tuple[ClipRecord, ...]:
        self._devices.add(task.predictor.device)
        if len(self._devices) > 1:
            raise ValueError("networks are loaded for each device")
        if "fatal" in task.clip_id:
            raise ValueError("the checkpoint is no checkpoint")
        heart.expect(20)
        facts = {"source": task.clip_id, "source_state": task.source_state, "media": str(task.media)}
        if "fails" in task.clip_id:
            return (
                ClipRecord(
                    clip_id=task.clip_id, status="failed", failed_stage="decode", error="no video", **facts
                ),
            )
        num_tracks = int(task.clip_id[-1]) if "tracks" in task.clip_id else 0
        names = [f"{task.clip_id}_track{number}" for number in range(1, num_tracks + 1)] or [task.clip_id]
        records = []
        for name in names:
            path, *_ = task.file_names(name)
            file = table_file(task.folder / path, task.table_format, task.table)
            file.add(rows(name))
            if "crashes" in task.clip_id:
                task.scratch.mkdir()
                os.kill(os.getpid(), signal.SIGSEGV)
            file.finish()
            file.commit()
            records.append(
                ClipRecord(
                    clip_id=name, status="predicted", file=path, num_frames=20, num_face_frames=20, **facts
                )
            )
        heart.beat(20)
        if "changes" in task.clip_id and task.media is not None:
            task.media.write_bytes(b"more")
        return tuple(records)


def rows(clip_id: str) -> PredictedRows:
    return PredictedRows(
        clip_id=clip_id,
        frame=np.arange(20),
        time_s=np.arange(20) / 25,
        values=np.full((20, 2), float(os.environ.get("TEST_VALUE", "0.5")), np.float32),
        deviation=None,
        face_found=np.ones(20, bool),
        face_box=np.zeros((20, 4), np.float32),
        face_score=np.ones(20, np.float32),
        gates={},
    )


if __name__ == "__main__":
    serve(FakePredictor().predict)
