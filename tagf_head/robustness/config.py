"""Settings of a robustness measurement: section `robustness` of params.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SEED_LIMIT = 2**63


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """Levels of the conditions, in the order in which tables and plots show them.

    Attributes:
        shift_s: Seconds by which the sound comes after the picture that it belongs to; before it where
            negative.
        noise_snr_db: Signal-to-noise ratios of Gaussian noise on the features.
        drop_percent: Shares of the frames that a modality lacks.
        burst_s: How long the modality is away at a time.
        seed: Seed of the noise, of the places of the bursts, and of degraded media.
    """

    shift_s: tuple[float, ...] = (-2.0, -1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 2.0)
    noise_snr_db: tuple[float, ...] = (20.0, 15.0, 10.0, 5.0, 0.0, -5.0)
    drop_percent: tuple[float, ...] = (0.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    burst_s: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("shift_s", "noise_snr_db", "drop_percent"):
            levels = getattr(self, name)
            if not all(math.isfinite(level) for level in levels):
                raise ValueError(f"{name} must be finite numbers, got {list(levels)}")
            if len(set(levels)) < len(levels):
                raise ValueError(f"{name} must give each level once, got {list(levels)}")
        if not all(0 <= level <= 100 for level in self.drop_percent):
            raise ValueError(f"drop_percent must lie in [0, 100], got {list(self.drop_percent)}")
        if not (self.burst_s > 0 and math.isfinite(self.burst_s)):
            raise ValueError(f"burst_s must be a positive number of seconds, got {self.burst_s}")
        if not 0 <= self.seed < _SEED_LIMIT:
            raise ValueError(f"seed must lie in [0, 2**63), got {self.seed}")
