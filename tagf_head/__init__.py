"""Stage two: heads that estimate valence and arousal from cached embeddings, their training and evaluation.

The names below are imported on first use, so that `import tagf_head` alone does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagf_head.ccc import concordance_correlation_coefficient
    from tagf_head.config import EvaluateConfig, HeadConfig, TrainConfig
    from tagf_head.evaluation.evaluate import evaluate_head
    from tagf_head.heads import build_head
    from tagf_head.robustness.run import measure_robustness
    from tagf_head.training.cross_validation import cross_validate
    from tagf_head.training.train import train_head

__all__ = [
    "EvaluateConfig",
    "HeadConfig",
    "TrainConfig",
    "build_head",
    "concordance_correlation_coefficient",
    "cross_validate",
    "evaluate_head",
    "measure_robustness",
    "train_head",
]

_MODULES = {
    "EvaluateConfig": "tagf_head.config",
    "HeadConfig": "tagf_head.config",
    "TrainConfig": "tagf_head.config",
    "build_head": "tagf_head.heads",
    "concordance_correlation_coefficient": "tagf_head.ccc",
    "cross_validate": "tagf_head.training.cross_validation",
    "evaluate_head": "tagf_head.evaluation.evaluate",
    "measure_robustness": "tagf_head.robustness.run",
    "train_head": "tagf_head.training.train",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
