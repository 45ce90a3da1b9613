"""Objects of a store deleted, cut short, made longer and with a bit flipped: found by `verify`, never read.

A sample of the soak run: see `tests/soak/corruption_campaign.py` for what it checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CAMPAIGN = Path(__file__).resolve().parents[1] / "soak" / "corruption_campaign.py"
NUM_FLIPS, EVERY, DEADLINE_S = 30, 14, 600


def test_damage_is_found_and_named_and_never_read_as_rows(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run(
        [
            *(sys.executable, str(CAMPAIGN), "--jobs", "1", "--seed", "4", "--flips", str(NUM_FLIPS)),
            *("--every", str(EVERY), "--out", str(result)),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(result.read_text())
    assert figures["problems"] == []
    damages = figures["damages"]
    assert damages["bit flipped"] == NUM_FLIPS
    assert min(damages["deleted"], damages["cut short"], damages["made longer"]) >= 5
    assert figures["found_and_named_by_verify_deep"] == sum(damages.values())
    assert figures["reads_refused"] >= sum(damages.values())
    # Rows beside the damage are still to be had.
    assert figures["reads_with_the_right_rows"] > 0
    assert figures["damaged_while_open"] > 0
