"""Names of conditions, and what is no condition."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.degradation import CONDITIONS, FAMILIES, Condition, read_condition
from pipeline.degradation.errors import DegradationError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", [*CONDITIONS, "reverberation=0.75@-6", "white_noise=-2.5"])
def test_a_condition_is_read_from_its_name(name: str) -> None:
    assert read_condition(name).name == name
    assert CONDITIONS.get(name, read_condition(name)) == read_condition(name)


def test_each_family_goes_from_mild_to_harsh() -> None:
    for family, facts in FAMILIES.items():
        levels = [each.level for each in CONDITIONS.values() if each.family == family]
        assert levels == list(facts.levels)
        down = facts.unit == "dB"  # the less signal there is, the harsher
        assert all((first > second) == down for first, second in pairwise(levels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blurr=4", r"'blurr' is not known .*did you mean 'blur'\?"),
        ("blur", "expected FAMILY=LEVEL"),
        ("blur=much", "expected FAMILY=LEVEL"),
        ("blur=nan", "expected a level of 0 to 100 %"),
        ("occlusion_lower=101", "expected a level of 0 to 100 %"),
        ("reverberation=0", "expected a level of 0.01 to 20 s"),
        ("blur=4@3", "'reverberation', got 3.0 with 'blur'"),
        ("reverberation=1@inf", "expected a finite number of dB"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, message: str) -> None:
    with pytest.raises(DegradationError, match=message):
        read_condition(text)


def test_the_table_of_conditions_loads_neither_torch_nor_av() -> None:
    heavy = "bool({'torch', 'av'} & {*sys.modules})"
    code = f"import sys; from pipeline.degradation import CONDITIONS; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_conditions_that_differ_are_different_keys() -> None:
    room = Condition(family="reverberation", level=1)
    assert len({room, read_condition("reverberation=1@-3"), read_condition("reverberation=2")}) == 3
