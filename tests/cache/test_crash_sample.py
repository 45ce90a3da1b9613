"""Processes that commit parts, and packers, killed at random moments and at their writes.

A sample of the soak run on `cache` alone, by its own script: see `tests/soak/crash_campaign.py` for what it
checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CAMPAIGN = Path(__file__).resolve().parents[1] / "soak" / "crash_campaign.py"
NUM_MOMENTS, EVERY_WRITE, DEADLINE_S = 16, 16, 600


def test_whatever_is_killed_the_next_run_gives_the_undisturbed_store(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run(
        [
            *(sys.executable, str(CAMPAIGN), "--what", "cache", "--jobs", "1", "--seed", "5"),
            *("--moments", str(NUM_MOMENTS), "--writes", str(EVERY_WRITE), "--out", str(result)),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(result.read_text())
    assert figures["problems"] == []
    moments, writes = figures["moments"], figures["writes"]
    assert moments["kills"] == NUM_MOMENTS
    # Both phases, and not all of it before anything was done.
    assert {key.partition(",")[0] for key in moments["by_moment_and_victim"]} == {"extraction", "packing"}
    assert moments["parts_seen_after_the_kill"] > 0
    if isinstance(writes, str):
        assert writes in done.stderr  # why this machine cannot stop processes at their writes
    else:
        assert writes["kills"] >= 20
        assert writes["torn_writes"] >= 5
        assert {"write", "fsync", "rename"} <= set(writes["by_call"])
        assert {"previous", "new"} <= set(writes["stores_found_after_the_kill"])
