"""What a clip's process writes: all files of a clip, or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cache.errors import StorageError
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.errors import MediaError
from pipeline.prediction.clip_prediction import predict_clip
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_record import ClipRecord
from pipeline.prediction.prediction_table import PredictionTable
from pipeline.prediction.prediction_task import PredictionTask, PredictorSettings
from pipeline.stage_clock import StageClock

MakeRows = Callable[..., PredictedRows]
SETTINGS = PredictorSettings(
    checkpoints=(),
    digests=(),
    device="cpu",
    params=None,
    weights=(),
    subject=None,
    from_store=False,
    smoothing=None,
)


class _Heart:
    """What the run would be told."""

    def __init__(self) -> None:
        self.clock = StageClock()
        self.beats: list[int] = []
        self.expected: list[int] = []

    def beat(self, num_frames: int = 0) -> None:
        self.beats.append(num_frames)

    def expect(self, num_frames: int) -> None:
        self.expected.append(num_frames)


@pytest.fixture
def task(tmp_path: Path) -> PredictionTask:
    return PredictionTask(
        predictor=SETTINGS,
        clip_id="a/b",
        source=ClipSource(clip_id="a/b", media=tmp_path / "b.mp4"),
        source_state="1",
        folder=tmp_path / "out",
        name="a%2Fb",
        table=PredictionTable(),
        table_format="csv",
    )


Predict = Callable[..., tuple[ClipRecord, ...]]


@pytest.fixture
def predict() -> Predict:
    def run(task: PredictionTask, blocks: Any, heart: Any = None) -> tuple[ClipRecord, ...]:
        def stream(*_: Any, **__: Any) -> Iterator[PredictedRows]:
            for block in blocks:
                if isinstance(block, Exception):
                    raise block
                yield block

        predictor: Any = SimpleNamespace(config=ExtractConfig(), stream=stream)
        return predict_clip(task, predictor, heart or _Heart())

    return run


def files(task: PredictionTask) -> set[str]:
    return {path.name for path in task.folder.iterdir()}


def test_a_clip(task: PredictionTask, predict: Predict, make_rows: MakeRows) -> None:
    heart = _Heart()
    blocks = [make_rows(30, clip_id="a/b"), make_rows(12, first_frame=30, clip_id="a/b")]
    (record,) = predict(task, blocks, heart)
    assert files(task) == {"a%2Fb.csv"}
    table = pd.read_csv(task.folder / "a%2Fb.csv")
    assert table.frame.tolist() == list(range(42))
    assert (record.clip_id, record.status, record.file, record.others) == (
        "a/b",
        "predicted",
        "a%2Fb.csv",
        (),
    )
    assert (record.num_frames, record.num_face_frames) == (42, int(table.face_found.sum()))
    assert record.media == str(task.media)
    assert heart.beats[-1] == 42


def test_tracks_and_all_forms(
    task: PredictionTask, predict: Predict, make_rows: MakeRows, write_media: Callable[..., None]
) -> None:
    assert task.media is not None
    write_media(
        task.media,
        [np.full((96, 128, 3), 90, np.uint8)] * 12,
        [frame / 25 for frame in range(12)],
        samples=np.zeros((1, 8000), np.float32),
        sample_rate_hz=16_000,
    )
    heart = _Heart()
    blocks = [
        make_rows(size, clip_id=f"a/b_track{number}", first_frame=first)
        for number, first, size in ((1, 0, 8), (1, 8, 4), (2, 0, 12))
    ]
    records = predict(replace(task, forms=frozenset({"elan", "praat", "overlay"})), blocks, heart)
    assert [record.clip_id for record in records] == ["a/b_track1", "a/b_track2"]
    assert {record.source for record in records} == {"a/b"}
    assert {name for record in records for name in record.files} == files(task)
    endings = (".csv", ".eaf", ".elan.tsv", "_tsconf.xml", ".overlay.mp4")
    praat = (".TextGrid", ".valence.RealTier", ".arousal.RealTier")
    assert files(task) == {f"a%2Fb_track{number}{end}" for number in (1, 2) for end in (*endings, *praat)}
    assert [record.num_frames for record in records] == [12, 12]
    assert heart.expected == [12]


def test_files_of_tracks_do_not_stay_open(
    task: PredictionTask, predict: Predict, make_rows: MakeRows
) -> None:
    num_open = []

    def blocks() -> Iterator[PredictedRows]:
        for number in range(1, 6):
            yield make_rows(9, clip_id=f"a/b_track{number}")
            num_open.append(len(os.listdir("/proc/self/fd")))

    records = predict(replace(task, forms=frozenset({"elan", "praat"})), blocks())
    assert len(records) == 5
    assert max(num_open) == num_open[0]
    assert len(files(task)) == 5 * 7


@pytest.mark.parametrize("after", [0, 1, 2])
def test_what_fails_leaves_no_file(
    task: PredictionTask, predict: Predict, make_rows: MakeRows, after: int
) -> None:
    blocks = [make_rows(9, clip_id="a/b_track1"), make_rows(9, clip_id="a/b_track2")][:after]
    task = replace(task, forms=frozenset({"elan", "praat"}))
    (record,) = predict(task, [*blocks, MediaError("frame 18 is\ndamaged")])
    assert (record.clip_id, record.status, record.file) == ("a/b", "failed", None)
    assert record.error == "MediaError: frame 18 is damaged"
    assert record.failed_stage == "rows"
    assert files(task) == set()


def test_no_track(task: PredictionTask, predict: Predict) -> None:
    (record,) = predict(task, [])
    assert record.status == "failed"
    assert "no face stays long enough for a track (extract.faces.min_track_s)" in str(record.error)


def test_a_folder_that_cannot_be_written_ends_the_run(
    task: PredictionTask, predict: Predict, make_rows: MakeRows
) -> None:
    task.folder.parent.joinpath("out").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write into .*out .*choose another --out"):
        predict(task, [make_rows(9, clip_id="a/b")])
    full = replace(task, folder=task.folder.parent / "full")
    full.folder.mkdir()
    (full.folder / "a%2Fb.csv.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        predict(full, [make_rows(9, clip_id="a/b")])
