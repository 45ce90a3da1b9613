"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from tagf_head.devices import resolve_device
from tagf_head.distributed import Processes
from tagf_head.errors import HeadError


@pytest.mark.parametrize(("available", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, available: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert resolve_device("auto") == torch.device(expected)


def test_cpu() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    on_second_machine = Processes(rank=3, count=4, local_rank=1)
    assert resolve_device("auto", on_second_machine) == torch.device("cuda", 1)
    assert resolve_device("auto", Processes()) == torch.device("cuda")
    assert resolve_device("cpu", on_second_machine) == torch.device("cpu")
    with pytest.raises(
        HeadError, match=r"process 2 is number 2 on its machine, which has 2 GPUs; .*--nproc-"
    ):
        resolve_device("auto", Processes(rank=2, count=3, local_rank=2))
    # `cuda:0` is there as far as this knows, and is one for four processes.
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    with pytest.raises(HeadError, match="device 'cuda:0' would be that of all 4 processes; give 'cuda'"):
        resolve_device("cuda:0", on_second_machine)
    assert resolve_device("cuda", on_second_machine) == torch.device("cuda", 1)
    assert resolve_device("cuda:0", Processes()) == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["gpu0", "cuda:99"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(HeadError, match=f"device '{name}' cannot be used here") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)
