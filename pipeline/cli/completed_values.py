"""Values that a shell completes: names of heads, conditions and weights."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def complete_head(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Name of one head."""
    return _starting_with(incomplete, _heads())


def complete_heads(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of heads, separated by commas, or `all`."""
    return _next_of_list(incomplete, {"all": "every head here", **_heads()})


def complete_conditions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Families of conditions, separated by commas."""
    from pipeline.degradation import FAMILIES
    from tagf_head.robustness.conditions import FEATURE_FAMILIES

    return _next_of_list(incomplete, dict.fromkeys((*FEATURE_FAMILIES, *FAMILIES), ""))


def complete_weights(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Name of registered weights."""
    from pipeline.weights.registry import REGISTRY

    return _starting_with(incomplete, {name: weights.backbone for name, weights in REGISTRY.items()})


def _heads() -> dict[str, str]:
    from tagf_head.head_presets import PRESETS

    return {name: preset.description for name, preset in PRESETS.items()}


def _starting_with(incomplete: str, names: dict[str, str]) -> list[CompletionItem]:
    return [
        CompletionItem(name, help=text or None) for name, text in names.items() if name.startswith(incomplete)
    ]


def _next_of_list(incomplete: str, names: dict[str, str]) -> list[CompletionItem]:
    """Of a list separated by commas, the last name; names that stand in it already are left out."""
    before, comma, last = incomplete.rpartition(",")
    given: Iterable[str] = before.split(",")
    left = {name: text for name, text in names.items() if name not in given}
    return [
        CompletionItem(before + comma + item.value, help=item.help) for item in _starting_with(last, left)
    ]
