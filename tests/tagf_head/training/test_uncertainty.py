"""Training with predicted deviations: nothing else changes by a bit, and they fit the validation split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tagf_head.config import AugmentConfig, EvaluateConfig, TrainConfig
from tagf_head.errors import TrainingError
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.heads import HEADS, build_head
from tagf_head.heads.uncertain import UncertainHead
from tagf_head.training import step as training_step
from tagf_head.training.likelihood import LikelihoodObjective
from tagf_head.training.objective import TrainingObjective
from tagf_head.training.train import train_head

NLL = ("train_nll", "validation_nll")


def uncertain(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, head=dataclasses.replace(config.head, uncertainty=True))


def without_nll(history: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in record.values().items() if k not in NLL} for record in history]


def assert_same_head(plain: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert {name for name in found if not name.startswith("deviation.")} == {f"head.{name}" for name in plain}
    for name, tensor in plain.items():
        assert torch.equal(found[f"head.{name}"], tensor), name


@pytest.mark.parametrize(
    "changes",
    [
        # Clipping that bites, weight decay, dropout, every augmentation.
        {
            "gradient_clip": 0.05,
            "weight_decay": 0.1,
            "augment": AugmentConfig(drop_audio=0.2, shift_audio_frames=2, noise=0.2, mixup=0.3),
        },
        {"precision": "bfloat16", "ccc_over": "window"},
        {"head": "released"},
    ],
)
def test_nothing_but_the_deviations_changes(train, training: TrainConfig, changes: dict[str, Any]) -> None:
    config = dataclasses.replace(training, max_epochs=3)
    if "head" in changes:
        changes = {"head": dataclasses.replace(config.head, name=changes["head"])}
    config = dataclasses.replace(config, **changes)
    plain, found = train("plain", config), train("uncertain", uncertain(config))
    assert_same_head(plain.head.state_dict(), found.head.state_dict())
    assert without_nll(plain.history) == without_nll(found.history)
    assert plain.best_epoch == found.best_epoch
    assert all(set(NLL) <= record.values().keys() for record in found.history)
    assert not any(set(NLL) & record.values().keys() for record in plain.history)


def test_gradients_are_clipped_apart(train, training: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: dict[str, list[float]] = {"head": [], "deviation": []}
    original = training_step.TrainingStep._clip

    def clip(self: Any, objective: torch.nn.Module) -> None:
        original(self, objective)
        squares = [each.grad.double().square().sum() for each in objective.parameters()]
        kind = "deviation" if isinstance(objective, LikelihoodObjective) else "head"
        norms[kind].append(float(torch.stack(squares).sum().sqrt()))

    monkeypatch.setattr(training_step.TrainingStep, "_clip", clip)
    train("run", uncertain(dataclasses.replace(training, gradient_clip=0.01, max_epochs=1)))
    for kind in norms.values():
        assert len(kind) == 3
        assert kind == pytest.approx([0.01] * 3, rel=1e-3)


def test_no_objective_reaches_the_others_weights(training: TrainConfig) -> None:
    torch.manual_seed(0)
    shape = dataclasses.replace(training.head, visual_features=16, audio_features=8, uncertainty=True)
    head = build_head(shape)
    assert isinstance(head, UncertainHead)
    visual, audio, label = torch.randn(3, 20, 16), torch.randn(3, 20, 8), torch.rand(3, 20, 2)
    mask = torch.ones(3, 20, dtype=torch.bool)
    objective = TrainingObjective(head.head, ccc_over="batch", precision="float32", over_processes=False)
    found = objective(visual, audio, mask, label, mask)
    torch.autograd.backward(
        LikelihoodObjective(head.deviation, over_processes=False)(
            found.prediction, found.features, label, mask
        )
    )
    assert {name for name, each in head.named_parameters() if each.grad is not None} == {
        f"deviation.{layer}.{kind}" for layer in ("hidden", "output") for kind in ("weight", "bias")
    }
    # What the head itself says is what was trained.
    everything = head.eval()(visual, audio, mask, return_all=True)
    assert torch.equal(everything.deviation, head.deviation(everything.features))


@pytest.mark.parametrize("name", list(HEADS))
def test_a_fresh_head_is_the_one_without(training: TrainConfig, name: str) -> None:
    shape = dataclasses.replace(training.head, name=name, visual_features=16, audio_features=8)
    torch.manual_seed(1)
    plain, after = build_head(shape), torch.rand(3)
    torch.manual_seed(1)
    head = build_head(dataclasses.replace(shape, uncertainty=True))
    assert torch.equal(torch.rand(3), after)
    assert_same_head(plain.state_dict(), head.state_dict())
    assert head.gate_candidates == plain.gate_candidates


@pytest.fixture(scope="module")
def trained(
    corpus, training: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainConfig, Any]:
    """A run with deviations: its folder, its settings and what it gave."""
    folder = tmp_path_factory.mktemp("uncertain")
    config = uncertain(dataclasses.replace(training, max_epochs=6))
    result = train_head(corpus.store, corpus.annotations, folder / "run", config, work_dir=folder / "work")
    return folder / "run", config, result


def test_deviations_fit_the_validation_split(corpus, trained, tmp_path: Path) -> None:
    run, config, result = trained
    scale = load_file(run / "best.safetensors")[UncertainHead.SCALE]
    assert (scale != 1).all()
    evaluation = evaluate_head(
        corpus.store,
        corpus.annotations,
        run / "best.safetensors",
        tmp_path / "metrics.json",
        config=EvaluateConfig(split="validation", batch_size=config.batch_size),
    )
    best = result.history[result.best_epoch - 1]
    calibration = [evaluation.metrics["calibration"][name] for name in ("valence", "arousal")]
    assert [each["rms_z"] for each in calibration] == pytest.approx([1, 1], abs=1e-5)
    assert np.mean([each["nll"] for each in calibration]) == pytest.approx(best.validation_nll, abs=1e-5)
    assert evaluation.metrics["mean_ccc"] == pytest.approx(best.validation_ccc_mean, abs=1e-12)


def test_likelihood_is_learnt_and_logged(trained) -> None:
    run, _, result = trained
    nll = [record.train_nll for record in result.history]
    assert nll[-1] < nll[0]
    header, *lines = (run / "training_log.csv").read_text().splitlines()
    columns = header.split(",")
    assert columns[5:8] == ["validation_ccc_mean", *NLL]
    assert [float(line.split(",")[6]) for line in lines] == nll


def test_it_resumes_bit_for_bit(train, trained, tmp_path: Path) -> None:
    run, config, result = trained

    def stop(line: str) -> None:
        if line.startswith("epoch 4/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("run", config, progress=stop)
    lines: list[str] = []
    resumed = train("run", config, resume=True, progress=lines.append)
    assert lines[1].startswith("resume: going on after 4 epochs")
    assert resumed.history == result.history
    for name in ("best.safetensors", "training_log.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()
    again = train("run", config, resume=True)
    assert again.history == result.history
    assert torch.equal(
        again.head.state_dict()[UncertainHead.SCALE], result.head.state_dict()[UncertainHead.SCALE]
    )


def of_processes(store: Path, annotations: Path, folder: Path, configs: list[TrainConfig]) -> list[Any]:
    found = []
    for index, config in enumerate(configs):
        result = train_head(store, annotations, folder / str(index), config, work_dir=folder / "work")
        found.append(([record.values() for record in result.history], result.head.state_dict()))
    return found


def test_processes_share_it(corpus, training: TrainConfig, tmp_path: Path, run_processes) -> None:
    """In float64 without dropout the deviations of three processes are those of one."""
    names = ("tcn_dropout", "attention_dropout")
    shape = dataclasses.replace(training.head, **dict.fromkeys(names, 0.0))
    exact = dataclasses.replace(
        training, head=shape, precision="float64", batch_size=5, gradient_clip=0.5, max_epochs=2
    )
    noisy = dataclasses.replace(training, batch_size=5, gradient_clip=0.5, max_epochs=2)
    # Two validation windows, and so none for the third process.
    wide = dataclasses.replace(noisy, window=50, stride=50, max_epochs=1)
    configs = [uncertain(exact), noisy, uncertain(noisy), uncertain(wide)]
    (tmp_path / "group").mkdir()
    group = run_processes(
        tmp_path / "group",
        of_processes,
        corpus.store,
        corpus.annotations,
        tmp_path / "runs",
        configs,
        count=3,
    )
    ((history, head),) = of_processes(corpus.store, corpus.annotations, tmp_path / "one", configs[:1])
    for (found, weights), plain, noisy_one, wide_one in group:
        for record, expected in zip(found, history, strict=True):
            assert record == pytest.approx(expected, rel=0, abs=1e-9)
        for name, tensor in head.items():
            torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-9)
        assert_same_head(plain[1], noisy_one[1])
        assert without_nll_values(noisy_one[0]) == plain[0]
        assert noisy_one[0] == group[0][2][0]
        assert wide_one[0] == group[0][3][0]
        assert np.isfinite(wide_one[0][0]["validation_nll"])


def without_nll_values(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in record.items() if k not in NLL} for record in history]


def test_a_likelihood_that_diverges_is_named(
    train, training: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        LikelihoodObjective,
        "forward",
        lambda self, *_: sum(each.sum() for each in self.parameters()) * torch.nan,
    )
    with pytest.raises(TrainingError, match="epoch 1: the training nll is nan at learning rate"):
        train("run", uncertain(training))


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_on_a_gpu(train, training: TrainConfig, compiled: bool) -> None:
    config = dataclasses.replace(training, precision="bfloat16", compile=compiled, gradient_clip=0.5)
    plain = train("plain", config, device="cuda")
    found = train("uncertain", uncertain(config), device="cuda")
    # Kernels may add up in another order each time.
    for one, other in zip(without_nll(plain.history), without_nll(found.history), strict=True):
        assert other == pytest.approx(one, abs=0.02)
    assert np.isfinite([record.validation_nll for record in found.history]).all()
    assert found.history[-1].train_nll < found.history[0].train_nll
