"""Sums over real processes: values, gradients, and the environment that torchrun sets."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tagf_head.ccc import ccc_loss
from tagf_head.distributed import (
    Processes,
    from_first,
    gather_values,
    joined,
    stack_over_processes,
    sum_arrays,
    sum_over_processes,
)
from tagf_head.errors import TrainingError
from tagf_head.layers.masked_batch_norm import MaskedBatchNorm

# A batch of five windows, of which the second process has two, with fewer valid frames.
NUM_WINDOWS, NUM_FRAMES = 5, 8
FIRST_SHARE = 3


def random_batch(seed: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, targets and a mask with frames missing, more of them in the last windows."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(NUM_WINDOWS, NUM_FRAMES, width, generator=generator, dtype=torch.float64)
    target = torch.rand(NUM_WINDOWS, NUM_FRAMES, 2, generator=generator, dtype=torch.float64) * 2 - 1
    mask = torch.rand(NUM_WINDOWS, NUM_FRAMES, generator=generator) > 0.3
    mask[-1, 2:] = False
    return rows, target, mask


def own_share(*tensors: Tensor) -> list[Tensor]:
    """What this process has of the batch; all of it where there is one process."""
    if not dist.is_initialized():
        return list(tensors)
    share = slice(None, FIRST_SHARE) if dist.get_rank() == 0 else slice(FIRST_SHARE, None)
    return [tensor[share] for tensor in tensors]


def all_cases() -> dict[str, Any]:
    """Everything that is compared between one process and two, computed by the process that calls."""
    return {
        "primitives": primitives() if dist.is_initialized() else None,
        "norm": normalised(),
        **{over: losses(over) for over in ("batch", "window")},
        "constant": constant_targets(),
        "none": no_labels(),
        "trained": trained(),
    }


def primitives() -> dict[str, Any]:
    rank = dist.get_rank()
    values = torch.tensor([1.0 + rank, 10.0], requires_grad=True)
    total = sum_over_processes(values)
    stacked = stack_over_processes(values)
    # What follows differs between the processes: rank 0 takes the sum once, rank 1 three times.
    ((1 + 2 * rank) * total.sum() + (stacked * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum()).backward()
    counts, sums = np.array([rank, 5]), np.array([[0.5 + rank]])
    sum_arrays(counts, sums)
    with joined() as processes:
        pass
    return {
        "total": total.detach(),
        "stacked": stacked.detach(),
        "gradient": values.grad,
        "arrays": (counts.tolist(), sums.tolist()),
        "gathered": gather_values(f"process {rank}"),
        "first": from_first(lambda: {"rank": rank}),
        "failed": failure_of_first(),
        "joined": (processes.rank, processes.count, processes.is_first),
        "still in the group": dist.is_initialized(),
    }


def failure_of_first() -> str:
    def fail() -> None:
        raise TrainingError(f"process {dist.get_rank()} failed")

    try:
        from_first(fail)
    except TrainingError as error:
        return str(error)
    return "nothing raised"


def normalised() -> dict[str, Tensor]:
    """Two steps and their running statistics; in the second, one process has no valid frame."""
    torch.manual_seed(1)
    norm = MaskedBatchNorm(4).double()
    norm.over_processes = dist.is_initialized()
    nn.init.normal_(norm.weight)
    seen = {}
    for step in range(2):
        rows, _, mask = random_batch(step, 4)
        if step == 1:
            mask[FIRST_SHARE:] = False
        upstream = torch.randn(rows.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        rows, mask, upstream = own_share(rows + 5, mask, upstream)
        rows.requires_grad_()
        out = norm(rows, mask)
        out.backward(upstream)
        seen |= {f"out {step}": out.detach(), f"rows {step}": rows.grad}
    return seen | {"weight": norm.weight.grad, "bias": norm.bias.grad} | dict(norm.named_buffers())


def losses(over: str) -> dict[str, Tensor]:
    rows, target, mask = own_share(*random_batch(3, 2))
    prediction = rows.tanh().requires_grad_()
    loss = ccc_loss(prediction, target, mask, over=over, over_processes=dist.is_initialized())
    loss.backward()
    return {"loss": loss.detach(), "gradient": prediction.grad}


def constant_targets() -> dict[str, Tensor]:
    """A target that is one constant over all processes must have no gradient, in float32 either."""
    seen = {}
    for seed, constant in itertools.product(range(6), (0.1, -0.7, 0.3333333)):
        rows, target, mask = own_share(*random_batch(seed, 2))
        target = torch.full_like(target, constant).float()
        prediction = (target + 1e-8 * rows.float()).requires_grad_()
        loss = ccc_loss(prediction, target, mask, over_processes=dist.is_initialized())
        loss.backward()
        seen[f"{constant}, masks {seed}"] = prediction.grad
    return seen


def no_labels() -> dict[str, Tensor]:
    """One process has no label at all, then none has."""
    seen = {}
    for name, kept in (("first alone", FIRST_SHARE), ("none", 0)):
        for over in ("batch", "window"):
            rows, target, mask = random_batch(5, 2)
            mask[kept:] = False
            rows, target, mask = own_share(rows, target, mask)
            prediction = rows.tanh().requires_grad_()
            loss = ccc_loss(prediction, target, mask, over=over, over_processes=dist.is_initialized())
            loss.backward()
            seen |= {f"loss, {name}, {over}": loss.detach(), f"gradient, {name}, {over}": prediction.grad}
    return seen


class NormedHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 6), MaskedBatchNorm(6), nn.Linear(6, 2)
        self.norm.over_processes = dist.is_initialized()

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        return torch.tanh(self.last(self.norm(torch.relu(self.first(rows)), mask)))


def trained() -> dict[str, Tensor]:
    """Weights after steps through DistributedDataParallel, and the curve of the loss."""
    torch.manual_seed(2)
    head = NormedHead().double()
    model: nn.Module = head
    if dist.is_initialized():
        model = nn.parallel.DistributedDataParallel(head, broadcast_buffers=False)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    curve = []
    for step in range(4):
        rows, target, mask = own_share(*random_batch(20 + step, 3))
        loss = ccc_loss(model(rows, mask), target, mask, over_processes=dist.is_initialized())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.detach())
    return {name: tensor.detach() for name, tensor in head.state_dict().items()} | {
        "curve": torch.stack(curve)
    }


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return all_cases()


@pytest.fixture(scope="module")
def pair(run_processes, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_processes(tmp_path_factory.mktemp("pair"), all_cases)


def test_sums_stacks_and_their_gradients(pair) -> None:
    for rank, case in enumerate(pair):
        seen = case["primitives"]
        assert seen["total"].tolist() == [3.0, 20.0]
        assert seen["stacked"].tolist() == [[1.0, 10.0], [2.0, 10.0]]
        # Of the sums 1 + 3; of the stacks this process's row, from both.
        assert seen["gradient"].tolist() == [[4.0 + 2.0, 4.0 + 4.0], [4.0 + 6.0, 4.0 + 8.0]][rank]
        assert seen["arrays"] == ([1, 10], [[2.0]])
        assert seen["gathered"] == ["process 0", "process 1"]
        assert seen["first"] == {"rank": 0}
        assert seen["failed"] == "process 0 failed"
        assert seen["joined"] == (rank, 2, rank == 0)
        assert seen["still in the group"]


def assert_pair_equals(
    alone: dict[str, Tensor], pair: list[dict[str, Tensor]], split: tuple[str, ...]
) -> None:
    """Values whose names begin with `split` are made of the shares; what is left is the same everywhere."""
    for name, whole in alone.items():
        if name.startswith(split):
            found = torch.cat([case[name] for case in pair])
        else:
            found = pair[0][name]
            assert torch.equal(pair[1][name], found), name
        torch.testing.assert_close(
            found, whole, rtol=0, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_batch_norm_over_processes_is_that_of_one_process(alone, pair) -> None:
    for rank in (0, 1):
        # These are sums over frames, which DistributedDataParallel adds up.
        pair[rank]["norm"] |= {
            name: sum(case["norm"][name] for case in pair) if rank == 0 else pair[0]["norm"][name]
            for name in ("weight", "bias")
        }
    assert_pair_equals(alone["norm"], [case["norm"] for case in pair], ("out", "rows"))


@pytest.mark.parametrize("over", ["batch", "window"])
def test_loss_over_processes_is_that_of_one_process(alone, pair, over: str) -> None:
    found = [case[over] for case in pair]
    assert found[0]["loss"] == found[1]["loss"]
    assert found[0]["loss"].item() == pytest.approx(alone[over]["loss"].item(), abs=1e-12)
    # Each of the two processes has the loss, so each gradient comes twice.
    gradient = torch.cat([case["gradient"] for case in found]) / 2
    torch.testing.assert_close(gradient, alone[over]["gradient"], rtol=0, atol=1e-12)


def test_loss_over_processes_without_labels(alone, pair) -> None:
    for name, whole in alone["none"].items():
        found = [case["none"][name] for case in pair]
        if name.startswith("gradient"):
            torch.testing.assert_close(torch.cat(found) / 2, whole, rtol=0, atol=1e-12)
        else:
            assert found[0].item() == found[1].item() == pytest.approx(whole.item(), abs=1e-12)


def test_a_target_constant_over_processes_has_no_gradient(pair) -> None:
    for case in pair:
        for name, gradient in case["constant"].items():
            assert not gradient.any(), name


def test_steps_of_two_processes_are_those_of_one(alone, pair) -> None:
    assert_pair_equals(alone["trained"], [case["trained"] for case in pair], ())


def member_of_a_group() -> tuple[int, int, int, float, bool]:
    with joined() as processes:
        total = sum_over_processes(torch.ones(())).item()
    return processes.rank, processes.count, processes.local_rank, total, dist.is_initialized()


def test_torchruns_environment_makes_a_group(run_processes, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    found = run_processes(tmp_path, member_of_a_group, environment=environment)
    assert found == [(0, 2, 0, 2.0, False), (1, 2, 1, 2.0, False)]


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    with joined() as processes:
        assert processes == Processes()
        assert not dist.is_initialized()
    values = torch.ones(2, requires_grad=True)
    assert sum_over_processes(values) is values
    assert torch.equal(stack_over_processes(values), values[None])
    assert gather_values("a") == ["a"]
    assert from_first(lambda: "a") == "a"
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as processes:
        assert processes == Processes()


def test_an_environment_that_names_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(TrainingError, match="WORLD_SIZE='two' is no number"), joined():
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(TrainingError, match=r"process 1 of 2 cannot join .*; start them with torchrun"),
        joined(),
    ):
        pass


def test_a_rank_alone_makes_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as processes:
        assert processes == Processes()


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("-1", "2"), ("0", "0"), ("0", "-1")])
def test_a_rank_beyond_the_processes(monkeypatch: pytest.MonkeyPatch, rank: str, count: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    message = f"RANK={rank} and WORLD_SIZE={count}: expected 0 <= RANK < WORLD_SIZE; start the processes with"
    with pytest.raises(TrainingError, match=message), joined():
        pass


@pytest.mark.parametrize(("num_items", "count"), [(6, 1), (6, 4), (7, 3), (3, 3)])
def test_shares_cover_everything_once(num_items: int, count: int) -> None:
    items = list(range(num_items))
    shares = [items[Processes(rank=rank, count=count).share(num_items)] for rank in range(count)]
    assert [item for share in shares for item in share] == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
