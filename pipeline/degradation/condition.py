"""What is done to media, and how much of it: `white_noise=10`, `blur=8`, `occlusion_lower=50`.

A condition alters either the sound or the pictures of a clip, never both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from pipeline.degradation.errors import DegradationError

Modality = Literal["visual", "audio"]
Family = Literal[
    "white_noise",
    "pink_noise",
    "speech_noise",
    "reverberation",
    "blur",
    "darkness",
    "occlusion_lower",
    "occlusion_upper",
]


@dataclass(frozen=True, kw_only=True)
class FamilyFacts:
    """What the conditions of a family have in common.

    Attributes:
        modality: What they alter.
        quantity: What the level measures.
        unit: Of the level.
        levels: Those of `CONDITIONS`, from mild to harsh.
        range: Smallest and largest level that make sense.
    """

    modality: Modality
    quantity: str
    unit: str
    levels: tuple[float, ...]
    range: tuple[float, float]


def _noise(quantity: str) -> FamilyFacts:
    return FamilyFacts(
        modality="audio", quantity=quantity, unit="dB", levels=(20, 10, 5, 0, -5), range=(-60, 120)
    )


def _occlusion(part: str) -> FamilyFacts:
    return FamilyFacts(
        modality="visual",
        quantity=f"{part} part of the face that is covered",
        unit="%",
        levels=(25, 50, 75),
        range=(0, 100),
    )


FAMILIES: Mapping[Family, FamilyFacts] = MappingProxyType(
    {
        "white_noise": _noise("signal-to-noise ratio, white noise"),
        "pink_noise": _noise("signal-to-noise ratio, pink noise"),
        "speech_noise": _noise("signal-to-noise ratio, noise with the spectrum of speech"),
        "reverberation": FamilyFacts(
            modality="audio",
            quantity="reverberation time T60",
            unit="s",
            levels=(0.25, 0.5, 1, 2),
            range=(0.01, 20),
        ),
        "blur": FamilyFacts(
            modality="visual",
            quantity="standard deviation of a Gaussian blur, of the face's width",
            unit="%",
            levels=(2, 4, 8, 16),
            range=(0, 100),
        ),
        "darkness": FamilyFacts(
            modality="visual",
            quantity="less light, in stops",
            unit="EV",
            levels=(1, 2, 4, 6),
            range=(0, 16),
        ),
        "occlusion_lower": _occlusion("lower"),
        "occlusion_upper": _occlusion("upper"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One degradation.

    Attributes:
        family: What is done.
        level: How much, in the family's unit.
        direct_to_reverberant_db: Energy of the direct sound over that of the reverberation; for the family
            `reverberation` alone.
    """

    family: Family
    level: float
    direct_to_reverberant_db: float = 0.0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            close = get_close_matches(str(self.family), FAMILIES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise DegradationError(
                f"condition family {self.family!r} is not known (families: {', '.join(FAMILIES)}){hint}"
            )
        lowest, highest = self.facts.range
        if not lowest <= self.level <= highest:  # False for NaN
            raise DegradationError(
                f"condition family {self.family!r}: expected a level of {lowest:g} to {highest:g} "
                f"{self.unit} ({self.facts.quantity}), got {self.level:g}"
            )
        ratio_db = self.direct_to_reverberant_db
        if not math.isfinite(ratio_db) or (ratio_db and self.family != "reverberation"):
            raise DegradationError(
                "direct_to_reverberant_db: expected a finite number of dB, and 0 with other families than "
                f"'reverberation', got {ratio_db} with {self.family!r}"
            )

    @property
    def facts(self) -> FamilyFacts:
        """Of its family."""
        return FAMILIES[self.family]

    @property
    def modality(self) -> Modality:
        """What it alters."""
        return self.facts.modality

    @property
    def unit(self) -> str:
        """Of the level."""
        return self.facts.unit

    @property
    def name(self) -> str:
        """What `read_condition` takes; a folder may bear it.

        >>> Condition(family="reverberation", level=0.5, direct_to_reverberant_db=-3).name
        'reverberation=0.5@-3'
        """
        ratio = f"@{self.direct_to_reverberant_db:g}" if self.direct_to_reverberant_db else ""
        return f"{self.family}={self.level:g}{ratio}"


def read_condition(text: str) -> Condition:
    """A condition from `FAMILY=LEVEL`, with `@RATIO` after it for reverberation.

    Raises:
        DegradationError: It is not of that form, or no such family or level.

    >>> read_condition("speech_noise=-2.5")
    Condition(family='speech_noise', level=-2.5, direct_to_reverberant_db=0.0)
    """
    family, is_given, amount = text.partition("=")
    level, has_ratio, ratio = amount.partition("@")
    try:
        numbers = float(level), float(ratio) if has_ratio else 0.0
    except ValueError:
        is_given = ""
        numbers = 0.0, 0.0
    if not is_given:
        raise DegradationError(
            f"condition {text!r}: expected FAMILY=LEVEL, for example 'white_noise=10', or "
            f"'reverberation=T60@RATIO' (families: {', '.join(FAMILIES)})"
        )
    return Condition(
        family=family.strip(),  # type: ignore[arg-type]  # checked there
        level=numbers[0],
        direct_to_reverberant_db=numbers[1],
    )


#: Those that a study usually asks for, by name, each family from mild to harsh.
CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        condition.name: condition
        for family, facts in FAMILIES.items()
        for condition in (Condition(family=family, level=level) for level in facts.levels)
    }
)
