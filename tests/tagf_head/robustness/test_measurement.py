"""A whole measurement on the tiny corpus, held against `tagf evaluate` on stores that are really so."""

from __future__ import annotations

import csv
import io
import re
import shutil
import weakref
import xml.etree.ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from cache import ClipKey, FeatureStore, PartStore, StaleFeatureError, pack_store
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import load_checkpoint, save_checkpoint
from tagf_head.config import EvaluateConfig
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.folds import Fold
from tagf_head.data.split_data import load_split, open_features
from tagf_head.errors import CheckpointError, HeadError
from tagf_head.evaluation.ensemble import load_ensemble
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.evaluation.results import RANDOM_WEIGHTS_NOTE
from tagf_head.heads import build_head
from tagf_head.heads.own_head import own_head_digest
from tagf_head.robustness import files
from tagf_head.robustness.chart import chart, draw
from tagf_head.robustness.conditions import Condition, feature_conditions
from tagf_head.robustness.config import RobustnessConfig
from tagf_head.robustness.corruption import corrupted_rows
from tagf_head.robustness.feature_rows import read_clean_rows, read_degraded_rows
from tagf_head.robustness.measurement import answer
from tagf_head.robustness.report import RobustnessReport
from tagf_head.robustness.run import measure_robustness

CONFIG = RobustnessConfig(
    shift_s=(-0.2, 0.0), noise_snr_db=(0.0,), drop_percent=(0.0, 50.0, 100.0), burst_s=0.2, seed=7
)
TEST = EvaluateConfig(split="test", batch_size=4)
BLIND = Condition(family="black_pictures", modality="visual", level=1, unit="EV", quantity="less light")
KEYS = ["family", "modality", "level"]

OWN_HEAD = '''
from torch import nn
from tagf_head.heads import Head, HeadOutput

class Loudness(Head):
    """Says how long the audio row is, in one weight."""
    def __init__(self, config):
        super().__init__()
        self.num_features = 1
        self.weight = nn.Linear(1, 2)
    def estimate(self, visual, audio, frame_mask):
        features = audio.to(self.weight.weight.dtype).norm(dim=-1, keepdim=True)
        return HeadOutput(prediction=self.weight(features).tanh(), features=features)
'''


MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robustness")


@pytest.fixture(scope="module")
def make_checkpoint(undisturbed, folder: Path) -> MakeCheckpoint:
    """Writes a head with fresh weights that are large enough to react, as a run of the tiny corpus."""
    info = load_checkpoint(undisturbed[0] / "best.safetensors").info

    def make(name: str, seed: int, *, info_changes: dict[str, Any] | None = None, **settings: Any) -> Path:
        head = replace(info.train.head, name=name, **settings)
        torch.manual_seed(seed)
        built = build_head(head)
        state = {key: 3 * value if value.ndim > 1 else value for key, value in built.state_dict().items()}
        path = folder / f"{name.replace(':', '-')}-{len(list(folder.iterdir()))}" / "best.safetensors"
        train = replace(info.train, head=head, seed=seed)
        changes = {"own_head_digest": own_head_digest(name), **(info_changes or {})}
        save_checkpoint(path, state, replace(info, train=train, **changes))
        return path

    return make


@pytest.fixture(scope="module")
def checkpoints(make_checkpoint: MakeCheckpoint) -> list[Path]:
    """Two seeds of tagf, and a concat that predicts its own deviation."""
    return [
        make_checkpoint("tagf", 0),
        make_checkpoint("tagf", 1),
        make_checkpoint("concat", 0, uncertainty=True),
    ]


@pytest.fixture(scope="module")
def blind_store(corpus, folder: Path) -> Path:
    """The corpus's clips without any picture."""
    return write_changed(corpus, folder / "blind", lambda clip: {"visual": 0 * clip.streams["visual"]})


