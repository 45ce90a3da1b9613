"""Settings, and the conditions that they make."""

from __future__ import annotations

import pytest

from cache.errors import SettingsError
from cache.settings import parse_settings
from tagf_head.errors import HeadError
from tagf_head.robustness.conditions import feature_conditions
from tagf_head.robustness.config import RobustnessConfig


def test_levels_of_a_panel_follow_one_another() -> None:
    config = RobustnessConfig(shift_s=(1.0, -1.0), noise_snr_db=(10.0,), drop_percent=(50.0, 100.0))
    names = [str(condition) for condition in feature_conditions(config, ("drop", "shift", "noise"))]
    assert names == [
        "shift audio 1 s",
        "shift audio -1 s",
        "noise visual 10 dB",
        "noise audio 10 dB",
        "noise both 10 dB",
        *(f"drop {modality} {level} %" for modality in ("visual", "audio", "both") for level in (50, 100)),
    ]


def test_bursts_are_named_by_their_length() -> None:
    config = RobustnessConfig(burst_s=0.5)
    assert all("0.5 s" in each.quantity for each in feature_conditions(config, ("drop",)))


def test_unknown_and_empty_families() -> None:
    with pytest.raises(HeadError, match="'blur' is none of shift, noise, drop"):
        feature_conditions(RobustnessConfig(), ("noise", "blur"))
    with pytest.raises(HeadError, match="'shift' has no level"):
        feature_conditions(RobustnessConfig(shift_s=()), ("shift",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop_percent": [0, 101]}, r"robustness\.drop_percent must lie in \[0, 100\]"),
        ({"shift_s": [1, 1.0]}, r"robustness\.shift_s must give each level once"),
        ({"burst_s": 0}, r"robustness\.burst_s must be a positive number"),
        ({"noise_snr_db": [".inf"]}, r"robustness\.noise_snr_db"),
        ({"seed": -1}, r"robustness\.seed must lie in"),
        ({"snr_db": [0]}, r"robustness\.snr_db is not a setting"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(RobustnessConfig, settings, where="params.yaml", section="robustness")
