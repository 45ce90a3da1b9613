"""A comparison as a whole, on the tiny corpus, in this process."""

from __future__ import annotations

import csv
import errno
import json
import re
import shutil
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tagf_head.comparison import trial as trial_module
from tagf_head.comparison.compare import Comparison, compare_heads
from tagf_head.comparison.config import CompareConfig
from tagf_head.comparison.entry import parse_entries
from tagf_head.comparison.folder_lock import sole_writer
from tagf_head.config import EvaluateConfig
from tagf_head.errors import HeadError, TrainingError, UnknownHeadError
from tagf_head.evaluation.predictions import read_predictions

OWN_HEAD = '''
from torch import nn
from tagf_head.heads import Head, HeadOutput


class MeanHead(Head):
    """Both streams through one linear map."""

    def __init__(self, config):
        super().__init__()
        self.num_features = config.visual_features + config.audio_features
        self.map = nn.Linear(self.num_features, config.num_outputs)

    def estimate(self, visual, audio, frame_mask):
        import torch
        rows = torch.cat([visual, audio], dim=-1).to(self.map.weight.dtype)
        return HeadOutput(prediction=self.map(rows).tanh(), features=rows)
'''


@pytest.fixture
def compare(corpus, training, tmp_path):
    """Compares in the test's folder; trains for two epochs."""

    def run(*heads: str, seeds: tuple[int, ...] = (0, 1), **options: Any) -> tuple[Comparison, list[str]]:
        lines: list[str] = []
        config = CompareConfig(
            heads=heads,
            seeds=seeds,
            reference=options.pop("reference", None),
            folds=options.pop("folds", False),
        )
        found = compare_heads(
            options.pop("features", (corpus.store,)),
            options.pop("annotations", corpus.annotations),
            tmp_path / "out",
            config,
            train=options.pop("train", replace(training, max_epochs=2)),
            evaluate=options.pop("evaluate", EvaluateConfig()),
            jobs=1,
            device="cpu",
            retrain=options.pop("retrain", False),
            work_dir=tmp_path / "work",
            progress=lines.append,
            **options,
        )
        return found, lines

    return run


def plain_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_table_of_real_trainings(compare, corpus, tmp_path, monkeypatch) -> None:
    """Two heads of ours and one of somebody's own, written to a folder, from training to the table."""
    (tmp_path / "somebodys_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    own = "somebodys_head:MeanHead"
    found, lines = compare("tagf:causal=true,num_steps=1", "concat", own)
    sys.modules.pop("somebodys_head")
    found.require_all()
    table = found.table
    assert table is not None
    assert [row.entry.name for row in table.rows] == ["tagf:causal=true,num_steps=1", "concat", own]
    assert table.reference == "concat"
    assert len(lines) == 8
    assert lines[1].startswith("tagf:causal=true,num_steps=1, seed 0: trained in ")
    assert re.search(r"; 1 of 6 trials, about \d+ s left$", lines[1])
    assert lines[6].endswith("; 6 of 6 trials")
    for row in table.rows:
        for seed, value in zip(row.seeds, row.ccc["arousal"].values, strict=True):
            folder = tmp_path / "out" / row.entry.folder / f"seed-{seed}"
            said = read_predictions(folder / "predictions.parquet")
            label = np.concatenate([corpus.labels[clip] for clip in said.clip_ids])
            valid = (label != -5).all(axis=1)
            expected = plain_ccc(said.values[valid, 1].astype(float), label[valid, 1])
            assert value == pytest.approx(expected, abs=1e-6)
            metrics = json.loads((folder / "metrics.json").read_text())
            assert metrics["seed"] == seed
            assert value == pytest.approx(metrics["arousal"]["ccc"], abs=1e-6)
        assert row.interval.mean.estimate == pytest.approx(np.mean(row.ccc["mean"].values), abs=1e-12)
        assert row.cost is not None
    own_row = table.rows[2]
    assert own_row.entry.folder == "somebodys_head-MeanHead"
    assert own_row.cost.num_parameters == (16 + 8 + 1) * 2
    assert own_row.cost.multiply_adds_per_frame == (16 + 8) * 2
    assert own_row.difference.mean.estimate == pytest.approx(
        own_row.interval.mean.estimate - table.rows[1].interval.mean.estimate, abs=1e-12
    )
    assert table.rows[1].difference is None
    names = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert names == {f"comparison.{ending}" for ending in ("md", "csv", "tex", "svg", "png")} | {"trials.csv"}
    (first, *_) = csv.DictReader((tmp_path / "out" / "trials.csv").open())
    assert float(first["arousal_ccc"]) == table.rows[0].ccc["arousal"].values[0]
    assert (int(first["best_epoch"]) in (1, 2), first["epochs"]) == (True, "2")
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "out" / "comparison.svg").read_text()
    assert own in svg
    assert "http" not in svg.replace("http://www.w3.org", "")
    rows = [*csv.DictReader((tmp_path / "out" / "comparison.csv").open())]
    assert [row["head"] for row in rows] == [row.entry.name for row in table.rows]
    assert float(rows[2]["mean_ccc"]) == own_row.interval.mean.estimate
    assert "random weights" in (tmp_path / "out" / "comparison.md").read_text()


