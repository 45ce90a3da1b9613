"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from tagf_head.devices import resolve_device
from tagf_head.errors import HeadError


@pytest.mark.parametrize(("available", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, available: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert resolve_device("auto") == torch.device(expected)


def test_cpu() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu0", "cuda:99"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(HeadError, match=f"device '{name}' cannot be used here") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)
