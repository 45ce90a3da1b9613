"""What each setting of training does to a run."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import load_checkpoint
from tagf_head.config import AugmentConfig, LabelConfig, Precision
from tagf_head.data.folds import Fold, plan_folds
from tagf_head.data.mapped_rows import MappedRows
from tagf_head.data.split_data import load_split
from tagf_head.data.windows import plan_windows
from tagf_head.errors import TrainingError
from tagf_head.evaluation.metrics import regression_metrics
from tagf_head.evaluation.stitching import stitch_windows
from tagf_head.training import run as training_run
from tagf_head.training.objective import TrainingObjective
from tagf_head.training.train import train_head


@pytest.fixture
def gradient_norms() -> Iterator[list[float]]:
    """Norm of all gradients together at each optimiser step."""
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        norms.append(float(sum(each.grad.double().square().sum() for each in parameters) ** 0.5))

    handle = register_optimizer_step_pre_hook(note)
    yield norms
    handle.remove()


def test_the_gradient_is_clipped_as_a_whole(train, training, gradient_norms: list[float]) -> None:
    config = dataclasses.replace(training, max_epochs=1)
    train("free", config)
    free = gradient_norms[:]
    gradient_norms.clear()
    limit = free[0] * 0.9
    train("clipped", dataclasses.replace(config, gradient_clip=limit))
    assert gradient_norms[0] == pytest.approx(limit, rel=1e-4)
    assert max(gradient_norms) <= limit * (1 + 1e-4)
    assert len(gradient_norms) == len(free) == 3


@pytest.fixture
def batches_seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The batches that heads were trained on."""
    seen: list[dict[str, Tensor]] = []
    original = TrainingObjective.forward

    def forward(self: TrainingObjective, *inputs: Tensor) -> Tensor:
        seen.append(dict(zip(("visual", "audio", "frame_mask", "label", "label_mask"), inputs, strict=True)))
        return original(self, *inputs)

    monkeypatch.setattr(TrainingObjective, "forward", forward)
    return seen


def test_every_window_has_a_view_of_its_own_in_every_epoch(
    train, training, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[list[int]] = []
    original = training_run.TrainingBatches.epoch

    def epoch(self: Any, order: Tensor, view: Tensor, audio_shift: Tensor | None) -> Any:
        views.append(view.tolist())
        return original(self, order, view, audio_shift)

    monkeypatch.setattr(training_run.TrainingBatches, "epoch", epoch)
    train("run", training)
    assert len(views) == 4
    assert all(set(of_epoch) == {0, 1} for of_epoch in views)
    assert len({tuple(of_epoch) for of_epoch in views}) == 4


def test_augmentation_is_for_training_alone(
    corpus, train, training, batches_seen: list[dict[str, Tensor]]
) -> None:
    config = dataclasses.replace(training, max_epochs=1, augment=AugmentConfig(drop_visual=1.0))
    result = train("run", config)
    assert len(batches_seen) == 3
    assert all(not batch["visual"].any() and batch["audio"].any() for batch in batches_seen)
    # The score is that of the head with all pictures.
    store = FeatureStore.open(corpus.store)
    data = load_split(store, load_annotations(corpus.annotations), "validation")
    plan = plan_windows(data.row_size, config.window, config.stride)
    prediction = stitch_windows(result.head, data.rows, plan, 4).mean()[data.label_mask]
    score = regression_metrics(prediction[:, 0], data.label[data.label_mask, 0])["ccc"]
    assert result.history[0].validation_ccc_valence == pytest.approx(score, abs=1e-6)


def test_audio_is_shifted_against_the_pictures(
    train, training, batches_seen: list[dict[str, Tensor]]
) -> None:
    config = dataclasses.replace(training, max_epochs=1, lr=1e-30, min_lr=1e-30)
    train("straight", config)
    straight = batches_seen[:]
    batches_seen.clear()
    train("shifted", dataclasses.replace(config, augment=AugmentConfig(shift_audio_frames=3)))
    differs = []
    for one, other in zip(straight, batches_seen, strict=True):
        assert torch.equal(one["visual"], other["visual"])
        assert torch.equal(one["label"], other["label"])
        differs += [not torch.equal(a, b) for a, b in zip(one["audio"], other["audio"], strict=True)]
    # 11 windows, each with a shift of -3 to 3.
    assert 6 <= sum(differs) <= 11


def test_labels_are_taken_later(corpus, train, training, tmp_path: Path) -> None:
    """A delay of 0.2 s is 5 frames at 25 per second."""
    shifted = shutil.copytree(corpus.annotations, tmp_path / "annotations")
    for path in shifted.rglob("*.txt"):
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *lines[5:], *["-5,-5"] * 5]) + "\n")
    config = dataclasses.replace(training, max_epochs=2)
    found = train("run", dataclasses.replace(config, labels=LabelConfig(delay_s=0.2)))
    expected = train_head(corpus.store, shifted, tmp_path / "other", config, work_dir=tmp_path / "work")
    assert found.history == expected.history
    assert load_checkpoint(tmp_path / "run/best.safetensors").info.train.labels.delay_s == 0.2