def write_changed(corpus, directory: Path, change: Callable[..., dict], **changes: Any) -> Path:
    store = FeatureStore.open(corpus.store)
    part_store, parts = PartStore(directory / "parts"), []
    for clip_id in reversed([*corpus.clips]):  # in another order, which must not matter
        clip = corpus.clips[clip_id]
        key = ClipKey(
            clip_id=clip_id,
            media_sha256="0" * 64,
            faces_sha256=None,
            selection="",
            fingerprint=store.spec.fingerprint,
        )
        part_store.commit(key, replace(clip, streams={**clip.streams, **change(clip)}, **changes), {})
        parts.append((part_store, key))
    pack_store(parts, store.spec, directory / "features.zarr")
    return directory / "features.zarr"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def report(
    corpus, checkpoints: list[Path], blind_store: Path, folder: Path, lines: list[str]
) -> RobustnessReport:
    asked: list[tuple[str, ...]] = []

    def degrade(clip_ids):
        asked.append(tuple(clip_ids))
        return {BLIND: blind_store}

    found = measure_robustness(
        corpus.store,
        corpus.annotations,
        checkpoints,
        folder / "out",
        config=CONFIG,
        evaluate=TEST,
        degrade=degrade,
        progress=lines.append,
    )
    assert asked == [("e1", "e2_left", "e2_right", "e3")]
    return found


@pytest.fixture(scope="module")
def out(report: RobustnessReport, folder: Path) -> Path:
    return folder / "out"


