"""Charts of training, robustness and comparison hold what the files hold."""

from __future__ import annotations

import shutil

import pytest

from pipeline.report.comparison_chart import comparison_chart
from pipeline.report.errors import ReportError
from pipeline.report.robustness_chart import robustness_chart
from pipeline.report.training_curves import training_curves


def test_training_curves_have_a_gap_where_a_score_is_not_defined(run):
    (curve,) = training_curves(run.folder)
    assert curve["name"] == ""
    assert curve["columns"]["epoch"] == [1, 2, 3]
    assert curve["columns"]["validation_ccc_mean"] == [0.15, 0.35, None]


def test_folds_have_a_curve_each(run, tmp_path):
    for fold in (1, 0):
        (tmp_path / f"fold-{fold}").mkdir()
        shutil.copy(run.folder / "training_log.csv", tmp_path / f"fold-{fold}")
    assert [curve["name"] for curve in training_curves(tmp_path)] == ["fold-0", "fold-1"]


def test_robustness_averages_checkpoints_and_sorts_levels(tmp_path):
    lines = ["head,checkpoint,family,modality,level,unit,ccc_valence,ccc_arousal,ccc_mean"]
    for checkpoint, shift in (("a", 0.0), ("b", 0.2)):
        lines.append(f"tagf,{checkpoint},clean,,,,{0.8 + shift},0.5,")
        for level in (20, -5, 5):
            lines.append(f"tagf,{checkpoint},noise,audio,{level},dB,{0.3 + level / 100 + shift},0.5,0.1")
    (tmp_path / "robustness.csv").write_text("\n".join(lines) + "\n")
    chart = robustness_chart(tmp_path)
    assert chart["num_checkpoints"] == 2
    (panel,) = chart["panels"]
    assert (panel["title"], panel["levels"], panel["reversed"]) == (
        "Noise on features, sound",
        [-5, 5, 20],
        True,
    )
    curve = panel["curves"]["tagf"]["valence"]
    assert curve["mean"] == pytest.approx([0.35, 0.45, 0.6])
    assert curve["sd"] == pytest.approx([0.2 / 2**0.5] * 3)
    assert curve["clean"] == pytest.approx(0.9)
    assert panel["curves"]["tagf"]["mean"]["clean"] is None


def test_comparison_has_heads_intervals_differences_and_seeds(tmp_path):
    names = [
        f"{score}_ccc{tail}" for score in ("valence", "arousal", "mean") for tail in ("", "_low", "_high")
    ]
    header = ["head", "split", "seeds", "reference", *names, "mean_ccc_difference"]
    rows = [
        ["tagf", "test", "0 1", "concat", *[str(i / 10) for i in range(9)], "0.05"],
        ["concat", "test", "0 1", "", *[str(i / 20) for i in range(9)], ""],
    ]
    (tmp_path / "comparison.csv").write_text("\n".join(",".join(line) for line in (header, *rows)) + "\n")
    trials = "head,seed,valence_ccc,arousal_ccc,mean_ccc\ntagf,0,0.1,0.2,0.15\ntagf,1,0.3,,\n"
    (tmp_path / "trials.csv").write_text(trials)
    chart = comparison_chart(tmp_path)
    assert chart["reference"] == "concat"
    mean = chart["heads"][0]["scores"]["mean"]
    assert (mean["ccc"], mean["low"], mean["high"], mean["difference"]) == (0.6, 0.7, 0.8, 0.05)
    assert mean["seeds"] == [0.15, None]
    assert chart["heads"][1]["scores"]["mean"]["difference"] is None


def test_there_may_be_neither(tmp_path):
    assert robustness_chart(tmp_path) is None
    assert comparison_chart(tmp_path) is None
    assert training_curves(tmp_path) == []


def test_a_file_without_its_columns_is_named(tmp_path):
    (tmp_path / "robustness.csv").write_text("head,level\n")
    with pytest.raises(ReportError, match=r"robustness\.csv.*no family, modality.*tagf robustness"):
        robustness_chart(tmp_path)