def test_finished_trials_are_kept_and_others_added(compare, tmp_path) -> None:
    compare("concat", seeds=(0,))
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in (out / "concat").rglob("*") if path.is_file()}
    first = (out / "concat/seed-0/metrics.json").read_bytes()
    found, lines = compare("visual_only", "concat", seeds=(0, 1))
    assert [line.split(";")[0] for line in lines if "kept" in line] == ["concat, seed 0: kept as it is"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [row.seeds for row in found.table.rows] == [(0, 1), (0, 1)]
    # A damaged file of the evaluation is made anew, from the head that is there.
    (out / "concat/seed-0/metrics.json").write_text("{}")
    _, lines = compare("concat", seeds=(0,))
    assert (out / "concat/seed-0/metrics.json").read_bytes() == first
    # The table is shorter than what is there, and no head was trained.
    assert lines[1] == "concat, seed 0: evaluated again, not trained; 1 of 1 trials"
    assert lines[-1].startswith(f"{out} has 3 finished trials of other heads or seeds, not in this table")
    checkpoint = out / "concat/seed-0/best.safetensors"
    assert checkpoint.stat().st_mtime_ns == before[checkpoint]


def test_what_is_stale_is_replaced_only_where_that_is_asked_for(
    compare, write_corpus, corpus, training, tmp_path, monkeypatch
) -> None:
    compare("concat", seeds=(0,))
    config = tmp_path / "out/concat/seed-0/config.yaml"
    before = config.read_bytes()
    changed = replace(training, max_epochs=2, lr=1e-3)
    with pytest.raises(
        TrainingError,
        match=r"out: 1 trial would be trained again and replaced "
        r"\(train.lr: 0.003 there, 0.001 here\); choose another --out, or --retrain$",
    ):
        compare("concat", "visual_only", seeds=(0, 1), train=changed)
    assert config.read_bytes() == before
    assert not (tmp_path / "out/concat/seed-1").exists()
    _, lines = compare("concat", seeds=(0,), train=changed, retrain=True)
    (said,) = [line for line in lines if "train.lr: 0.003 there, 0.001 here" in line]
    assert "resume" not in said
    from_conftest = sys.modules[type(corpus).__module__]
    other = write_corpus(tmp_path / "other", spec=from_conftest.tiny_spec(**{"audio.anchor": "end"}))
    with pytest.raises(TrainingError, match=r"replaced \(config.yaml is of other features .*audio.anchor"):
        compare("concat", seeds=(0,), features=(other.store,))
    _, lines = compare("concat", seeds=(0,), features=(other.store,), retrain=True)
    (said,) = [line for line in lines if "of other features" in line]
    assert "audio.anchor" in said


def test_a_killed_trial_goes_on_unasked(compare, monkeypatch, tmp_path) -> None:
    from tagf_head.training import run as training_run

    next_epoch = training_run.TrainingRun.next_epoch

    def interrupted(run):
        if run.epoch == 1:
            raise KeyboardInterrupt
        return next_epoch(run)

    monkeypatch.setattr(training_run.TrainingRun, "next_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare("concat", seeds=(0,))
    monkeypatch.undo()
    found, lines = compare("concat", seeds=(0,))
    found.require_all()
    assert lines[1].startswith("concat, seed 0: going on after 1 epochs")


def test_changed_test_labels_are_evaluated_again(compare, corpus, tmp_path) -> None:
    annotations = tmp_path / "annotations"
    shutil.copytree(corpus.annotations, annotations)
    first, _ = compare("concat", seeds=(0,), annotations=annotations)
    path = annotations / "Test_Set" / "e1.txt"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, "0.9,-0.9", *rows[1:]]) + "\n")
    second, lines = compare("concat", seeds=(0,), annotations=annotations)
    assert "kept" not in lines[1]
    assert not [line for line in lines if "starting with epoch 1" in line]
    assert first.table.rows[0].interval.mean.estimate != second.table.rows[0].interval.mean.estimate