@pytest.fixture(scope="module")
def scores(out: Path) -> pandas.DataFrame:
    return pandas.read_csv(out / "robustness.csv", keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def gates(out: Path) -> pandas.DataFrame:
    return pandas.read_csv(out / "gates.csv", keep_default_na=False, na_values=[""])


def select(table: pandas.DataFrame, checkpoint: Path, family: str, modality: str = "", level: float = np.nan):
    chosen = (table.checkpoint == str(checkpoint)) & (table.family == family)
    if modality:
        chosen &= (table.modality == modality) & (table.level == level)
    return table[chosen]


def test_every_checkpoint_under_every_condition(scores: pandas.DataFrame, checkpoints: list[Path]) -> None:
    # clean, 2 shifts, 3 x 1 noise, 3 x 3 drops, 1 store
    assert len(scores) == 3 * 16
    assert scores.groupby("checkpoint", sort=False).size().to_dict() == {
        str(path): 16 for path in checkpoints
    }
    assert scores["head"].unique().tolist() == ["tagf", "concat"]
    assert not scores.duplicated(["checkpoint", *KEYS]).any()


def test_clean_rows_give_what_evaluate_gives(
    corpus, scores: pandas.DataFrame, gates: pandas.DataFrame, checkpoints: list[Path], tmp_path: Path
) -> None:
    for path in checkpoints:
        metrics = evaluate_head(
            corpus.store, corpus.annotations, path, tmp_path / "metrics.json", config=TEST
        ).metrics
        [line] = select(scores, path, "clean").to_dict("records")
        for target in ("valence", "arousal"):
            assert line[f"rmse_{target}"] == pytest.approx(metrics[target]["rmse"], abs=1e-6)
            for bound in ("", "_low", "_high"):
                expected = metrics[target][f"ccc{bound}"]
                assert line[f"ccc_{target}{bound}"] == pytest.approx(expected, abs=1e-6)
        assert line["ccc_mean"] == pytest.approx(metrics["mean_ccc"], abs=1e-6)
        assert (line["change_mean"], line["change_mean_low"], line["change_mean_high"]) == (0, 0, 0)
        for name, gate in metrics.get("gates", {}).items():
            found = select(gates, path, "clean")
            found = found[found.gate == name]
            assert dict(zip(found.candidate, found.mean_weight, strict=True)) == pytest.approx(
                gate["mean_weight"], abs=1e-6
            )
            assert found.entropy.to_numpy() == pytest.approx(gate["entropy"], abs=1e-6)
            assert found.max_entropy.to_numpy() == pytest.approx(np.log(len(found)), abs=1e-6)


def test_level_zero_is_clean(out: Path, checkpoints: list[Path]) -> None:
    texts = pandas.read_csv(out / "robustness.csv", dtype=str, keep_default_na=False)
    values = texts.columns.difference(["family", "modality", "level", "unit"])
    for path in checkpoints:
        of_head = texts[texts.checkpoint == str(path)]
        [clean] = of_head.loc[of_head.family == "clean", values].to_numpy()
        zeros = of_head.loc[of_head.level == "0", ["family", "modality", *values]]
        zeros = zeros[zeros.family != "noise"]  # at 0 dB
        assert len(zeros) == 4
        assert all((line == clean).all() for line in zeros[values].to_numpy())


def test_predictions_are_those_of_evaluate_to_the_bit(
    corpus, checkpoints: list[Path], tmp_path: Path
) -> None:
    ensemble = load_ensemble(checkpoints[:1], device=torch.device("cpu"))
    store = open_features(corpus.store)
    data = load_split(store, load_annotations(corpus.annotations, "mean"), "test", rows_memory_gb=0)
    clean = read_clean_rows(store, data)
    expected = evaluate_head(
        corpus.store, corpus.annotations, checkpoints[0], tmp_path / "metrics.json", config=TEST
    )
    for condition in feature_conditions(CONFIG, ("shift", "drop")):
        if condition.level == 0:
            rows = corrupted_rows(clean, data, condition, CONFIG)
            found = answer(ensemble.members[0], rows, data, TEST.batch_size)
            np.testing.assert_array_equal(found.values, expected.predictions.values)
            for name, gate in expected.gates.items():
                np.testing.assert_array_equal(found.gates[name].weights, gate.weights)


def test_all_frames_dropped_is_a_store_without_pictures(
    corpus, scores: pandas.DataFrame, checkpoints: list[Path], blind_store: Path, tmp_path: Path
) -> None:
    for path in checkpoints:
        metrics = evaluate_head(
            blind_store, corpus.annotations, path, tmp_path / "metrics.json", config=TEST
        ).metrics
        dropped, blind = (
            select(scores, path, *place).iloc[0]
            for place in (("drop", "visual", 100.0), ("black_pictures", "visual", 1.0))
        )
        for line in (dropped, blind):
            assert line["ccc_mean"] == pytest.approx(metrics["mean_ccc"], abs=1e-6)
            clean = select(scores, path, "clean").iloc[0]
            assert line["change_mean"] == pytest.approx(line["ccc_mean"] - clean["ccc_mean"], abs=2e-6)
            assert line["change_mean_low"] <= line["change_mean"] <= line["change_mean_high"]
            assert (line["visual_present"], line["audio_present"]) == (0, 1)
            assert abs(line["change_mean"]) > 0.01


def test_gates_before_and_after(
    corpus,
    gates: pandas.DataFrame,
    checkpoints: list[Path],
    blind_store: Path,
    tmp_path: Path,
) -> None:
    path = checkpoints[1]
    before, after = (
        evaluate_head(
            store,
            corpus.annotations,
            path,
            tmp_path / "metrics.json",
            config=TEST,
            gates=tmp_path / "gates.parquet",
        ).predictions
        and pandas.read_parquet(tmp_path / "gates.parquet")
        for store in (corpus.store, blind_store)
    )
    order = ["clip_id", "frame"]
    before, after = (table.sort_values(order, ignore_index=True) for table in (before, after))
    altered = np.concatenate([corpus.clips[clip].face_found for clip in ("e1", "e2_left", "e2_right", "e3")])
    for name in ("visual", "audio"):
        found = select(gates, path, "drop", "visual", 100.0)
        found = found[found.gate == name]
        assert found.candidate.tolist() == ["H0", "H1", "H2"]
        columns = [f"{name}_{candidate}" for candidate in found.candidate]
        clean, weights = before[columns].to_numpy(np.float64), after[columns].to_numpy(np.float64)
        np.testing.assert_allclose(found.mean_weight, weights.mean(axis=0), atol=2e-6)
        np.testing.assert_allclose(found.altered_mean_weight, weights[altered].mean(axis=0), atol=2e-6)
        moved = np.abs(weights - clean)[altered].sum(axis=1).mean() / 2
        np.testing.assert_allclose(found.altered_change, moved, atol=2e-6)
        entropy = -(weights * np.log(weights)).sum(axis=1).mean()
        np.testing.assert_allclose(found.entropy, entropy, atol=2e-6)
    assert select(gates, path, "drop", "visual", 100.0).altered_change.max() > 1e-4


def test_the_seed_of_the_disturbances_is_recorded(
    out: Path, scores: pandas.DataFrame, gates: pandas.DataFrame
) -> None:
    assert (scores.corruption_seed == 7).all()
    assert (gates.corruption_seed == 7).all()
    assert "is drawn once, with seed 7," in (out / "robustness.md").read_text()


def test_one_corrupted_copy_at_a_time(
    corpus, checkpoints: list[Path], blind_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[weakref.ref] = []

    def watched(make: Callable[..., DeviceRows]) -> Callable[..., DeviceRows]:
        def made(*arguments: Any) -> DeviceRows:
            assert [copy for copy in copies if copy() is not None] == []
            rows = make(*arguments)
            copies.extend([weakref.ref(rows), weakref.ref(rows.audio)])
            return rows

        return made

    for make in (corrupted_rows, read_degraded_rows):
        monkeypatch.setattr(f"tagf_head.robustness.run.{make.__name__}", watched(make))
    measure_robustness(
        corpus.store,
        corpus.annotations,
        checkpoints[0],
        tmp_path,
        config=RobustnessConfig(shift_s=(-0.2, 0.2)),
        evaluate=TEST,
        families=("shift",),
        degrade=lambda clip_ids: {BLIND: blind_store},
    )
    assert len(copies) == 3 * 2


def test_former_trials_of_a_comparison_are_not_measured(
    corpus, checkpoints: list[Path], tmp_path: Path
) -> None:
    for seed in (0, 1):
        (tmp_path / f"tagf/seed-{seed}").mkdir(parents=True)
        shutil.copy(checkpoints[seed], tmp_path / f"tagf/seed-{seed}/best.safetensors")
    (tmp_path / "comparison.csv").write_text("head,folder,seeds\ntagf,tagf,1\n")
    lines: list[str] = []
    report = measure_robustness(
        corpus.store,
        corpus.annotations,
        tmp_path,
        tmp_path / "out",
        config=RobustnessConfig(shift_s=(0.0,)),
        evaluate=TEST,
        families=("shift",),
        progress=lines.append,
    )
    assert [head.seed for head in report.heads] == [1]
    assert str(tmp_path / "tagf/seed-0") in lines[0]


def test_heads_without_gates_have_no_lines_there(gates: pandas.DataFrame, checkpoints: list[Path]) -> None:
    assert set(gates.checkpoint) == {str(path) for path in checkpoints[:2]}
    assert len(gates) == 2 * 16 * 2 * 3
    # What alters no frame moves no weight that could be averaged.
    zero = gates[(gates.family == "drop") & (gates.level == 0)]
    assert zero.altered_change.isna().all()


def test_predicted_deviations_beside_the_errors(
    corpus, scores: pandas.DataFrame, checkpoints: list[Path], blind_store: Path, tmp_path: Path
) -> None:
    for store, place in ((corpus.store, ("clean",)), (blind_store, ("black_pictures", "visual", 1.0))):
        evaluate_head(
            store,
            corpus.annotations,
            checkpoints[2],
            tmp_path / "metrics.json",
            tmp_path / "predictions.parquet",
            config=TEST,
        )
        table = pandas.read_parquet(tmp_path / "predictions.parquet").sort_values(["clip_id", "frame"])
        labels = np.concatenate([corpus.labels[clip] for clip in ("e1", "e2_left", "e2_right", "e3")])
        mask = (labels != -5).all(axis=1)
        [line] = select(scores, checkpoints[2], *place).to_dict("records")
        for column, target in enumerate(("valence", "arousal")):
            deviation = table[f"{target}_sd"].to_numpy(np.float64)[mask]
            assert line[f"predicted_sd_{target}"] == pytest.approx(np.sqrt((deviation**2).mean()), abs=1e-6)
            error = table[target].to_numpy(np.float64)[mask] - labels[mask, column]
            assert line[f"rmse_{target}"] == pytest.approx(np.sqrt((error**2).mean()), abs=1e-6)
    assert scores[scores["head"] == "tagf"].predicted_sd_valence.isna().all()


def test_tables_average_over_seeds(out: Path, scores: pandas.DataFrame) -> None:
    text = (out / "robustness.md").read_text()
    tagf = scores[(scores["head"] == "tagf") & (scores.family == "drop") & (scores.modality == "both")]
    for level, of_level in tagf.groupby("level"):
        mean, deviation = of_level.ccc_mean.mean(), of_level.ccc_mean.std(ddof=1)
        assert re.search(rf"\| {level:g} +\| ", text)
        assert f"{mean:.3f} ± {deviation:.3f}" in text
    concat = scores[(scores["head"] == "concat") & (scores.family == "noise")].ccc_mean
    assert all(re.search(rf"\| {value:.3f} +\|", text) for value in concat)
    assert RANDOM_WEIGHTS_NOTE in text
    assert "## Less light (EV)" in text
    table = text[text.index("## Less light") :].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:6]]
    assert cells[0] == ["EV", "frames with visual features", "tagf", "concat"]
    assert cells[3][:2] == ["1", "0.0%"]
    assert len({len(line) for line in table[2:6]}) == 1


