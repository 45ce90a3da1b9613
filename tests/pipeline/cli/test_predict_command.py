"""`tagf predict` as users call it: media to tables, by the very values that `Predictor` gives."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from pipeline import Predictor
from pipeline.cli import main
from pipeline.cli.predict import command
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, VisualConfig
from pipeline.feature_spec import feature_spec
from pipeline.prediction import prediction_command
from tagf_head.checkpoint import CheckpointInfo, save_checkpoint
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.evaluation.smoothing import Smoothing
from tagf_head.heads import build_head

TINY = Path(__file__).parents[1]  # has the tiny backbones
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("center",)),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    faces=FaceConfig(detect_every=20),
    batch_size=16,
)
HEAD = HeadConfig(
    name="tagf",
    visual_features=6,
    audio_features=8,
    visual_channels=(8, 8),
    audio_channels=(6,),
    kernel_size=3,
    attended_features=4,
    regressor_features=8,
)
WORDS = ["--checkpoint", "run", "--out", "out", "--device", "cpu", "--workers", "1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which the tiny backbones can be imported, here and in child processes."""
    monkeypatch.syspath_prepend(str(TINY))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Path:
    """A run's folder with a head that was not trained."""
    info = CheckpointInfo(
        train=TrainConfig(head=HEAD, window=20, stride=12, seed=0),
        spec=feature_spec(CONFIG),
        features_digest="0" * 64,
        annotations_digest="0" * 64,
        versions={},
        key="0" * 64,
        best_epoch=1,
        validation_ccc={"valence": 0.0, "arousal": 0.0, "mean": 0.0},
        trained_on=(),
    )
    torch.manual_seed(0)
    save_checkpoint(place / "run" / "best.safetensors", build_head(HEAD).state_dict(), info)
    return place / "run"


