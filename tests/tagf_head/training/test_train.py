"""Training of tiny heads: it learns, repeats bit for bit, and does what its settings say."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cache import FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from tagf_head.annotations import load_annotations
from tagf_head.config import TrainConfig
from tagf_head.data.split_data import open_features
from tagf_head.errors import AnnotationError, HeadError, TrainingError, UnknownHeadError
from tagf_head.heads import HEADS, build_head
from tagf_head.training.train import train_head

FILES = ("best.safetensors", "config.yaml", "training_log.csv")


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES}


def test_learns_what_the_features_show(train, training: TrainConfig) -> None:
    config = dataclasses.replace(training, max_epochs=30, lr=1e-2, weight_decay=1e-5)
    result = train("run", config)
    best = result.history[result.best_epoch - 1]
    assert best.validation_ccc_valence > 0.8
    assert best.validation_ccc_arousal > 0.8
    assert best.train_loss < result.history[0].train_loss / 2


def test_epochs_are_those_of_a_plain_loop(corpus, train, training: TrainConfig) -> None:
    """Windows cut by hand, a step per batch of them, and the formulas of loss and warm-up written out."""
    head = dataclasses.replace(
        training.head, visual_features=16, audio_features=8, tcn_dropout=0.0, attention_dropout=0.0
    )
    config = dataclasses.replace(training, head=head, max_epochs=2, warmup_epochs=1, precision="float64")
    result = train("run", config)

    store = FeatureStore.open(corpus.store)
    windows = []
    for clip_id in (clip for clip in store.clip_ids if clip.startswith("t")):
        size = len(store[clip_id].audio)
        starts = sorted({*range(0, max(size - 20, 0), 12), max(size - 20, 0)})
        windows += [(clip_id, start, min(size, 20)) for start in starts]
    torch.manual_seed(config.seed)
    plain = build_head(head).double()
    optimizer = torch.optim.Adam(plain.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    best = None
    for epoch in range(2):
        order = torch.randperm(len(windows), generator=generator)
        view = torch.randint(2, (len(windows),), generator=generator)
        losses = []
        for number, first in enumerate(range(0, len(windows), 4), start=1):
            chosen = order[first : first + 4].tolist()
            visual = torch.zeros(len(chosen), 20, 16, dtype=torch.float64)
            audio = torch.zeros(len(chosen), 20, 8, dtype=torch.float64)
            frame_mask = torch.zeros(len(chosen), 20, dtype=torch.bool)
            truth = []
            for place, index in enumerate(chosen):
                clip_id, start, size = windows[index]
                part = slice(start, start + size)
                visual[place, :size] = torch.from_numpy(store[clip_id].visual[view[index], part]).double()
                audio[place, :size] = torch.from_numpy(store[clip_id].audio[part]).double()
                frame_mask[place, :size] = True
                labels = corpus.labels[clip_id][part]
                truth += [(place, row, *pair) for row, pair in enumerate(labels.tolist()) if -5 not in pair]
            if epoch == 0:
                optimizer.param_groups[0]["lr"] = config.lr * number / 3
            places, rows, *targets = zip(*truth, strict=True)
            said = plain(visual, audio, frame_mask)[list(places), list(rows)]
            loss = torch.zeros((), dtype=torch.float64)
            for column, target in enumerate(targets):
                p, t = said[:, column], torch.tensor(target, dtype=torch.float32).double()
                covariance = ((p - p.mean()) * (t - t.mean())).mean()
                spread = p.var(correction=0) + t.var(correction=0) + (p.mean() - t.mean()) ** 2
                loss = loss + 1 - 2 * covariance / spread
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert result.history[epoch].train_loss == pytest.approx(np.mean(losses), abs=1e-9)
        if epoch + 1 == result.best_epoch:
            best = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    assert best is not None
    for name, tensor in best.items():
        torch.testing.assert_close(result.head.state_dict()[name], tensor, rtol=0, atol=1e-9)


def test_validation_score_is_that_of_the_saved_head(corpus, training, undisturbed) -> None:
    """The stitched CCC of best.safetensors, computed frame by frame with a plain loop over windows."""
    _, result = undisturbed
    store = FeatureStore.open(corpus.store)
    true, predicted = [], []
    for clip_id in ("v1", "v2"):
        visual = torch.from_numpy(store[clip_id].visual[0]).float()
        audio = torch.from_numpy(store[clip_id].audio).float()
        starts = sorted({*range(0, len(audio) - 20, 12), len(audio) - 20})
        said: list[list[np.ndarray]] = [[] for _ in range(len(audio))]
        for start in starts:
            part = slice(start, start + 20)
            with torch.no_grad():
                values = result.head(
                    visual[None, part], audio[None, part], torch.ones(1, 20, dtype=torch.bool)
                )
            for offset in range(20):
                said[start + offset].append(values[0, offset].double().numpy())
        labels = corpus.labels[clip_id]
        for row, values_of_row in enumerate(said):
            if (labels[row] != -5).all():
                true.append(labels[row])
                predicted.append(np.mean(values_of_row, axis=0))
    t, p = np.array(true), np.array(predicted)
    covariance = ((t - t.mean(0)) * (p - p.mean(0))).mean(0)
    ccc = 2 * covariance / (t.var(0) + p.var(0) + (t.mean(0) - p.mean(0)) ** 2)
    best = result.history[result.best_epoch - 1]
    assert [best.validation_ccc_valence, best.validation_ccc_arousal] == pytest.approx(ccc.tolist(), abs=1e-5)
    assert best.validation_ccc_mean == pytest.approx(ccc.mean(), abs=1e-5)
    assert best.validation_ccc_mean == max(record.validation_ccc_mean for record in result.history)
    assert not result.head.training


def test_repeats_bit_for_bit(train, training, undisturbed, tmp_path: Path) -> None:
    torch.manual_seed(99)  # the caller's random state has no say
    train("run", training)
    assert contents(tmp_path / "run") == contents(undisturbed[0])


def test_leaves_the_callers_random_numbers_alone(train, training) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train("run", dataclasses.replace(training, max_epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_head(train, training, undisturbed, tmp_path: Path) -> None:
    train("run", dataclasses.replace(training, seed=6))
    assert contents(tmp_path / "run")["best.safetensors"] != contents(undisturbed[0])["best.safetensors"]


def test_files_of_a_run(corpus, training, undisturbed) -> None:
    run, result = undisturbed
    assert sorted(path.name for path in run.iterdir()) == sorted(FILES)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["train"]["head"]["visual_features"] == 16
    assert config["train"]["head"]["audio_features"] == 8
    # Nothing is left open, not even what the head's name settles.
    assert config["train"]["head"]["include_input"] is True
    assert None not in config["train"]["head"].values()
    assert config["train"]["lr"] == training.lr
    assert config["fold"] is None
    assert config["num_processes"] == 1
    assert config["seed"] == 5
    assert config["best_epoch"] == result.best_epoch
    assert config["features"]["fingerprint"] == FeatureStore.open(corpus.store).fingerprint
    assert config["features"]["spec"]["settings"]["audio.anchor"] == "center"
    assert config["features"]["random_weights"] is True
    assert config["annotations_digest"] == load_annotations(corpus.annotations).digest(
        ("train", "validation")
    )
    assert config["versions"]["torch"] == torch.__version__
    with (run / "training_log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == [
        record.values() for record in result.history
    ]
    # 11 windows in batches of 4: 3 steps in the epoch of warm-up, its last at the full rate.
    assert [float(row["lr"]) for row in rows] == [training.lr] * 4
    tensors = load_file(run / "best.safetensors")
    for name, tensor in result.head.state_dict().items():
        assert torch.equal(tensors[name], tensor), name


def test_progress_and_no_state_left_behind(train, training, tmp_path: Path) -> None:
    lines: list[str] = []
    train("run", training, progress=lines.append)
    assert lines[0] == (
        "train: 4 clips, 131 frames, 112 with labels, 11 windows; "
        "validation: 2 clips, 75 frames, 65 with labels, 6 windows"
    )
    assert [line.split()[1] for line in lines[1:]] == ["1/4", "2/4", "3/4", "4/4"]
    assert "windows/s" in lines[1]
    assert "gate entropy visual " in lines[1]
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_early_stopping(train, training) -> None:
    # A rate this small changes no score in float32.
    config = dataclasses.replace(
        training, max_epochs=50, lr=1e-30, min_lr=1e-30, early_stop_patience=3, warmup_epochs=2
    )
    result = train("run", config)
    scores = [record.validation_ccc_mean for record in result.history]
    assert result.best_epoch == 1 + int(np.argmax(scores))
    assert len(scores) == max(result.best_epoch, 2) + 3


def test_work_dir_from_the_environment(
    corpus, training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def look(line: str) -> None:
        seen.append([path.suffix for path in tmp_path.glob("work/training/*")])

    config = dataclasses.replace(training, max_epochs=1)
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))
    train_head(corpus.store, corpus.annotations, tmp_path / "run", config, progress=look)
    assert seen == [[], [".pt"]]


@pytest.mark.parametrize("name", [name for name in HEADS if name != "tagf"])
def test_every_head_trains(train, training, name: str) -> None:
    config = dataclasses.replace(
        training, max_epochs=2, ccc_over="window", head=dataclasses.replace(training.head, name=name)
    )
    result = train("run", config)
    assert len(result.history) == 2
    assert np.isfinite([record.train_loss for record in result.history]).all()


def test_windows_without_labels_do_no_harm(tmp_path: Path, write_corpus, training) -> None:
    corpus = write_corpus(tmp_path)
    for clip_id, size in (("t1", 50), ("t2", 33), ("t3_left", 7)):
        (corpus.annotations / f"Train_Set/{clip_id}.txt").write_text("valence,arousal\n" + "-5,-5\n" * size)
    config = dataclasses.replace(training, max_epochs=1, batch_size=1)
    lines: list[str] = []
    result = train_head(
        corpus.store,
        corpus.annotations,
        tmp_path / "run",
        config,
        work_dir=tmp_path / "work",
        progress=lines.append,
    )
    assert "131 frames, 35 with labels, 3 windows" in lines[0]
    assert np.isfinite(result.history[0].train_loss)


def test_divergence_is_named(train, training, tmp_path: Path) -> None:
    config = dataclasses.replace(training, lr=1e30, warmup_epochs=0)
    with pytest.raises((TrainingError, HeadError), match=r"lower train\.lr|have diverged"):
        train("run", config)
    assert not (tmp_path / "run").exists()


def test_users_mistakes(corpus, training, tmp_path: Path) -> None:
    arguments = (corpus.store, corpus.annotations, tmp_path / "run")
    unknown = dataclasses.replace(training, head=dataclasses.replace(training.head, name="tagg"))
    with pytest.raises(UnknownHeadError):
        train_head(*arguments, unknown, work_dir=tmp_path)
    with pytest.raises(HeadError, match="device 'gpu0' cannot be used here"):
        train_head(*arguments, training, device="gpu0", work_dir=tmp_path)
    with pytest.raises(AnnotationError, match="no annotations in"):
        train_head(corpus.store, tmp_path / "none", tmp_path / "run", training, work_dir=tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(HeadError, match="cannot be written"):
        train_head(*arguments, training, work_dir=blocked)


@pytest.mark.parametrize("column", [0, 1])
def test_validation_labels_that_are_all_the_same(
    tmp_path: Path, write_corpus, training: TrainConfig, column: int
) -> None:
    corpus = write_corpus(tmp_path)
    for clip_id in ("v1", "v2"):
        labels = corpus.labels[clip_id].copy()
        labels[labels[:, 1] != -5, column] = 0.25
        rows = "".join(f"{v},{a}\n" for v, a in labels)
        (corpus.annotations / f"Validation_Set/{clip_id}.txt").write_text(f"valence,arousal\n{rows}")
    name = ("valence", "arousal")[column]
    message = f"validation: expected labels that vary, got {name} 0.25 for all 65 labelled frames of 2 clips"
    with pytest.raises(TrainingError, match=message):
        train_head(corpus.store, corpus.annotations, tmp_path / "run", training, work_dir=tmp_path / "work")
    assert not (tmp_path / "run").exists()


def test_several_stores_train_as_one(corpus, tmp_path: Path, training: TrainConfig) -> None:
    whole = FeatureStore.open(corpus.store)
    parts = PartStore(corpus.store.parent / "parts")
    keys = [whole[clip].key for clip in whole]
    for name, chosen in (("a", keys[:5]), ("b", keys[5:])):
        pack_store([(parts, key) for key in chosen], whole.spec, tmp_path / name)
    config = dataclasses.replace(training, max_epochs=2)
    train_head(whole, corpus.annotations, tmp_path / "one", config, work_dir=tmp_path / "work")
    paths = [str(tmp_path / "a"), tmp_path / "b"]
    result = train_head(paths, corpus.annotations, tmp_path / "two", config, work_dir=tmp_path / "work")
    assert result.info.features_digest == FeatureStore.open(*paths).digest
    logs = [(tmp_path / run / "training_log.csv").read_bytes() for run in ("one", "two")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("missing", ["visual", "audio"])
def test_a_store_without_a_stream_that_heads_take(
    corpus, training: TrainConfig, tmp_path: Path, missing: str
) -> None:
    streams = [StreamSpec(name="other", num_features=2)]
    streams += [stream for stream in FeatureStore.open(corpus.store).spec.streams if stream.name != missing]
    spec = FeatureSpec(streams=tuple(streams), settings={})
    pack_store([], spec, tmp_path / "s.zarr")
    names = ", ".join(stream.name for stream in spec.streams)
    message = rf"s\.zarr has the streams {names}; training needs visual and audio"
    with pytest.raises(HeadError, match=message):
        train_head(tmp_path / "s.zarr", corpus.annotations, tmp_path / "run", training)
    with pytest.raises(HeadError, match=message):
        open_features(tmp_path / "s.zarr")


@pytest.mark.parametrize("subjects", [{"t1": "anna", "v2": "anna"}, {"t1": "anna", "v2": "bo"}])
def test_a_subject_on_both_sides_is_named(corpus, training, tmp_path: Path, subjects: dict[str, str]) -> None:
    annotations = shutil.copytree(corpus.annotations, tmp_path / "annotations")
    rows = "".join(f"{clip_id},{subject}\n" for clip_id, subject in subjects.items())
    (annotations / "subjects.csv").write_text("clip_id,subject\n" + rows)
    lines: list[str] = []
    config = dataclasses.replace(training, max_epochs=1)
    train_head(corpus.store, annotations, tmp_path / "run", config, work_dir=tmp_path, progress=lines.append)
    warnings = [line for line in lines if line.startswith("warning: ")]
    if len(set(subjects.values())) == 2:
        assert warnings == []
    else:
        (warning,) = warnings
        assert "subject 'anna' is trained on (clip 't1') and validated on (clip 'v2')" in warning
