"""Conditions under which heads are measured, and which of them are made on the features themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tagf_head.errors import HeadError
from tagf_head.robustness.config import RobustnessConfig

#: What a condition disturbs.
Modality = Literal["visual", "audio", "both"]

#: Families that are made on the features, in the order of tables and plots.
FEATURE_FAMILIES = ("shift", "noise", "drop")

# In words, in the order of tables and plots.
_MODALITIES: Mapping[Modality, str] = MappingProxyType(
    {"visual": "visual", "audio": "audio", "both": "visual and audio"}
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One disturbance at one level.

    Attributes:
        family: Its kind, such as `noise`.
        modality: What it disturbs.
        level: How much of it, in `unit`.
        unit: Unit of the level.
        quantity: What the level measures, for headings and axes.
    """

    family: str
    modality: Modality
    level: float
    unit: str
    quantity: str

    def __str__(self) -> str:
        return f"{self.family} {self.modality} {self.level:g} {self.unit}"


def feature_conditions(config: RobustnessConfig, families: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions of some families, in the order of `FEATURE_FAMILIES` and of the settings.

    Args:
        config: Their levels.
        families: Some of `FEATURE_FAMILIES`.

    Raises:
        HeadError: A family is not one of them, or has no level.
    """
    unknown = [family for family in families if family not in FEATURE_FAMILIES]
    if unknown:
        raise HeadError(f"conditions: {unknown[0]!r} is none of {', '.join(FEATURE_FAMILIES)}")
    conditions: list[Condition] = []
    if "shift" in families:
        conditions += [
            Condition(
                family="shift",
                modality="audio",
                level=level,
                unit="s",
                quantity="time by which the sound comes after its picture",
            )
            for level in config.shift_s
        ]
    if "noise" in families:
        conditions += [
            Condition(
                family="noise",
                modality=modality,
                level=level,
                unit="dB",
                quantity=f"signal-to-noise ratio, Gaussian noise on {what} features",
            )
            for modality, what in _MODALITIES.items()
            for level in config.noise_snr_db
        ]
    if "drop" in families:
        conditions += [
            Condition(
                family="drop",
                modality=modality,
                level=level,
                unit="%",
                quantity=f"share of the frames in which {what} features are dropped, in bursts of "
                f"{config.burst_s:g} s",
            )
            for modality, what in _MODALITIES.items()
            for level in config.drop_percent
        ]
    for family in families:
        if not any(condition.family == family for condition in conditions):
            raise HeadError(
                f"conditions: {family!r} has no level in the settings; give some or leave the family out"
            )
    return tuple(conditions)