def call(*words: str) -> int:
    """`tagf` in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tagf", *words])
        try:
            main()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else -1
    return 0


@pytest.mark.usefixtures("run")
def test_media_to_tables(
    place: Path,
    draw_face: Callable[..., Any],
    write_media: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn, _ = draw_face((120, 160), (60, 80), 100.0)
    sound = 0.1 * np.random.default_rng(0).standard_normal((1, 24_000)).astype(np.float32)
    (place / "videos").mkdir()
    for name, num_frames in (("good", 33), ("short one", 5)):
        write_media(
            place / "videos" / f"{name}.mkv",
            [np.roll(drawn, frame, axis=1) for frame in range(num_frames)],
            [frame / 25 for frame in range(num_frames)],
            samples=sound,
            sample_rate_hz=16_000,
        )
    (place / "videos" / "broken.mkv").write_bytes(b"no video")
    words = ["predict", "videos", *WORDS, "--columns", "faces,gates", "--smooth", "median:0.2"]
    assert call(*words) == 1
    *lines, last = capsys.readouterr().err.splitlines()
    assert last.startswith(
        "tagf: error: 1 of 3 clips failed (allowed: 0), first 'broken' at decode: MediaError"
    )
    assert last.endswith("the other 2 are in out, and out/prediction.json names each failure")
    assert sum(line.startswith("predict: clip 'broken' failed at decode: MediaError") for line in lines) == 1
    assert any(line.startswith("predict: 3/3 clips, 1 failed, ") for line in lines)
    assert not any("random weights" in line for line in lines)
    predictor = Predictor.from_checkpoint(
        "run", device="cpu", smoothing=Smoothing(kind="median", seconds=0.2)
    )
    for clip, name in {"good": "good.csv", "short one": "short%20one.csv"}.items():
        expected = predictor.predict(place / "videos" / f"{clip}.mkv", columns=["faces", "gates"])
        found = pd.read_csv(place / "out" / name, dtype=dict(expected.dtypes))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert (found.clip_id == clip).all()
        assert found.face_found.any()
    assert {path.name for path in (place / "out").iterdir()} == {
        "good.csv",
        "short%20one.csv",
        "prediction.json",
    }
    record = json.loads((place / "out" / "prediction.json").read_text())
    assert record["columns"] == list(expected)
    assert record["smoothing"] == {"kind": "median", "seconds": 0.2}
    assert record["checkpoints"][0]["head"] == "tagf"
    assert record["extract"]["visual.backbone"] == "tiny_backbones:TinyFaces"
    # The broken file taken away: the others are kept, and no process has to start.
    (place / "videos" / "broken.mkv").unlink()
    before = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.csv")}
    assert call(*words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.csv")}


def given(monkeypatch: pytest.MonkeyPatch, *words: str) -> prediction_command.PredictionOptions:
    """What a command asks for."""
    seen = []

    class _Nothing:
        clips: dict[str, Any] = {}  # noqa: RUF012

    def predict_clips(options: prediction_command.PredictionOptions) -> type[_Nothing]:
        seen.append(options)
        return _Nothing

    monkeypatch.setattr(prediction_command, "predict_clips", predict_clips)
    result = CliRunner().invoke(
        command, [*words, "--checkpoint", "run", "--out", "out"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return seen[0]


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = given(monkeypatch, "a.mp4", "b")
    assert plain.media == (Path("a.mp4"), Path("b"))
    assert (plain.table_format, plain.forms, plain.smoothing, plain.subject) == (
        "csv",
        frozenset(),
        None,
        None,
    )
    assert (plain.device, plain.workers, plain.max_failures, plain.replace) == ("auto", None, 0, False)
    words = (
        "a.mp4 --format elan --overlay --subject all --columns gates --columns openface --replace "
        "--weights visual=w.pth --params p.yaml --device cuda:0,cuda:1 --workers 3 --max-failures 2 "
        "--layout manifest --smooth exponential:2 --checkpoint owner/name"
    )
    other = given(monkeypatch, *words.split())
    assert other.forms == {"elan", "overlay"}
    assert (other.columns.names, other.columns.groups) == ("openface", {"gates"})
    assert other.weights == (("visual", "w.pth"),)
    assert other.smoothing == Smoothing(kind="exponential", seconds=2)
    assert other.checkpoints == ("owner/name", "run")
    assert (other.subject, other.layout, other.replace) == ("all", "manifest", True)
    assert (other.device, other.workers, other.max_failures) == ("cuda:0,cuda:1", 3, 2)
    assert given(monkeypatch, "a.mp4", "--format", "parquet").table_format == "parquet"
    assert given(monkeypatch, "--features", "s3://bucket/f.zarr").features == ("s3://bucket/f.zarr",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "expected MEDIA or --features, got neither"),
        ("a.mp4 --features f.zarr", "got both"),
        ("a.mp4 --format abaw", "--format abaw goes with --template"),
        ("a.mp4 --template t.txt", "--format abaw goes with --template"),
        ("--features f.zarr --overlay", "--overlay goes with MEDIA, not with --features"),
        ("--features f.zarr --weights visual=w.pth", "--weights goes with MEDIA"),
        ("a.mp4 --weights w.pth", "expected STREAM=FILE, like visual=ir50.pth, got 'w.pth'"),
        ("https://host/a.mp4", "is a URL"),
    ],
)
def test_wrong_usage(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("predict", *words.split(), "--checkpoint", "run", "--out", "out") == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--columns deviation",
            r"columns 'deviation': run/best.safetensors says none; give .* --uncertainty",
        ),
        ("--columns faces,gate", r"columns 'gate': .* did you mean 'gates'\?"),
        ("--smooth mean:1", "smoothing 'mean:1': expected KIND:SECONDS"),
        ("--weights text=w.pth", "weights of stream 'text'"),
        ("--device tpu", "device 'tpu' is not known"),
        ("--checkpoint nothing", "no checkpoint at nothing"),
    ],
)
def test_mistakes(place: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "a.mp4").write_bytes(b"")
    assert call("predict", "a.mp4", *WORDS, *words.split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (place / "out").exists()
