"""Runs over clips: what fails fails alone, what is done is kept, and nothing that is not ours is touched."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipeline.clip_source import ClipSource
from pipeline.config import LimitsConfig
from pipeline.errors import ExtractionError, ManifestError
from pipeline.prediction import prediction_workers
from pipeline.prediction.folder_lock import alone_in
from pipeline.prediction.prediction_inputs import media_inputs, media_state
from pipeline.prediction.prediction_record import ClipRecord, PredictionRecord, PredictionSettings
from pipeline.prediction.prediction_run import PredictionRun
from pipeline.prediction.prediction_table import PredictionTable
from pipeline.prediction.prediction_task import PredictionTask, PredictorSettings

SETTINGS = PredictionSettings(
    tagf="1",
    checkpoints=({"path": "best.safetensors", "sha256": "ab", "head": "tagf"},),
    random_weights=False,
    extract={"faces.subject": "largest", "visual.weights": "random:0"},
    smoothing=None,
    device="cpu",
    columns=("clip_id", "frame", "time_s", "valence", "arousal", "face_found"),
    file_format="csv",
    versions={"python": "3"},
)
PREDICTOR = PredictorSettings(
    checkpoints=(),
    digests=(),
    device="cpu",
    params=None,
    weights=(),
    subject=None,
    from_store=False,
    smoothing=None,
)


class _OwnProcess:
    """In place of a child process, whose start takes half a second: the same work, in this one."""

    def __init__(self, *_: object) -> None:
        self._predictor = import_module("fake_prediction_process").FakePredictor()

    def run(
        self, task: PredictionTask, _: LimitsConfig, on_beat: Callable[[int], None], on_length: object
    ) -> tuple[ClipRecord, ...]:
        heart: Any = SimpleNamespace(beat=on_beat, expect=on_length)
        records: tuple[ClipRecord, ...] = self._predictor.predict(task, heart)
        return records

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def child(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No networks are needed; tests that use `processes` have child processes."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(prediction_workers, "_CHILD", "fake_prediction_process")
    if "processes" not in request.fixturenames:
        monkeypatch.setattr(prediction_workers, "ClipProcess", _OwnProcess)


@pytest.fixture
def processes() -> None:
    """Asks for child processes."""


Predict = Callable[..., PredictionRecord]


@pytest.fixture
def media(tmp_path: Path) -> Callable[..., list[ClipSource]]:
    def make(*names: str) -> list[ClipSource]:
        clips = []
        for name in names:
            path = tmp_path / f"{name}.mp4"
            if not path.exists():
                path.write_bytes(b"media")
            clips.append(ClipSource(clip_id=name, media=path))
        return clips

    return make


@pytest.fixture
def predict(tmp_path: Path, media: Callable[..., list[ClipSource]]) -> Predict:
    def run(
        *clips: str | ClipSource, replace_all: bool = False, workers: int = 1, **changes: Any
    ) -> PredictionRecord:
        prediction = PredictionRun(
            folder=tmp_path / "out",
            settings=replace(SETTINGS, **changes),
            predictor=PREDICTOR,
            devices=("cpu", "cuda:1"),
            limits=LimitsConfig(),
            table=PredictionTable(),
            table_format=changes.get("file_format", "csv"),
            workers=workers,
            progress=True,
        )
        sources = [clip if isinstance(clip, ClipSource) else media(clip)[0] for clip in clips]
        return prediction.predict(media_inputs(sources), replace_all=replace_all)

    return run


def files(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.usefixtures("processes")
def test_clips_in_trouble_fail_alone(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = predict("a", "crashes", "fails", "z", workers=2)
    assert files(tmp_path) == {"a.csv", "z.csv", "prediction.json"}
    assert len(pd.read_csv(tmp_path / "out" / "a.csv")) == 20
    assert list(record.clips) == ["a", "crashes", "fails", "z"]
    errors = {clip.clip_id: clip.error for clip in record.clips.values() if clip.status == "failed"}
    assert set(errors) == {"crashes", "fails"}
    assert "died of SIGSEGV" in errors["crashes"]
    lines = capsys.readouterr().err.splitlines()
    assert "predict: clip 'fails' failed at decode: no video" in lines
    assert any(line.startswith("predict: 4/4 clips, 2 failed, ") for line in lines)
    content = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert content["format"] == "tagf-prediction-1"
    assert content["clips"][0] == {
        **{"clip_id": "a", "source": "a", "status": "predicted", "file": "a.csv", "others": []},
        **{"media": str(tmp_path / "a.mp4"), "error": None, "failed_stage": None},
        **{"num_frames": 20, "num_face_frames": 20, "seconds": 0.0},
        "source_state": record.clips["a"].source_state,
    }
    assert content["unfinished"] == {}
    assert PredictionRecord.read(tmp_path / "out") == record


def test_what_is_done_is_kept(predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict("a", "b", "fails")
    monkeypatch.setenv("TEST_VALUE", "-0.5")
    (tmp_path / "b.mp4").write_bytes(b"other media")
    record = predict("a", "b", "c", "fails")
    found = {name: pd.read_csv(tmp_path / "out" / f"{name}.csv").valence.iloc[0] for name in ("a", "b", "c")}
    assert found == {"a": 0.5, "b": -0.5, "c": -0.5}
    assert record.clips["fails"].status == "failed"
    # Another run adds to the folder; a table that is gone is made again.
    (tmp_path / "out" / "a.csv").unlink()
    assert list(predict("a").clips) == ["b", "c", "fails", "a"]
    assert pd.read_csv(tmp_path / "out" / "a.csv").valence.iloc[0] == -0.5


def test_other_settings_take_another_folder_or_replace(predict: Predict, tmp_path: Path) -> None:
    predict("a", "b")
    with pytest.raises(
        ExtractionError,
        match=r"out: holds predictions of 2 clips by other settings \(now "
        r"extract visual.weights 'random:1', not 'random:0'\); .* --replace",
    ):
        predict("a", extract={"faces.subject": "largest", "visual.weights": "random:1"})
    assert files(tmp_path) == {"a.csv", "b.csv", "prediction.json"}
    predict("a", file_format="parquet", replace_all=True)
    assert files(tmp_path) == {"a.parquet", "prediction.json"}


def test_another_face_or_file_under_the_same_name(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict("a")
    elsewhere = tmp_path / "elsewhere" / "a.mp4"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"another")
    with pytest.raises(ExtractionError, match=r"clip id 'a': .*out has the prediction of '.*a\.mp4'"):
        predict(ClipSource(clip_id="a", media=elsewhere))
    monkeypatch.setenv("TEST_VALUE", "-0.5")
    predict(ClipSource(clip_id="a", media=tmp_path / "a.mp4", face="left"))
    assert pd.read_csv(tmp_path / "out" / "a.csv").valence.iloc[0] == -0.5
    # A file that was moved is no other.
    (tmp_path / "a.mp4").rename(elsewhere)
    assert predict(ClipSource(clip_id="a", media=elsewhere)).clips["a"].media == str(elsewhere)


def test_state_of_media(tmp_path: Path) -> None:
    def state(**facts: Any) -> str:
        return media_state(ClipSource(clip_id="a", media=tmp_path / "a.mp4", **facts))

    faces = tmp_path / "faces"
    states = [state(), state(face="left"), state(face="right"), state(faces=faces)]  # no such folder yet
    for content in (b"1", b"22"):
        faces.mkdir(exist_ok=True)
        (faces / "00001.jpg").write_bytes(content)
        states.append(state(faces=faces))
    (tmp_path / "a.mp4").write_bytes(b"media")
    states.append(state())
    assert len(set(states)) == len(states) == 7


def test_one_run_at_a_time(predict: Predict, tmp_path: Path) -> None:
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(ExtractionError, match="out: another 'tagf predict' is at work there; wait"),
    ):
        predict("a")
    assert not (tmp_path / "out").exists()


def test_each_worker_keeps_to_one_device(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    both_at_work = threading.Barrier(2, timeout=60)
    work = _OwnProcess.run

    def run(process: _OwnProcess, task: PredictionTask, *rest: Any) -> tuple[ClipRecord, ...]:
        devices.append(task.predictor.device)
        both_at_work.wait()
        return work(process, task, *rest)

    monkeypatch.setattr(_OwnProcess, "run", run)
    predict("a", "b", workers=2)
    assert sorted(devices) == ["cpu", "cuda:1"]


def test_interrupted_when_a_clip_is_done(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PredictionRun, "_remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict("a")
    assert files(tmp_path) == {"a.csv", "prediction.json"}
    predict("a")  # not taken for a file of someone else's


def test_where_a_checkpoint_lies_is_no_difference(predict: Predict) -> None:
    predict("a")
    moved = ({"path": "elsewhere/best.safetensors", "sha256": "ab", "head": "tagf"},)
    predict("a", checkpoints=moved)
    with pytest.raises(ExtractionError, match="checkpoints cd, not ab"):
        predict("a", checkpoints=({**moved[0], "sha256": "cd"},))


def test_files_of_others_are_not_touched(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.csv").write_text("labels of years\n")
    with pytest.raises(ExtractionError, match=r"b\.csv is there already, and prediction\.json does not name"):
        predict("a", "b")
    assert files(tmp_path) == {"b.csv"}
    predict("a")
    assert (tmp_path / "out" / "b.csv").read_text() == "labels of years\n"


def test_what_a_killed_run_left_is_swept(predict: Predict, tmp_path: Path) -> None:
    record = predict("a")
    out = tmp_path / "out"
    record.unfinished = {"b": "b"}
    record.write(out)
    (out / "b.csv").write_text("complete, but its run died before it said so\n")
    (out / "b.csv.partial").write_text("half\n")
    (out / ".b.scratch").mkdir()
    predict("c")
    assert files(tmp_path) == {"a.csv", "c.csv", "prediction.json"}


def test_tracks_that_are_no_more(predict: Predict, tmp_path: Path) -> None:
    subject = {"extract": {"faces.subject": "all"}}
    record = predict("tracks3", **subject)
    assert list(record.clips) == ["tracks3_track1", "tracks3_track2", "tracks3_track3"]
    assert {clip.source for clip in record.clips.values()} == {"tracks3"}
    (tmp_path / "out" / "tracks3_track2.csv").unlink()
    assert files(tmp_path) == {"tracks3_track1.csv", "tracks3_track3.csv", "prediction.json"}
    assert len(predict("tracks3", **subject).clips) == 3  # all of them again
    assert len(files(tmp_path)) == 4
    with pytest.raises(ManifestError, match="the second is the name of a track of the first"):
        predict("b", "b_track1", **subject)
    with pytest.raises(ManifestError, match="the second is the name of a track of the first"):
        predict("tracks3_track1", **subject)
    # A clip that says whose face it is has a table of its own name.
    (tmp_path / "out" / "b.csv").write_text("labels of years\n")
    with pytest.raises(ExtractionError, match=r"b\.csv is there already"):
        predict("b", **subject)


def test_media_that_change_meanwhile(predict: Predict, tmp_path: Path) -> None:
    record = predict("changes")
    assert "changes.mp4' was written to while it was read" in str(record.clips["changes"].error)
    assert files(tmp_path) == {"prediction.json"}


@pytest.mark.usefixtures("processes")
def test_what_no_clip_survives_ends_the_run(predict: Predict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the checkpoint is no checkpoint"):
        predict("fatal", "a", "b")
    record = PredictionRecord.read(tmp_path / "out")
    assert record is not None
    assert "fatal" in record.unfinished


@pytest.mark.parametrize("text", ["no json", "[]", '{"format": "tagf-prediction-2"}', '{"clips": []}'])
def test_a_record_that_is_none(tmp_path: Path, predict: Predict, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prediction.json").write_text(text)
    with pytest.raises(ExtractionError, match=r"prediction\.json.*choose another --out, or remove that file"):
        predict("a")


@pytest.mark.parametrize("name", ["../b", "/b", ""])
def test_a_record_whose_names_lead_elsewhere(tmp_path: Path, name: str) -> None:
    clip = ClipRecord(clip_id="a", source="a", source_state="", status="predicted", file=name)
    for record in (
        PredictionRecord(settings=SETTINGS, unfinished={"a": name}),
        PredictionRecord(settings=SETTINGS, clips={"a": clip}),
    ):
        record.write(tmp_path)
        with pytest.raises(ExtractionError, match="is no name of a file"):
            PredictionRecord.read(tmp_path)