def test_a_fold_is_held_out(corpus, train, training, tmp_path: Path) -> None:
    lines: list[str] = []
    fold = Fold(index=1, num_folds=3)
    result = train("run", dataclasses.replace(training, max_epochs=1), fold=fold, progress=lines.append)
    annotations, store = load_annotations(corpus.annotations), FeatureStore.open(corpus.store)
    seen, held_out = plan_folds(annotations, store, 3).split(1)
    assert lines[0].startswith(f"train: {len(seen)} clips, ")
    assert f"validation: {len(held_out)} clips, " in lines[0]
    assert result.info.fold == fold
    assert load_checkpoint(tmp_path / "run/best.safetensors").info.fold == fold
    # Another fold of the same settings is another run.
    other = train(
        "run", dataclasses.replace(training, max_epochs=1), fold=Fold(index=0, num_folds=3), resume=True
    )
    assert other.info.fold == Fold(index=0, num_folds=3)
    official = train("official", dataclasses.replace(training, max_epochs=1))
    assert other.history == official.history
    assert other.info.key != official.info.key


def test_mapped_rows_train_the_same_head(
    train, training, undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[type] = []
    original = training_run.TrainingBatches.epoch

    def epoch(self: Any, *arguments: Any) -> Any:
        kinds.append(type(self.rows))
        return original(self, *arguments)

    monkeypatch.setattr(training_run.TrainingBatches, "epoch", epoch)
    result = train("run", dataclasses.replace(training, rows_memory_gb=0.0))
    assert kinds == [MappedRows] * 4
    assert result.history == undisturbed[1].history
    assert result.info.key == undisturbed[1].info.key
    for name, tensor in undisturbed[1].head.state_dict().items():
        assert torch.equal(result.head.state_dict()[name], tensor), name


def test_float64_is_kept_in_the_checkpoint(train, training, undisturbed, tmp_path: Path) -> None:
    result = train("run", dataclasses.replace(training, precision="float64", max_epochs=1))
    loaded = load_checkpoint(tmp_path / "run/best.safetensors").head
    for name, tensor in result.head.state_dict().items():
        assert tensor.dtype is torch.float64
        assert torch.equal(loaded.state_dict()[name], tensor)
    single = undisturbed[1].history[0]
    assert result.history[0].train_loss == pytest.approx(single.train_loss, abs=0.05)


def test_bfloat16_trains_weights_in_float32(train, training, undisturbed) -> None:
    result = train("run", dataclasses.replace(training, precision="bfloat16", max_epochs=2))
    assert {tensor.dtype for tensor in result.head.state_dict().values()} == {torch.float32}
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert result.history[0] != undisturbed[1].history[0]


def test_gate_entropy_of_the_validation_windows(corpus, training, undisturbed) -> None:
    """Of each window in float64 numpy, and the mean over the frames of all."""
    result = undisturbed[1]
    entropy: dict[str, list[float]] = {"visual": [], "audio": []}
    store = FeatureStore.open(corpus.store)
    for clip_id in ("v1", "v2"):
        visual = torch.from_numpy(store[clip_id].visual[0]).float()
        audio = torch.from_numpy(store[clip_id].audio).float()
        for start in sorted({*range(0, len(audio) - 20, 12), len(audio) - 20}):
            part = slice(start, start + 20)
            inputs = (visual[None, part], audio[None, part], torch.ones(1, 20, dtype=torch.bool))
            with torch.no_grad():
                gates = result.head(*inputs, return_all=True).gates
            for name, alpha in gates.items():
                weights = alpha[0].double().numpy()
                entropy[name] += (-(weights * np.log(weights)).sum(axis=1)).tolist()
    best = result.history[result.best_epoch - 1]
    assert best.gate_entropy == pytest.approx(
        {name: float(np.mean(each)) for name, each in entropy.items()}, abs=1e-6
    )
    assert 0 < best.gate_entropy["visual"] <= np.log(3) + 1e-6


def test_heads_without_gates_have_no_entropy(train, training) -> None:
    head = dataclasses.replace(training.head, name="concat")
    result = train("run", dataclasses.replace(training, head=head, max_epochs=1))
    assert result.history[0].gate_entropy == {}


def test_separate_targets_have_gates_of_their_own(train, training) -> None:
    head = dataclasses.replace(training.head, targets="separate")
    result = train("run", dataclasses.replace(training, head=head, max_epochs=1))
    assert list(result.history[0].gate_entropy) == [
        f"{target}_{gate}" for target in ("valence", "arousal") for gate in ("visual", "audio")
    ]


def test_a_compiled_head_gets_batches_of_one_shape(
    train, training, batches_seen: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def leave_alone(module: torch.nn.Module, **options: Any) -> torch.nn.Module:
        asked.append(options)
        return module

    monkeypatch.setattr(torch, "compile", leave_alone)
    head = dataclasses.replace(training.head, tcn_dropout=0.0, attention_dropout=0.0)
    config = dataclasses.replace(training, head=head, max_epochs=1)
    plain = train("plain", config)
    assert not asked
    assert [len(batch["label"]) for batch in batches_seen] == [4, 4, 3]
    batches_seen.clear()
    filled = train("filled", dataclasses.replace(config, compile=True))
    assert asked == [{"dynamic": False, "mode": None}]
    assert [len(batch["label"]) for batch in batches_seen] == [4, 4, 4]
    # A window of padding changes nothing.
    assert filled.history[0].train_loss == pytest.approx(plain.history[0].train_loss, abs=1e-6)
    for name, tensor in plain.head.state_dict().items():
        torch.testing.assert_close(filled.head.state_dict()[name], tensor, rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_head_trains_on_a_gpu(train, training, precision: Precision) -> None:
    head = dataclasses.replace(training.head, tcn_dropout=0.0, attention_dropout=0.0)
    config = dataclasses.replace(training, head=head, precision=precision)
    plain = train("plain", config, device="cuda")
    compiled = train("compiled", dataclasses.replace(config, compile=True), device="cuda")
    for one, other in zip(plain.history, compiled.history, strict=True):
        tolerance = 0.02 if precision == "float32" else 0.1
        assert other.train_loss == pytest.approx(one.train_loss, abs=tolerance)


@pytest.mark.gpu
def test_a_run_on_a_gpu_goes_on(train, training, tmp_path: Path) -> None:
    """With dropout and augmentation; kernels of a GPU may add up in another order each time."""
    augment = AugmentConfig(drop_audio=0.2, shift_audio_frames=2, noise=0.2, mixup=0.3)
    config = dataclasses.replace(training, augment=augment)
    whole = train("whole", config, device="cuda")

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("cut", config, device="cuda", progress=stop)
    cut = train("cut", config, device="cuda", resume=True)
    for one, other in zip(whole.history, cut.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=0.01)


def test_without_tensorboard_nothing_begins(
    train, training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    lines: list[str] = []
    with pytest.raises(TrainingError, match="TensorBoard was asked for and is not installed"):
        train("run", training, tensorboard=True, progress=lines.append)
    assert lines == []
    assert not (tmp_path / "run").exists()
