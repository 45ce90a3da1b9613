"""What a `--device` setting means on a machine with and without GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.errors import ExtractionError
from pipeline.run import gpus
from pipeline.run.gpus import gpu_devices


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")


@pytest.mark.usefixtures("no_driver")
def test_the_cpu_is_no_gpu() -> None:
    assert gpu_devices("cpu") == ()
    assert gpu_devices("auto") == ()


def test_what_the_machine_lacks_is_refused() -> None:
    with pytest.raises(ExtractionError, match="device 'cuda:99': expected a device of this machine"):
        gpu_devices("cpu, cuda:99")
    with pytest.raises(ExtractionError, match="device 'gpu' is not known"):
        gpu_devices("gpu")


@pytest.mark.gpu
def test_several_gpus_are_named_one_by_one() -> None:
    names = tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    assert gpu_devices(", ".join(names)) == names
    assert gpu_devices("auto") in (("cuda",), ("cuda:0",))


def test_without_a_gpu_torch_is_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.run import gpus\n"
        "gpus._DRIVER = Path('/nowhere')\n"
        "assert gpus.gpu_devices('auto') == () and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