def test_a_failing_trial_loses_nothing_of_the_others(compare, monkeypatch, tmp_path) -> None:
    train_head = trial_module.train_head

    def fail(store, annotations, out, config, **options):
        if config.head.name == "concat" and config.seed == 1:
            raise RuntimeError("this seed\ndoes not converge")
        return train_head(store, annotations, out, config, **options)

    monkeypatch.setattr(trial_module, "train_head", fail)
    found, _ = compare("visual_only", "concat")
    assert [row.seeds for row in found.table.rows] == [(0, 1), (0,)]
    # Seed 0 is the only one that both have.
    scores = [row.ccc["mean"].values[0] for row in found.table.rows]
    assert found.table.rows[0].difference.mean.estimate == pytest.approx(scores[0] - scores[1], abs=1e-12)
    failure = tmp_path / "out/concat/seed-1/failure.txt"
    said = (
        rf"^1 trial failed \(concat, seed 1\); the first: RuntimeError: .*; traceback in {failure}; "
        "the others are kept and in the table"
    )
    with pytest.raises(TrainingError, match=said):
        found.require_all()
    assert "does not converge" in failure.read_text()
    text = (tmp_path / "out/comparison.md").read_text()
    assert "Failed, and not in the table: concat, seed 1 (RuntimeError: this seed does not converge)." in text
    monkeypatch.undo()
    found, _ = compare("visual_only", "concat")
    found.require_all()
    assert not failure.exists()


def test_a_full_disk_ends_the_comparison(compare, monkeypatch) -> None:
    def fail(*args, **options):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise HeadError("x cannot be written (No space left on device); make room") from error

    monkeypatch.setattr(trial_module, "train_head", fail)
    found, lines = compare("visual_only", "concat")
    assert found.table is None
    assert len(lines) == 2
    with pytest.raises(
        TrainingError, match=r"1 trial failed .*, and 3 trials had to be left; .*No space"
    ) as said:
        found.require_all()
    assert "in the table" not in str(said.value)


def test_folds(compare, tmp_path) -> None:
    found, _ = compare("concat", seeds=(0,), folds=True, evaluate=EvaluateConfig(folds=2))
    assert found.table.split == "fold"
    folder = tmp_path / "out/concat/seed-0"
    assert (folder / "fold-0/best.safetensors").is_file()
    assert (folder / "fold-1/best.safetensors").is_file()
    assert json.loads((folder / "metrics.json").read_text())["split"] == "fold"
    _, lines = compare("concat", seeds=(0,), folds=True, evaluate=EvaluateConfig(folds=2))
    assert "kept as it is" in lines[1]


@pytest.mark.parametrize(
    ("heads", "options", "error", "message"),
    [
        (("concatt", "tagf", "visal_only"), {}, UnknownHeadError, r"'concatt' .* 'concat'.*; .*'visal_only'"),
        (("tagf", "tagf"), {}, HeadError, "'tagf' is in the comparison twice"),
        (("tagf:lr=1",), {}, ValueError, r"head 'tagf:lr=1': lr is not a setting"),
        (("tagf:causal=true:kernel_size=3",), {}, HeadError, "by commas, .*'causal=true,kernel_size=3'"),
        (("tagf_mean:fusion=gate",), {}, ValueError, "leave fusion out"),
        (("tagf",), {"reference": "concat"}, HeadError, r"'concat' is not among the heads \(tagf\)"),
        (("tagf",), {"folds": True}, HeadError, "set evaluate.folds"),
        (("nowhere.at_all:Head",), {}, UnknownHeadError, "nowhere.at_all"),
        (("released",), {}, None, ""),
        (("released:reference_length=7",), {}, HeadError, "cannot be made: .*reference_length 7"),
    ],
)
def test_mistakes_are_named_before_anything_starts(
    compare, tmp_path, monkeypatch, heads, options, error, message
):
    monkeypatch.setattr(trial_module, "train_head", lambda *args, **options: pytest.fail("has started"))
    if error is None:
        # Nothing wrong with it.
        monkeypatch.setattr("tagf_head.comparison.compare._run", lambda *args: [])
        compare(*heads, **options)
        return
    with pytest.raises(error, match=message):
        compare(*heads, **options)
    assert not (tmp_path / "out").exists()


def test_options_of_ones_own_head_are_not_forced_on_others(training) -> None:
    own = replace(training.head, name="my_head:MyHead", options={"width": 8})
    (entry,) = parse_entries(["concat"], replace(training, head=own))
    assert (entry.head.name, dict(entry.head.options)) == ("concat", {})
    assert entry.head.visual_channels == training.head.visual_channels


def test_one_comparison_at_a_time(compare, tmp_path) -> None:
    with (
        sole_writer(tmp_path / "out"),
        pytest.raises(HeadError, match="another comparison is being written to this folder"),
    ):
        compare("concat")
    with sole_writer(tmp_path / "out"):
        pass
    assert not [*(tmp_path / "out").iterdir()]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch) -> None:
    def fail(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    with (
        pytest.raises(HeadError, match=r"\.running cannot be locked \(No locks available\)"),
        sole_writer(tmp_path),
    ):
        pass
    assert not [*tmp_path.iterdir()]