def test_pictures(out: Path) -> None:
    assert (out / "robustness.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    picture = xml.etree.ElementTree.parse(out / "robustness.svg").getroot()
    texts = {"".join(element.itertext()) for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"tagf", "concat", "CCC valence", "CCC arousal", "tagf, visual gate", "H0", "H2"} <= texts
    assert "Less light (EV)" in texts
    assert any(re.fullmatch(r"moves \d+\.\d% of the weight at 1 EV", text) for text in texts)
    lines = [
        element
        for element in picture.iter("{http://www.w3.org/2000/svg}path")
        if element.get("aria-roledescription") == "line mark"
    ]
    # 8 panels: two heads for each target, three candidates for each of two gates; a path per line.
    assert len(lines) == 8 * (2 * 2 + 2 * 3)


def columns_of(picture: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The charts of each condition family, from the top: both targets, then every gate."""
    blocks = [(block["concat"], block["columns"]) for block in picture["vconcat"]]
    (number,) = {number for _, number in blocks}
    return [[each for charts, _ in blocks for each in charts[column::number]] for column in range(number)]


def test_lines_and_bands_are_those_of_the_table(
    report: RobustnessReport, scores: pandas.DataFrame, gates: pandas.DataFrame
) -> None:
    panels = columns_of(chart(report))
    shift, noise, drop, black = (panels[place] for place in (0, 2, 4, 7))
    levels = [list(dict.fromkeys(value["level"] for value in each[0]["data"]["values"])) for each in panels]
    # Where a level is 0 that is the clean end of the axis, elsewhere it has a place of its own.
    assert levels[0] == [-0.2, 0.0]
    assert levels[2] == ["clean", "0"]
    assert levels[4] == [0.0, 50.0, 100.0]
    assert levels[7] == ["clean", "1"]
    assert [each[0]["encoding"]["x"]["type"] for each in (shift, noise, drop, black)] == [
        *("quantitative", "ordinal") * 2
    ]
    for column, target in enumerate(("valence", "arousal")):
        band, line = drop[column]["layer"]
        assert (band["encoding"]["y"]["field"], band["encoding"]["y2"]["field"]) == ("low", "high")
        assert line["encoding"]["y"]["field"] == "mean"
        for value in drop[column]["data"]["values"]:
            of_curve = scores[(scores["head"] == value["name"]) & (scores.level == value["level"])]
            found = of_curve[(of_curve.family == "drop") & (of_curve.modality == "visual")]
            mean, deviation = found[f"ccc_{target}"].mean(), found[f"ccc_{target}"].std(ddof=1)
            deviation = 0 if np.isnan(deviation) else deviation  # of the one checkpoint of concat
            expected = (mean, mean - deviation, mean + deviation)
            assert [value[name] for name in ("mean", "low", "high")] == pytest.approx(expected, abs=2e-6)
            lowest, highest = line["encoding"]["y"]["scale"]["domain"]
            assert lowest <= value["low"] <= value["high"] <= highest
    audio_gate = drop[3]["data"]["values"]
    dropped = gates[(gates.family == "drop") & (gates.modality == "visual") & (gates.gate == "audio")]
    means = dropped.groupby(["level", "candidate"], sort=False).mean_weight.mean()
    assert [value["mean"] for value in audio_gate] == pytest.approx([*means], abs=2e-6)


def test_gate_charts_say_how_much_weight_moves(report: RobustnessReport, gates: pandas.DataFrame) -> None:
    visual_gate = columns_of(chart(report))[4][2]  # of tagf, while pictures are dropped
    found = gates[(gates.gate == "visual") & (gates.family == "drop") & (gates.modality == "visual")]
    moved = found.groupby("level").altered_change.mean()
    assert (
        visual_gate["title"]["subtitle"] == f"moves {moved.max():.1%} of the weight at {moved.idxmax():g} %"
    )
    zeros = tuple(each for each in report.conditions if each.level == 0 and each.family == "drop")
    [of_zero, *_] = columns_of(chart(replace(report, conditions=zeros)))
    assert of_zero[2]["title"]["subtitle"] == "alters no frame"


def test_a_single_level_is_drawn_as_points(report: RobustnessReport) -> None:
    zeros = tuple(each for each in report.conditions if each.level == 0 and each.family == "shift")
    svg, _ = draw(replace(report, conditions=zeros))
    paths = xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
    points = [path for path in paths if path.get("aria-roledescription") == "point"]
    # Two heads for each target, three candidates of each of two gates.
    assert len(points) == 2 * 2 + 2 * 3
    rules = re.findall('aria-roledescription="rule mark"', svg.decode())
    assert len(rules) == len(points)


def test_a_picture_grows_no_wider_with_heads_and_conditions(
    report: RobustnessReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tuple(replace(head, curve=f"{head.curve} {copy}") for copy in range(9) for head in report.heads)
    [scores, gates] = chart(replace(report, heads=many))["vconcat"]
    assert (scores["columns"], gates["columns"]) == (8, 8)
    assert (len(scores["concat"]), len(gates["concat"])) == (8 * 2, 8 * 2 * 9)
    monkeypatch.setattr("tagf_head.robustness.chart._MOST_COLUMNS", 3)
    blocks = chart(report)["vconcat"]
    assert [block["columns"] for block in blocks] == [3, 3, 3, 3, 2, 2]
    shown = [each["title"]["text"] for block in blocks[::2] for each in block["concat"][: block["columns"]]]
    assert [" ".join(text) for text in shown] == [report.title(panel) for panel in report.panels]
    # Each row says on its left what it is.
    assert all(
        (each["layer"][1]["encoding"]["y"]["title"] is None) == (place % block["columns"] > 0)
        for block in blocks
        for place, each in enumerate(block["concat"])
    )


def test_an_axis_without_its_zero_starts_at_the_clean_rows(report: RobustnessReport) -> None:
    kept = tuple(each for each in report.conditions if each.level != 0 and each.family == "shift")
    [panel] = columns_of(chart(replace(report, conditions=kept)))
    values = panel[0]["data"]["values"]
    assert [value["level"] for value in values if value["name"] == "concat"] == [0.0, -0.2]
    assert values[0]["mean"] == report.ccc("tagf", None, "valence")[0]


def test_progress_names_every_condition(lines: list[str], out: Path) -> None:
    assert len(lines) == 16
    assert lines[0].startswith("1/16 clean: mean CCC tagf ")
    assert lines[-1].startswith("16/16 black_pictures visual 1 EV: mean CCC tagf ")
    assert lines[-1].endswith("; 0 s left")


def test_a_head_of_ones_own_has_no_gates_file(
    corpus, make_checkpoint: MakeCheckpoint, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "loudness_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(folder)
    path = make_checkpoint("loudness_head:Loudness", 0)
    out = folder / "own"
    out.mkdir()
    (out / "gates.csv").write_text("of an earlier measurement")
    measure_robustness(
        corpus.store,
        corpus.annotations,
        path.parent,
        out,
        config=RobustnessConfig(drop_percent=(100.0,)),
        evaluate=TEST,
        families=("drop",),
    )
    assert sorted(each.name for each in out.iterdir()) == [
        "robustness.csv",
        "robustness.md",
        "robustness.png",
        "robustness.svg",
    ]
    found = pandas.read_csv(out / "robustness.csv")
    # It looks at no picture: dropping them changes nothing, dropping the sound leaves a constant.
    assert found["head"].unique().tolist() == ["loudness_head:Loudness"]
    by_modality = found[found.family == "drop"].set_index("modality").ccc_mean
    assert by_modality["visual"] == found.ccc_mean[0]
    assert by_modality["audio"] == by_modality["both"] == 0
    assert "## Gates" not in (out / "robustness.md").read_text()


def test_labels_that_never_change_leave_cells_empty(
    checkpoints: list[Path], write_corpus, tmp_path: Path
) -> None:
    copy = write_corpus(tmp_path)
    for path in (copy.annotations / "Test_Set").iterdir():
        num_lines = len(path.read_text().splitlines()) - 1
        path.write_text("valence,arousal\n" + "".join(f"0.3,{row / 99}\n" for row in range(num_lines)))
    measure_robustness(
        copy.store,
        copy.annotations,
        checkpoints[2],
        tmp_path / "out",
        config=RobustnessConfig(shift_s=(0.2,)),
        evaluate=TEST,
        families=("shift",),
    )
    lines = [*csv.DictReader(io.StringIO((tmp_path / "out" / "robustness.csv").read_text()))]
    assert [line["ccc_valence"] for line in lines] == ["", ""]
    assert all(line["ccc_arousal"] for line in lines)
    assert re.search(r"\| 0\.2 +\| 78\.9% .*\| n/a +\|", (tmp_path / "out" / "robustness.md").read_text())
    assert "NaN" not in (tmp_path / "out" / "robustness.svg").read_text()


def test_what_cannot_be_measured_leaves_nothing(
    corpus,
    checkpoints: list[Path],
    make_checkpoint: MakeCheckpoint,
    write_corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"

    def measure(store=corpus.store, annotations=corpus.annotations, paths=checkpoints[2:], **options) -> None:
        config = RobustnessConfig(shift_s=(0.2,))
        measure_robustness(
            store, annotations, paths, out, **{"config": config, "families": ("shift",), **options}
        )

    with pytest.raises(HeadError, match="split 'fold' has other clips"):
        measure(evaluate=EvaluateConfig(split="fold"))
    with pytest.raises(HeadError, match="no condition to measure"):
        measure(families=())
    folded = make_checkpoint("concat", 0, info_changes={"fold": Fold(index=0, num_folds=3)})
    with pytest.raises(CheckpointError, match="is of fold 0 of 3"):
        measure(paths=[folded], evaluate=EvaluateConfig(split="validation"))

    moved = write_corpus(tmp_path / "moved")
    (moved.annotations / "Train_Set/t1.txt").rename(moved.annotations / "Test_Set/t1.txt")
    with pytest.raises(CheckpointError, match="was trained on 1 of the clips of split 'test'"):
        measure(moved.store, moved.annotations)

    spec = FeatureStore.open(corpus.store).spec
    others = write_corpus(
        tmp_path / "others", spec=replace(spec, settings={**spec.settings, "audio.anchor": "end"})
    )
    with pytest.raises(StaleFeatureError, match=r"audio\.anchor: 'end'"):
        measure(others.store, others.annotations)
    with pytest.raises(StaleFeatureError, match=r"audio\.anchor"):
        measure(degrade=lambda clip_ids: {BLIND: others.store})
    slower = write_changed_times(corpus, tmp_path / "slower")
    with pytest.raises(HeadError, match="its clips have other frames than those of"):
        measure(degrade=lambda clip_ids: {BLIND: slower})
    fewer = write_corpus(
        tmp_path / "fewer", {"Train_Set": {"t1": 5}, "Validation_Set": {"v1": 5}, "Test_Set": {"e1": 26}}
    )
    with pytest.raises(HeadError, match=r"lacks 3 of the 4 clips of 'test': 'e2_left'"):
        measure(degrade=lambda clip_ids: {BLIND: fewer.store})

    monkeypatch.setattr("tagf_head.robustness.feature_rows.free_bytes", lambda device: 1000)
    with pytest.raises(HeadError, match=r"rows of 'test' and a corrupted copy take .* give --device cpu"):
        measure()
    monkeypatch.undo()

    def fail(report):
        raise RuntimeError("no font")

    monkeypatch.setattr(files, "draw", fail)
    with pytest.raises(RuntimeError):
        measure()
    assert not out.exists()


def write_changed_times(corpus, directory: Path) -> Path:
    part_store, parts = PartStore(directory / "parts"), []
    spec = FeatureStore.open(corpus.store).spec
    for clip_id, clip in corpus.clips.items():
        key = ClipKey(
            clip_id=clip_id,
            media_sha256="0" * 64,
            faces_sha256=None,
            selection="",
            fingerprint=spec.fingerprint,
        )
        part_store.commit(key, replace(clip, time_s=clip.time_s * 1.01), {})
        parts.append((part_store, key))
    pack_store(parts, spec, directory / "features.zarr")
    return directory / "features.zarr"
