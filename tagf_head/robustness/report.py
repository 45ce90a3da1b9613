"""What a robustness measurement found, for its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tagf_head.robustness.conditions import Condition
from tagf_head.robustness.curves import mean_and_deviation
from tagf_head.robustness.measurement import GateReaction, Measurement

#: Family and modality: the conditions that differ in their level alone.
Panel = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class MeasuredHead:
    """One checkpoint under all conditions.

    Attributes:
        curve: What tables and plots call it; checkpoints of one curve are averaged.
        checkpoint: Its file.
        seed: Seed of its training.
        clean: With the rows as they are.
        conditions: Condition -> measurement, in the order in which they were measured.
    """

    curve: str
    checkpoint: Path
    seed: int
    clean: Measurement
    conditions: Mapping[Condition, Measurement]

    def under(self, condition: Condition | None) -> Measurement:
        """The measurement of a condition; None stands for the clean rows."""
        return self.clean if condition is None else self.conditions[condition]


@dataclass(frozen=True, kw_only=True)
class RobustnessReport:
    """All heads under all conditions.

    Attributes:
        heads: One per checkpoint.
        conditions: In the order in which they were measured; levels of a panel follow one another.
        present: Condition, or None for the clean rows -> stream -> share of the frames that have it.
        corruption_seed: Seed of noise, bursts and degraded media.
        split: What was measured on.
        num_clips: Its clips.
        num_frames: Its frames.
        num_labelled: Those with a label.
        unit: What the intervals' resamples draw.
        random_weights: Whether the features come from backbones with random weights.
    """

    heads: tuple[MeasuredHead, ...]
    conditions: tuple[Condition, ...]
    present: Mapping[Condition | None, Mapping[str, float]]
    corruption_seed: int
    split: str
    num_clips: int
    num_frames: int
    num_labelled: int
    unit: str
    random_weights: bool

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of the curves, in the order of the checkpoints."""
        return tuple(dict.fromkeys(head.curve for head in self.heads))

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Families and modalities, in their order."""
        return tuple(dict.fromkeys((each.family, each.modality) for each in self.conditions))

    def levels(self, panel: Panel) -> tuple[Condition, ...]:
        """The conditions of a panel."""
        return tuple(each for each in self.conditions if (each.family, each.modality) == panel)

    def title(self, panel: Panel) -> str:
        """What a heading calls a panel."""
        first = self.levels(panel)[0]
        quantity = first.quantity[0].upper() + first.quantity[1:]
        return f"{quantity} ({first.unit})"

    def of_curve(self, curve: str) -> tuple[MeasuredHead, ...]:
        """The checkpoints of a curve."""
        return tuple(head for head in self.heads if head.curve == curve)

    def ccc(self, curve: str, condition: Condition | None, target: str) -> tuple[float, float]:
        """Mean and standard deviation of the CCC over the checkpoints of a curve.

        Args:
            curve: One of `curves`.
            condition: One of `conditions`; None for the clean rows.
            target: `valence`, `arousal` or `mean`.
        """
        found = [getattr(head.under(condition).ccc, target).estimate for head in self.of_curve(curve)]
        return mean_and_deviation(found)

    def gates(self, curve: str) -> dict[str, tuple[str, ...]]:
        """Gates of a curve's heads -> names of their candidates."""
        first = self.of_curve(curve)[0].clean.gates
        return {name: gate.candidates for name, gate in first.items()}

    def reactions(self, curve: str, gate: str, condition: Condition | None) -> list[GateReaction]:
        """How a gate reacted in each checkpoint of a curve."""
        return [head.under(condition).gates[gate] for head in self.of_curve(curve)]

    def most_moved(self, curve: str, gate: str, panel: Panel) -> tuple[float, Condition] | None:
        """Largest share of a gate's weight that a level of a panel moves to other candidates, and that level.

        The share is `GateReaction.altered_change`, its mean over the checkpoints; None where no level alters
        a frame.
        """
        moved: list[tuple[float, Condition]] = []
        for condition in self.levels(panel):
            changes = [each.altered_change for each in self.reactions(curve, gate, condition)]
            known = [change for change in changes if change is not None]
            if known:
                moved.append((mean_and_deviation(known)[0], condition))
        return max(moved, key=lambda each: each[0], default=None)
