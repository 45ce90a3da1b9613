"""A run over damaged files ends, says what is wrong with each, and leaves healthy clips as they are.

A sample of the soak run, by its own script: see `tests/soak/media_campaign.py` for what it checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

CAMPAIGN = Path(__file__).resolve().parents[2] / "soak" / "media_campaign.py"
NUM_FILES, DEADLINE_S = 80, 900  # later than the script's own


def test_damaged_files_fail_by_name_and_disturb_no_healthy_clip(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, str(CAMPAIGN), "--files", str(NUM_FILES), "--seed", "1", "--out", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(result.read_text())
    assert figures["problems"] == []
    outcomes = Counter(figures["outcomes"])
    assert outcomes.total() == NUM_FILES
    assert set(outcomes) == {"extracted", "failed"}
    # Damage that is neither harmless nor hopeless, in all kinds of containers.
    assert min(outcomes.values()) >= NUM_FILES // 8
    assert sum(counts.get("failed", 0) > 0 for counts in figures["containers"].values()) >= 5
    assert sum(figures["error_classes"].values()) == outcomes["failed"]
    assert figures["healthy_parts_compared"] >= len(figures["containers"])
