"""Stage one: media and faces in, a store of embeddings out; and from media to predictions.

`import pipeline` imports no torch: the names below are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.backbones import load_backbone
    from pipeline.prediction.predictor import Predictor
    from pipeline.run.runner import RunOptions, extract_features

__all__ = ["Predictor", "RunOptions", "extract_features", "load_backbone"]

_HOMES = {
    "Predictor": "pipeline.prediction.predictor",
    "RunOptions": "pipeline.run.runner",
    "extract_features": "pipeline.run.runner",
    "load_backbone": "pipeline.backbones",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
