"""What a user may have meant, added to the message about a mistake."""

from __future__ import annotations

import re

import click

# As click words it.
_REFUSED_CHOICE = re.compile(r"'(?P<word>.*?)' is not one of ")


def choice_hint(error: click.UsageError) -> str:
    """``; did you mean 'videos'?`` where an option was given a value close to one that it takes."""
    from cache.suggestion import did_you_mean

    kind = error.param.type if isinstance(error, click.BadParameter) and error.param is not None else None
    refused = _REFUSED_CHOICE.match(error.message)
    if not isinstance(kind, click.Choice) or refused is None:
        return ""
    return did_you_mean(refused["word"], map(str, kind.choices))


def section_hint(error: Exception) -> str:
    """Where a setting belongs that was given in another section, or to a head."""
    from cache.errors import SettingsError
    from cache.settings import setting_paths

    name = error.unknown if isinstance(error, SettingsError) else None
    if name is None:
        return ""
    for section, cls in _sections().items():
        for path in setting_paths(cls, f"{section}."):
            if path.rpartition(".")[2] == name:
                return f"; {name!r} belongs to {path.rpartition('.')[0]}: set {path}"
    return ""


def _sections() -> dict[str, type]:
    from pipeline.config import CorpusConfig, ExtractConfig
    from tagf_head.comparison.config import CompareConfig
    from tagf_head.config import EvaluateConfig, TrainConfig
    from tagf_head.robustness.config import RobustnessConfig

    return {
        "train": TrainConfig,
        "extract": ExtractConfig,
        "evaluate": EvaluateConfig,
        "compare": CompareConfig,
        "robustness": RobustnessConfig,
        "data.corpus": CorpusConfig,
    }
