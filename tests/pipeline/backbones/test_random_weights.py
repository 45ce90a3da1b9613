"""Random weights: equal for equal seeds whatever goes on around them, and useful as features."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.backbones import load_backbone
from pipeline.backbones.backbone import Backbone
from pipeline.media.log_mel import log_mel


def digest(backbone: Backbone) -> str:
    state = backbone.state_dict()
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


def smooth_pictures(count: int, side: int) -> torch.Tensor:
    """Low-passed white noise: not what the weights were calibrated on."""
    rng = np.random.default_rng(11)
    coarse = torch.from_numpy(rng.uniform(-1, 1, (count, 3, 6, 6)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)


def tones_and_noises(count: int) -> torch.Tensor:
    """Pure tones and white noises of 1/1000 to 1/2 of full scale."""
    rng = np.random.default_rng(11)
    time_s = np.arange(15_600) / 16_000
    examples = []
    for number in range(count):
        loudness = 10 ** rng.uniform(-3, -0.3)
        tone = np.sin(2 * np.pi * 10 ** rng.uniform(2, 3.5) * time_s)
        sound = tone if number % 2 else rng.uniform(-1, 1, len(time_s))
        examples.append(log_mel((loudness * sound).astype(np.float32))[None])
    return torch.from_numpy(np.stack(examples))


def spread(rows: NDArray[np.float32]) -> float:
    """Mean over features of the deviation of l2-normalised rows, times sqrt(D); 1 for random directions."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return float(unit.std(axis=0).mean() * np.sqrt(rows.shape[1]))


def effective_rank(rows: NDArray[np.float32]) -> float:
    """Exponential of the entropy of the normalised rows' principal variances."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    variances = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
    shares = variances[variances > 0] / variances.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


# PyTorch's own initialisation gives 0.015 to 0.04 for VGGish. resnet50's features follow a ReLU, so that they
# cannot be centred.
SMALLEST_SPREAD = {"ir50": 0.7, "resnet50": 0.25, "inception_resnet_v1": 0.45, "vggish": 0.6}


@pytest.fixture(scope="module", params=SMALLEST_SPREAD)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def backbone(name: str) -> Backbone:
    return load_backbone(name, "random:0")


def test_rows_of_different_inputs_differ_clearly(name: str, backbone: Backbone) -> None:
    num_inputs = 24
    side = backbone.input_shape[1]
    inputs = tones_and_noises(num_inputs) if name == "vggish" else smooth_pictures(num_inputs, side)
    with torch.inference_mode():
        rows = backbone(inputs).numpy()
    assert spread(rows) > SMALLEST_SPREAD[name]
    assert effective_rank(rows) > num_inputs / 3
    scale = rows.std(axis=0).mean()
    assert 0.1 < scale < 10, "float16 holds such rows to 3 digits of their variation"


def test_seed_alone_decides() -> None:
    torch.manual_seed(1)
    first = digest(load_backbone("resnet50", "random:7"))
    torch.manual_seed(2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    second = digest(load_backbone("resnet50", "random:7"))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert first == second
    assert first != digest(load_backbone("resnet50", "random:8"))


def test_all_weights_are_finite_and_set(backbone: Backbone) -> None:
    for tensor_name, tensor in backbone.state_dict().items():
        assert tensor.isfinite().all(), tensor_name
        if tensor_name.endswith(("weight", "running_var")):
            assert 1e-4 < tensor.float().abs().mean() < 1e3, tensor_name
