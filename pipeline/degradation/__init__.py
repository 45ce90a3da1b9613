"""Media made worse by known amounts, and what stage one makes of them.

`import pipeline.degradation` imports neither torch nor av: the names below are looked up when they are first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.degradation.condition import CONDITIONS, FAMILIES, Condition, read_condition
    from pipeline.degradation.condition_stores import extract_conditions
    from pipeline.degradation.degraded_copies import degrade_clips

__all__ = ["CONDITIONS", "FAMILIES", "Condition", "degrade_clips", "extract_conditions", "read_condition"]

_HOMES = {
    "CONDITIONS": "condition",
    "FAMILIES": "condition",
    "Condition": "condition",
    "degrade_clips": "degraded_copies",
    "extract_conditions": "condition_stores",
    "read_condition": "condition",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
