"""The loss of a head: which part of it runs in which precision."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from tagf_head.ccc import ccc_loss
from tagf_head.config import Precision, TrainConfig
from tagf_head.heads import Head, build_head
from tagf_head.layers.masked_batch_norm import MaskedBatchNorm
from tagf_head.training.objective import TrainingObjective


def batch(dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    visual, audio = (torch.randn(3, 20, width, generator=generator).to(dtype) for width in (16, 8))
    label = torch.rand(3, 20, 2, generator=generator)
    frame_mask = torch.arange(20) < torch.tensor([20, 20, 9])[:, None]
    return visual, audio, frame_mask, label, frame_mask & (label[..., 0] > 0.2)


@pytest.fixture
def head(training: TrainConfig) -> Head:
    torch.manual_seed(0)
    config = dataclasses.replace(
        training.head, visual_features=16, audio_features=8, tcn_dropout=0.0, attention_dropout=0.0
    )
    return build_head(config)


def objective(head: nn.Module, precision: Precision) -> TrainingObjective:
    return TrainingObjective(head, ccc_over="batch", precision=precision, over_processes=False)


def test_it_is_the_loss_of_the_heads_prediction(head: Head) -> None:
    visual, audio, frame_mask, label, label_mask = batch(torch.float16)
    expected = head(visual, audio, frame_mask, return_all=True)
    found = objective(head, "float32")(visual, audio, frame_mask, label, label_mask)
    assert torch.equal(found.loss, ccc_loss(expected.prediction, label, label_mask))
    for name in ("prediction", "features"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
        assert not getattr(found, name).requires_grad


def test_autocast_keeps_statistics_and_moments_in_float32(head: Head) -> None:
    seen: dict[str, list[tuple[torch.dtype, torch.dtype]]] = {"norm": [], "linear": []}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kind = "norm" if isinstance(module, MaskedBatchNorm) else "linear"
        seen[kind].append((inputs[0].dtype, output.dtype))

    for module in head.modules():
        if isinstance(module, (MaskedBatchNorm, nn.Linear)):
            module.register_forward_hook(note)
    inputs = batch(torch.float16)
    exact = objective(head, "float32")(*inputs).loss.item()
    for kind in seen.values():
        kind.clear()
    loss = objective(head, "bfloat16")(*inputs).loss
    torch.autograd.backward(loss)
    assert {output for _, output in seen["linear"]} == {torch.bfloat16}
    assert {output for _, output in seen["norm"]} == {torch.float32}
    assert torch.bfloat16 in {given for given, _ in seen["norm"]}
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(exact, abs=0.05)
    assert loss.item() != exact
    for name, parameter in head.named_parameters():
        assert parameter.dtype is torch.float32
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_float64_takes_rows_of_the_store(head: Head) -> None:
    loss = objective(head.double(), "float64")(*batch(torch.float16)).loss
    assert loss.dtype is torch.float64


def test_what_is_shared_with_other_processes_can_be_taken_back(head: Head) -> None:
    norms = [module for module in head.modules() if isinstance(module, MaskedBatchNorm)]
    TrainingObjective(head, ccc_over="batch", precision="float32", over_processes=True)
    assert all(norm.over_processes for norm in norms)
    objective(head, "float32")
    assert not any(norm.over_processes for norm in norms)
