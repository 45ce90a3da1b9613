"""`tagf evaluate`: which options reach the evaluation, and the table that is printed."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli.evaluate import command
from pipeline.cli.metrics_table import print_metrics
from tagf_head.evaluation.smoothing import Smoothing

TARGET = {"ccc": 0.5124, "pcc": 0.5301, "rmse": 0.31, "mae": 0.25, "sagr": 0.7}
CLIP_MEAN = {"ccc": 0.4, "pcc": 0.45, "rmse": 0.2, "mae": 0.15, "sagr": 0.65, "num_clips": 3}
METRICS: dict[str, Any] = {
    "valence": TARGET | {"ccc_low": 0.41, "ccc_high": 0.598},
    "arousal": TARGET | {"ccc": -0.02, "ccc_low": -0.1, "ccc_high": 0.07},
    "mean_ccc": 0.2462,
    "mean_ccc_low": 0.2,
    "mean_ccc_high": 0.3,
    "interval": {"confidence": 0.95, "unit": "media file", "num_units": 160, "num_resamples": 2000},
    "clip_mean": {"valence": CLIP_MEAN, "arousal": CLIP_MEAN},
    "gates": {
        "visual": {"entropy": 1.05, "max_entropy": 1.0986, "mean_weight": {"H0": 0.2, "H1": 0.3, "H2": 0.5}}
    },
    "split": "test",
    "num_clips": 162,
    "num_frames": 500123,
    "num_labelled_frames": 498000,
    "head": "tagf",
    "ensemble_size": 1,
    "random_weights": False,
}


def printed(capsys: pytest.CaptureFixture[str], **changes: object) -> list[str]:
    print_metrics(copy.deepcopy(METRICS) | changes)
    return capsys.readouterr().out.splitlines()


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys)
    assert lines[0] == "tagf on test: 162 clips, 500123 frames, 498000 with labels"
    header = next(line for line in lines if "CCC" in line)
    assert header.split() == ["CCC", "95%", "interval", "PCC", "RMSE", "MAE", "SAGR"]
    rows = {line.strip().split("  ")[0]: line for line in lines}
    assert rows["valence"].split() == [
        *("valence", "0.512", "[", "0.410,", "0.598]", "0.530", "0.310", "0.250", "0.700")
    ]
    assert "-0.020" in rows["arousal"]
    assert "[-0.100,  0.070]" in rows["arousal"]
    # Digits of a column stand below each other, whatever the sign.
    assert rows["valence"].index("0.512") == rows["arousal"].index("0.020")
    assert rows["mean"].split() == ["mean", "0.246", "[", "0.200,", "0.300]"]
    assert rows["valence, mean over clips"].split()[-5:] == ["0.400", "0.450", "0.200", "0.150", "0.650"]
    assert "Intervals: 2000 bootstrap resamples of 160 media files." in lines
    assert (
        "Gate visual: mean weights H0 0.200, H1 0.300, H2 0.500; entropy 1.050 of at most 1.099 nats."
        in lines
    )
    assert max(map(len, lines)) <= 120
    assert not any("random weights" in line for line in lines)


def test_what_is_not_defined_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    undefined = dict.fromkeys(METRICS["valence"]) | {"rmse": 0.3, "mae": 0.2, "sagr": 0.5}
    lines = printed(capsys, valence=undefined, mean_ccc=None, mean_ccc_low=None, mean_ccc_high=None)
    valence = next(line for line in lines if line.split()[:1] == ["valence"])
    assert valence.split() == ["valence", "n/a", "n/a", "n/a", "0.300", "0.200", "0.500"]
    mean = next(line for line in lines if line.split()[:1] == ["mean"])
    assert mean.split() == ["mean", "n/a", "n/a"]


def test_ensembles_and_random_weights_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ensemble_size=6, random_weights=True, gates={})
    assert lines[0].startswith("tagf, ensemble of 6 on test")
    assert lines[-1].startswith("The frozen backbones have random weights")
    assert not any(line.startswith("Gate") for line in lines)


def test_calibration_and_reliability(capsys: pytest.CaptureFixture[str]) -> None:
    target = {"nll": 0.1234, "constant_nll": 0.2, "mean_sd": 0.25, "coverage": {"0.90": 0.8765}}
    worth = {"mean_absolute_change": 0.05, "ccc_without": 0.3}
    lines = printed(
        capsys,
        uncertainty={"source": "both"},
        calibration={"valence": target, "arousal": target | {"nll": None}},
        reliability={
            "visual": {"valence": worth, "arousal": worth | {"ccc_without": None}},
            "audio": {"valence": worth, "arousal": worth},
            "visual_share": 0.625,
        },
    )
    assert lines[-5:] == [
        "Deviation of valence, predicted and of the ensemble: mean 0.250; 87.6% within 90 %; "
        "NLL 0.123 (constant 0.200).",
        "Deviation of arousal, predicted and of the ensemble: mean 0.250; 87.6% within 90 %; "
        "NLL n/a (constant 0.200).",
        "Without visual: valence moves by 0.050 to CCC 0.300, arousal moves by 0.050 to CCC n/a.",
        "Without audio: valence moves by 0.050 to CCC 0.300, arousal moves by 0.050 to CCC 0.300.",
        "Share of the visual stream in both changes: 0.625.",
    ]
    assert max(map(len, lines)) <= 120
    alone = printed(
        capsys, uncertainty={"source": "ensemble"}, calibration={"valence": target, "arousal": target}
    )
    assert alone[-2].startswith("Deviation of arousal, of the ensemble: ")
    assert alone[-1].startswith("Heads that agree can all be wrong")
    assert max(map(len, alone)) <= 120


def test_smoothing(capsys: pytest.CaptureFixture[str]) -> None:
    without = {"valence": TARGET | {"ccc": 0.4}, "arousal": TARGET | {"ccc": None}, "mean_ccc": None}
    lines = printed(capsys, smoothing={"kind": "median", "seconds": 0.5, "without": without})
    rows = {line.strip().split("  ")[0]: line.split() for line in lines}
    assert rows["valence, not smoothed"][3:] == ["0.400", "0.530", "0.310", "0.250", "0.700"]
    assert rows["arousal, not smoothed"][3] == "n/a"
    assert rows["mean, not smoothed"][3:] == ["n/a"]
    assert rows["valence"][1] == "0.512"
    assert any(line.startswith("Smoothed: median over 0.5 s") for line in lines)
    assert not any("moothed" in line for line in printed(capsys))


def test_options_reach_the_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def evaluate_head(*arguments: Any, **options: Any) -> SimpleNamespace:
        seen.append((arguments, options))
        return SimpleNamespace(metrics=METRICS)

    monkeypatch.setattr("tagf_head.evaluation.evaluate.evaluate_head", evaluate_head)
    (tmp_path / "params.yaml").write_text("evaluate:\n  split: validation\n  batch_size: 7\n")
    words = "--features f.zarr --annotations labels --checkpoint a --checkpoint b --out m.json"
    arguments = [*words.split(), "--params", str(tmp_path / "params.yaml")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "tagf on test" in result.output
    files = "--predictions p --traces t --clip-metrics c --gates g --calibration d --reliability r"
    others = ["--split", "fold", "--device", "cpu", "--smooth", "exponential:0.3"]
    CliRunner().invoke(command, [*arguments, *files.split(), *others], catch_exceptions=False)
    positional, options = zip(*seen, strict=True)
    places = (("f.zarr",), Path("labels"), (Path("a"), Path("b")), Path("m.json"))
    assert positional == ((*places, None, None), (*places, Path("p"), Path("t")))
    assert [each["config"].split for each in options] == ["validation", "fold"]
    assert [each["config"].batch_size for each in options] == [7, 7]
    assert [each["clip_metrics"] for each in options] == [None, Path("c")]
    assert [each["gates"] for each in options] == [None, Path("g")]
    assert [each["calibration"] for each in options] == [None, Path("d")]
    assert [each["reliability"] for each in options] == [None, Path("r")]
    assert [each["device"] for each in options] == ["auto", "cpu"]
    assert [each["smoothing"] for each in options] == [None, Smoothing(kind="exponential", seconds=0.3)]
