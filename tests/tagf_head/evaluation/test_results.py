"""The table of several runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tagf_head.data.clip_groups import ClipGroups
from tagf_head.errors import AnnotationError, HeadError
from tagf_head.evaluation.bootstrap import ccc_interval
from tagf_head.evaluation.evaluated_runs import read_runs
from tagf_head.evaluation.predictions import Predictions, read_predictions, write_predictions
from tagf_head.evaluation.results import collect_results

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


MEDIA_FILES = {"a": "a", "b_left": "b", "b_right": "b", "c": "c", "d": "d"}


def write_run(
    run: Path,
    labels: dict[str, np.ndarray],
    head: str,
    noise: float,
    *,
    groups: dict[str, str] = MEDIA_FILES,
    unit: str = "media file",
    delay_s: float = 0.0,
    **changes: object,
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
        groups=ClipGroups(unit=unit, group=tuple(groups[clip_id] for clip_id in labels)),
    )
    write_predictions(run / "predictions.parquet", predictions)
    mean_ccc = np.mean([plain_ccc(values[valid, c].astype(float), target[valid, c]) for c in range(2)])
    metrics = {
        "head": head,
        "ensemble_size": 1,
        "split": "test",
        "mean_ccc": mean_ccc,
        "labels": {"gold_standard": "mean", "delay_s": delay_s},
        "random_weights": False,
        "checkpoints_sha256": [],
        **changes,
    }
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
        assert row.ccc.num_groups == 4
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
    assert "Split test; in brackets 95 % bootstrap intervals over 4 media files." in lines
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


def test_a_clip_without_rows_is_one_of_the_split(tmp_path: Path, labels) -> None:
    write_run(tmp_path / "tagf", labels, "tagf", 0.2)
    expected = collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test").rows
    (tmp_path / "annotations" / "Test_Set" / "empty.txt").write_text("valence,arousal\n0.1,0.1\n")
    with_empty = {"empty": np.zeros((0, 2)), **labels}
    write_run(tmp_path / "tagf", with_empty, "tagf", 0.2, groups={**MEDIA_FILES, "empty": "empty"})
    assert collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test").rows == expected


def test_an_ensemble_says_so(tmp_path: Path, labels) -> None:
    write_run(tmp_path / "one", labels, "tagf", 0.2)
    write_run(tmp_path / "six", labels, "tagf", 0.1, ensemble_size=6)
    table = collect_results([tmp_path / "one", tmp_path / "six"], tmp_path / "annotations", "test")
    assert [row.name for row in table.rows] == ["tagf", "tagf, ensemble of 6"]


def test_the_units_of_the_evaluation_are_resampled(tmp_path: Path, labels) -> None:
    """The same predictions, with other groups in the metadata of the file."""
    found = {}
    for name, groups in (("media", MEDIA_FILES), ("subject", {**MEDIA_FILES, "c": "a", "d": "a"})):
        unit = "media file" if name == "media" else "subject"
        write_run(tmp_path / name, labels, "tagf", 0.3, groups=groups, unit=unit)
        found[name] = collect_results([tmp_path / name], tmp_path / "annotations", "test")
        target = np.concatenate(list(labels.values()))
        predicted = read_predictions(tmp_path / name / "predictions.parquet")
        group = np.repeat([[*groups.values()].index(groups[clip]) for clip in CLIPS], [*CLIPS.values()])
        expected = ccc_interval(predicted.values, target, (target != -5).all(axis=1), group)
        interval = found[name].rows[0].ccc.mean
        assert (interval.low, interval.high) == pytest.approx(
            (expected.mean.low, expected.mean.high), abs=1e-6
        )
    assert found["media"].rows[0].ccc.mean.low != found["subject"].rows[0].ccc.mean.low
    assert "over 2 subjects." in found["subject"].as_markdown()
    with pytest.raises(HeadError, match=r"groups its clips by subject, .* by media file"):
        collect_results([tmp_path / "media", tmp_path / "subject"], tmp_path / "annotations", "test")


def test_labels_are_made_as_in_the_evaluation(tmp_path: Path, labels) -> None:
    # 2 frames at 25 per second: each frame has the label of the second next.
    late = {clip_id: np.roll(values, -2, axis=0) for clip_id, values in labels.items()}
    for values in late.values():
        values[-2:] = -5
    said = write_run(tmp_path / "late", late, "tagf", 0.3, delay_s=0.08)
    table = collect_results([tmp_path / "late"], tmp_path / "annotations", "test")
    target = np.concatenate(list(late.values()))
    target = target[(target != -5).all(axis=1)]
    assert table.rows[0].ccc.valence.estimate == pytest.approx(plain_ccc(said[:, 0], target[:, 0]), abs=1e-6)
    write_run(tmp_path / "other", labels, "concat", 0.3)
    with pytest.raises(
        HeadError, match=r"other/metrics.json .* delay 0.0 s, .*late/metrics.json .* delay 0.08 s"
    ):
        collect_results([tmp_path / "late", tmp_path / "other"], tmp_path / "annotations", "test")


def test_out_of_fold_predictions_may_cover_any_labelled_clip(tmp_path: Path, labels) -> None:
    for clip_id, folder in {"a": "Train_Set", "c": "Validation_Set"}.items():
        path = tmp_path / "annotations" / "Test_Set" / f"{clip_id}.txt"
        (tmp_path / "annotations" / folder).mkdir()
        path.rename(tmp_path / "annotations" / folder / path.name)
    some = {clip_id: labels[clip_id] for clip_id in ("a", "c")}
    said = write_run(tmp_path / "folds", some, "tagf", 0.3, split="fold")
    row = collect_results([tmp_path / "folds"], tmp_path / "annotations", "fold").rows[0]
    target = np.concatenate(list(some.values()))
    target = target[(target != -5).all(axis=1)]
    assert row.ccc.arousal.estimate == pytest.approx(plain_ccc(said[:, 1], target[:, 1]), abs=1e-6)


def test_constant_labels_define_no_ccc(tmp_path: Path, labels) -> None:
    for clip_id, values in labels.items():
        values[:, 0] = np.where(values[:, 0] == -5, -5, 0.25)
        rows = "".join(f"{v},{a}\n" for v, a in values)
        (tmp_path / "annotations" / "Test_Set" / f"{clip_id}.txt").write_text(f"valence,arousal\n{rows}")
    for head in ("tagf", "concat"):
        write_run(tmp_path / head, labels, head, 0.3, mean_ccc=None)
    runs = [tmp_path / "tagf", tmp_path / "concat"]
    table = collect_results(runs, tmp_path / "annotations", "test", reference="tagf")
    cells = [cell.strip() for cell in table.as_markdown().splitlines()[3].strip("|").split("|")]
    assert [cells[1], cells[3], cells[4]] == ["n/a"] * 3
    assert cells[2].startswith("0.")


def test_users_mistakes(tmp_path: Path, labels) -> None:
    annotations = tmp_path / "annotations"
    write_run(tmp_path / "tagf", labels, "tagf", 0.2)
    with pytest.raises(HeadError, match="no runs to compare"):
        collect_results([], annotations, "test")
    with pytest.raises(HeadError, match=r"none/metrics\.json is missing; run .tagf evaluate."):
        collect_results([tmp_path / "none"], annotations, "test")
    (tmp_path / "comparison/tagf/seed-0").mkdir(parents=True)
    with pytest.raises(
        HeadError, match=r"comparison is a folder of 'tagf compare'.* example .*/tagf/seed-0$"
    ):
        collect_results([tmp_path / "comparison"], annotations, "test")
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


def test_what_runs_share_is_held_once(tmp_path: Path, labels) -> None:
    """A table of a hundred runs of a million frames has to fit the memory."""
    for head in ("concat", "tagf"):
        write_run(tmp_path / head, labels, head, 0.2)
    first, second = read_runs(
        [tmp_path / "concat", tmp_path / "tagf"], tmp_path / "annotations", "test"
    ).predictions
    assert first.frame is second.frame
    assert first.time_s is second.time_s
    assert not np.array_equal(first.values, second.values)


def test_labels_that_have_changed(tmp_path: Path, labels) -> None:
    write_run(tmp_path / "tagf", labels, "tagf", 0.2)
    path = tmp_path / "annotations" / "Test_Set" / "c.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], "0.9,-0.9", *lines[3:]]))
    with pytest.raises(AnnotationError, match="the labels have changed: evaluate again"):
        collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test")


def test_a_run_that_was_trained_again_is_refused(tmp_path: Path, labels) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    write_run(tmp_path / "tagf", labels, "tagf", 0.2, checkpoints_sha256=["0" * 64, digest])
    checkpoint = tmp_path / "tagf/best.safetensors"
    checkpoint.write_bytes(b"weights")
    collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test")
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(
        HeadError, match=r"is of another head than .*best.safetensors.*evaluate the run again"
    ):
        collect_results([tmp_path / "tagf"], tmp_path / "annotations", "test")
