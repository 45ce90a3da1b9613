"""The table of several runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tagf_head.errors import AnnotationError, HeadError
from tagf_head.predictions import Predictions, write_predictions
from tagf_head.results import collect_results

CLIPS = {"a": 40, "b_left": 25, "b_right": 10, "c": 30, "d": 20}


def plain_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = {
        clip_id: np.round(generator.uniform(-0.9, 0.9, (size, 2)), 6) for clip_id, size in CLIPS.items()
    }
    folder = tmp_path / "annotations" / "Test_Set"
    folder.mkdir(parents=True)
    for clip_id, values in labels.items():
        values[::5, 0] = -5
        rows = "".join(f"{v},{a}\n" for v, a in values)
        (folder / f"{clip_id}.txt").write_text(f"valence,arousal\n{rows}")
    return labels


def write_run(
    run: Path, labels: dict[str, np.ndarray], head: str, noise: float, **changes: object
) -> np.ndarray:
    """A run whose predictions are the labels and noise; returns the predictions of the labelled frames."""
    generator = np.random.default_rng(len(head))
    target = np.concatenate(list(labels.values()))
    valid = (target != -5).all(axis=1)
    values = (np.where(valid[:, None], target, 0.3) + noise * generator.standard_normal(target.shape)).astype(
        np.float32
    )
    frame = np.concatenate([np.arange(len(each)) for each in labels.values()])
    predictions = Predictions(
        clip_ids=tuple(labels),
        row_size=np.array([len(each) for each in labels.values()]),
        frame=frame,
        time_s=frame / 25,
        values=values,
        face_found=np.ones(len(frame), bool),
    )
    write_predictions(run / "predictions.parquet", predictions)
    mean_ccc = np.mean([plain_ccc(values[valid, c].astype(float), target[valid, c]) for c in range(2)])
    metrics = {"head": head, "split": "test", "mean_ccc": mean_ccc, "random_weights": False, **changes}
    (run / "metrics.json").write_text(json.dumps(metrics))
    return values[valid].astype(float)


def test_rows(tmp_path: Path, labels) -> None:
    said = {
        head: write_run(tmp_path / head, labels, head, noise)
        for head, noise in (("concat", 0.5), ("tagf", 0.2))
    }
    table = collect_results(
        [tmp_path / "tagf", tmp_path / "concat"], tmp_path / "annotations", "test", reference="concat"
    )
    target = np.concatenate(list(labels.values()))
    target = target[(target != -5).all(axis=1)]
    assert [row.name for row in table.rows] == ["tagf", "concat"]
    for row in table.rows:
        expected = [plain_ccc(said[row.name][:, column], target[:, column]) for column in range(2)]
        assert row.ccc.valence.estimate == pytest.approx(expected[0], abs=1e-6)
        assert row.ccc.arousal.estimate == pytest.approx(expected[1], abs=1e-6)
        assert row.ccc.mean.estimate == pytest.approx(np.mean(expected), abs=1e-6)
        assert row.ccc.num_subjects == 4
    tagf, concat = table.rows
    assert concat.difference is None
    assert tagf.difference is not None
    assert tagf.difference.mean.estimate == pytest.approx(
        tagf.ccc.mean.estimate - concat.ccc.mean.estimate, abs=1e-12
    )
    assert 0 < tagf.difference.mean.low < tagf.difference.mean.estimate < tagf.difference.mean.high


def test_markdown(tmp_path: Path, labels) -> None:
    for head, noise in (("concat", 0.5), ("tagf", 0.2)):
        write_run(tmp_path / head, labels, head, noise, random_weights=head == "tagf")
    runs = [tmp_path / "concat", tmp_path / "tagf"]
    table = collect_results(runs, tmp_path / "annotations", "test", reference="concat")
    lines = table.as_markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert cells[0] == ["head", "valence CCC", "arousal CCC", "mean CCC", "mean CCC minus concat"]
    assert all(set(cell) == {"-"} for cell in cells[1])
    assert [cells[2][0], cells[2][4]] == ["concat", "reference"]
    mean = table.rows[1].ccc.mean
    assert cells[3][3] == f"{mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
    difference = table.rows[1].difference
    assert difference is not None
    low, high = difference.mean.low, difference.mean.high
    assert cells[3][4] == f"{difference.mean.estimate:+.3f} [{low:+.3f}, {high:+.3f}]"
    # Every column begins at one place.
    places = [[index for index, letter in enumerate(line) if letter == "|"] for line in lines[:4]]
    assert places == [places[0]] * 4
    assert "Split test; in brackets 95 % bootstrap intervals over 4 subjects." in lines
    assert any("random weights" in line for line in lines)


def test_without_a_reference_there_is_no_difference(tmp_path: Path, labels) -> None:
    write_run(tmp_path / "tagf", labels, "tagf", 0.2)
    table = collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test")
    assert table.rows[0].difference is None
    assert "minus" not in table.as_markdown()
    assert "random weights" not in table.as_markdown()
    assert table.as_markdown().splitlines()[1].count("|") == 5


def test_runs_of_one_head_are_told_apart(tmp_path: Path, labels) -> None:
    runs = [tmp_path / name for name in ("seed0", "seed1", "other")]
    for run, head in zip(runs, ("tagf", "tagf", "concat"), strict=True):
        write_run(run, labels, head, 0.2)
    table = collect_results(runs, tmp_path / "annotations", "test")
    assert [row.name for row in table.rows] == ["tagf (seed0)", "tagf (seed1)", "concat"]


def test_users_mistakes(tmp_path: Path, labels) -> None:
    annotations = tmp_path / "annotations"
    write_run(tmp_path / "tagf", labels, "tagf", 0.2)
    with pytest.raises(HeadError, match="no runs to compare"):
        collect_results([], annotations, "test")
    with pytest.raises(HeadError, match=r"none/metrics\.json is missing or damaged"):
        collect_results([tmp_path / "none"], annotations, "test")
    with pytest.raises(HeadError, match=r"no run has the reference head 'concat' \(heads: tagf\)"):
        collect_results([tmp_path / "tagf"], annotations, "test", reference="concat")
    write_run(tmp_path / "validation", labels, "tagf", 0.2, split="validation")
    with pytest.raises(HeadError, match="is of split 'validation', expected 'test'"):
        collect_results([tmp_path / "validation"], annotations, "test")
    fewer = {clip_id: values for clip_id, values in labels.items() if clip_id != "d"}
    write_run(tmp_path / "fewer", fewer, "concat", 0.2)
    with pytest.raises(HeadError, match=r"cover different frames \(105 and 125\)"):
        collect_results([tmp_path / "tagf", tmp_path / "fewer"], annotations, "test")
    with pytest.raises(
        AnnotationError, match=r"cover 4 clips, split 'test' .* has 5; the labels have changed"
    ):
        collect_results([tmp_path / "fewer"], annotations, "test")


def test_labels_that_have_changed(tmp_path: Path, labels) -> None:
    write_run(tmp_path / "tagf", labels, "tagf", 0.2)
    path = tmp_path / "annotations" / "Test_Set" / "c.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], "0.9,-0.9", *lines[3:]]))
    with pytest.raises(AnnotationError, match="the labels have changed: evaluate again"):
        collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test")
