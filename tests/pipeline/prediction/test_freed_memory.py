"""What was freed between arrays that live on goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys

# Many arrays too small for pages of their own: without the call, those that are kept hold the others' room.
WORK = """
from pathlib import Path
import numpy as np
from pipeline.prediction.freed_memory import give_back_freed_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

arrays = [np.ones(4096) for _ in range(8000)]  # 32 KB each, 250 MB
kept = arrays[::100]
full = resident_mb()
del arrays
kept.append(np.ones(10))
freed = resident_mb()
give_back_freed_memory()
print(full - freed, full - resident_mb())
"""


def test_holes_between_kept_arrays_are_returned() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", WORK], env=environment, capture_output=True, text=True, check=True
    )
    without, returned = map(int, said.stdout.split())
    assert without < 100
    assert returned > 200
